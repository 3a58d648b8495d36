//! What an expression is worth while a spec is elaborated.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use lmv_grammar::ast::{Block, Fact, File, ItemKind, Param, Signature};
use rpds::HashTrieMap;

use crate::config::{Call, Config};
use crate::graph::{LlmSizes, ParameterId, Stream, StreamId};
use crate::shape::Dim;
use crate::size::Size;
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
            | ItemKind::Names { name, .. }
            | ItemKind::Variant { name, .. } => name.span,
            ItemKind::Model { keyword, .. } | ItemKind::Use { keyword, .. } => *keyword,
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

    /// What a layer does, said in the language: the body of one that is made of others, the meaning of an `extern`.
    pub fn body(&self) -> Option<&Block> {
        match self.kind() {
            ItemKind::Define { body, .. } => Some(body),
            ItemKind::Extern { facts, .. } => facts.iter().find_map(|fact| match fact {
                Fact::Means(body) => Some(body),
                _ => None,
            }),
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
            ItemKind::Use { .. } => "use",
            ItemKind::Variant { .. } => "variant",
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
    /// A parameter of a definition that is checked before it is used: it may be anything, a size among others.
    Param(Size),
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
    /// Several values by name, in the order in which they were written.
    Record(Vec<(String, Value)>),
    /// A list that is written out: each value with its place.
    List(Vec<(Value, Origin)>),
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
            Value::Param(size) => format!("the parameter `{size}`"),
            Value::Definition(definition) => format!("the {} `{}`", definition.sort(), definition.name),
            Value::Layer(_) => "a layer".into(),
            Value::Llm(llm) => format!("the language model `{}`", llm.name),
            Value::LlmLayers(_) => "the blocks of a language model".into(),
            Value::Recipe(_) => "a recipe".into(),
            Value::Stream(_) => "a stream".into(),
            Value::UnknownInput => "the input of the model".into(),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::Record(fields) => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
                format!("a record of `{}`", names.join("`, `"))
            }
            Value::List(_) => "a list".into(),
            Value::Range(..) => "a range".into(),
            Value::Data(_) => "the data".into(),
        }
    }
}

impl Value {
    /// How many values lie inside one another in it.
    pub fn depth(&self) -> usize {
        match self {
            Value::Tuple(items) => 1 + items.iter().map(Value::depth).max().unwrap_or(0),
            Value::List(items) => 1 + items.iter().map(|(value, _)| value.depth()).max().unwrap_or(0),
            Value::Record(fields) => 1 + fields.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            Value::Layer(layer) => layer.depth,
            Value::Recipe(recipe) => recipe.depth,
            Value::Config(config) => config_size(config).1,
            _ => 1,
        }
    }

    /// About how much is copied when it is.
    pub fn weight(&self) -> usize {
        match self {
            Value::Tuple(items) => items.iter().map(Value::weight).sum(),
            Value::List(items) => items.iter().map(|(value, _)| value.weight()).sum(),
            Value::Record(fields) => fields.iter().map(|(_, value)| value.weight()).sum(),
            Value::Dim(Dim::Open(size)) | Value::Param(size) => size.weight(),
            Value::Config(config) => config_size(config).0,
            _ => 1,
        }
    }
}

/// How many values a settled value holds, and how deep they lie.
fn config_size(config: &Config) -> (usize, usize) {
    let of_all = |parts: &mut dyn Iterator<Item = &Config>| {
        parts.map(config_size).fold((1, 1), |(count, depth), (c, d)| (count + c, depth.max(d + 1)))
    };
    match config {
        Config::Str(text) | Config::Path(text) | Config::Unknown(text) => (1 + text.len() / 16, 1),
        Config::List(items) | Config::Sum(items) => of_all(&mut items.iter()),
        Config::Record(fields) => of_all(&mut fields.values()),
        Config::Scaled(_, part) => of_all(&mut std::iter::once(&**part)),
        Config::Either(a, b) => of_all(&mut [&**a, &**b].into_iter()),
        Config::Call(call) => {
            let (count, depth) = of_all(&mut call.arguments.values().chain(call.with.values()));
            // The names of the arguments are copied with it.
            (8 * count, depth)
        }
        Config::Int(_) | Config::Float(_) | Config::Bool(_) => (1, 1),
    }
}

fn deepest<'v>(values: impl IntoIterator<Item = &'v Value>) -> usize {
    values.into_iter().map(Value::depth).max().unwrap_or(0)
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
    /// The `4096` in `linear(384, 4096)`, for proposing another number.
    pub width: Option<Origin>,
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
    /// How many layers lie inside one another in it.
    pub depth: usize,
}

