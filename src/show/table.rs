//! The table of `lmvc show`: readable on a terminal of 100 columns, and without colour.

use std::collections::BTreeSet;

use lmv_compiler::config::{Call, Config};
use lmv_compiler::graph::{Filling, Graph, Node};
use lmv_compiler::passes::count::{self, Counter, Sum};
use lmv_compiler::passes::peak::peak;
use lmv_compiler::plan::Plan;
use lmv_compiler::{Metric, Recipe};
use lmv_runtime::device::{self, DeviceChoice};

use super::outline::{Entry, Outline};
use crate::context::Paint;
use crate::spec::Checked;
use crate::units::{bytes, exact, si};

const WIDTH: usize = 100;
const GAP: &str = "  ";
const HEADER: [&str; 6] = ["layer", "kind", "output", "parameters", "FLOPs", ""];

struct Row {
    cells: [String; 6],
    paint: Option<Paint>,
}

/// The whole page for a spec shown as `name`.
pub fn draw(name: &str, checked: &Checked, depth: usize, batch: usize, color: bool) -> String {
    let experiment = &checked.experiment;
    let graph = &experiment.graph;
    let counter = Counter::new(graph);
    let mut rows: Vec<Row> = Vec::new();
    let port = |name: &str, kind: &str, shape: String| Row {
        cells: [name.into(), kind.into(), shape, String::new(), String::new(), String::new()],
        paint: Some(Paint::Faint),
    };
    rows.extend(graph.inputs.iter().map(|p| port(&p.name, "input", graph.shape(p.stream).to_string())));
    for entry in (Outline { graph, counter: &counter }).entries() {
        rows.push(row(&entry, ""));
        below(&entry, "", depth.saturating_sub(1), &mut rows);
    }
    if graph.outputs.len() > 1 {
        rows.extend(graph.outputs.iter().map(|p| port(&p.name, "output", graph.shape(p.stream).to_string())));
    }

    let mut page = Paint::Strong.on(name, color) + "\n";
    if let Some(doc) = &experiment.doc {
        let paragraph: Vec<&str> = doc.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        page += &wrapped(2, "", &paragraph.join(" "));
    }
    page += "\n";
    page += &grid(&rows, color);
    page += "\n";
    for (title, fact) in facts(checked, &counter.total(), batch) {
        let line = wrapped(14, title, &fact);
        // The title is painted once the line is measured.
        page += &line.replacen(title, &Paint::Strong.on(title, color), 1);
    }
    page
}

/// The rows of what an entry is made of, `depth` levels of it.
fn below(entry: &Entry, indent: &str, depth: usize, rows: &mut Vec<Row>) {
    if depth == 0 {
        return;
    }
    for (index, child) in entry.children.iter().enumerate() {
        let last = index + 1 == entry.children.len();
        rows.push(row(child, &format!("{indent}{}", if last { "└─ " } else { "├─ " })));
        below(child, &format!("{indent}{}", if last { "   " } else { "│  " }), depth - 1, rows);
    }
}

fn row(entry: &Entry, indent: &str) -> Row {
    let name = match &entry.alike {
        Some((last, times)) => format!("{} … {last} ({times} ×)", entry.label),
        None => entry.label.clone(),
    };
    let last = entry.label.rsplit('.').next().unwrap_or_default();
    // `linear_2` says already that it is a linear layer.
    let plain = last.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    let kind = entry.layer.as_deref().filter(|layer| *layer != last && *layer != plain).unwrap_or_default();
    let Sum { trained, frozen, size_unknown, flops, flops_unknown } = entry.sum;
    let (state, paint) = match (trained > 0.0, frozen > 0.0) {
        (true, false) => ("trained", None),
        (false, true) => ("❄ frozen", Some(Paint::Frozen)),
        (true, true) => ("part ❄", Some(Paint::Frozen)),
        (false, false) if size_unknown => ("", None),
        (false, false) => ("", Some(Paint::Faint)),
    };
    let cells = [
        format!("{indent}{name}"),
        kind.to_owned(),
        entry.output.clone(),
        amount(trained + frozen, size_unknown),
        amount(flops, flops_unknown),
        state.to_owned(),
    ];
    Row { cells, paint }
}

