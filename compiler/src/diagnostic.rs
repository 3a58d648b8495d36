//! A diagnostic is data first: a code, a title, places with a text each, notes, edits. The two ways to say it (for a
//! reader and for a program) are at the end of the file.

use codespan_reporting::diagnostic::{self as shown, LabelStyle};
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term;
use serde::Serialize;
use serde_json::json;

use crate::codes::Code;
use crate::source::{FileId, Origin, Sources, mark};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The spec is wrong; nothing runs.
    Error,
    /// It runs, and is probably not what was meant.
    Warning,
}

/// A place with what is to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Where.
    pub origin: Origin,
    /// What.
    pub message: String,
    /// Whether this is the place the error is about; the others say why.
    pub primary: bool,
}

/// A replacement of one place by a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// What is replaced; empty for an insertion.
    pub origin: Origin,
    /// By what.
    pub text: String,
}

/// A proposal to the user, with the edits that carry it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// What it does.
    pub message: String,
    /// How; all of them together.
    pub edits: Vec<Edit>,
    /// Whether it can only be what was meant, so that `lmvc check --fix` may do it unasked.
    pub safe: bool,
}

/// Something to say about a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Which kind of mistake; `lmvc explain CODE` has its page.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub message: String,
    /// The places, the primary one first.
    pub labels: Vec<Label>,
    /// Facts that belong to no place.
    pub notes: Vec<String>,
    /// What to do.
    pub suggestions: Vec<Suggestion>,
}

/// Longer lines than this, in bytes, are not shown.
const LONGEST_LINE: usize = 1000;

/// Whether the line on which a place begins can be shown.
fn has_a_line_to_show(sources: &Sources, at: Origin) -> bool {
    let text = sources.get(at.file).text.as_bytes();
    let (before, behind) = text.split_at(at.span.start.min(text.len()));
    let to_the_left = before.iter().rev().take(LONGEST_LINE).take_while(|byte| **byte != b'\n').count();
    let to_the_right = behind.iter().take(LONGEST_LINE).take_while(|byte| **byte != b'\n').count();
    to_the_left + to_the_right < LONGEST_LINE
}

/// Words longer than this are cut in messages: a name is told by its beginning.
const LONGEST_WORD: usize = 200;

