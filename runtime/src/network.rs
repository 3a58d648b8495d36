//! A plan as something that runs: the layers of its nodes on one backend. Parameters are handed to it.

mod taped;

use std::collections::HashMap;

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Int, Tensor, TensorData, TensorMetadata, TensorPrimitive};
use lmv_compiler::graph::{Port, StreamId};
use lmv_compiler::plan::Plan;

pub use self::taped::{Taped, TapedNetwork};
use crate::error::{Failure, Result};
use crate::kernels::Kernels;
use crate::layers::{self, Layer, Pass, Weights};
use crate::stream::Stream;

/// The layers of a plan on the backend `B`, without gradients. It holds no parameters: the same ones serve a step of
/// training in a [`TapedNetwork`] and an evaluation here.
pub struct Network<B: Kernels> {
    course: Course,
    layers: Vec<Box<dyn Layer<B>>>,
}

impl<B: Kernels> Network<B> {
    /// The network that computes the plan's outputs, and the taps whose names are given.
    ///
    /// # Errors
    /// A tap that the spec does not name, with the names that it has.
    pub fn new(plan: &Plan, taps: &[String]) -> Result<Self> {
        let course = Course::new(plan, taps)?;
        let layers = plan.nodes.iter().map(layers::build).collect::<Result<Vec<_>>>()?;
        Ok(Self { course, layers })
    }

    /// The plan it runs.
    pub fn plan(&self) -> &Plan {
        &self.course.plan
    }

    /// Runs the model: one stream for each input of the plan, one tensor for each of its tensors. Gives the outputs,
    /// then the taps in the order they were asked for.
    pub fn forward(&self, inputs: Vec<Stream<B>>, tensors: &[FloatTensor<B>], pass: &mut Pass) -> Vec<Stream<B>> {
        self.course.run(inputs, |index, inputs| {
            let weights = Weights { names: &self.course.plan.nodes[index].tensors, tensors };
            pass.frozen = self.course.frozen[index];
            self.layers[index].forward(inputs, &weights, pass)
        })
    }
}

/// In what order nodes run, which of them, and how long streams are kept.
struct Course {
    plan: Plan,
    /// For each node, the streams that nothing needs once it has run.
    last_uses: Vec<Vec<StreamId>>,
    wanted: Vec<StreamId>,
    needed: Vec<bool>,
    /// For each node whether it has parameters, all of them frozen.
    frozen: Vec<bool>,
}

impl Course {
    fn new(plan: &Plan, taps: &[String]) -> Result<Self> {
        let mut wanted: Vec<StreamId> = plan.outputs.iter().map(|port| port.stream).collect();
        for tap in taps {
            wanted.push(find_tap(&plan.taps, tap)?);
        }
        let needed = plan.needed_for(wanted.iter().copied());
        let mut last: HashMap<StreamId, usize> = HashMap::new();
        for (index, node) in plan.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
            for stream in node.inputs.iter().chain(&node.outputs) {
                last.insert(*stream, index);
            }
        }
        let mut last_uses = vec![Vec::new(); plan.nodes.len()];
        for (stream, index) in last {
            if !wanted.contains(&stream) {
                last_uses[index].push(stream);
            }
        }
        let all_frozen = |node: &lmv_compiler::plan::Node| {
            !node.tensors.is_empty() && node.tensors.iter().all(|(_, id)| plan.tensors[id.0].frozen)
        };
        let frozen = plan.nodes.iter().map(all_frozen).collect();
        Ok(Self { plan: plan.clone(), last_uses, wanted, needed, frozen })
    }

    /// Runs the nodes that are needed, each by `node` with its index and its inputs; gives the streams that are wanted.
    fn run<S: Clone>(&self, inputs: Vec<S>, mut node: impl FnMut(usize, Vec<S>) -> Vec<S>) -> Vec<S> {
        let mut streams: Vec<Option<S>> = vec![None; self.plan.streams.len()];
        for (port, stream) in self.plan.inputs.iter().zip(inputs) {
            streams[port.stream.0] = Some(stream);
        }
        for (index, planned) in self.plan.nodes.iter().enumerate().filter(|(index, _)| self.needed[*index]) {
            // The last use gives the stream away, so that a layer with the only handle to numbers may work in their place.
            let last = |at: usize, stream: &StreamId| {
                self.last_uses[index].contains(stream) && !planned.inputs[at + 1..].contains(stream)
            };
            let inputs = planned.inputs.iter().enumerate().filter_map(|(at, stream)| match last(at, stream) {
                true => streams[stream.0].take(),
                false => streams[stream.0].clone(),
            });
            let inputs = inputs.collect();
            for (id, stream) in planned.outputs.iter().zip(node(index, inputs)) {
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
///
/// # Errors
/// No such tap, or several; with the names there are.
pub fn find_tap(taps: &[Port], name: &str) -> Result<StreamId> {
    if let Some(port) = taps.iter().find(|port| port.name == name) {
        return Ok(port.stream);
    }
    let tail = format!(".{name}");
    let ends: Vec<_> = taps.iter().filter(|port| port.name.ends_with(&tail)).collect();
    match ends.as_slice() {
        [one] => Ok(one.stream),
        [] => {
            let names: Vec<&str> = taps.iter().map(|port| port.name.as_str()).collect();
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

/// The numbers of classes in a tensor.
pub fn class_numbers<B: Kernels>(tensor: IntTensor<B>) -> Vec<i64> {
    let count = tensor.shape().num_elements();
    let flat = B::int_reshape(tensor, burn::tensor::Shape::from(vec![count]));
    let data = Tensor::<B, 1, Int>::from_primitive(flat).into_data().convert::<i64>();
    match data.into_vec::<i64>() {
        Ok(values) => values,
        Err(error) => unreachable!("the data was just converted to i64: {error:?}"),
    }
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
