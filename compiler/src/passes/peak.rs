//! The most memory that a step of training holds at one time, found by going through the step with sizes in place of
//! tensors.

use std::collections::{BTreeMap, BTreeSet};

use super::count::{BYTES, Memory, kept_by, memory, needed};
use crate::graph::StreamId;
use crate::library;
use crate::plan::{Node, Plan};
use crate::recipe::Recipe;

/// What a process holds of itself, as Linux counted it in a training of next to nothing (a ViT of 10,000 parameters, one image
/// at a time): 16.5 MiB of pages of the program and of the C library, 19 MiB where it is not optimised; and 4 MiB of the heap
/// for the library, the spec and the plan.
pub const PROCESS: f64 = 21.5 * 1024.0 * 1024.0;

/// What products lay out of their operands before they multiply, at the most: each of two threads, and the one that waits for
/// them, has a buffer as large as a core's cache of 1 MiB. Less where the operands themselves are less.
const LAID_OUT: f64 = 3.0 * 1024.0 * 1024.0;

/// Layers of the library that hand a gradient on as it is: what goes into them has that of what comes out, in the same
/// memory.
const HANDS_ON: [&str; 1] = ["add"];

/// The peak of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peak {
    /// Bytes that are held from step to step: parameters, the optimizer's numbers, averages, buffers of products, and the
    /// program itself.
    pub standing: f64,
    /// Bytes that come and go with each batch, at their most.
    pub passing: f64,
    /// Whether a size is not known, so that it is more.
    pub unknown: bool,
}

impl Peak {
    /// All of it, in bytes.
    pub fn bytes(self) -> f64 {
        self.standing + self.passing
    }
}

/// The peak of training a plan on batches of so many samples, at most `at_a_time` of them in the model at once.
///
/// Forward, streams are held until nothing reads them, those that a backward pass needs until that. Backward, the
/// gradient of a stream is held from its last reader back to what made it, and that of a parameter to the end.
pub fn peak(plan: &Plan, recipe: Option<&Recipe>, at_a_time: usize) -> Peak {
    let Memory { trained, optimizer, frozen, size_unknown, .. } = memory(plan, recipe, at_a_time);
    let mut step = Step::new(plan, at_a_time);
    step.forward();
    step.backward();
    Peak {
        standing: PROCESS + step.most.min(LAID_OUT) + trained + optimizer + frozen,
        passing: step.most,
        unknown: size_unknown || step.unknown,
    }
}

/// A step under way.
struct Step<'p> {
    plan: &'p Plan,
    nodes: Vec<&'p Node>,
    /// For each node of `nodes` the streams that its backward pass reads.
    keeps: Vec<&'p [StreamId]>,
    batch: f64,
    streams: BTreeSet<StreamId>,
    gradients: BTreeSet<StreamId>,
    parameters: f64,
    most: f64,
    unknown: bool,
}

impl<'p> Step<'p> {
    fn new(plan: &'p Plan, batch: usize) -> Self {
        let nodes: Vec<&Node> = needed(plan).collect();
        let declared = library::layer_facts_so_far();
        let keeps = nodes.iter().map(|node| if node.gradients.any() { kept_by(node, &declared) } else { &[] });
        Self {
            plan,
            keeps: keeps.collect(),
            nodes,
            batch: batch as f64,
            streams: plan.inputs.iter().map(|port| port.stream).collect(),
            gradients: BTreeSet::new(),
            parameters: 0.0,
            most: 0.0,
            unknown: false,
        }
    }

    /// The bytes of a stream.
    fn size(&mut self, stream: StreamId) -> f64 {
        match self.plan.shape(stream).count() {
            Some(count) => BYTES * count as f64 * self.batch,
            None => {
                self.unknown = true;
                0.0
            }
        }
    }

    /// Looks at what is held now, with some more for a moment.
    fn look(&mut self) {
        let held: Vec<StreamId> = self.streams.iter().chain(&self.gradients).copied().collect();
        let held: f64 = held.into_iter().map(|stream| self.size(stream)).sum();
        self.most = self.most.max(held + self.parameters);
    }

    fn forward(&mut self) {
        let mut last: BTreeMap<StreamId, usize> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            last.extend(node.inputs.iter().chain(&node.outputs).map(|stream| (*stream, index)));
        }
        let kept: BTreeSet<StreamId> = self.keeps.iter().flat_map(|kept| kept.iter().copied()).collect();
        let outputs: BTreeSet<StreamId> = self.plan.outputs.iter().map(|port| port.stream).collect();
        for index in 0..self.nodes.len() {
            self.streams.extend(&self.nodes[index].outputs);
            self.look();
            self.streams.retain(|stream| kept.contains(stream) || outputs.contains(stream) || last[stream] > index);
        }
    }

    fn backward(&mut self) {
        self.gradients = self.plan.outputs.iter().map(|port| port.stream).collect();
        let made: BTreeMap<StreamId, bool> = self
            .nodes
            .iter()
            .flat_map(|node| node.outputs.iter().map(|stream| (*stream, node.gradients.any())))
            .collect();
        let mut readers: BTreeMap<StreamId, usize> = BTreeMap::new();
        for kept in &self.keeps {
            kept.iter().for_each(|stream| *readers.entry(*stream).or_default() += 1);
        }
        // What the loss keeps is small, and goes with it.
        self.streams.retain(|stream| readers.contains_key(stream));
        for index in (0..self.nodes.len()).rev() {
            let node = self.nodes[index];
            if !node.gradients.any() {
                continue;
            }
            let wanted: Vec<StreamId> =
                node.inputs.iter().copied().filter(|stream| made.get(stream) == Some(&true)).collect();
            if HANDS_ON.contains(&node.layer.as_str()) {
                // One of the two has the memory that the output's had.
                self.gradients.retain(|stream| !node.outputs.contains(stream));
                self.gradients.extend(wanted.iter().skip(1).take(1));
                self.look();
                self.gradients.extend(wanted);
                continue;
            }
            self.gradients.extend(wanted);
            if node.gradients.parameters {
                let tensors = node.tensors.iter().map(|(_, id)| &self.plan.tensors[id.0]);
                let trained = tensors.filter(|tensor| !tensor.frozen).filter_map(|tensor| tensor.shape.count());
                self.parameters += BYTES * trained.map(|count| count as f64).sum::<f64>();
            }
            self.look();
            self.gradients.retain(|stream| !node.outputs.contains(stream));
            for stream in self.keeps[index] {
                let left = readers.get_mut(stream).map(|left| {
                    *left -= 1;
                    *left
                });
                if left == Some(0) {
                    self.streams.remove(stream);
                }
            }
        }
    }
}
