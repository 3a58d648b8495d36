//! The `//` comments of a file and how they stand between its tokens. The grammar skips them, so they are found in what
//! it leaves between two tokens.

use pest::iterators::Pair;

use crate::parse::Rule;

/// A comment between two tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comment<'s> {
    /// Its first byte.
    pub start: usize,
    /// The comment, blanks at its end left out.
    pub text: &'s str,
    /// Whether it stands behind a token on the token's line.
    pub trailing: bool,
    /// Whether the next token is a `,`.
    pub before_comma: bool,
    /// Whether an empty line lies above it.
    pub after_blank: bool,
}

/// The comments of a file, the next one first.
pub(super) struct Comments<'s> {
    all: Vec<Comment<'s>>,
    next: usize,
}

impl<'s> Comments<'s> {
    pub fn of(source: &'s str, file: &Pair<'s, Rule>) -> Self {
        let mut all = Vec::new();
        let mut end = 0;
        let leaves = file.clone().into_inner().flatten().filter(|pair| pair.clone().into_inner().next().is_none());
        for token in leaves {
            let span = token.as_span();
            let is_comma = token.as_rule() == Rule::comma;
            between(source, end, span.start(), is_comma, &mut all);
            end = span.end();
        }
        between(source, end, source.len(), false, &mut all);
        Self { all, next: 0 }
    }

    /// What the comments say, in order.
    pub fn texts(&self) -> Vec<&'s str> {
        self.all.iter().map(|comment| comment.text).collect()
    }

    /// The next comment, if it stands before byte `end`.
    pub fn peek(&self, end: usize) -> Option<Comment<'s>> {
        self.all.get(self.next).filter(|comment| comment.start < end).copied()
    }

    /// Takes the next comment, if it stands before byte `end`.
    pub fn take(&mut self, end: usize) -> Option<Comment<'s>> {
        let comment = self.peek(end)?;
        self.next += 1;
        Some(comment)
    }
}

/// Finds the comments in the bytes from `start` to `end`, which hold nothing else but blanks.
fn between<'s>(source: &'s str, start: usize, end: usize, before_comma: bool, all: &mut Vec<Comment<'s>>) {
    let mut at = start;
    while let Some(found) = source[at..end].find("//") {
        let blank = &source[at..at + found];
        let comment = &source[at + found..end];
        let line = &comment[..comment.find(['\n', '\r']).unwrap_or(comment.len())];
        all.push(Comment {
            start: at + found,
            text: line.trim_end(),
            trailing: at == start && start > 0 && newlines(blank) == 0,
            before_comma,
            after_blank: newlines(blank) > 1,
        });
        at += found + line.len();
    }
}

/// How many lines end in `text`.
pub(super) fn newlines(text: &str) -> usize {
    let bytes = text.as_bytes();
    (0..bytes.len()).filter(|&at| bytes[at] == b'\n' || bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n')).count()
}