/// A number, `?` where nothing of it is known, `> …` where a part is not.
fn amount(number: f64, unknown: bool) -> String {
    match (number > 0.0, unknown) {
        (false, false) => String::new(),
        (false, true) => "?".into(),
        (true, false) => si(number),
        (true, true) => format!("> {}", si(number)),
    }
}

fn grid(rows: &[Row], color: bool) -> String {
    let mut widths = HEADER.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    // Long names give way to the numbers, as far as they can still be told apart.
    let gaps = 2 + GAP.len() * (widths.len() - 1);
    for (column, least) in [(0, 30), (2, 18), (0, 12)] {
        let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(WIDTH);
        widths[column] = widths[column].saturating_sub(over).max(least.min(widths[column]));
    }
    let line = |cells: &[String; 6]| {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let cell = shortened(cell, width);
            line += if column == 0 { GAP } else { "" };
            line += &if matches!(column, 3 | 4) { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line += GAP;
        }
        line.trim_end().to_owned()
    };
    let rule = Paint::Faint.on(&format!("  {}", "─".repeat(widths.iter().sum::<usize>() + gaps - 2)), color) + "\n";
    let mut text = Paint::Faint.on(&line(&HEADER.map(str::to_owned)), color) + "\n" + &rule;
    for row in rows {
        let line = line(&row.cells);
        text += &row.paint.map_or(line.clone(), |paint| paint.on(&line, color));
        text.push('\n');
    }
    text + &rule
}

/// A text of at most so many characters, its middle left out.
fn shortened(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width || width < 3 {
        return text.to_owned();
    }
    let (start, end) = ((width - 1) / 2, width / 2);
    let mut short: String = chars[..start].iter().collect();
    short.push('…');
    short.extend(&chars[chars.len() - end..]);
    short
}

/// A metric with the output that it is of, where that has a name.
fn measure(metric: &Metric) -> String {
    let call = &metric.call;
    let reported = metric.reported.map(|number| format!(" (reported {number})")).unwrap_or_default();
    match call.on.as_ref().map(|on| on.outputs.as_slice()) {
        Some([output]) if output != "output" => format!("{output}: {}{reported}", data_call(call)),
        _ => format!("{}{reported}", data_call(call)),
    }
}

fn facts(checked: &Checked, total: &Sum, batch: usize) -> Vec<(&'static str, String)> {
    let experiment = &checked.experiment;
    let graph = &experiment.graph;
    let least = |unknown: bool| if unknown { "at least " } else { "" };
    let mut facts = Vec::new();
    let both = match (total.trained > 0.0, total.frozen > 0.0) {
        (_, false) => format!("{} trained", exact(total.trained)),
        (false, true) => format!("{} frozen", exact(total.frozen)),
        (true, true) => format!(
            "{} trained + {} frozen = {}",
            exact(total.trained),
            exact(total.frozen),
            si(total.trained + total.frozen)
        ),
    };
    facts.push(("parameters", format!("{}{both}", least(total.size_unknown))));
    let of_ones = |node: &Node| node.arguments.get("affine") == Some(&Config::Bool(false));
    if graph.nodes.iter().any(of_ones) {
        facts.push(("", "a norm with `affine = false` has a weight of ones, which is not counted".to_owned()));
    }
    let mut forward = format!("{}{} FLOPs a sample", least(total.flops_unknown), si(total.flops));
    if total.flops_unknown && total.flops == 0.0 {
        forward = format!("its FLOPs depend on {}", unknown_dims(graph).join(", "));
    } else if batch > 1 {
        forward += &format!(", {} a batch of {batch}", si(total.flops * batch as f64));
    }
    facts.push(("forward", forward));
    let plan = device::passes(DeviceChoice::Cpu).plan(graph);
    if experiment.train.is_some() && total.flops > 0.0 {
        let step = count::step_flops(&plan) * batch as f64;
        let least = least(total.flops_unknown);
        facts.push(("step", format!("{least}{} FLOPs, forward and backward, a batch of {batch}", si(step))));
    }
    facts.extend(memory(&plan, experiment.train.as_ref(), batch));
    let weights: BTreeSet<String> = graph
        .parameters
        .iter()
        .filter_map(|parameter| parameter.filled_by.as_ref())
        .map(|filling| match filling {
            Filling::Block { weights, layer, .. } => format!("{weights}, block {layer}"),
            Filling::Named { weights, .. } => weights.clone(),
        })
        .collect();
    if !weights.is_empty() {
        facts.push(("weights", weights.into_iter().collect::<Vec<_>>().join("; ")));
    }
    if let Some(data) = &experiment.data {
        facts.push(("data", data_call(data)));
    }
    if let Some(recipe) = &experiment.train {
        facts.push(("train", format!("{}: {} epochs, batches of {}", recipe.name, recipe.epochs, recipe.batch)));
        let order = ["loss", "optimizer", "schedule", "augment", "eval_augment", "mix", "sampler"];
        let rest = recipe.fields.keys().map(String::as_str).filter(|name| !order.contains(name));
        for name in order.into_iter().chain(rest.collect::<Vec<_>>()) {
            if let Some(value) = recipe.fields.get(name) {
                facts.push(("", format!("{name} = {value}")));
            }
        }
    }
    if !experiment.eval.is_empty() {
        facts.push(("eval", experiment.eval.iter().map(measure).collect::<Vec<_>>().join(", ")));
    }
    let parts: Vec<String> =
        experiment.not_yet_run.iter().map(|part| format!("the {} `{}`", part.kind, part.name)).collect();
    if !parts.is_empty() {
        facts.push(("cannot run", format!("declared, and not written in Rust yet: {}", parts.join(", "))));
    }
    if let Some(seed) = experiment.seed {
        facts.push(("seed", seed.to_string()));
    }
    let variants = &checked.compiled.variants;
    if !variants.is_empty() {
        let first = variants.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if variants.len() > 8 { format!(" and {} more", variants.len() - 8) } else { String::new() };
        facts.push(("variants", format!("{first}{more}")));
    }
    facts
}

