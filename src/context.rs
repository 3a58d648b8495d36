//! How this process talks: to people or programs, with colour or without, and by which exit code it ends.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, ValueEnum};
use lmv_compiler::diagnostic::Severity;
use lmv_runtime::error::Failure;
use serde_json::json;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: the spec is wrong.
    WrongSpec,
    /// 2: the command line is wrong.
    WrongCommand,
    /// 3: it failed while running: data, weights, device, disk, a loss that is not finite.
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<Result<(), Exit>> for Exit {
    fn from(result: Result<(), Exit>) -> Self {
        result.err().unwrap_or(Exit::Done)
    }
}

/// Options of every subcommand.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// How messages are written: for people to stderr, or as JSON to stdout, one object a line
    #[arg(long, global = true, value_enum, default_value_t = MessageFormat::Human, value_name = "FORMAT", help_heading = "Messages")]
    pub message_format: MessageFormat,
    /// When to use colour; `auto` does on a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN", help_heading = "Messages")]
    pub color: ColorChoice,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// For people, to stderr
    Human,
    /// For programs, to stdout, one object a line
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How this process talks.
#[derive(Clone, Debug)]
pub struct Context {
    /// To people or to programs.
    pub message_format: MessageFormat,
    /// Whether what goes to stdout may be coloured.
    pub stdout_color: bool,
    /// Whether what goes to stderr may be coloured.
    pub stderr_color: bool,
    /// Whether somebody watches stderr, so that a bar may move there.
    pub stderr_is_terminal: bool,
    /// The warnings about specs that were told: code and place.
    warned: Arc<Mutex<BTreeSet<String>>>,
}

impl Context {
    /// What the options and the surroundings of the process come to.
    pub fn new(global: &Global) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let plain = set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = |terminal: bool| match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !plain,
        };
        let stderr_is_terminal = io::stderr().is_terminal();
        Self {
            message_format: global.message_format,
            stdout_color: color(io::stdout().is_terminal()),
            stderr_color: color(stderr_is_terminal),
            stderr_is_terminal,
            warned: Arc::default(),
        }
    }

    /// Whether a warning about a spec has not been told yet; from here on it has.
    pub fn is_new(&self, warning: &str) -> bool {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.to_owned())
    }

    /// Writes to stdout. A reader who has left (`| head`) ends the command quietly.
    pub fn print(&self, text: &str) -> Result<(), Exit> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Exit::Done),
            Err(error) => {
                // Not by `tell`: its JSON would go where nothing can be written.
                to_stderr(&Message::error(format!("the output cannot be written: {error}")).render(self.stderr_color));
                Err(Exit::Failed)
            }
        }
    }

    /// Tells a message that belongs to no place of a spec.
    pub fn tell(&self, message: &Message) {
        match self.message_format {
            MessageFormat::Human => to_stderr(&message.render(self.stderr_color)),
            // A message is followed by the exit code it is about; that code is what counts if nobody reads.
            MessageFormat::Json => drop(self.print(&format!("{}\n", message.to_json()))),
        }
    }

    /// Tells why a run failed, and gives the exit code for it.
    pub fn failed(&self, failure: &Failure) -> Exit {
        self.tell(&Message::from(failure));
        Exit::Failed
    }

    /// Tells what is wrong with the command line, and gives the exit code for it.
    pub fn wrong_command(&self, message: &Message) -> Exit {
        self.tell(message);
        Exit::WrongCommand
    }

    /// Something that happened, for programs: an object whose `event` says what. People see lines and bars instead.
    pub fn event(&self, what: &str, mut fields: serde_json::Value) {
        if self.message_format == MessageFormat::Json {
            fields["event"] = what.into();
            // A run goes on for its run folder's sake, whoever has stopped reading.
            let _ = self.print(&format!("{fields}\n"));
        }
    }

    /// A remark for people on stderr; programs are not bothered with it.
    pub fn remark(&self, text: &str) {
        if self.message_format == MessageFormat::Human {
            to_stderr(&format!("{text}\n"));
        }
    }
}

/// Writes to stderr. Where that is closed there is nobody left to tell.
pub fn to_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A message about the command line, the machine or `lmv.toml`: what a diagnostic is for a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    severity: Severity,
    text: String,
    /// The file it is about, with line and column (1-based) where it is about one place of it.
    file: Option<String>,
    place: Option<(usize, usize)>,
    notes: Vec<String>,
    help: Option<String>,
}

impl Message {
    /// An error in one line, without a full stop.
    pub fn error(text: impl Into<String>) -> Self {
        Self { severity: Severity::Error, text: text.into(), file: None, place: None, notes: Vec::new(), help: None }
    }

    /// A warning in one line, without a full stop.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(text) }
    }

    /// The same as a warning.
    pub fn into_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// The same about a file.
    pub fn about(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The same at a line and column (1-based) of its file.
    pub fn at(mut self, line: usize, column: usize) -> Self {
        self.place = Some((line, column));
        self
    }

    /// The same with a fact.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The same with what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// As text, in the form of a diagnostic.
    pub fn render(&self, color: bool) -> String {
        let (word, paint) = match self.severity {
            Severity::Error => ("error", Paint::Error),
            Severity::Warning => ("warning", Paint::Warning),
        };
        let mut text = format!("{}{}", paint.on(word, color), Paint::Strong.on(&format!(": {}", self.text), color));
        text.push('\n');
        match (&self.file, self.place) {
            (Some(file), Some((line, column))) => {
                text += &format!("  {} {file}:{line}:{column}\n", Paint::Frame.on("┌─", color));
            }
            (Some(file), None) => text += &format!("  {} {file}\n", Paint::Frame.on("┌─", color)),
            (None, _) => {}
        }
        for note in &self.notes {
            text += &format!("  {} {note}\n", Paint::Frame.on("=", color));
        }
        if let Some(help) = &self.help {
            text += &format!("{}: {help}\n", Paint::Help.on("help", color));
        }
        text
    }

    /// As a JSON object with the keys of a diagnostic; `code` is null, as are the places there are none of.
    pub fn to_json(&self) -> serde_json::Value {
        let (line, column) = (self.place.map(|(line, _)| line), self.place.map(|(_, column)| column));
        let suggestions: Vec<_> = self.help.iter().map(|help| json!({ "message": help, "edits": [] })).collect();
        json!({
            "code": null, "severity": self.severity, "message": self.text,
            "file": self.file, "line": line, "column": column, "end_line": line, "end_column": column,
            "labels": [], "notes": self.notes, "suggestions": suggestions,
        })
    }
}

impl From<&Failure> for Message {
    fn from(failure: &Failure) -> Self {
        Self {
            file: failure.path.as_ref().map(|path| path.display().to_string()),
            notes: failure.notes.clone(),
            help: failure.help.clone(),
            ..Self::error(failure.what.clone())
        }
    }
}

/// What a piece of text is, where colour may show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// The word `error`.
    Error,
    /// The word `warning`.
    Warning,
    /// The word `help`.
    Help,
    /// The lines around places.
    Frame,
    /// What matters.
    Strong,
    /// What matters less.
    Faint,
    /// What is frozen.
    Frozen,
    /// What is trained.
    Trained,
}

impl Paint {
    /// The text in its colour, if `color` allows it.
    pub fn on(self, text: &str, color: bool) -> String {
        if !color || text.is_empty() {
            return text.to_owned();
        }
        let escape = match self {
            Self::Error => "1;91",
            Self::Warning => "1;93",
            Self::Help => "1;96",
            Self::Frame => "34",
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Frozen => "94",
            Self::Trained => "32",
        };
        format!("\x1b[{escape}m{text}\x1b[0m")
    }
}
