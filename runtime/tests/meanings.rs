//! A layer that Rust runs in one step gives what it means in the language: outputs and gradients of both are the same.

mod agreement;

use std::collections::BTreeSet;

use agreement::{apart, evaluated, trained};
use lmv_compiler::graph::Graph;
use lmv_compiler::library::with_a_meaning;
use lmv_compiler::passes::Passes;
use lmv_compiler::{Compiled, compile, compile_by_meaning};

/// Each layer with its meaning at work, behind layers that are trained, so that gradients reach its inputs. Keys have no
/// bias: its gradient is zero, since a softmax does not see what is added to all scores.
const PROGRAMS: &[(&str, &str)] = &[
    ("split3", "model(x : [5, 4]) { x >> linear(4, 12) >> split3 >> (gelu, identity, relu) }"),
    ("token", "model(x : [5, 4]) { x >> linear(4, 6) >> token(2) }"),
    ("silu_gate", "model(x : [3, 4]) { x >> (linear(4, 6), linear(4, 6)) >> silu_gate }"),
    ("self_attend", "model(x : [5, 4]) { x >> linear(4, 36) >> self_attend(3) }"),
    ("self_attend", "model(x : [T?, 4]) { x >> linear(4, 36) >> self_attend(2) >> mean_tokens }"),
    ("attend", "model(x : [5, 4]) { x >> (linear(4, 12), linear(4, 12, bias = false), linear(4, 12)) >> attend(3) }"),
    ("attend", "model(x : [T?, 4]) { x >> (linear(4, 12), linear(4, 12, bias = false), linear(4, 12)) >> attend(3) >> mean_tokens }"),
    (
        "attend",
        "model(x : [T?, 4]) {
  x >> (linear(4, 24), linear(4, 12, bias = false), linear(4, 12)) >> attend(6, kv_heads = 3, causal = true) >> mean_tokens
}",
    ),
    (
        "attend",
        "model(x : [5, 4], y : [S?, 3]) {
  (x >> linear(4, 8), y >> linear(3, 8, bias = false), y >> linear(3, 8)) >> attend(2)
}",
    ),
    ("attention_weights", "model(x : [5, 4]) { x >> (linear(4, 12), linear(4, 6, bias = false)) >> attention_weights(4, 2) }"),
    (
        "attention_weights",
        "model(x : [4, 4], y : [S?, 4]) { (x >> linear(4, 8), y >> linear(4, 8, bias = false)) >> attention_weights(2, causal = true) }",
    ),
];

fn graph(compiled: Compiled) -> Graph {
    let messages: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    compiled.experiment.unwrap_or_else(|| panic!("{messages}")).graph
}

#[test]
fn each_layer_gives_what_it_means() {
    for (layer, program) in PROGRAMS {
        let in_one_step = graph(compile("test.lmv", program, &[]));
        let by_meaning = graph(compile_by_meaning("test.lmv", program));
        assert!(in_one_step.nodes.iter().any(|node| node.layer == *layer), "{program}");
        assert!(!by_meaning.nodes.iter().any(|node| node.layer == *layer), "{program}");
        // Names of streams inside the meaning are there once more, and nothing else is.
        let (one, other) = (evaluated(&in_one_step, Passes::NONE), evaluated(&by_meaning, Passes::NONE));
        let other = other.into_iter().filter(|(name, _)| one.contains_key(name)).collect();
        let off = apart(program, &one, &other);
        let step = apart(program, &trained(&in_one_step, Passes::NONE), &trained(&by_meaning, Passes::NONE));
        println!("{layer}: outputs within {off:e}, a step within {step:e}");
    }
}

#[test]
fn each_layer_with_a_meaning_is_tried() {
    let tried: BTreeSet<String> = PROGRAMS.iter().map(|(layer, _)| (*layer).to_owned()).collect();
    assert_eq!(tried, with_a_meaning());
}
