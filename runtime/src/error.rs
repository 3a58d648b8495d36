//! Why a run failed: one clear message with the file it is about. The command line ends with exit code 3.

use std::fmt;
use std::path::{Path, PathBuf};

/// A failure while running: data, weights, device, disk, a loss that is not finite.
///
/// Data first, text in one place ([`fmt::Display`]): what was found, in which file, what was expected, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One sentence without a full stop: what went wrong, with what was found and what was expected.
    pub what: String,
    /// The file or folder it is about.
    pub path: Option<PathBuf>,
    /// Further facts, a line each.
    pub notes: Vec<String>,
    /// What to do about it.
    pub help: Option<String>,
}

/// What a fallible part of the runtime gives.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure that is about no file.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), path: None, notes: Vec::new(), help: None }
    }

    /// A failure about the file or folder at `path`.
    pub fn at(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self { path: Some(path.as_ref().to_path_buf()), ..Self::new(what) }
    }

    /// The same with one more fact.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The same with what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.what)?,
            None => f.write_str(&self.what)?,
        }
        for note in &self.notes {
            write!(f, "\n  = {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
