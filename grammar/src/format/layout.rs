//! Where lines end: a text in pieces, with the places where it may be broken, becomes lines of a width.
//!
//! The pieces are those of the pretty printers of Oppen and Wadler, laid side by side rather than in a tree, so that
//! nothing here recurses. A group is written on one line where that fits; its lines end where it says otherwise.

use std::borrow::Cow;

use super::WIDTH;

/// Brackets that begin beyond this column do not put what follows under each other: it would crowd at the margin.
const LAST_ALIGNED: usize = 72;
/// How far a line is moved in that begins where no line should.
const FORCED: usize = 4;

/// A piece of a text.
#[derive(Clone, Debug)]
pub(super) enum Piece<'s> {
    /// Characters without a newline.
    Text(Cow<'s, str>),
    /// A blank, and the end of the line in a group that is broken.
    Line,
    /// A blank, and the end of the line where the group is broken and what follows, up to the next of these, does not fit.
    Fill,
    /// The end of the line.
    Hard,
    /// An empty line, where a line begins.
    Blank,
    /// Where a group begins; `true` if it is broken in any case.
    Open(bool),
    /// Where it ends.
    Close,
    /// Lines that begin from here on are moved in by so much.
    Indent(usize),
    /// Lines that begin from here on begin in this column.
    Align,
    /// The end of an `Indent` or an `Align`.
    Dedent,
    /// A comment behind what is written; the line ends after it.
    Trailing(&'s str),
    /// A comment on a line of its own in a place where no line ends otherwise.
    Own(&'s str),
}

/// The text that the pieces make.
pub(super) fn lay_out(pieces: &[Piece]) -> String {
    let broken = broken_groups(pieces);
    let mut page = Page::default();
    // Whether each open group is broken; outside of all groups lines end.
    let mut modes = vec![true];
    for (at, piece) in pieces.iter().enumerate() {
        let is_broken = modes.last().copied().unwrap_or(true);
        match piece {
            Piece::Text(text) => page.text(text),
            Piece::Line if is_broken => page.newline(),
            Piece::Fill if is_broken && (page.after_comment || !fits(pieces, at + 1, page.left(1), &broken, true)) => {
                page.newline();
            }
            Piece::Line | Piece::Fill => page.text(" "),
            Piece::Hard => page.newline(),
            Piece::Blank => page.blank(),
            Piece::Open(_) => {
                modes.push(is_broken && (broken[at] || !fits(pieces, at + 1, page.left(0), &broken, false)));
            }
            Piece::Close => {
                modes.pop();
            }
            Piece::Indent(by) => page.indents.push(page.indent() + by),
            Piece::Align => {
                let column = page.column();
                page.indents.push(if column <= LAST_ALIGNED { column } else { page.indent() + FORCED });
            }
            Piece::Dedent => {
                page.indents.pop();
            }
            Piece::Trailing(text) => page.trailing(text),
            Piece::Own(text) => page.own(text),
        }
    }
    page.end()
}

/// For each piece, whether it opens a group in which a line ends in any case.
fn broken_groups(pieces: &[Piece]) -> Vec<bool> {
    let mut broken = vec![false; pieces.len()];
    let mut open: Vec<usize> = Vec::new();
    // A comment at the end of a group does not break it, but the one around it.
    let mut after_comment = false;
    for (at, piece) in pieces.iter().enumerate() {
        let breaks = matches!(piece, Piece::Hard | Piece::Own(_));
        let goes_on = !matches!(piece, Piece::Close | Piece::Dedent);
        if let (true, Some(group)) = (breaks || after_comment && goes_on, open.last()) {
            broken[*group] = true;
        }
        after_comment &= !goes_on;
        match piece {
            Piece::Open(forced) => {
                broken[at] = *forced;
                open.push(at);
            }
            Piece::Close => {
                let inner = open.pop().is_some_and(|at| broken[at]);
                if let (true, Some(outer)) = (inner, open.last()) {
                    broken[*outer] = true;
                }
            }
            Piece::Trailing(_) => after_comment = true,
            _ => {}
        }
    }
    broken
}

/// Whether what begins at piece `from` fits into `left` columns without a line that ends: the group that was just opened
/// or, with `fill`, what lies before the next [`Piece::Fill`], and what follows it up to where a line may end.
fn fits(pieces: &[Piece], from: usize, left: Option<usize>, broken: &[bool], fill: bool) -> bool {
    let Some(mut left) = left else { return false };
    let mut depth = usize::from(!fill);
    let mut behind = false;
    for (at, piece) in pieces.iter().enumerate().skip(from) {
        let width = match piece {
            Piece::Text(text) => text.chars().count(),
            Piece::Line | Piece::Fill if behind || fill && depth == 0 => return true,
            Piece::Line | Piece::Fill => 1,
            Piece::Hard | Piece::Own(_) => return behind,
            Piece::Trailing(_) => return true,
            Piece::Open(_) => {
                if !behind && broken[at] {
                    return false;
                }
                depth += 1;
                0
            }
            Piece::Close => {
                behind |= depth <= 1 && !fill || depth == 0;
                depth = depth.saturating_sub(1);
                0
            }
            Piece::Blank | Piece::Indent(_) | Piece::Align | Piece::Dedent => 0,
        };
        match left.checked_sub(width) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// What is written so far.
#[derive(Default)]
struct Page {
    text: String,
    /// The columns at which lines begin, the innermost last.
    indents: Vec<usize>,
    /// Where the current line begins.
    start: usize,
    /// Characters on the current line behind that, comments left out.
    written: usize,
    /// Whether the current line ends in a comment.
    after_comment: bool,
}

impl Page {
    fn indent(&self) -> usize {
        self.indents.last().copied().unwrap_or(0)
    }

    fn column(&self) -> usize {
        self.start + self.written
    }

    /// The columns that are left on this line after `taken` more.
    fn left(&self, taken: usize) -> Option<usize> {
        WIDTH.checked_sub(self.column() + taken)
    }

    fn text(&mut self, text: &str) {
        if self.after_comment {
            self.newline();
            self.start += FORCED;
        }
        let text = if self.written == 0 { text.trim_start_matches(' ') } else { text };
        if text.is_empty() {
            return;
        }
        if self.written == 0 {
            self.text.extend(std::iter::repeat_n(' ', self.start));
        }
        self.text.push_str(text);
        self.written += text.chars().count();
    }

    fn newline(&mut self) {
        if self.written == 0 && !self.after_comment && (self.text.is_empty() || self.text.ends_with('\n')) {
            self.start = self.indent();
            return;
        }
        let trimmed = self.text.trim_end_matches(' ').len();
        self.text.truncate(trimmed);
        self.text.push('\n');
        (self.start, self.written, self.after_comment) = (self.indent(), 0, false);
    }

    fn blank(&mut self) {
        if self.written == 0 && !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn trailing(&mut self, comment: &str) {
        if self.after_comment || self.written == 0 {
            return self.own(comment);
        }
        if !self.text.ends_with(' ') {
            self.text.push(' ');
        }
        self.text.push_str(comment);
        self.after_comment = true;
    }

    fn own(&mut self, comment: &str) {
        if self.after_comment || self.written > 0 {
            self.newline();
            self.start += FORCED;
        }
        self.text(comment);
        self.after_comment = true;
    }

    fn end(mut self) -> String {
        let trimmed = self.text.trim_end_matches([' ', '\n']).len();
        self.text.truncate(trimmed);
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text
    }
}
