//! Elaboration: a spec is run once with shapes in place of tensors. What falls out is the typed graph, or errors.
//!
//! [`eval`] says what an expression is worth, [`apply`] puts a layer onto a stream, [`matching`] compares shapes with
//! signatures, [`binding`] gives arguments to parameters.

mod apply;
mod arithmetic;
mod binding;
mod calls;
mod definitions;
mod eval;
pub(crate) use eval::is_stream;
mod frames;
mod habits;
mod known;
pub(crate) use known::{Knowledge, Known};
mod matching;
mod meant;
pub(crate) use matching::Bindings;
mod node;
mod signature;
mod wanted;
pub(crate) use wanted::Kind;
mod words;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use lmv_grammar::ast::Span;

use self::frames::Frame;
use crate::codes::Code;
use crate::config::Call;
use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::graph::{Graph, Stream, StreamId};
use crate::modules::Modules;
use crate::overrides::Override;
use crate::shape::{Dim, Shape};
use crate::source::{FileId, Origin, Sources};
use crate::value::{Data, Definition, EnvRef, Made, Mark, ScopeRef, Sharing, StreamValue, Value};

/// More nodes than this do not fit any machine; the graph of the largest paper model has some hundreds.
const MOST_NODES: usize = 100_000;
/// Values and layers inside one another beyond this are refused: every later step descends them, on a stack of 2 MiB.
const MOST_NESTED: usize = 300;
/// More steps of elaboration than this are taken for a spec that does not come to an end; a spec of the paper takes
/// some ten thousand. A long text may take [`STEPS_A_BYTE`] more for each of its bytes.
pub(crate) const MOST_STEPS: usize = 4_000_000;
/// A layer that is written out takes some twenty bytes and some hundred steps.
const STEPS_A_BYTE: usize = 6;
/// A tensor of more numbers than this fits no machine (2^42 of them take 16 TiB).
const MOST_NUMBERS: i64 = 1 << 42;
/// After so many errors no more are looked for.
pub(crate) const MOST_ERRORS: usize = 100;

/// Where an expression stands: the names in reach and the place in parameter paths.
#[derive(Clone)]
pub(crate) struct Place {
    pub env: EnvRef,
    pub scope: ScopeRef,
}

/// Which weights fill what is below a mark.
#[derive(Clone)]
enum Fill {
    Random,
    Named { weights: String, base: String },
    Block { llm: Rc<crate::value::Llm>, layer: usize, base: String },
}

/// The words about freezing and filling that hold at a point of the model.
#[derive(Clone, Default)]
struct Marks {
    frozen: Option<(bool, Origin)>,
    fill: Option<Fill>,
}

pub(crate) struct Elaborator<'a> {
    pub sources: &'a Sources,
    pub modules: &'a Modules,
    pub graph: Graph,
    pub diagnostics: Vec<Diagnostic>,
    /// What is right, and probably not meant.
    pub warnings: Vec<Diagnostic>,
    pub data: Option<Rc<Data>>,
    /// The variant that is elaborated, and where it is named.
    pub variant: Option<(String, Origin)>,
    /// Whether a file without a model is right: its variants have them, or it holds parts alone.
    pub needs_no_model: bool,
    /// What is known of layers from elsewhere, and what is done with it.
    pub knowledge: Knowledge<'a>,
    /// What is known with this data.
    wholes: Option<Rc<known::Wholes>>,
    /// How many layers are in what was taken as a whole, beyond those that stand for it.
    nodes_in_wholes: usize,
    /// How often something was made that is no other's.
    singular: usize,
    /// The declarations of the parts of the library that were configured, by kind and name.
    externs: HashMap<(String, String), Rc<Definition>>,
    /// What was set from outside.
    pub set: &'a [Override],
    /// What the file's `let` items are worth, by file and item.
    lets: HashMap<(FileId, usize), Value>,
    frames: Vec<Frame>,
    marks: Marks,
    /// The parameters of the shared layer that is being put onto a stream.
    shared: Option<Rc<Sharing>>,
    /// How often each name of a length that only a layer tells (`kept?`) was given out.
    lengths: HashMap<String, usize>,
    /// Whether an `extern layer` that says what it means is put into the graph as that.
    pub by_meaning: bool,
    /// Whether a definition is being checked whose arguments are not known.
    symbolic: bool,
    /// The name that the mistake is about which is reported next.
    about: Option<String>,
    /// What the expression is wanted for that is looked at next.
    wanted: Option<wanted::Wanted>,
    depth: usize,
    /// The most that `depth` was.
    most_depth: usize,
    /// Expressions and layers inside one another, at this moment.
    nested: usize,
    /// The most that `nested` was.
    most_nested: usize,
    /// Steps taken so far.
    steps: usize,
    /// How many may be.
    most_steps: usize,
    reported: HashSet<(Code, FileId, Span)>,
    stopped: bool,
}

