//! What models cost, reckoned by hand.

use lmv_compiler::passes::Passes;
use lmv_compiler::passes::count::{Counter, memory, step_flops};
use lmv_compiler::passes::peak::{PROCESS, Peak, peak};
use lmv_compiler::plan::Plan;
use lmv_compiler::{Compiled, compile};

fn compiled(program: &str) -> Compiled {
    let compiled = compile("counts.lmv", program, &[]);
    let shown: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    assert!(compiled.experiment.is_some(), "{shown}");
    compiled
}

fn plan(program: &str, passes: Passes) -> Plan {
    passes.plan(&compiled(program).experiment.expect("checked above").graph)
}

#[test]
fn parameters_and_operations_of_one_sample() {
    let compiled = compiled("model(x : [4, 8]) { x >> linear(8, 6) >> gelu >> frozen(random(linear(6, 3))) }");
    let graph = &compiled.experiment.as_ref().expect("checked above").graph;
    let sum = Counter::new(graph).total();
    assert_eq!((sum.trained, sum.frozen), (8.0 * 6.0 + 6.0, 6.0 * 3.0 + 3.0));
    let gelu = graph.nodes[1].flops.expect("declared");
    assert_eq!(sum.flops, 2.0 * 4.0 * (8.0 * 6.0 + 6.0 * 3.0) + gelu);
    assert!(!sum.flops_unknown && !sum.size_unknown);
}

#[test]
fn a_size_that_is_not_known_is_said_to_be_so() {
    let compiled = compiled("model(x : [T?, 8]) { x >> linear(8, 6) }");
    let graph = &compiled.experiment.as_ref().expect("checked above").graph;
    let sum = Counter::new(graph).total();
    assert!(sum.flops_unknown && !sum.size_unknown);
    assert!(memory(&Passes::ALL.plan(graph), None, 1).kept_unknown);
}

/// Kept: x for the first weight, what gelu took, and once what relu gave, which is what the last layer took. The frozen
/// layer keeps nothing.
#[test]
fn a_step_keeps_what_its_backward_pass_needs_and_each_stream_once() {
    let program =
        "model(x : [4, 8]) { x >> linear(8, 8) >> gelu >> frozen(random(linear(8, 8))) >> relu >> linear(8, 3) }";
    let memory = memory(&plan(program, Passes::ALL), None, 5);
    assert_eq!(memory.kept, 4.0 * 5.0 * (3.0 * 4.0 * 8.0));
    let trained = 4.0 * (8.0 * 8.0 + 8.0 + 8.0 * 3.0 + 3.0);
    assert_eq!((memory.trained, memory.gradients, memory.optimizer), (trained, trained, 2.0 * trained));
    assert_eq!(memory.frozen, 4.0 * (8.0 * 8.0 + 8.0));
}

#[test]
fn a_frozen_encoder_keeps_nothing_and_has_no_backward_pass() {
    let program = "model(x : [4, 8]) { x >> frozen(random(linear(8, 8) >> gelu)) >> linear(8, 3) }";
    let marked = plan(program, Passes::ALL);
    assert_eq!(memory(&marked, None, 1).kept, 4.0 * 4.0 * 8.0);
    let [encoder, gelu, head] = [0, 1, 2].map(|index| marked.nodes[index].flops.expect("declared"));
    // The head has a gradient for its parameters, and none to pass on.
    assert_eq!(step_flops(&marked), encoder + gelu + 2.0 * head);
    assert_eq!(step_flops(&plan(program, Passes::NONE)), 3.0 * (encoder + gelu + head));
}

#[test]
fn a_frozen_block_costs_its_forward_pass_and_the_gradient_of_its_inputs() {
    let program = "model(x : [4, 8]) { x >> linear(8, 8) >> frozen(random(linear(8, 8))) }";
    let marked = plan(program, Passes::ALL);
    let [first, block] = [0, 1].map(|index| marked.nodes[index].flops.expect("declared"));
    assert_eq!(step_flops(&marked), 2.0 * first + 2.0 * block);
}

/// Bytes that come and go in a step of one sample, in rows of 8 numbers for 4 tokens.
fn passing_rows(program: &str) -> f64 {
    let most = peak(&plan(program, Passes::ALL), None, 1);
    assert!(!most.unknown);
    most.passing / (4.0 * 4.0 * 8.0)
}

#[test]
fn a_peak_is_what_is_held_at_the_worst_moment() {
    // x, then x and y; backward x, the gradient of y, and that of the weight: (8 · 8 + 8) / 32 rows.
    assert_eq!(passing_rows("model(x : [4, 8]) { x >> linear(8, 8) }"), 2.0 + 72.0 / 32.0);
    // At the second layer: x, y, the gradients of z and of y, and of its weight. At the first one, y is gone, and so is the
    // gradient of z: x, the gradient of y, and those of both weights, which is more.
    let two = passing_rows("model(x : [4, 8]) { x >> linear(8, 8) >> linear(8, 8) }");
    assert_eq!(two, f64::max(4.0 + 72.0 / 32.0, 2.0 + 2.0 * 72.0 / 32.0));
    // Frozen layers keep nothing and have no gradient of a weight: forward x, y and z, backward x and two gradients.
    let frozen = "model(x : [4, 8]) { x >> linear(8, 8) >> frozen(random(linear(8, 8))) }";
    assert_eq!(passing_rows(frozen), f64::max(3.0, 2.0 + 72.0 / 32.0));
    // Behind a frozen encoder there is no way back: at its end are its output, the head's, and the weight's gradient.
    let encoder = "model(x : [4, 8]) { x >> frozen(random(linear(8, 8))) >> linear(8, 8) }";
    assert_eq!(passing_rows(encoder), 2.0 + 72.0 / 32.0);
}

#[test]
fn a_peak_has_what_stands_and_grows_with_the_batch() {
    let plan = plan("model(x : [4, 8]) { x >> linear(8, 8) >> frozen(random(linear(8, 8))) }", Passes::ALL);
    let [one, ten] = [1, 10].map(|batch| peak(&plan, None, batch));
    // The program, weights of both layers, and two moments of the first one's; products of so little are laid out in no
    // more than that takes.
    let without = |peak: Peak| peak.standing - peak.passing;
    assert_eq!(without(one) - PROCESS, 4.0 * (72.0 + 72.0 + 2.0 * 72.0));
    assert_eq!(without(one), without(ten));
    assert_eq!(ten.passing, 4.0 * 10.0 * (4.0 * 8.0) * 3.0);
    assert_eq!(ten.bytes(), ten.standing + ten.passing);
}
