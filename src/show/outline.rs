//! A graph as an outline: its nodes grouped by their paths, blocks that are alike gathered into one entry.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use lmv_compiler::graph::{Graph, Node};
use lmv_compiler::passes::count::{Counter, Sum};

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

/// One step of a path, with what is below it.
#[derive(Default)]
struct Branch {
    segment: String,
    nodes: Vec<usize>,
    children: Vec<Branch>,
}

/// A graph to be outlined, with what counts over it.
pub struct Outline<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// Its counter.
    pub counter: &'a Counter<'a>,
}

impl Outline<'_> {
    /// The model's entries of the first level, each with what is below it.
    pub fn entries(&self) -> Vec<Entry> {
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
        self.below(&root.children)
    }

    fn below(&self, branches: &[Branch]) -> Vec<Entry> {
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
        let indexes = nodes;
        let nodes: Vec<&Node> = indexes.iter().map(|index| &self.graph.nodes[*index]).collect();
        let parameters = nodes.iter().flat_map(|node| &node.parameters).map(|(_, id)| id.0).collect();
        let sum = self.counter.sum(indexes, &parameters);
        let layer = match nodes.as_slice() {
            [node] => Some(node.layer.clone()),
            _ => None,
        };
        let output = nodes.last().map(|node| self.output(node)).unwrap_or_default();
        let children = self.below(&branch.children);
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
                    let sum = self.counter.sum([], &last.parameters);
                    last.sum = Sum { flops: last.sum.flops + entry.sum.flops, ..sum };
                    last.sum.flops_unknown |= entry.sum.flops_unknown;
                }
                _ => gathered.push(entry),
            }
        }
        gathered
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
