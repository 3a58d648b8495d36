//! Frozen linear layers that read one stream, joined into one.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::graph::{Stream, StreamId};
use crate::plan::{Node, Plan, SPLIT, TensorId};
use crate::shape::{Dim, Shape};

/// Joins the frozen linear layers that read one stream into one with all their rows, and splits what it gives into the
/// streams there were: LLaMA's `wq`, `wk` and `wv`, and its `w1` and `w3`. Taps and outputs keep their streams.
///
/// It is sound because each row of a weight makes one number of each token, whatever the other rows are. The parts have
/// the mask of the whole, which is that of the one stream all of them read.
///
/// It does not apply to layers that are trained, since the optimizer and checkpoints know them one by one; between a
/// layer with a bias and one without; to a layer that the model's outputs do not need, since it runs only when a tap
/// asks for it; to a weight of unknown size; and to a weight shared with a layer elsewhere, which would be kept twice.
pub fn join_linears(mut plan: Plan) -> Plan {
    let outputs: Vec<StreamId> = plan.outputs.iter().map(|port| port.stream).collect();
    let needed = plan.needed_for(outputs);
    let tensor_readers = plan.tensor_readers();
    // By what they read and whether they have a bias.
    let mut groups: BTreeMap<(StreamId, bool), Vec<usize>> = BTreeMap::new();
    for (index, node) in plan.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
        let own = node.tensors.iter().all(|(_, tensor)| tensor_readers[tensor.0].len() == 1);
        if plan.is_frozen_linear(node) && own && rows(&plan, node).is_some() {
            groups.entry((node.inputs[0], plan.tensor(node, "bias").is_some())).or_default().push(index);
        }
    }
    // What takes the place of the first layer of a group; the others go.
    let mut joined: BTreeMap<usize, [Node; 2]> = BTreeMap::new();
    let mut gone = vec![false; plan.nodes.len()];
    for group in groups.values().filter(|group| group.len() > 1) {
        let nodes = join(&mut plan, group);
        joined.insert(group[0], nodes);
        group.iter().for_each(|index| gone[*index] = true);
    }
    let mut nodes = Vec::with_capacity(plan.nodes.len());
    for (index, node) in std::mem::take(&mut plan.nodes).into_iter().enumerate() {
        nodes.extend(joined.remove(&index).into_iter().flatten());
        if !gone[index] {
            nodes.push(node);
        }
    }
    plan.nodes = nodes;
    plan.without_unread_tensors()
}

/// How many numbers a linear layer makes of a token, if that is known.
fn rows(plan: &Plan, node: &Node) -> Option<i64> {
    let [out, _] = plan.tensors[plan.tensor(node, "weight")?.0].shape.numbers()?[..] else { return None };
    i64::try_from(out).ok()
}

/// The joined layer and the split behind it.
fn join(plan: &mut Plan, group: &[usize]) -> [Node; 2] {
    let nodes: Vec<Node> = group.iter().map(|&index| plan.nodes[index].clone()).collect();
    let widths: Vec<i64> = nodes.iter().filter_map(|node| rows(plan, node)).collect();
    let width = Dim::Known(widths.iter().sum());
    let path = joined_path(nodes.iter().map(|node| node.path.as_str()));
    let mut linear = nodes[0].clone();
    linear.tensors = ["weight", "bias"]
        .into_iter()
        .filter_map(|name| {
            let parts: Option<Vec<TensorId>> = nodes.iter().map(|node| plan.tensor(node, name)).collect();
            let parts = parts?;
            let mut shape: Shape = plan.tensors[parts[0].0].shape.clone();
            shape.0[0] = width.clone();
            let rows = parts.iter().flat_map(|part| plan.tensors[part.0].parameters.clone()).collect();
            Some((name.to_owned(), plan.add_tensor(format!("{path}.{name}"), shape, rows)))
        })
        .collect();
    // The whole is like its first part but for its width.
    let mut stream: Stream = plan.streams[nodes[0].outputs[0].0].clone();
    if let Some(last) = stream.shape.0.last_mut() {
        *last = width.clone();
    }
    plan.streams.push(stream);
    let whole = StreamId(plan.streams.len() - 1);
    if let Dim::Known(width) = width {
        linear.arguments.insert("out".into(), Config::Int(width));
    }
    linear.path = path.clone();
    linear.outputs = vec![whole];
    linear.flops = nodes.iter().map(|node| node.flops).sum();
    let split = Node {
        layer: SPLIT.into(),
        path,
        arguments: BTreeMap::from([("widths".into(), Config::List(widths.into_iter().map(Config::Int).collect()))]),
        inputs: vec![whole],
        outputs: nodes.iter().map(|node| node.outputs[0]).collect(),
        tensors: Vec::new(),
        updates: false,
        flops: Some(0.0),
        gradients: linear.gradients,
    };
    [linear, split]
}

/// `a.b.wq`, `a.b.wk` → `a.b.wq+wk`: whole steps that all have in common, then the rest of each.
fn joined_path<'p>(paths: impl Iterator<Item = &'p str>) -> String {
    let paths: Vec<Vec<&str>> = paths.map(|path| path.split('.').collect()).collect();
    let shortest = paths.iter().map(Vec::len).min().unwrap_or(0);
    let common =
        (0..shortest.saturating_sub(1)).take_while(|&i| paths.iter().all(|path| path[i] == paths[0][i])).count();
    let rests: Vec<String> = paths.iter().map(|path| path[common..].join(".")).collect();
    let front: String = paths[0][..common].iter().map(|step| format!("{step}.")).collect();
    format!("{front}{}", rests.join("+"))
}
