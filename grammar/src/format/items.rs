//! The layout of items, and what all layouts are made of: tokens with the comments around them, and braces.

use std::borrow::Cow;

use pest::iterators::Pair;

use super::comments::{Comments, newlines};
use super::layout::Piece;
use crate::parse::Rule;
use crate::tree::doc_text;

pub(super) type Node<'s> = Pair<'s, Rule>;

/// Turns what the grammar matched into pieces for the layout.
pub(super) struct Writer<'s> {
    source: &'s str,
    comments: Comments<'s>,
    pieces: Vec<Piece<'s>>,
    /// Whether a comment was written behind the last token, so that nothing may follow on its line.
    after_comment: bool,
}

/// How the entries of a brace are parted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parted {
    /// Each on its line, with the empty lines that the author left.
    Lines,
    /// One on the line of the braces, or each on its own.
    Line,
}

impl<'s> Writer<'s> {
    pub fn new(source: &'s str, comments: Comments<'s>) -> Self {
        Self { source, comments, pieces: Vec::new(), after_comment: false }
    }

    pub fn finish(self) -> Vec<Piece<'s>> {
        self.pieces
    }

    /// The whole file.
    pub fn file(&mut self, file: Node<'s>) {
        let entries: Vec<_> = file.into_inner().collect();
        let columns = columns(self.source, &entries);
        let mut first = true;
        for (entry, column) in entries.into_iter().zip(columns) {
            let start = entry.as_span().start();
            if !first {
                self.hard();
            }
            self.comments_above(start, first);
            first = first && self.pieces.is_empty();
            if entry.as_rule() == Rule::EOI {
                break;
            }
            if !first && self.blank_above(start) {
                self.push(Piece::Blank);
            }
            match entry.as_rule() {
                Rule::file_doc => self.doc(&entry, "//!"),
                _ => self.item(entry, column),
            }
            first = false;
        }
    }

    // Tokens and comments.

    pub(super) fn push(&mut self, piece: Piece<'s>) {
        self.pieces.push(piece);
    }

    pub(super) fn hard(&mut self) {
        self.push(Piece::Hard);
        self.after_comment = false;
    }

    /// Characters that are no token of the source.
    pub(super) fn text(&mut self, text: &'static str) {
        self.push(Piece::Text(Cow::Borrowed(text)));
    }

    /// A token, with the comments in front of it that nothing else took and the one behind it.
    pub(super) fn token(&mut self, token: &Node<'s>) {
        let span = token.as_span();
        while let Some(comment) = self.comments.take(span.start()) {
            self.push(Piece::Own(comment.text));
        }
        self.push(Piece::Text(Cow::Borrowed(token.as_str())));
        self.after_comment = false;
        if self.comments.peek(self.source.len()).is_some_and(|comment| !comment.before_comma) {
            self.comment_behind(span.end());
        }
    }

    /// Writes the next comment if it stands on the line of the token that ends at `end`.
    fn comment_behind(&mut self, end: usize) {
        if let Some(comment) = self.comments.peek(self.source.len())
            && comment.trailing
            && self.source[end..comment.start].trim_matches([' ', '\t', '\u{FEFF}']).is_empty()
        {
            self.comments.take(self.source.len());
            self.push(Piece::Trailing(comment.text));
            self.after_comment = true;
        }
    }

    /// A comma, or nothing in its place if it is not `written`, and the comment on its line. A comment in front of it goes
    /// behind it.
    pub(super) fn comma(&mut self, comma: &Node<'s>, written: bool) {
        let span = comma.as_span();
        if written {
            self.text(",");
        }
        match self.comments.peek(span.start()) {
            Some(comment) if comment.trailing && !self.after_comment => {
                self.comments.take(span.start());
                self.push(Piece::Trailing(comment.text));
                self.after_comment = true;
            }
            Some(_) => {}
            None if self.after_comment => {}
            None => self.comment_behind(span.end()),
        }
    }

    /// The comments before byte `end`, each on a line of its own. They are written where a line begins.
    pub(super) fn comments_above(&mut self, end: usize, first: bool) {
        let mut first = first;
        while let Some(comment) = self.comments.take(end) {
            if comment.after_blank && !first {
                self.push(Piece::Blank);
            }
            first = false;
            self.push(Piece::Text(Cow::Borrowed(comment.text)));
            self.hard();
        }
    }

    /// Whether comments stand before byte `end` that are not written yet.
    pub(super) fn has_comment(&self, end: usize) -> bool {
        self.comments.peek(end).is_some()
    }

    /// Writes the next comment behind what is written if it stands behind a token before byte `end`.
    pub(super) fn comment_before(&mut self, end: usize) {
        if let Some(comment) = self.comments.peek(end)
            && comment.trailing
            && !self.after_comment
        {
            self.comments.take(end);
            self.push(Piece::Trailing(comment.text));
            self.after_comment = true;
        }
    }

    /// Whether a comment ends the line on which the last token was written.
    pub(super) fn line_is_over(&self) -> bool {
        self.after_comment
    }

    fn blank_above(&self, at: usize) -> bool {
        newlines(blank_before(self.source, at)) > 1
    }

    /// Whether the line ends behind the token that ends at `end`.
    pub(super) fn line_ends_at(&self, end: usize) -> bool {
        let rest = self.source[end..].trim_start_matches([' ', '\t', '\u{FEFF}']);
        rest.starts_with(['\n', '\r']) || rest.starts_with("//")
    }

    /// Whether the token at `at` begins a line.
    pub(super) fn line_begins_at(&self, at: usize) -> bool {
        newlines(blank_before(self.source, at)) > 0
    }

    fn doc(&mut self, doc: &Node<'s>, marker: &'static str) {
        let text = doc_text(doc.as_str(), marker);
        let line = if text.is_empty() { Cow::Borrowed(marker) } else { Cow::Owned(format!("{marker} {text}")) };
        self.push(Piece::Text(line));
    }

    // Items.

    /// An item; `column` is where its `=` stands if it is a setting.
    fn item(&mut self, item: Node<'s>, column: usize) {
        for part in item.into_inner() {
            self.comments_above(part.as_span().start(), true);
            match part.as_rule() {
                Rule::item_doc => {
                    self.doc(&part, "///");
                    self.hard();
                }
                Rule::setting => self.setting(part, column),
                _ => self.definition(part),
            }
        }
    }

    /// A name and its value, the `=` in the given column.
    fn setting(&mut self, setting: Node<'s>, column: usize) {
        let width = name_width(&setting);
        for part in setting.into_inner() {
            match part.as_rule() {
                Rule::eq => {
                    self.push(Piece::Text(Cow::Owned(" ".repeat(column.saturating_sub(width) + 1))));
                    self.token(&part);
                    self.text(" ");
                }
                // The steps of a pipe stand under each other.
                Rule::expr => self.hanging(part, column.max(width)),
                _ => self.token(&part),
            }
        }
    }

    fn definition(&mut self, definition: Node<'s>) {
        let parts: Vec<_> = definition.into_inner().collect();
        let mut open_brace = None;
        let mut begun = false;
        for (at, part) in parts.iter().enumerate() {
            match part.as_rule() {
                Rule::open_brace => {
                    open_brace = Some(at);
                    break;
                }
                Rule::params => self.bracket(part.clone().into_inner().collect(), Self::spaced),
                Rule::open_paren => self.inputs(&parts[at..]),
                Rule::input | Rule::comma | Rule::close_paren => {}
                Rule::colon => {
                    self.push(Piece::Open(false));
                    self.push(Piece::Indent(4));
                    self.push(Piece::Line);
                    self.token(part);
                    self.text(" ");
                }
                Rule::signature => {
                    self.signature(part.clone());
                    self.push(Piece::Dedent);
                    self.push(Piece::Close);
                }
                Rule::block => {
                    self.text(" ");
                    self.block(part.clone());
                }
                Rule::facts => {
                    self.text(" ");
                    self.braces(part.clone().into_inner().collect(), Parted::Line, |this, fact| match fact.as_rule() {
                        Rule::not_yet_run => this.token(&fact),
                        _ => this.spaced(fact),
                    });
                }
                Rule::each => {
                    self.text(" ");
                    self.spaced(part.clone());
                }
                Rule::use_names => {
                    self.text(" ");
                    self.use_names(part.clone());
                }
                Rule::module => {
                    self.text(" ");
                    part.clone().into_inner().for_each(|part| self.token(&part));
                }
                Rule::expr => {
                    self.text(" ");
                    self.hanging(part.clone(), 2);
                }
                _ => {
                    if begun {
                        self.text(" ");
                    }
                    self.token(part);
                }
            }
            begun = true;
        }
        if let Some(at) = open_brace {
            self.text(" ");
            let parted = match parts[0].as_rule() {
                Rule::kw_variant => Parted::Line,
                _ => Parted::Lines,
            };
            self.braces(parts[at..].to_vec(), parted, |_, _| {});
        }
    }

    /// The inputs of a model, from the opening parenthesis on.
    fn inputs(&mut self, parts: &[Node<'s>]) {
        let end = parts.iter().position(|part| part.as_rule() == Rule::close_paren).map_or(0, |at| at + 1);
        self.bracket(parts[..end].to_vec(), Self::spaced);
    }

    /// The names of a `use`: on its line if they fit, else on lines that are filled.
    fn use_names(&mut self, names: Node<'s>) {
        let parts: Vec<_> = names.into_inner().collect();
        self.push(Piece::Open(false));
        let mut first = true;
        for part in &parts {
            match part.as_rule() {
                Rule::open_brace => {
                    self.token(part);
                    self.push(Piece::Indent(2));
                }
                Rule::use_name => {
                    self.push(if first { Piece::Line } else { Piece::Fill });
                    self.comments_above(part.as_span().start(), true);
                    self.spaced(part.clone());
                    first = false;
                }
                Rule::comma => self.comma(part, !is_last(part, &parts)),
                _ => self.close_brace(part),
            }
        }
        self.push(Piece::Close);
    }

    /// What `node` is made of, with a blank between the parts: `weight : [d] = ones`.
    pub(super) fn spaced(&mut self, node: Node<'s>) {
        self.spaced_by(node.into_inner(), |this, part| match part.as_rule() {
            Rule::ty => this.ty(part),
            Rule::expr => this.aligned(part),
            Rule::chain => this.chain(part),
            Rule::record => this.record(part),
            Rule::block => this.block(part),
            _ => this.token(&part),
        });
    }

    fn spaced_by(&mut self, parts: impl IntoIterator<Item = Node<'s>>, write: impl Fn(&mut Self, Node<'s>)) {
        for (at, part) in parts.into_iter().enumerate() {
            if at > 0 {
                self.text(" ");
            }
            write(self, part);
        }
    }

    // Braces.

    /// A body: `let` lines and the result.
    pub(super) fn block(&mut self, block: Node<'s>) {
        self.braces(block.into_inner().collect(), Parted::Line, |this, entry| match entry.as_rule() {
            Rule::let_line => {
                this.spaced_by(entry.into_inner(), |this, part| match part.as_rule() {
                    Rule::expr => this.hanging(part, 2),
                    Rule::pattern => this.pattern(part),
                    _ => this.token(&part),
                });
            }
            _ => this.hanging(entry, 2),
        });
    }

    fn pattern(&mut self, pattern: Node<'s>) {
        let parts: Vec<_> = pattern.into_inner().collect();
        match parts.as_slice() {
            [name] => self.token(name),
            _ => self.bracket(parts, |this, name| this.token(&name)),
        }
    }

    /// What stands in braces, entry by entry; `parts` are the opening brace, the entries and the closing one.
    fn braces(&mut self, parts: Vec<Node<'s>>, parted: Parted, write: impl Fn(&mut Self, Node<'s>)) {
        let entries = entries(parts);
        let Some(((open, close), entries)) = entries else { return };
        let columns = columns_of(self.source, &entries);
        let several = entries.len() > 1 || parted == Parted::Lines && !entries.is_empty();
        self.push(Piece::Open(several || self.line_ends_at(open.as_span().end()) && !entries.is_empty()));
        self.token(&open);
        self.push(Piece::Indent(2));
        for (at, (entry, column)) in entries.into_iter().zip(columns).enumerate() {
            let start = entry[0].as_span().start();
            match at {
                0 => self.push(Piece::Line),
                _ => self.hard(),
            }
            self.comments_above(start, at == 0);
            if at > 0 && self.blank_above(start) {
                self.push(Piece::Blank);
            }
            self.entry(entry, column, &write);
        }
        self.close_brace(&close);
        self.push(Piece::Close);
    }

    fn entry(&mut self, entry: Vec<Node<'s>>, column: usize, write: impl Fn(&mut Self, Node<'s>)) {
        match entry.as_slice() {
            [only] => match only.as_rule() {
                Rule::variant_item => self.item(only.clone(), column),
                Rule::recipe_field => self.setting(only.clone(), column),
                Rule::names_pair => self.spaced(only.clone()),
                _ => write(self, only.clone()),
            },
            // `flops = EXPR`
            _ => self.spaced_by(entry, |this, part| match part.as_rule() {
                Rule::expr => this.hanging(part, 2),
                _ => this.token(&part),
            }),
        }
    }

    /// The end of what [`Piece::Indent`] began behind an opening brace, with the comments in front of it.
    pub(super) fn close_brace(&mut self, close: &Node<'s>) {
        let start = close.as_span().start();
        let empty = matches!(self.pieces.last(), Some(Piece::Indent(_)));
        if self.has_comment(start) {
            self.hard();
            self.comments_above(start, empty);
        }
        let empty = matches!(self.pieces.last(), Some(Piece::Indent(_))) && !self.after_comment;
        self.push(Piece::Dedent);
        if !empty {
            self.push(Piece::Line);
        }
        self.token(close);
    }
}

