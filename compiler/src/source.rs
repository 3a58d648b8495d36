//! The texts a compilation reads, each with a name to show.

use std::sync::Arc;

use lmv_grammar::ast::Span;
use serde::Serialize;

/// Which file, as an index into [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct FileId(pub usize);

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Origin {
    /// The file.
    pub file: FileId,
    /// The bytes.
    pub span: Span,
}

/// One text.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name that messages show: the path as the user gave it, or `stdlib/…`.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
    /// Whether it belongs to the library rather than to the user.
    pub library: bool,
}

/// All texts of a compilation. Line and column tables are made only when a message needs them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Adds a text.
    pub fn add(&mut self, source: Source) -> FileId {
        self.files.push(source);
        FileId(self.files.len() - 1)
    }

    /// The text behind an id.
    pub fn get(&self, id: FileId) -> &Source {
        &self.files[id.0]
    }

    /// All texts with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        self.files.iter().enumerate().map(|(i, source)| (FileId(i), source))
    }

    /// The text at a place.
    pub fn text(&self, origin: Origin) -> &str {
        self.get(origin.file).text.get(origin.span.start..origin.span.end).unwrap_or("")
    }

    /// `vit.lmv:12:5`: name, line and column (1-based, in characters) of the start of a place.
    pub fn position(&self, origin: Origin) -> String {
        let (line, column) = self.line_column(origin.file, origin.span.start);
        format!("{}:{line}:{column}", self.get(origin.file).name)
    }

    /// Line and column (1-based, in characters) of a byte.
    pub fn line_column(&self, file: FileId, byte: usize) -> (usize, usize) {
        let text = &self.get(file).text;
        let mut byte = byte.min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &text[..byte];
        // The mark at the start of a file is seen by nobody.
        let start = before.rfind('\n').map_or(mark(text).min(byte), |i| i + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }
}

/// The length of the byte order mark at the start of a text, if there is one.
pub(crate) fn mark(text: &str) -> usize {
    if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }
}

/// The byte at which a first line can be put into a file: behind its `//!` lines.
pub(crate) fn top_of(text: &str) -> usize {
    let mark = mark(text);
    let mut top = mark;
    let mut end = mark;
    for line in text[mark..].split_inclusive('\n') {
        end += line.len();
        match line.trim() {
            doc if doc.starts_with("//!") => top = end,
            "" => {}
            _ => break,
        }
    }
    // A blank line behind the documentation stays there.
    let blank = text[top..].split_inclusive('\n').next().filter(|line| line.trim().is_empty());
    if top > mark { top + blank.map_or(0, str::len) } else { top }
}
