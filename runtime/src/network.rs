//! A graph as something that runs: the layers of its nodes on one backend, and the parameters they share.

use std::collections::HashMap;

use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorData, TensorMetadata, TensorPrimitive};
use lmv_compiler::graph::{Graph, StreamId};

use crate::error::{Failure, Result};
use crate::kernels::Kernels;
use crate::layers::{self, Layer, Pass, Weights};
use crate::stream::Stream;

/// The layers of a graph on the backend `B`. It holds no parameters: the same ones serve a training pass on
/// `Autodiff<B>` and an evaluation on `B`.
pub struct Network<B: Kernels> {
    graph: Graph,
    layers: Vec<Box<dyn Layer<B>>>,
    /// For each node, the streams that nothing needs once it has run.
    last_uses: Vec<Vec<StreamId>>,
    wanted: Vec<StreamId>,
    needed: Vec<bool>,
}

impl<B: Kernels> Network<B> {
    /// The network that computes the graph's outputs, and the taps whose names are given.
    ///
    /// # Errors
    /// A tap that the spec does not name, with the names that it has.
    pub fn new(graph: &Graph, taps: &[String]) -> Result<Self> {
        let mut wanted: Vec<StreamId> = graph.outputs.iter().map(|port| port.stream).collect();
        for tap in taps {
            wanted.push(find_tap(graph, tap)?);
        }
        let needed = graph.needed_for(wanted.iter().copied());
        let layers = graph.nodes.iter().map(layers::build).collect::<Result<Vec<_>>>()?;
        let mut last: HashMap<StreamId, usize> = HashMap::new();
        for (index, node) in graph.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
            for stream in node.inputs.iter().chain(&node.outputs) {
                last.insert(*stream, index);
            }
        }
        let mut last_uses = vec![Vec::new(); graph.nodes.len()];
        for (stream, index) in last {
            if !wanted.contains(&stream) {
                last_uses[index].push(stream);
            }
        }
        Ok(Self { graph: graph.clone(), layers, last_uses, wanted, needed })
    }

    /// The graph it runs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs the model: one stream for each input of the graph, one tensor for each of its parameters. Gives the outputs,
    /// then the taps in the order they were asked for.
    pub fn forward(&self, inputs: Vec<Stream<B>>, parameters: &[FloatTensor<B>], pass: &mut Pass) -> Vec<Stream<B>> {
        let mut streams: Vec<Option<Stream<B>>> = vec![None; self.graph.streams.len()];
        for (port, stream) in self.graph.inputs.iter().zip(inputs) {
            streams[port.stream.0] = Some(stream);
        }
        for (index, node) in self.graph.nodes.iter().enumerate() {
            if !self.needed[index] {
                continue;
            }
            let inputs = node.inputs.iter().filter_map(|stream| streams[stream.0].clone()).collect();
            let weights = Weights { names: &node.parameters, tensors: parameters };
            let outputs = self.layers[index].forward(inputs, &weights, pass);
            for (id, stream) in node.outputs.iter().zip(outputs) {
                streams[id.0] = Some(stream);
            }
            for stream in &self.last_uses[index] {
                streams[stream.0] = None;
            }
        }
        self.wanted.iter().filter_map(|stream| streams[stream.0].clone()).collect()
    }
}

/// A tap by its whole name, or by a tail of it that only one has.
fn find_tap(graph: &Graph, name: &str) -> Result<StreamId> {
    if let Some(port) = graph.taps.iter().find(|port| port.name == name) {
        return Ok(port.stream);
    }
    let tail = format!(".{name}");
    let ends: Vec<_> = graph.taps.iter().filter(|port| port.name.ends_with(&tail)).collect();
    match ends.as_slice() {
        [one] => Ok(one.stream),
        [] => {
            let names: Vec<&str> = graph.taps.iter().map(|port| port.name.as_str()).collect();
            let known =
                if names.is_empty() { "no stream by `let`".into() } else { format!("`{}`", names.join("`, `")) };
            Err(Failure::new(format!("no stream is named `{name}`")).note(format!("the model names {known}")))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|port| port.name.as_str()).collect();
            Err(Failure::new(format!("several streams are named `{name}`"))
                .note(format!("they are `{}`", names.join("`, `")))
                .help("give the whole name"))
        }
    }
}

/// A tensor on the device from numbers in memory.
pub fn tensor<B: Kernels>(values: Vec<f32>, dims: &[usize], device: &B::Device) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(values, dims.to_vec()), device)
}

/// The numbers of a tensor.
pub fn values<B: Kernels>(tensor: FloatTensor<B>) -> Vec<f32> {
    // Rank one is enough to read the numbers in order, whatever the shape was.
    let count = tensor.shape().num_elements();
    let flat = B::float_reshape(tensor, burn::tensor::Shape::from(vec![count]));
    let data = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(flat)).into_data().convert::<f32>();
    match data.into_vec::<f32>() {
        Ok(values) => values,
        Err(error) => unreachable!("the data was just converted to f32: {error:?}"),
    }
}
