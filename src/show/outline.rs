//! A graph as an outline: its nodes grouped by their paths, blocks that are alike gathered into one entry.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use lmv_compiler::graph::{Graph, Node};
use lmv_compiler::library;
use lmv_grammar::ast::{Fact, ItemKind};

/// A layer, or layers below one path.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path below the entry it is in: `patch_embed`, `blocks.0`.
    pub label: String,
    /// The label of the last of several that are alike, and how many there are.
    pub alike: Option<(String, usize)>,
    /// The `extern layer`, where the entry is a single node.
    pub layer: Option<String>,
    /// What it gives, as text.
    pub output: String,
    /// What it costs and owns, all that are alike together.
    pub sum: Sum,
    /// What it is made of; of several that are alike, the first.
    pub children: Vec<Entry>,
    /// Equal for entries of the same structure.
    fingerprint: u64,
    /// Whether it is one of several that are told apart by a number.
    numbered: bool,
    parameters: BTreeSet<usize>,
}

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

/// One step of a path, with what is below it.
#[derive(Default)]
struct Branch {
    segment: String,
    nodes: Vec<usize>,
    children: Vec<Branch>,
}

/// Counts over a graph.
pub struct Counter<'a> {
    graph: &'a Graph,
    /// Layers whose declaration says what they cost.
    costly: HashSet<String>,
}

impl<'a> Counter<'a> {
    /// For a graph.
    pub fn new(graph: &'a Graph) -> Self {
        let costly = library::modules()
            .iter()
            .flat_map(|module| &module.tree().items)
            .filter_map(|item| match &item.kind {
                ItemKind::Extern { name, facts, .. } => {
                    facts.iter().any(|fact| matches!(fact, Fact::Flops(_))).then(|| name.text.clone())
                }
                _ => None,
            })
            .collect();
        Self { graph, costly }
    }

    /// The whole model.
    pub fn total(&self) -> Sum {
        self.sum(&self.graph.nodes.iter().collect::<Vec<_>>(), &(0..self.graph.parameters.len()).collect())
    }

    /// The model's entries of the first level, each with what is below it.
    pub fn outline(&self) -> Vec<Entry> {
        let mut root = Branch::default();
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let mut branch = &mut root;
            for segment in node.path.split('.') {
                // Nodes of one path are mostly neighbours.
                let at = match branch.children.iter().rposition(|child| child.segment == segment) {
                    Some(at) => at,
                    None => {
                        branch.children.push(Branch { segment: segment.to_owned(), ..Branch::default() });
                        branch.children.len() - 1
                    }
                };
                branch = &mut branch.children[at];
            }
            branch.nodes.push(index);
        }
        self.entries(&root.children)
    }

    fn entries(&self, branches: &[Branch]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for branch in branches {
            self.enter(branch, branch.segment.clone(), false, &mut entries);
        }
        self.gathered(entries)
    }

    /// Adds the entry of a branch; a path that only leads on is no entry of its own.
    fn enter(&self, branch: &Branch, label: String, numbered: bool, entries: &mut Vec<Entry>) {
        let number = |branch: &Branch| branch.segment.bytes().all(|b| b.is_ascii_digit());
        let below = |child: &Branch| format!("{label}.{}", child.segment);
        if branch.nodes.is_empty() {
            if let [only] = branch.children.as_slice() {
                return self.enter(only, below(only), numbered || number(only), entries);
            }
            if branch.children.iter().all(number) {
                branch.children.iter().for_each(|child| self.enter(child, below(child), true, entries));
                return;
            }
        }
        let mut nodes = Vec::new();
        collect(branch, &mut nodes);
        nodes.sort_unstable();
        let nodes: Vec<&Node> = nodes.into_iter().map(|index| &self.graph.nodes[index]).collect();
        let parameters = nodes.iter().flat_map(|node| &node.parameters).map(|(_, id)| id.0).collect();
        let sum = self.sum(&nodes, &parameters);
        let layer = match nodes.as_slice() {
            [node] => Some(node.layer.clone()),
            _ => None,
        };
        let output = nodes.last().map(|node| self.output(node)).unwrap_or_default();
        let children = self.entries(&branch.children);
        let mut hasher = DefaultHasher::new();
        (&layer, &output, sum.flops.to_bits(), sum.trained.to_bits(), sum.frozen.to_bits()).hash(&mut hasher);
        children.iter().for_each(|child| (&child.label, child.fingerprint).hash(&mut hasher));
        let fingerprint = hasher.finish();
        entries.push(Entry { label, alike: None, layer, output, sum, children, fingerprint, numbered, parameters });
    }

    /// The entries with neighbours that are alike gathered.
    fn gathered(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut gathered: Vec<Entry> = Vec::new();
        for entry in entries {
            match gathered.last_mut() {
                Some(last)
                    if last.numbered
                        && entry.numbered
                        && last.fingerprint == entry.fingerprint
                        && stem(&last.label) == stem(&entry.label) =>
                {
                    last.alike = Some((entry.label, last.alike.as_ref().map_or(1, |(_, times)| *times) + 1));
                    last.parameters.extend(entry.parameters);
                    let sum = self.sum(&[], &last.parameters);
                    last.sum = Sum { flops: last.sum.flops + entry.sum.flops, ..sum };
                    last.sum.flops_unknown |= entry.sum.flops_unknown;
                }
                _ => gathered.push(entry),
            }
        }
        gathered
    }

    fn sum(&self, nodes: &[&Node], parameters: &BTreeSet<usize>) -> Sum {
        let mut sum = Sum::default();
        for node in nodes {
            sum.flops += node.flops.unwrap_or(0.0);
            sum.flops_unknown |= node.flops.is_none() && self.costly.contains(&node.layer);
        }
        for parameter in parameters.iter().map(|&id| &self.graph.parameters[id]) {
            let side = if parameter.frozen { &mut sum.frozen } else { &mut sum.trained };
            match parameter.shape.count() {
                Some(count) => *side += count as f64,
                None => sum.size_unknown = true,
            }
        }
        sum
    }

    fn output(&self, node: &Node) -> String {
        let shapes: Vec<String> = node.outputs.iter().map(|id| self.graph.shape(*id).to_string()).collect();
        match shapes.as_slice() {
            [one] => one.clone(),
            [first, rest @ ..] if rest.iter().all(|shape| shape == first) => format!("{} × {first}", shapes.len()),
            several => format!("({})", several.join(", ")),
        }
    }
}

fn collect(branch: &Branch, nodes: &mut Vec<usize>) {
    nodes.extend(&branch.nodes);
    branch.children.iter().for_each(|child| collect(child, nodes));
}

/// A path with its numbers left out.
fn stem(label: &str) -> Vec<&str> {
    label.split('.').filter(|segment| !segment.bytes().all(|b| b.is_ascii_digit())).collect()
}