/// Whether nothing stands between a comma and the closing bracket of `parts`.
pub(super) fn is_last(comma: &Node, parts: &[Node]) -> bool {
    parts.iter().rev().nth(1).is_some_and(|last| last.as_span() == comma.as_span())
}

type Braces<'s> = ((Node<'s>, Node<'s>), Vec<Vec<Node<'s>>>);

/// The braces and the entries between them; `flops`, its `=` and its value are one.
fn entries(parts: Vec<Node>) -> Option<Braces> {
    let mut parts = parts.into_iter();
    let open = parts.next()?;
    let close = parts.next_back()?;
    let mut entries: Vec<Vec<Node>> = Vec::new();
    let mut of_the_last = 0;
    for part in parts {
        if of_the_last > 0
            && let Some(last) = entries.last_mut()
        {
            last.push(part);
            of_the_last -= 1;
        } else {
            of_the_last = if part.as_rule() == Rule::flops { 2 } else { 0 };
            entries.push(vec![part]);
        }
    }
    Some(((open, close), entries))
}

fn blank_before(source: &str, at: usize) -> &str {
    let before = &source[..at];
    &before[before.trim_end_matches([' ', '\t', '\n', '\r', '\u{FEFF}']).len()..]
}

/// The name of a setting or a field with its dots, in characters; 0 for what is neither.
fn name_width(entry: &Node) -> usize {
    match entry.as_rule() {
        Rule::setting | Rule::recipe_field => {
            let name = |part: &Node| matches!(part.as_rule(), Rule::name | Rule::dot);
            entry.clone().into_inner().take_while(name).map(|part| part.as_str().len()).sum()
        }
        Rule::item | Rule::variant_item => entry.clone().into_inner().last().map_or(0, |body| name_width(&body)),
        _ => 0,
    }
}

/// For each entry the column of its `=`: the same for settings on lines that follow each other.
fn columns(source: &str, entries: &[Node]) -> Vec<usize> {
    let widths: Vec<usize> = entries.iter().map(name_width).collect();
    let mut columns = widths.clone();
    let mut at = 0;
    while at < widths.len() {
        let run = 1 + entries[at + 1..]
            .iter()
            .zip(&widths[at + 1..])
            .take_while(|(next, width)| {
                **width > 0 && widths[at] > 0 && newlines(blank_before(source, next.as_span().start())) < 2
            })
            .count();
        let widest = widths[at..at + run].iter().copied().max().unwrap_or(0);
        columns[at..at + run].fill(widest);
        at += run;
    }
    columns
}

fn columns_of(source: &str, entries: &[Vec<Node>]) -> Vec<usize> {
    let firsts: Vec<_> = entries.iter().filter_map(|entry| entry.first().cloned()).collect();
    columns(source, &firsts)
}