/// A text without words beyond all measure.
fn shortened(text: String) -> String {
    if text.len() <= LONGEST_WORD || !text.split(' ').any(|word| word.len() > LONGEST_WORD) {
        return text;
    }
    let cut = |word: &str| match word.char_indices().nth(LONGEST_WORD / 2) {
        Some((end, _)) if word.len() > LONGEST_WORD => format!("{}…", &word[..end]),
        _ => word.to_owned(),
    };
    text.split(' ').map(cut).collect::<Vec<_>>().join(" ")
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: Code, message: impl Into<String>, at: Origin, label: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: shortened(message.into()),
            labels: vec![Label { origin: at, message: shortened(label.into()), primary: true }],
            notes: Vec::new(),
            suggestions: Vec::new(),
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, message: impl Into<String>, at: Origin, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, at, label) }
    }

    /// An error of syntax in a file.
    pub(crate) fn of_syntax(error: lmv_grammar::SyntaxError, file: FileId) -> Self {
        let at = Origin { file, span: error.span };
        let diagnostic = Self::error(Code::Syntax, error.message, at, "here");
        match (error.help, error.becomes) {
            (Some(help), Some(text)) => diagnostic.fix(help, at, text),
            (Some(help), None) => diagnostic.help(help),
            (None, _) => diagnostic,
        }
    }

    /// The same with a second place.
    pub fn also(mut self, at: Origin, label: impl Into<String>) -> Self {
        self.labels.push(Label { origin: at, message: shortened(label.into()), primary: false });
        self
    }

    /// The same with a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(shortened(note.into()));
        self
    }

    /// The same with a proposal in words.
    pub fn help(mut self, message: impl Into<String>) -> Self {
        self.suggestions.push(Suggestion { message: shortened(message.into()), edits: Vec::new(), safe: false });
        self
    }

    /// The same with a proposal that replaces one place.
    pub fn replace(self, message: impl Into<String>, at: Origin, text: impl Into<String>) -> Self {
        self.propose(message, at, text, false)
    }

    /// The same with a replacement that can only be what was meant: `lmvc check --fix` does it.
    pub fn fix(self, message: impl Into<String>, at: Origin, text: impl Into<String>) -> Self {
        self.propose(message, at, text, true)
    }

    /// The same with a replacement of one place, safe or not.
    pub fn propose(mut self, message: impl Into<String>, at: Origin, text: impl Into<String>, safe: bool) -> Self {
        let edits = vec![Edit { origin: at, text: text.into() }];
        self.suggestions.push(Suggestion { message: message.into(), edits, safe });
        self
    }

    /// As text for a reader, with the source around each place; `color` adds ANSI escapes.
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let mut files = SimpleFiles::new();
        let ids: Vec<usize> = sources
            .iter()
            .map(|(_, source)| files.add(source.name.clone(), source.text[mark(&source.text)..].to_owned()))
            .collect();
        // A byte order mark is not shown, and takes up no column.
        let shown_span = |origin: Origin| {
            let mark = mark(&sources.get(origin.file).text);
            origin.span.start.saturating_sub(mark)..origin.span.end.saturating_sub(mark)
        };
        let severity = match self.severity {
            Severity::Error => shown::Severity::Error,
            Severity::Warning => shown::Severity::Warning,
        };
        // A line that no window holds is not shown; what is said of it is.
        let (shown_labels, too_long): (Vec<&Label>, Vec<&Label>) =
            self.labels.iter().partition(|label| has_a_line_to_show(sources, label.origin));
        let labels = shown_labels
            .into_iter()
            .map(|label| {
                let style = if label.primary { LabelStyle::Primary } else { LabelStyle::Secondary };
                shown::Label::new(style, ids[label.origin.file.0], shown_span(label.origin))
                    .with_message(&label.message)
            })
            .collect();
        let diagnostic = shown::Diagnostic::new(severity)
            .with_code(self.code.as_str())
            .with_message(&self.message)
            .with_labels(labels)
            .with_notes(
                too_long
                    .into_iter()
                    .map(|label| format!("at {}: {}", sources.position(label.origin), label.message))
                    .chain(self.notes.iter().cloned())
                    .collect(),
            );
        let config = term::Config::default();
        let mut text = emit(&config, &files, &diagnostic, color);
        for suggestion in &self.suggestions {
            let mut help = shown::Diagnostic::help().with_message(&suggestion.message);
            if let [edit] = suggestion.edits.as_slice() {
                // The proposal is shown on the line as it would read after the edit.
                let source = sources.get(edit.origin.file);
                let (text_shown, span) = (&source.text[mark(&source.text)..], shown_span(edit.origin));
                if text_shown.get(span.clone()).is_some() && has_a_line_to_show(sources, edit.origin) {
                    let edited = format!("{}{}{}", &text_shown[..span.start], edit.text, &text_shown[span.end..]);
                    let mut after = SimpleFiles::new();
                    let id = after.add(source.name.clone(), edited);
                    let place = span.start..span.start + edit.text.trim_end_matches('\n').len();
                    help = help.with_labels(vec![shown::Label::primary(id, place)]);
                    text = text.trim_end().to_owned() + "\n" + &emit(&config, &after, &help, color);
                    continue;
                }
            }
            text = text.trim_end().to_owned() + "\n" + &emit(&config, &files, &help, color);
        }
        text.trim_end().to_owned() + "\n"
    }

    /// As one JSON object (design: `--message-format json`); lines and columns are 1-based.
    pub fn to_json(&self, sources: &Sources) -> serde_json::Value {
        let place = |origin: Origin| {
            let (line, column) = sources.line_column(origin.file, origin.span.start);
            let (end_line, end_column) = sources.line_column(origin.file, origin.span.end);
            json!({ "file": sources.get(origin.file).name, "line": line, "column": column,
                    "end_line": end_line, "end_column": end_column })
        };
        let with = |mut object: serde_json::Value, key: &str, text: &str| {
            object[key] = json!(text);
            object
        };
        let primary = self.labels.iter().find(|label| label.primary).or(self.labels.first());
        let mut object = primary.map_or_else(|| json!({}), |label| place(label.origin));
        object["code"] = json!(self.code.as_str());
        object["severity"] = json!(self.severity);
        object["message"] = json!(self.message);
        object["labels"] =
            self.labels.iter().map(|label| with(place(label.origin), "message", &label.message)).collect();
        object["notes"] = json!(self.notes);
        object["suggestions"] = self
            .suggestions
            .iter()
            .map(|suggestion| {
                let edits: Vec<_> =
                    suggestion.edits.iter().map(|edit| with(place(edit.origin), "text", &edit.text)).collect();
                json!({ "message": suggestion.message, "edits": edits, "safe": suggestion.safe })
            })
            .collect();
        object
    }
}

fn emit(
    config: &term::Config,
    files: &SimpleFiles<String, String>,
    diagnostic: &shown::Diagnostic<usize>,
    color: bool,
) -> String {
    // Writing to memory cannot fail, and every label lies within its file: the parser made the spans.
    if color {
        let mut buffer = term::termcolor::Ansi::new(Vec::new());
        let _ = term::emit_to_write_style(&mut buffer, config, files, diagnostic);
        String::from_utf8_lossy(buffer.get_ref()).into_owned()
    } else {
        let mut text = String::new();
        let _ = term::emit_to_string(&mut text, config, files, diagnostic);
        text
    }
}
