//! The typed graph: what a model is once every name, number and shape is settled. Nodes run in order; each is one
//! `extern layer` of the library with its arguments, and knows the place in the source that made it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::config::Config;
use crate::library::NameTable;
use crate::shape::{Dim, Shape};
use crate::source::Origin;

/// An index into [`Graph::streams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct StreamId(pub usize);

/// An index into [`Graph::parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ParameterId(pub usize);

/// A model.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Graph {
    /// What it is given, by name.
    pub inputs: Vec<Port>,
    /// What it gives: one `output`; `output.0`, `output.1` … for a tuple; the names of a record.
    pub outputs: Vec<Port>,
    /// Streams that a `let` named, for `--tap`; a name inside a layer carries the layer's path.
    pub taps: Vec<Port>,
    /// What runs, in an order in which every stream is made before it is used.
    pub nodes: Vec<Node>,
    /// Every stream.
    pub streams: Vec<Stream>,
    /// Every parameter.
    pub parameters: Vec<Parameter>,
    /// How checkpoints call them, as the spec and its imports say; the library has tables of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NameTable>,
}

/// A named stream.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The stream.
    pub stream: StreamId,
}

/// What flows between nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stream {
    /// Per sample.
    pub shape: Shape,
    /// For whole numbers, of how many classes they are numbers: `[T?] of class(50265)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Dim>,
}

impl Stream {
    /// Whether a sample has one class number and nothing else: a label.
    pub fn is_label(&self) -> bool {
        self.classes.is_some() && self.shape.0.is_empty()
    }
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.classes {
            None => write!(f, "{}", self.shape),
            Some(classes) if self.shape.0.is_empty() => write!(f, "class({classes})"),
            Some(classes) => write!(f, "{} of class({classes})", self.shape),
        }
    }
}

/// One `extern layer` at work.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// The layer's name in the library.
    pub layer: String,
    /// Where it stands in the model: `vit_small.blocks.0.attn.qkv`.
    pub path: String,
    /// Its arguments by name, defaults filled in.
    pub arguments: BTreeMap<String, Config>,
    /// What it takes.
    pub inputs: Vec<StreamId>,
    /// What it gives.
    pub outputs: Vec<StreamId>,
    /// Its own parameters by their local names, in the order of the declaration.
    pub parameters: Vec<(String, ParameterId)>,
    /// Floating-point operations of one sample's forward pass, where the declaration tells and the dims are known.
    pub flops: Option<f64>,
    /// The place in the user's file that led here.
    #[serde(skip)]
    pub origin: Origin,
}

/// What a tensor of a layer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A parameter: trained, unless it is frozen.
    #[default]
    Weight,
    /// Kept from step to step and saved, and neither trained nor counted: the running mean of a batch norm.
    Buffer,
}

impl Kind {
    fn is_weight(&self) -> bool {
        *self == Kind::Weight
    }
}

/// A tensor that a layer owns.
#[derive(Clone, Debug, Serialize)]
pub struct Parameter {
    /// Its path in the model: `vit_small.blocks.0.attn.qkv.weight`.
    pub path: String,
    /// The `extern layer` that owns it.
    pub layer: String,
    /// The layers of the library or of the spec that it is in, from the outermost to the one that owns it.
    #[serde(skip)]
    pub within: Vec<String>,
    /// Its shape, as PyTorch has it (`[out, in]` for a linear layer).
    pub shape: Shape,
    /// How it starts where nothing fills it.
    pub init: Config,
    /// Whether it is one that is trained.
    #[serde(skip_serializing_if = "Kind::is_weight")]
    pub kind: Kind,
    /// Whether it stays as it is.
    pub frozen: bool,
    /// Which weights fill it.
    pub filled_by: Option<Filling>,
    /// The place in the user's file that led here.
    #[serde(skip)]
    pub origin: Origin,
}

impl Parameter {
    /// Whether a step of training changes it by its gradient.
    pub fn is_trained(&self) -> bool {
        !self.frozen && self.kind == Kind::Weight
    }
}

/// Where a parameter's values come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Filling {
    /// A block of a language model.
    Block {
        /// The name that weights are looked up by.
        weights: String,
        /// The block's index.
        layer: usize,
        /// The parameter's path inside the block.
        local: String,
        /// What the file says the language model is: its family and its sizes.
        llm: LlmSizes,
    },
    /// A checkpoint: `pretrained("name", …)`.
    Named {
        /// The name that weights are looked up by.
        weights: String,
        /// The parameter's path below the `pretrained`.
        local: String,
    },
}

impl Filling {
    /// The name that weights are looked up by.
    pub fn weights(&self) -> &str {
        match self {
            Self::Block { weights, .. } | Self::Named { weights, .. } => weights,
        }
    }
}

/// A language model as the file declares it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LlmSizes {
    /// `llama` or `opt`: the name of the `extern llm`.
    pub family: String,
    /// Its arguments by name, defaults filled in.
    pub sizes: BTreeMap<String, Config>,
    /// Those of them that nobody wrote: the family's defaults stand for them until the weights say more.
    #[serde(skip)]
    pub defaults: BTreeSet<String>,
}

impl Graph {
    /// The shape of a stream.
    pub fn shape(&self, stream: StreamId) -> &Shape {
        &self.streams[stream.0].shape
    }

    /// Which nodes the given streams need, as one flag a node.
    pub fn needed_for(&self, streams: impl IntoIterator<Item = StreamId>) -> Vec<bool> {
        needed_nodes(self.streams.len(), self.nodes.iter().map(|node| (&*node.inputs, &*node.outputs)), streams)
    }
}

/// Which of `nodes`, each its inputs and outputs and all in the order they run, the given ones of `count` streams need.
pub(crate) fn needed_nodes<'n>(
    count: usize,
    nodes: impl DoubleEndedIterator<Item = (&'n [StreamId], &'n [StreamId])>,
    streams: impl IntoIterator<Item = StreamId>,
) -> Vec<bool> {
    let mut wanted = vec![false; count];
    for stream in streams {
        wanted[stream.0] = true;
    }
    let mut needed = Vec::new();
    for (inputs, outputs) in nodes.rev() {
        let used = outputs.iter().any(|stream| wanted[stream.0]);
        if used {
            inputs.iter().for_each(|stream| wanted[stream.0] = true);
        }
        needed.push(used);
    }
    needed.reverse();
    needed
}
