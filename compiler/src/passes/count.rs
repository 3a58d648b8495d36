//! What a model costs: parameters, floating-point operations, memory. The one place that counts them.

use std::collections::{BTreeSet, HashMap, HashSet};

use lmv_grammar::ast::{Fact, ItemKind, Kept};

use crate::graph::{Graph, Kind, Parameter, StreamId};
use crate::library;
use crate::plan::{Node, Plan, SPLIT};
use crate::recipe::Recipe;

/// Bytes of a number in f32, which everything is counted as: what a file has in half precision is not known here.
pub(super) const BYTES: f64 = 4.0;
/// Numbers that AdamW keeps for each one it trains: the averages of its gradient and of that squared.
const ADAMW_NUMBERS: f64 = 2.0;

/// What a part of a model costs and owns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// Floating-point operations of one sample's forward pass.
    pub flops: f64,
    /// Whether some are not counted, since a dim is not known.
    pub flops_unknown: bool,
    /// Numbers that are trained.
    pub trained: f64,
    /// Numbers that are frozen.
    pub frozen: f64,
    /// Whether some parameter's size is not known.
    pub size_unknown: bool,
}

/// Counts over a graph.
pub struct Counter<'a> {
    graph: &'a Graph,
    /// Layers whose declaration says what they cost.
    costly: HashSet<&'static str>,
}

impl<'a> Counter<'a> {
    /// For a graph.
    pub fn new(graph: &'a Graph) -> Self {
        let items = library::modules().iter().flat_map(|module| &module.tree().items);
        let costly = items.filter_map(|item| match &item.kind {
            ItemKind::Extern { name, facts, .. } => {
                facts.iter().any(|fact| matches!(fact, Fact::Flops(_))).then_some(name.text.as_str())
            }
            _ => None,
        });
        Self { graph, costly: costly.collect() }
    }

    /// The whole model, as its outputs need it: what only a tap shows is not run with it.
    pub fn total(&self) -> Sum {
        let needed = self.graph.needed_for(self.graph.outputs.iter().map(|port| port.stream));
        let nodes = needed.into_iter().enumerate().filter(|(_, needed)| *needed).map(|(node, _)| node);
        self.sum(nodes, &(0..self.graph.parameters.len()).collect())
    }

    /// Some nodes and some parameters, by their indexes in the graph.
    pub fn sum(&self, nodes: impl IntoIterator<Item = usize>, parameters: &BTreeSet<usize>) -> Sum {
        let mut sum = Sum::default();
        for node in nodes.into_iter().map(|index| &self.graph.nodes[index]) {
            sum.flops += node.flops.unwrap_or(0.0);
            sum.flops_unknown |= node.flops.is_none() && self.costly.contains(node.layer.as_str());
        }
        let parameters = parameters.iter().map(|&id| &self.graph.parameters[id]);
        for parameter in parameters.filter(|parameter| parameter.kind == Kind::Weight) {
            let side = if parameter.frozen { &mut sum.frozen } else { &mut sum.trained };
            match parameter.shape.count() {
                Some(count) => *side += count as f64,
                None => sum.size_unknown = true,
            }
        }
        sum
    }
}

/// How many numbers of some parameters are trained and how many are frozen, as far as sizes are known.
pub fn parameter_counts<'p>(parameters: impl IntoIterator<Item = &'p Parameter>) -> (i64, i64) {
    let (mut trained, mut frozen) = (0i64, 0i64);
    for parameter in parameters.into_iter().filter(|parameter| parameter.kind == Kind::Weight) {
        let count = parameter.shape.count().unwrap_or(0);
        let sum = if parameter.frozen { &mut frozen } else { &mut trained };
        *sum = sum.saturating_add(count);
    }
    (trained, frozen)
}

impl Graph {
    /// How many numbers are trained and how many are frozen, as far as sizes are known.
    pub fn parameter_counts(&self) -> (i64, i64) {
        parameter_counts(&self.parameters)
    }
}

/// Bytes that a step of training holds, as far as sizes are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// What is trained.
    pub trained: f64,
    /// The gradients of that.
    pub gradients: f64,
    /// What the optimizer keeps, and the averaged copy of the weights if the recipe keeps one.
    pub optimizer: f64,
    /// What is frozen, as the plan has it.
    pub frozen: f64,
    /// What the forward pass of a batch leaves for the backward pass.
    pub kept: f64,
    /// Whether a parameter's size is not known.
    pub size_unknown: bool,
    /// Whether the size of something kept is not known.
    pub kept_unknown: bool,
}

/// The memory of training a plan on batches of so many samples. Buffers that come and go within a layer are not in it.
pub fn memory(plan: &Plan, recipe: Option<&Recipe>, batch: usize) -> Memory {
    let mut memory = Memory::default();
    for tensor in &plan.tensors {
        let side = if tensor.frozen { &mut memory.frozen } else { &mut memory.trained };
        match tensor.shape.count() {
            Some(count) => *side += BYTES * count as f64,
            None => memory.size_unknown = true,
        }
    }
    let averages = recipe.is_some_and(|recipe| recipe.fields.contains_key("ema"));
    memory.gradients = memory.trained;
    memory.optimizer = memory.trained * (ADAMW_NUMBERS + if averages { 1.0 } else { 0.0 });
    for stream in kept(plan) {
        match plan.shape(stream).count() {
            Some(count) => memory.kept += BYTES * count as f64 * batch as f64,
            None => memory.kept_unknown = true,
        }
    }
    memory
}

/// Floating-point operations of one sample in a step of training, forward and backward, as far as they are known. A
/// product of a layer's parameters is taken once more for each side that needs a gradient; a layer without parameters
/// costs twice as much backward.
pub fn step_flops(plan: &Plan) -> f64 {
    let times = |node: &Node| match (node.gradients.inputs, node.gradients.parameters, node.tensors.is_empty()) {
        (true, _, true) => 3.0,
        (inputs, parameters, _) => 1.0 + f64::from(u8::from(inputs)) + f64::from(u8::from(parameters)),
    };
    needed(plan).map(|node| node.flops.unwrap_or(0.0) * times(node)).sum()
}

/// The nodes that the outputs need.
pub(super) fn needed(plan: &Plan) -> impl Iterator<Item = &Node> {
    let needed = plan.needed_for(plan.outputs.iter().map(|port| port.stream));
    plan.nodes.iter().zip(needed).filter(|(_, needed)| *needed).map(|(node, _)| node)
}

/// The streams that a backward pass finds kept, each once.
fn kept(plan: &Plan) -> BTreeSet<StreamId> {
    let mut kept = BTreeSet::new();
    let declared = library::layer_facts_so_far();
    for node in needed(plan) {
        if node.gradients.any() {
            kept.extend(kept_by(node, &declared));
        }
    }
    kept
}

/// What a layer on the gradient tape keeps, in the runtime's kernels; of a layer whose declaration does not say, all that
/// it was given, which is the most that it can need.
pub(super) fn kept_by<'n>(node: &'n Node, declared: &HashMap<&str, &[Fact]>) -> &'n [StreamId] {
    let facts = declared.get(node.layer.as_str()).copied().unwrap_or_default();
    let said = facts.iter().find_map(|fact| match fact {
        Fact::Keeps(kept) => Some(*kept),
        _ => None,
    });
    match said {
        // Which no library declares.
        _ if node.layer == SPLIT => &[],
        Some(Kept::Nothing) => &[],
        Some(Kept::InputsForParameters) if !node.gradients.parameters => &[],
        Some(Kept::Outputs) => &node.outputs,
        Some(Kept::Inputs | Kept::InputsForParameters) | None => &node.inputs,
    }
}
