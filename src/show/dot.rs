//! A graph as a drawing for Graphviz: frozen layers are filled blue, layers of one path stand in one box.

use std::collections::BTreeMap;
use std::fmt::Write;

use lmv_compiler::graph::{Graph, Node};
use lmv_compiler::passes::count::parameter_counts;

use crate::units::si;

/// The nodes below a path, and the boxes within.
#[derive(Default)]
struct Cluster<'a> {
    nodes: Vec<(usize, &'a Node)>,
    /// By their order of appearance, with the path's step.
    inner: Vec<(&'a str, Cluster<'a>)>,
}

/// The drawing.
pub fn draw(graph: &Graph) -> String {
    let mut root = Cluster::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        let mut cluster = &mut root;
        let steps: Vec<&str> = node.path.split('.').collect();
        for step in &steps[..steps.len() - 1] {
            let at = match cluster.inner.iter().rposition(|(name, _)| name == step) {
                Some(at) => at,
                None => {
                    cluster.inner.push((step, Cluster::default()));
                    cluster.inner.len() - 1
                }
            };
            cluster = &mut cluster.inner[at].1;
        }
        cluster.nodes.push((index, node));
    }
    let mut text = String::from(
        "digraph model {\n  rankdir = TB\n  fontname = \"Helvetica\"\n  \
         node [shape = box, style = \"rounded,filled\", fillcolor = white, fontname = \"Helvetica\"]\n  \
         edge [fontname = \"Helvetica\", fontsize = 10]\n",
    );
    // Who makes each stream, by its name in the drawing.
    let mut makers = BTreeMap::new();
    for (index, port) in graph.inputs.iter().enumerate() {
        makers.insert(port.stream, format!("in{index}"));
        line(&mut text, 1, &format!("in{index} [label = {}, shape = plaintext, style = \"\"]", quoted(&port.name)));
    }
    let mut clusters = 0;
    boxes(&mut text, graph, &root, 1, &mut clusters);
    for (index, node) in graph.nodes.iter().enumerate() {
        makers.extend(node.outputs.iter().map(|stream| (*stream, format!("n{index}"))));
    }
    let mut edge = |stream, to: String| {
        if let Some(from) = makers.get(&stream) {
            let shape = quoted(&graph.shape(stream).to_string());
            line(&mut text, 1, &format!("{from} -> {to} [label = {shape}]"));
        }
    };
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|stream| edge(*stream, format!("n{index}")));
    }
    for (index, port) in graph.outputs.iter().enumerate() {
        edge(port.stream, format!("out{index}"));
    }
    for (index, port) in graph.outputs.iter().enumerate() {
        line(&mut text, 1, &format!("out{index} [label = {}, shape = plaintext, style = \"\"]", quoted(&port.name)));
    }
    text + "}\n"
}

fn boxes(text: &mut String, graph: &Graph, cluster: &Cluster<'_>, depth: usize, clusters: &mut usize) {
    for (index, node) in &cluster.nodes {
        let name = node.path.rsplit('.').next().unwrap_or(&node.path);
        let parameters: Vec<_> = node.parameters.iter().map(|(_, id)| &graph.parameters[id.0]).collect();
        let mut label = name.to_owned();
        if name != node.layer {
            write_to(&mut label, &format!("\n{}", node.layer));
        }
        let (trained, frozen) = parameter_counts(parameters.iter().copied());
        let count = trained.saturating_add(frozen);
        if count > 0 {
            write_to(&mut label, &format!("\n{}", si(count as f64)));
        }
        let fill = match parameters.iter().any(|parameter| parameter.frozen) {
            true => ", fillcolor = \"#b3d4ff\"",
            false if parameters.is_empty() => ", fillcolor = \"#f2f2f2\"",
            false => "",
        };
        line(text, depth, &format!("n{index} [label = {}{fill}]", quoted(&label)));
    }
    for (name, inner) in &cluster.inner {
        line(text, depth, &format!("subgraph cluster{clusters} {{"));
        *clusters += 1;
        line(text, depth + 1, &format!("label = {}", quoted(name)));
        boxes(text, graph, inner, depth + 1, clusters);
        line(text, depth, "}");
    }
}

fn line(text: &mut String, depth: usize, content: &str) {
    write_to(text, &format!("{}{content}\n", "  ".repeat(depth)));
}

fn write_to(text: &mut String, content: &str) {
    // Writing to memory cannot fail.
    let _ = text.write_str(content);
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
