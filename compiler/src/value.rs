//! What an expression is worth while a spec is elaborated.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use lmv_grammar::ast::{Block, File, ItemKind, Param, Signature};

use crate::config::{Call, Config};
use crate::graph::{LlmSizes, StreamId};
use crate::shape::{Dim, Shape};
use crate::source::{FileId, Origin};

/// A definition of a file: an item with a name.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub name: String,
    pub file: FileId,
    pub tree: Arc<File>,
    pub item: usize,
}

impl Definition {
    pub fn kind(&self) -> &ItemKind {
        &self.tree.items[self.item].kind
    }

    pub fn origin(&self) -> Origin {
        let span = match self.kind() {
            ItemKind::Setting { name, .. }
            | ItemKind::Let { name, .. }
            | ItemKind::Define { name, .. }
            | ItemKind::Extern { name, .. }
            | ItemKind::Recipe { name, .. }
            | ItemKind::Llm { name, .. }
            | ItemKind::Names { name, .. } => name.span,
            ItemKind::Model { keyword, .. } => *keyword,
        };
        Origin { file: self.file, span }
    }

    pub fn params(&self) -> &[Param] {
        match self.kind() {
            ItemKind::Let { params: Some(params), .. } => params,
            ItemKind::Define { params, .. } | ItemKind::Extern { params, .. } | ItemKind::Recipe { params, .. } => {
                params
            }
            _ => &[],
        }
    }

    pub fn signature(&self) -> Option<&Signature> {
        match self.kind() {
            ItemKind::Define { signature, .. } | ItemKind::Extern { signature, .. } => signature.as_ref(),
            _ => None,
        }
    }

    /// `layer`, `dataset`, `loss`, … for what is configured by a call; `recipe`, `let`, `llm` otherwise.
    pub fn sort(&self) -> &str {
        match self.kind() {
            ItemKind::Define { kind, .. } | ItemKind::Extern { kind, .. } => &kind.text,
            ItemKind::Recipe { .. } => "recipe",
            ItemKind::Llm { .. } => "llm",
            ItemKind::Let { .. } => "let",
            ItemKind::Names { .. } => "names",
            ItemKind::Setting { .. } | ItemKind::Model { .. } => "setting",
        }
    }
}

/// A bound argument: its value, and where it was written if it was.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub name: String,
    pub value: Value,
    pub written: Option<Origin>,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A mistake that was reported; says nothing more about itself.
    Error,
    /// Settled.
    Config(Config),
    /// A dim that has a name and no number.
    Dim(Dim),
    /// A named thing of a file that has not been called.
    Definition(Rc<Definition>),
    /// A configured layer.
    Layer(Rc<Layer>),
    /// A language model.
    Llm(Rc<Llm>),
    /// `llama7b.layer`.
    LlmLayers(Rc<Llm>),
    /// A configured recipe.
    Recipe(Rc<Recipe>),
    /// A stream of the graph.
    Stream(StreamValue),
    /// The input of a model whose shape nothing has told yet.
    UnknownInput,
    /// Several values side by side.
    Tuple(Vec<Value>),
    /// A list with something in it that is not settled.
    List(Vec<Value>),
    /// `30..32`.
    Range(i64, i64),
    /// The spec's data.
    Data(Option<Rc<Data>>),
}

impl Value {
    pub fn int(n: i64) -> Self {
        Value::Config(Config::Int(n))
    }

    pub fn kind(&self) -> String {
        match self {
            Value::Error => "a mistake".into(),
            Value::Config(config) => config.kind().into(),
            Value::Dim(_) => "a dim that only the data tells".into(),
            Value::Definition(definition) => format!("the {} `{}`", definition.sort(), definition.name),
            Value::Layer(_) => "a layer".into(),
            Value::Llm(llm) => format!("the language model `{}`", llm.name),
            Value::LlmLayers(_) => "the blocks of a language model".into(),
            Value::Recipe(_) => "a recipe".into(),
            Value::Stream(_) => "a stream".into(),
            Value::UnknownInput => "the input of the model".into(),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::List(_) => "a list".into(),
            Value::Range(..) => "a range".into(),
            Value::Data(_) => "the data".into(),
        }
    }
}

