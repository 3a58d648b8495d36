//! One layout for every program: [`format`] writes a file anew without changing what it means.
//!
//! It works on what the grammar matched, token by token, so everything that is written stays, parentheses that are not
//! needed included; only commas at the end of a bracket come and go. `comments` finds what the grammar skips, `items`
//! and `exprs` say where lines may end, `layout` decides which of them do.
//!
//! The layout: lines of 120 characters where that can be had, two spaces a level. What does not fit is broken: a pipe at
//! each of its `>>`, a bracket where the line is full. A pipe or a brace that the author broke stays broken. The `=` of
//! settings and of a recipe's fields that stand together are put under each other. Of several blank lines one stays.

mod comments;
mod exprs;
mod items;
mod layout;

use pest::Parser;

use crate::parse::{Grammar, Rule, SyntaxError, parse};
use crate::print::print;
use comments::Comments;
use items::Writer;

/// The width that lines keep to where they can.
pub(crate) const WIDTH: usize = 120;

/// Why a file was not formatted.
#[derive(Clone, Debug, PartialEq)]
pub enum FormatError {
    /// It has errors; nothing is laid out before they are gone.
    Syntax(Vec<SyntaxError>),
    /// The new text would not have said the same. That is a fault of lmv, and the file is better left alone.
    Fault,
}

/// The text of a file in the layout of the language, with all its comments.
///
/// ```
/// let text = "model=vit_small>>linear( 384,4096 ) // wider\n";
/// assert_eq!(lmv_grammar::format(text).as_deref(), Ok("model = vit_small >> linear(384, 4096) // wider\n"));
/// ```
///
/// # Errors
/// Where the file has errors of syntax.
pub fn format(text: &str) -> Result<String, FormatError> {
    let parsed = parse(text);
    if !parsed.errors.is_empty() {
        return Err(FormatError::Syntax(parsed.errors));
    }
    let file = Grammar::parse(Rule::file, text).ok().and_then(|mut pairs| pairs.next()).ok_or(FormatError::Fault)?;
    let comments = Comments::of(text, &file);
    let kept = comments.texts();
    let mut writer = Writer::new(text, comments);
    writer.file(file);
    let formatted = layout::lay_out(&writer.finish());

    // Nothing may be lost, whatever the layout.
    let again = parse(&formatted);
    let same_comments = Grammar::parse(Rule::file, &formatted)
        .ok()
        .and_then(|mut pairs| pairs.next())
        .is_some_and(|file| Comments::of(&formatted, &file).texts() == kept);
    if again.errors.is_empty() && same_comments && print(&again.file) == print(&parsed.file) {
        Ok(formatted)
    } else {
        Err(FormatError::Fault)
    }
}
