//! The plan: what the runtime lowers. It begins as the typed graph, node for node ([`Plan::new`]), and
//! [`passes`](crate::passes) change it. Passes speak of tensors in names only; the runtime makes them.

use std::collections::BTreeMap;

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

/// What a node reads: a parameter, or the rows of several.
#[derive(Clone, Debug, Serialize)]
pub struct Tensor {
    /// The path of the parameter; of several joined ones, `….wq+wk+wv.weight`.
    pub path: String,
    /// Its shape.
    pub shape: Shape,
    /// Whether it is not trained. What is made of several parameters is always frozen.
    pub frozen: bool,
    /// The parameters that it is made of: one as it is, or the rows of several, one below the other. Each is a part of no
    /// other tensor.
    pub parameters: Vec<ParameterId>,
}

impl Plan {
    /// The graph as it is: each parameter a tensor, and every node on the gradient tape.
    pub fn new(graph: &Graph) -> Self {
        let tensors = graph.parameters.iter().enumerate().map(|(index, parameter)| Tensor {
            path: parameter.path.clone(),
            shape: parameter.shape.clone(),
            frozen: !parameter.is_trained(),
            parameters: vec![ParameterId(index)],
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
        self.whole().filter(|(_, parameter)| parameter.kind == Kind::Buffer && !parameter.frozen)
    }

    /// The tensors that are trained, by their indexes, each with its parameter.
    pub fn trained(&self) -> impl Iterator<Item = (usize, &Parameter)> {
        self.whole().filter(|(index, _)| !self.tensors[*index].frozen)
    }

    /// The tensors that are a parameter as it is, by their indexes.
    fn whole(&self) -> impl Iterator<Item = (usize, &Parameter)> {
        self.tensors.iter().enumerate().filter_map(|(index, tensor)| match tensor.parameters[..] {
            [id] => Some((index, &self.parameters[id.0])),
            _ => None,
        })
    }

    /// Which nodes the given streams need, as one flag a node.
    pub fn needed_for(&self, streams: impl IntoIterator<Item = StreamId>) -> Vec<bool> {
        needed_nodes(self.streams.len(), self.nodes.iter().map(|node| (&*node.inputs, &*node.outputs)), streams)
    }

    /// For each tensor, the nodes that read it.
    pub(crate) fn tensor_readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.tensors.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            node.tensors.iter().for_each(|(_, tensor)| readers[tensor.0].push(index));
        }
        readers
    }

    /// Whether a node is a linear layer that is not trained.
    pub(crate) fn is_frozen_linear(&self, node: &Node) -> bool {
        node.layer == "linear" && node.tensors.iter().all(|(_, tensor)| self.tensors[tensor.0].frozen)
    }

    /// Adds a tensor.
    pub(crate) fn add_tensor(&mut self, path: String, shape: Shape, parameters: Vec<ParameterId>) -> TensorId {
        self.tensors.push(Tensor { path, shape, frozen: true, parameters });
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
