//! From text to syntax tree: [`parse`] reads a file and always gives a tree, with an error for each item that it had to
//! leave out.

pub mod ast;