impl<'a> Elaborator<'a> {
    pub fn new(sources: &'a Sources, modules: &'a Modules) -> Self {
        Self {
            sources,
            modules,
            graph: Graph::default(),
            diagnostics: Vec::new(),
            warnings: Vec::new(),
            data: None,
            variant: None,
            needs_no_model: false,
            knowledge: Knowledge::None,
            wholes: None,
            nodes_in_wholes: 0,
            singular: 0,
            externs: HashMap::new(),
            set: &[],
            lets: HashMap::new(),
            frames: Vec::new(),
            marks: Marks::default(),
            shared: None,
            lengths: HashMap::new(),
            by_meaning: false,
            symbolic: false,
            about: None,
            wanted: None,
            depth: 0,
            most_depth: 0,
            nested: 0,
            most_nested: 0,
            steps: 0,
            most_steps: {
                let written = sources.iter().filter(|(_, source)| !source.library).map(|(_, source)| source.text.len());
                MOST_STEPS + STEPS_A_BYTE * written.sum::<usize>()
            },
            reported: HashSet::new(),
            stopped: false,
        }
    }

    /// Reports a mistake or a warning, once a place. One inside the library is shown where the user's file led to it, with the
    /// chain of definitions in between.
    pub fn report(&mut self, mut diagnostic: Diagnostic) -> Value {
        let Some(primary) = diagnostic.labels.first().map(|label| label.origin) else {
            self.diagnostics.push(diagnostic);
            return Value::Error;
        };
        let in_library = self.sources.get(primary.file).library;
        // The innermost place of the user's own: the `residual(…)` in a block, not each use of the block.
        let outside = self.frames.iter().rposition(|frame| !self.sources.get(frame.called.file).library);
        let mut at = primary;
        let about = self.about.take();
        if let (true, Some(index)) = (in_library, outside) {
            let argument = self.argument_behind(about.as_deref(), primary, index);
            let frame = &self.frames[index];
            diagnostic.labels[0].primary = false;
            let reason = std::mem::replace(&mut diagnostic.labels[0].message, "here".to_owned());
            let (origin, message) = match argument {
                Some((name, written)) => (written, format!("`{name}` of `{}`: {reason}", frame.name)),
                None => (frame.called, format!("in this `{}`: {reason}", frame.name)),
            };
            // What follows from it is at the same call, and would be told again.
            at = frame.called;
            diagnostic.labels.insert(0, Label { origin, message, primary: true });
            diagnostic
                .suggestions
                .retain(|suggestion| suggestion.edits.iter().all(|edit| !self.sources.get(edit.origin.file).library));
        }
        // Every definition on the way that the message does not show.
        let shown = outside.filter(|_| in_library);
        let of_the_whole = matches!(diagnostic.code, Code::FrozenRandom | Code::Recursion | Code::TooLarge);
        let on_the_way = self.frames.iter().enumerate().filter(|(index, _)| Some(*index) != shown);
        let mut chain: Vec<String> = on_the_way
            .filter(|_| !self.symbolic && (in_library || !of_the_whole))
            .map(|(_, frame)| format!("`{}` at {}", frame.name, self.sources.position(frame.called)))
            .collect();
        chain.dedup();
        if !chain.is_empty() {
            diagnostic.notes.push(format!("the way there: {}", chain.join(", then ")));
        }
        let found = match diagnostic.severity {
            Severity::Error => &mut self.diagnostics,
            Severity::Warning => &mut self.warnings,
        };
        if found.len() < MOST_ERRORS && self.reported.insert((diagnostic.code, at.file, at.span)) {
            found.push(diagnostic);
        }
        self.stopped |= self.diagnostics.len() >= MOST_ERRORS;
        Value::Error
    }

