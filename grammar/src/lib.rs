//! From text to syntax tree: [`parse`] reads a file and always gives a tree, with an error for each item that it had to
//! leave out. [`format`] lays a file out anew, and [`print`] writes a tree as text.
//!
//! The steps: `scan` cuts the source into tokens and knows its brackets; `parse` runs the grammar (`lmv.pest`) over the
//! whole file and, where that fails, over one item after the other; `tree` makes the syntax tree of [`ast`] from what the
//! grammar matched; `diagnose` says in words what went wrong.

pub mod ast;
mod diagnose;
mod format;
mod parse;
mod print;
mod scan;
mod tree;

pub use format::{FormatError, format};
pub use parse::{MAX_ERRORS, Parsed, SyntaxError, parse, parse_expr};
pub use print::{print, print_expr};
pub use scan::MAX_BRACKETS;
pub use tree::MAX_DEPTH;
