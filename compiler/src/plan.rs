//! The plan: what the runtime lowers. It begins as the typed graph, node for node ([`Plan::new`]), and
//! [`passes`](crate::passes) change it. Passes speak of tensors in names only; the runtime makes them ([`Value`]).

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::config::Config;
use crate::graph::{Graph, Kind, Parameter, ParameterId, Port, Stream, StreamId, needed_nodes};
use crate::library::NameTable;
use crate::shape::Shape;

/// An index into [`Plan::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TensorId(pub usize);

/// A layer that no library declares: cuts the last dim of its input into as many parts as it has outputs, of the
/// `widths` among its arguments. The dot keeps its name apart from every name of the language.
pub const SPLIT: &str = "plan.split";

/// A model, ready to be lowered.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// What it is given, by name; as in the graph.
    pub inputs: Vec<Port>,
    /// What it gives; as in the graph.
    pub outputs: Vec<Port>,
    /// Streams that a `let` named; as in the graph.
    pub taps: Vec<Port>,
    /// What runs, in an order in which every stream is made before it is used.
    pub nodes: Vec<Node>,
    /// Every stream: those of the graph under their ids, and behind them those that passes added.
    pub streams: Vec<Stream>,
    /// What nodes read.
    pub tensors: Vec<Tensor>,
    /// The parameters of the graph under their ids: what weights fill and checkpoints hold.
    pub parameters: Vec<Parameter>,
    /// How checkpoints call them, as the spec says; as in the graph.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NameTable>,
}

/// One layer at work.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// An `extern layer` of the library, or [`SPLIT`].
    pub layer: String,
    /// Where it stands in the model: `vit_small.blocks.0.attn.qkv`; of several joined layers,
    /// `llama7b.layer.31.attention.wq+wk+wv`.
    pub path: String,
    /// Its arguments by name, defaults filled in.
    pub arguments: BTreeMap<String, Config>,
    /// What it takes.
    pub inputs: Vec<StreamId>,
    /// What it gives.
    pub outputs: Vec<StreamId>,
    /// What it reads, by the local names of the layer's declaration.
    pub tensors: Vec<(String, TensorId)>,
    /// Whether it has buffers that a step of training changes; a frozen layer's stay.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub updates: bool,
    /// Floating-point operations of one sample's forward pass, where they are known.
    pub flops: Option<f64>,
    /// What a backward pass computes of it.
    pub gradients: Gradients,
}

/// Which gradients of a node a step of training can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gradients {
    /// Those of its inputs.
    pub inputs: bool,
    /// Those of its own parameters.
    pub parameters: bool,
}

impl Gradients {
    /// Whether the node runs on the gradient tape at all.
    pub fn any(self) -> bool {
        self.inputs || self.parameters
    }
}

/// What a node reads: a parameter, or numbers made of several.
#[derive(Clone, Debug, Serialize)]
pub struct Tensor {
    /// The path of the parameter; of several joined ones, `….wq+wk+wv.weight`.
    pub path: String,
    /// Its shape.
    pub shape: Shape,
    /// Whether it is not trained. What is made of parameters is always frozen.
    pub frozen: bool,
    /// What it is worth.
    pub value: Value,
}

/// How the numbers of a tensor come of the graph's parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A parameter as it is.
    Parameter(ParameterId),
    /// A matrix `[out, in]` whose columns are each multiplied by a number of a vector `[in]`.
    ScaledColumns {
        /// `[out, in]`
        matrix: Box<Value>,
        /// `[in]`
        by: Box<Value>,
    },
    /// A matrix times a vector, plus a vector: `[out]`.
    Product {
        /// `[out, in]`
        matrix: Box<Value>,
        /// `[in]`
        vector: Box<Value>,
        /// `[out]`
        plus: Option<Box<Value>>,
    },
    /// Matrices of one width, or vectors, one below the other.
    Rows(Vec<Value>),
}

impl Value {
    /// The parameters that it is made of, each as often as it appears.
    pub fn parameters(&self) -> Vec<ParameterId> {
        match self {
            Value::Parameter(id) => vec![*id],
            Value::ScaledColumns { matrix, by } => [matrix, by].iter().flat_map(|value| value.parameters()).collect(),
            Value::Product { matrix, vector, plus } => {
                [matrix, vector].into_iter().chain(plus).flat_map(|value| value.parameters()).collect()
            }
            Value::Rows(values) => values.iter().flat_map(Value::parameters).collect(),
        }
    }
}