    /// The same of a mistake about what `name` stands for, which is shown at the argument that it comes from.
    fn report_about(&mut self, name: Option<&str>, diagnostic: Diagnostic) -> Value {
        self.about = name.map(str::to_owned);
        self.report(diagnostic)
    }

    /// The declaration of a part of the library that was configured.
    pub(crate) fn extern_of(&self, call: &Call) -> Option<Rc<Definition>> {
        self.externs.get(&(call.kind.clone(), call.name.clone())).cloned()
    }

    /// How many steps it took so far.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Runs `body` without a word about its mistakes: for what is only worth knowing where it can be known.
    pub(crate) fn quietly<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let (count, warned, reported) = (self.diagnostics.len(), self.warnings.len(), self.reported.clone());
        let value = body(self);
        if !self.stopped {
            self.diagnostics.truncate(count);
            self.warnings.truncate(warned);
            self.reported = reported;
        }
        value
    }

    /// Counts one more expression or layer inside the others; `false` when that is one too many, or the steps are.
    fn enter(&mut self, at: Origin) -> bool {
        if self.stopped {
            return false;
        }
        if self.nested >= MOST_NESTED {
            self.too_nested(at);
            return false;
        }
        self.nested += 1;
        self.most_nested = self.most_nested.max(self.nested);
        self.spend(1, at)
    }

    fn leave(&mut self) {
        self.nested = self.nested.saturating_sub(1);
    }

    fn too_nested(&mut self, at: Origin) {
        let message = "this is nested too deeply";
        self.stop(
            Diagnostic::error(Code::TooLarge, message, at, format!("more than {MOST_NESTED} inside one another"))
                .help("write steps side by side in one pipe, or use `repeat`"),
        );
    }

    /// Takes so many steps; `false` when they are used up.
    fn spend(&mut self, steps: usize, at: Origin) -> bool {
        self.steps = self.steps.saturating_add(steps);
        let most = self.most_steps;
        if self.steps > most && !self.stopped {
            self.stop(
                Diagnostic::error(
                    Code::TooLarge,
                    "this spec is too large to be checked",
                    at,
                    "the checker gave up here",
                )
                .note(format!("it stops after {most} steps; a model of some hundred layers takes some thousand")),
            );
        }
        !self.stopped
    }

    /// A value that was just made, if it is of a size that later steps can handle.
    fn within_bounds(&mut self, value: Value, at: Origin) -> Value {
        if value.depth() > MOST_NESTED {
            self.too_nested(at);
            return Value::Error;
        }
        if self.spend(value.weight(), at) { value } else { Value::Error }
    }

    /// Says once that the model is beyond all bounds, and stops elaborating.
    fn stop(&mut self, diagnostic: Diagnostic) -> Value {
        self.stopped = true;
        self.report(diagnostic)
    }

    /// A fresh stream.
    pub fn stream(&mut self, shape: Shape, classes: Option<Dim>) -> StreamId {
        self.graph.streams.push(Stream { shape, classes });
        StreamId(self.graph.streams.len() - 1)
    }

    /// A length that only a layer tells, and that is no other's: `kept?`, then `kept_2?`, …
    pub fn fresh_length(&mut self, name: &str) -> Dim {
        self.singular += 1;
        let count = self.lengths.entry(name.to_owned()).or_insert(0);
        *count += 1;
        Dim::varying(&if *count == 1 { name.to_owned() } else { format!("{name}_{count}") })
    }

    /// A fresh stream that is an input of the model.
    pub fn input(&mut self, name: &str, shape: Shape, classes: Option<Dim>, origin: Origin) -> Value {
        let id = self.stream(shape, classes);
        self.graph.inputs.push(crate::graph::Port { name: name.to_owned(), stream: id });
        Value::Stream(StreamValue { id, made: Rc::new(Made { origin, width: None, input: true }) })
    }

    /// Runs `body` under one more mark.
    fn marked<T>(&mut self, mark: &Mark, origin: Origin, base: &str, body: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.marks.clone();
        match mark {
            Mark::Frozen => self.marks.frozen = Some((true, origin)),
            Mark::Trainable => self.marks.frozen = Some((false, origin)),
            Mark::Random => self.marks.fill = Some(Fill::Random),
            Mark::Pretrained(weights) => {
                self.marks.fill = Some(Fill::Named { weights: weights.clone(), base: base.to_owned() });
            }
        }
        let value = body(self);
        self.marks = before;
        value
    }
}