/// What training by a plan takes.
fn memory(plan: &Plan, recipe: Option<&Recipe>, batch: usize) -> Vec<(&'static str, String)> {
    let least = |unknown: bool| if unknown { "at least " } else { "" };
    let memory = count::memory(plan, recipe, batch);
    let training = memory.trained + memory.gradients + memory.optimizer;
    let mut parts = Vec::new();
    if training > 0.0 {
        parts.push(format!("{} for what is trained, its gradients and the optimizer", bytes(training)));
    }
    if memory.frozen > 0.0 {
        parts.push(format!("{} for what is frozen", bytes(memory.frozen)));
    }
    if parts.len() > 1 {
        parts[0] = format!("{}: {}", bytes(training + memory.frozen), parts[0]);
    }
    let mut facts = Vec::new();
    if !parts.is_empty() {
        facts.push(("memory", format!("{}{}", least(memory.size_unknown), parts.join(", "))));
    }
    if memory.kept > 0.0 {
        let kept = bytes(memory.kept);
        let what = format!("{kept} more that the forward pass of a batch of {batch} keeps for the backward pass");
        facts.push(("", format!("{}{what}", least(memory.kept_unknown))));
        let peak = peak(plan, recipe, batch);
        let most = format!("{} is the most that a step of it holds at one time, on the CPU", bytes(peak.bytes()));
        facts.push(("", format!("{}{most}", least(peak.unknown))));
    }
    facts
}

/// The dims that have a name and no number: `T?`, `classes`.
fn unknown_dims(graph: &Graph) -> Vec<String> {
    let dims = graph.streams.iter().flat_map(|stream| &stream.shape.0);
    let names: BTreeSet<String> = dims.filter(|dim| dim.known().is_none()).map(|dim| format!("`{dim}`")).collect();
    names.into_iter().collect()
}

fn data_call(call: &Call) -> String {
    Config::Call(Box::new(call.clone())).to_string()
}

/// A titled text in lines of at most [`WIDTH`], the text in a column of its own that begins at `indent`.
fn wrapped(indent: usize, title: &str, text: &str) -> String {
    let mut lines = vec![format!("  {title:<width$}", width = indent - 2)];
    // A name and its value stay on one line.
    for (index, word) in text.replace(" = ", "\u{a0}=\u{a0}").split(' ').enumerate() {
        let line = lines.len() - 1;
        let used = lines[line].chars().count();
        if index > 0 && used + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{:indent$}{}{word}", "", if indent == 2 { "" } else { "  " }));
            continue;
        }
        if index > 0 {
            lines[line].push(' ');
        }
        lines[line] += word;
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end().replace('\u{a0}', " "))).collect()
}