impl Layer {
    /// A layer without a name of its own.
    pub fn configured(kind: LayerKind, origin: Origin) -> Value {
        let depth = 1 + match &kind {
            LayerKind::Definition { bound, .. } => deepest(bound.iter().map(|bound| &bound.value)),
            LayerKind::Pipe(steps) => deepest(steps),
            LayerKind::Repeat { env, .. } => env.depth,
            LayerKind::Mark { inner, .. } | LayerKind::Shared { inner, .. } => inner.depth(),
            LayerKind::OneOf(layers) => deepest(layers),
            LayerKind::Blocks { .. } => 0,
        };
        Value::Layer(Rc::new(Layer { kind, origin, name: None, scope: None, depth }))
    }
}

#[derive(Clone, Debug)]
pub(crate) enum LayerKind {
    Definition {
        definition: Rc<Definition>,
        bound: Vec<Bound>,
    },
    Pipe(Vec<Value>),
    /// `count` is not known in a definition that is checked before it is used.
    Repeat {
        count: Option<i64>,
        var: Option<String>,
        body: Rc<Block>,
        env: EnvRef,
    },
    Mark {
        mark: Mark,
        inner: Value,
    },
    /// `shared(f)`: each use has the same parameters, which lie below the place where it was written.
    Shared {
        inner: Value,
        place: ScopeRef,
        sharing: Rc<Sharing>,
    },
    /// One of these, in a definition that is checked before its arguments are known.
    OneOf(Vec<Value>),
    Blocks {
        llm: Rc<Llm>,
        first: i64,
        end: i64,
        overrides: Vec<Bound>,
    },
}

/// What the uses of a shared layer have together.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// Their parameters, by path.
    pub parameters: RefCell<HashMap<String, ParameterId>>,
    /// The names that its place had given away before the first use, so that every use is given the same.
    taken: RefCell<Option<HashMap<String, usize>>>,
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
    /// How many values lie inside one another in its arguments.
    pub depth: usize,
}

impl Recipe {
    pub fn new(definition: Rc<Definition>, bound: Vec<Bound>) -> Rc<Self> {
        let depth = 1 + deepest(bound.iter().map(|bound| &bound.value));
        Rc::new(Self { definition, bound, depth })
    }
}

/// The spec's data: the configured dataset and its fields.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub call: Call,
    pub origin: Origin,
    pub fields: Vec<(String, Stream)>,
}

pub(crate) type EnvRef = Rc<Env>;

/// Names in reach inside a body; what is not found here is looked for in the file and then in the library.
///
/// The innermost names are lists, which are quick to make. Those further out, beyond [`Env::LISTS`], are a map that shares
/// what it has with the one it was made from, so that a block of many `let` lines takes time in proportion to them.
#[derive(Debug)]
pub(crate) struct Env {
    pub file: FileId,
    names: Vec<(String, Value)>,
    parent: Option<EnvRef>,
    /// How many lists there are, this one included.
    lists: usize,
    outer: Option<HashTrieMap<String, Value>>,
    /// How many values lie inside one another in what it names.
    depth: usize,
}

impl Env {
    /// More lists than this are looked through too slowly.
    const LISTS: usize = 8;

    pub fn top(file: FileId) -> EnvRef {
        Rc::new(Env { file, names: Vec::new(), parent: None, lists: 1, outer: None, depth: 0 })
    }

    pub fn within(parent: &EnvRef, names: Vec<(String, Value)>) -> EnvRef {
        let (file, depth) = (parent.file, parent.depth.max(deepest(names.iter().map(|(_, value)| value))));
        if parent.lists < Self::LISTS {
            let (outer, lists) = (parent.outer.clone(), parent.lists + 1);
            return Rc::new(Env { file, names, parent: Some(parent.clone()), lists, outer, depth });
        }
        let mut outer = parent.outer.clone().unwrap_or_default();
        let lists: Vec<&Env> = parent.lists().collect();
        for (name, value) in lists.into_iter().rev().flat_map(|env| &env.names) {
            outer.insert_mut(name.clone(), value.clone());
        }
        Rc::new(Env { file, names, parent: None, lists: 1, outer: Some(outer), depth })
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        let listed = self.lists().find_map(|env| env.names.iter().rev().find(|(n, _)| n == name));
        listed.map(|(_, value)| value).or_else(|| self.outer.as_ref()?.get(name))
    }

    pub fn all_names(&self) -> Vec<&str> {
        let listed = self.lists().flat_map(|env| env.names.iter().map(|(name, _)| name.as_str()));
        listed.chain(self.outer.iter().flat_map(|outer| outer.keys().map(String::as_str))).collect()
    }

    /// The lists, from the innermost out.
    fn lists(&self) -> impl Iterator<Item = &Env> {
        std::iter::successors(Some(self), |env| env.parent.as_deref())
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

    /// This place for one use of a shared layer: the first one takes its names, the others are given the same again.
    pub fn of_a_use(self: &Rc<Self>, sharing: &Sharing) -> ScopeRef {
        let mut taken = sharing.taken.borrow_mut();
        match &*taken {
            Some(taken) => Rc::new(Scope { path: self.path.clone(), used: RefCell::new(taken.clone()) }),
            None => {
                *taken = Some(self.used.borrow().clone());
                self.clone()
            }
        }
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