/// A stream, and the step that made it as the reader sees it.
#[derive(Clone, Debug)]
pub(crate) struct StreamValue {
    pub id: StreamId,
    pub made: Rc<Made>,
}

/// The step that made a stream.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub origin: Origin,
    /// The `linear` in `linear(384, 4096)`, and its bound arguments, for proposing another number.
    pub layer: Option<(String, Vec<Bound>)>,
    /// Whether it is an input of the model.
    pub input: bool,
}

/// A configured layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub kind: LayerKind,
    pub origin: Origin,
    /// The name that an `as` gave it.
    pub name: Option<String>,
    /// Where its path begins, when it was handed to another layer as an argument.
    pub scope: Option<ScopeRef>,
}

#[derive(Clone, Debug)]
pub(crate) enum LayerKind {
    Definition { definition: Rc<Definition>, bound: Vec<Bound> },
    Pipe(Vec<Value>),
    Repeat { count: i64, var: Option<String>, body: Rc<Block>, env: EnvRef },
    Mark { mark: Mark, inner: Value },
    Blocks { llm: Rc<Llm>, first: i64, end: i64, overrides: Vec<Bound> },
}

/// A word about freezing or filling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mark {
    Frozen,
    Trainable,
    Random,
    Pretrained(String),
}

/// A language model.
#[derive(Clone, Debug)]
pub(crate) struct Llm {
    pub name: String,
    pub definition: Rc<Definition>,
    pub bound: Vec<Bound>,
    pub sizes: LlmSizes,
    pub layers: i64,
    pub origin: Origin,
}

/// A configured recipe.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub definition: Rc<Definition>,
    pub bound: Vec<Bound>,
}

/// The spec's data: the configured dataset and its fields.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub call: Call,
    pub origin: Origin,
    pub fields: Vec<(String, FieldType)>,
}

/// The type of a dataset's field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FieldType {
    /// A tensor, per sample.
    Tensor(Shape),
    /// One of so many classes.
    Class(Dim),
}

pub(crate) type EnvRef = Rc<Env>;

/// Names in reach inside a body; what is not found here is looked for in the file and then in the library.
#[derive(Debug)]
pub(crate) struct Env {
    pub file: FileId,
    pub names: Vec<(String, Value)>,
    pub parent: Option<EnvRef>,
}

impl Env {
    pub fn top(file: FileId) -> EnvRef {
        Rc::new(Env { file, names: Vec::new(), parent: None })
    }

    pub fn within(parent: &EnvRef, names: Vec<(String, Value)>) -> EnvRef {
        Rc::new(Env { file: parent.file, names, parent: Some(parent.clone()) })
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut env = Some(self);
        while let Some(here) = env {
            if let Some((_, value)) = here.names.iter().rev().find(|(n, _)| n == name) {
                return Some(value);
            }
            env = here.parent.as_deref();
        }
        None
    }

    pub fn all_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let mut env = Some(self);
        while let Some(here) = env {
            names.extend(here.names.iter().map(|(name, _)| name.as_str()));
            env = here.parent.as_deref();
        }
        names
    }
}

pub(crate) type ScopeRef = Rc<Scope>;

/// A place in the tree of parameter paths.
#[derive(Debug)]
pub(crate) struct Scope {
    pub path: String,
    used: RefCell<HashMap<String, usize>>,
}

impl Scope {
    pub fn root() -> ScopeRef {
        Self::at(String::new())
    }

    pub fn at(path: String) -> ScopeRef {
        Rc::new(Scope { path, used: RefCell::default() })
    }

    /// A fresh place below this one: `linear`, then `linear_2`, `linear_3`, …
    pub fn child(&self, name: &str) -> ScopeRef {
        let mut used = self.used.borrow_mut();
        let count = used.entry(name.to_owned()).or_insert(0);
        *count += 1;
        let name = if *count == 1 { name.to_owned() } else { format!("{name}_{count}") };
        Self::at(if self.path.is_empty() { name } else { format!("{}.{name}", self.path) })
    }
}