impl Plan {
    /// The graph as it is: each parameter a tensor, and every node on the gradient tape.
    pub fn new(graph: &Graph) -> Self {
        let tensors = graph.parameters.iter().enumerate().map(|(index, parameter)| Tensor {
            path: parameter.path.clone(),
            shape: parameter.shape.clone(),
            frozen: !parameter.is_trained(),
            value: Value::Parameter(ParameterId(index)),
        });
        let nodes = graph.nodes.iter().map(|node| Node {
            layer: node.layer.clone(),
            path: node.path.clone(),
            arguments: node.arguments.clone(),
            inputs: node.inputs.clone(),
            outputs: node.outputs.clone(),
            tensors: node.parameters.iter().map(|(name, id)| (name.clone(), TensorId(id.0))).collect(),
            updates: node.parameters.iter().any(|(_, id)| {
                let parameter = &graph.parameters[id.0];
                parameter.kind == Kind::Buffer && !parameter.frozen
            }),
            flops: node.flops,
            gradients: Gradients { inputs: true, parameters: true },
        });
        Self {
            inputs: graph.inputs.clone(),
            outputs: graph.outputs.clone(),
            taps: graph.taps.clone(),
            nodes: nodes.collect(),
            streams: graph.streams.clone(),
            tensors: tensors.collect(),
            parameters: graph.parameters.clone(),
            names: graph.names.clone(),
        }
    }

    /// The shape of a stream.
    pub fn shape(&self, stream: StreamId) -> &Shape {
        &self.streams[stream.0].shape
    }

    /// A tensor of a node by its local name.
    pub fn tensor(&self, node: &Node, name: &str) -> Option<TensorId> {
        node.tensors.iter().find(|(local, _)| local == name).map(|(_, id)| *id)
    }

    /// The tensors that a step of training keeps up to date without training them, by their indexes.
    pub fn updated(&self) -> impl Iterator<Item = (usize, &Parameter)> {
        self.tensors.iter().enumerate().filter_map(|(index, tensor)| match tensor.value {
            Value::Parameter(id) => {
                let parameter = &self.parameters[id.0];
                (parameter.kind == Kind::Buffer && !parameter.frozen).then_some((index, parameter))
            }
            _ => None,
        })
    }

    /// The tensors that are trained, by their indexes, each with its parameter.
    pub fn trained(&self) -> impl Iterator<Item = (usize, &Parameter)> {
        self.tensors.iter().enumerate().filter(|(_, tensor)| !tensor.frozen).filter_map(|(index, tensor)| match tensor
            .value
        {
            Value::Parameter(id) => Some((index, &self.parameters[id.0])),
            _ => None,
        })
    }

    /// Which nodes the given streams need, as one flag a node.
    pub fn needed_for(&self, streams: impl IntoIterator<Item = StreamId>) -> Vec<bool> {
        needed_nodes(self.streams.len(), self.nodes.iter().map(|node| (&*node.inputs, &*node.outputs)), streams)
    }

    /// For each stream, the nodes that take it; a node that takes it twice appears twice.
    pub(crate) fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.streams.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|stream| readers[stream.0].push(index));
        }
        readers
    }

    /// For each tensor, the nodes that read it.
    pub(crate) fn tensor_readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.tensors.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            node.tensors.iter().for_each(|(_, tensor)| readers[tensor.0].push(index));
        }
        readers
    }

    /// The streams that can be asked for from outside: outputs and taps. What flows there must not change.
    pub(crate) fn visible(&self) -> HashSet<StreamId> {
        self.outputs.iter().chain(&self.taps).map(|port| port.stream).collect()
    }

    /// Whether a node is a linear layer that is not trained.
    pub(crate) fn is_frozen_linear(&self, node: &Node) -> bool {
        node.layer == "linear" && node.tensors.iter().all(|(_, tensor)| self.tensors[tensor.0].frozen)
    }

    /// Adds a tensor.
    pub(crate) fn add_tensor(&mut self, path: String, shape: Shape, value: Value) -> TensorId {
        self.tensors.push(Tensor { path, shape, frozen: true, value });
        TensorId(self.tensors.len() - 1)
    }

    /// The plan without the tensors that a pass has put others in the place of.
    pub(crate) fn without_unread_tensors(mut self) -> Self {
        let read = self.tensor_readers();
        let mut ids = vec![None; self.tensors.len()];
        let mut kept = Vec::new();
        for (index, tensor) in self.tensors.into_iter().enumerate() {
            if !read[index].is_empty() {
                ids[index] = Some(TensorId(kept.len()));
                kept.push(tensor);
            }
        }
        self.tensors = kept;
        for (_, id) in self.nodes.iter_mut().flat_map(|node| &mut node.tensors) {
            if let Some(new) = ids[id.0] {
                *id = new;
            }
        }
        self
    }
}
