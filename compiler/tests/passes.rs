//! Passes on small programs: the plan before and after, and where a pass must leave a plan alone.
//! `INSTA_UPDATE=always cargo test` writes the snapshots anew; read the difference before it is kept.

use std::fmt::Write;

use lmv_compiler::compile;
use lmv_compiler::graph::{Graph, StreamId};
use lmv_compiler::passes::{Passes, freeze_frontier, join_linears};
use lmv_compiler::plan::{Plan, Tensor};

fn graph(program: &str) -> Graph {
    let compiled = compile("spec.lmv", program, &[]);
    let shown: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    compiled.experiment.unwrap_or_else(|| panic!("{shown}")).graph
}

/// A plan as text: a line for each port, node and tensor.
fn text(plan: &Plan) -> String {
    let mut text = String::new();
    let stream = |id: StreamId| format!("s{} {}", id.0, plan.shape(id));
    let mut line = |line: String| writeln!(text, "{}", line.trim_end()).expect("text");
    plan.inputs.iter().for_each(|port| line(format!("input {} = {}", port.name, stream(port.stream))));
    for node in &plan.nodes {
        let outputs: Vec<String> = node.outputs.iter().map(|id| stream(*id)).collect();
        let inputs: Vec<String> = node.inputs.iter().map(|id| format!("s{}", id.0)).collect();
        let mut said = format!("{} = {} {}({})", outputs.join(", "), node.layer, node.path, inputs.join(", "));
        for (name, id) in &node.tensors {
            let tensor = &plan.tensors[id.0];
            let state = if tensor.frozen { " frozen" } else { "" };
            write!(said, "\n    {name} {}{state} = {}", tensor.shape, made_of(plan, tensor)).expect("text");
        }
        let gradients = match (node.gradients.inputs, node.gradients.parameters) {
            (true, true) => "",
            (true, false) => "\n    no gradients of its parameters",
            (false, true) => "\n    no gradients of its inputs",
            (false, false) => "\n    no gradients",
        };
        line(said + gradients);
    }
    plan.outputs.iter().for_each(|port| line(format!("output {} = s{}", port.name, port.stream.0)));
    plan.taps.iter().for_each(|port| line(format!("tap {} = s{}", port.name, port.stream.0)));
    text
}

/// What a tensor is made of.
fn made_of(plan: &Plan, tensor: &Tensor) -> String {
    let paths: Vec<&str> = tensor.parameters.iter().map(|id| &*plan.parameters[id.0].path).collect();
    if let [one] = paths[..] { one.into() } else { format!("[{}]", paths.join("; ")) }
}

/// A snapshot of a program before and after a pass.
macro_rules! passes {
    ($($name:ident: $pass:ident, $program:expr;)*) => {$(
        #[test]
        fn $name() {
            let before = Plan::new(&graph($program));
            let after = $pass(before.clone());
            assert_ne!(text(&before), text(&after), "the pass applies");
            let shown = format!("{}\n--- before ---\n{}--- after ---\n{}", $program.trim(), text(&before), text(&after));
            insta::assert_snapshot!(stringify!($name), shown);
        }
    )*};
}

/// Programs that a pass must leave as they are.
macro_rules! leaves {
    ($($name:ident: $pass:ident, $program:expr;)*) => {$(
        #[test]
        fn $name() {
            let before = Plan::new(&graph($program));
            assert_eq!(text(&before), text(&$pass(before.clone())));
        }
    )*};
}

const LLAMA: &str = "llm toy = llama(dim = 8, heads = 4, kv_heads = 2, ffn = 12, layers = 1)\n";
const OPT: &str = "llm toy = opt(dim = 8, heads = 2, ffn = 16, layers = 1)\n";

passes! {
    frontier_of_a_frozen_encoder: freeze_frontier,
        "model(x : [4, 8]) { x >> frozen(random(linear(8, 8) >> gelu)) >> linear(8, 3) }";
    frontier_with_two_branches: freeze_frontier,
        "model(x : [4, 8]) { (x >> linear(8, 8) as a, x >> frozen(random(linear(8, 8))) as b) >> add >> frozen(random(linear(8, 8))) as c }";
    frontier_where_nothing_is_trained: freeze_frontier,
        "model(x : [4, 8]) { x >> frozen(random(linear(8, 8))) >> relu }";
    frontier_of_a_thawed_middle: freeze_frontier,
        "model(x : [4, 8]) { x >> frozen(random(linear(8, 8) >> trainable(linear(8, 8)) >> gelu >> linear(8, 8))) }";
    joining_two_of_three: join_linears,
        "model(x : [4, 8]) { x >> (frozen(random(linear(8, 3))) as a, linear(8, 3) as b, frozen(random(linear(8, 5))) as c) }";
    joining_with_and_without_a_bias: join_linears,
        "model(x : [4, 8]) { x >> (frozen(random(linear(8, 3))) as a, frozen(random(linear(8, 3, bias = false))) as b, frozen(random(linear(8, 5))) as c, frozen(random(linear(8, 5, bias = false))) as d) }";
    joining_what_is_a_tap_and_an_output: join_linears,
        "model(x : [T?, 8]) {\n  let seen = x >> frozen(random(linear(8, 3))) as a\n  (seen >> relu, x >> frozen(random(linear(8, 3))) as b)\n}";
}

leaves! {
    trained_layers_are_not_joined: join_linears, "model(x : [4, 8]) { x >> (linear(8, 3), linear(8, 3)) }";
    layers_of_different_streams: join_linears,
        "model(x : [4, 8], y : [4, 8]) { (x, y) >> (frozen(random(linear(8, 3))), frozen(random(linear(8, 3)))) }";
    layers_one_behind_the_other: join_linears,
        "model(x : [4, 8]) { x >> frozen(random(linear(8, 8) >> linear(8, 8))) }";
    what_only_a_tap_needs_is_not_joined: join_linears,
        "model(x : [4, 8]) {\n  let seen = x >> frozen(random(linear(8, 3))) as a\n  x >> frozen(random(linear(8, 3))) as b\n}";
}

#[test]
fn a_llama_block_is_joined_and_marked() {
    let program = format!("{LLAMA}model(x : [T?, 8]) {{ x >> linear(8, 8) as fc >> frozen(random(toy.layer[0])) }}");
    insta::assert_snapshot!("llama_block", text(&Passes::ALL.plan(&graph(&program))));
}

#[test]
fn an_opt_block_is_joined_and_marked() {
    let program = format!("{OPT}model(x : [T?, 8]) {{ x >> frozen(random(toy.layer[0])) >> linear(8, 8) as fc }}");
    insta::assert_snapshot!("opt_block", text(&Passes::ALL.plan(&graph(&program))));
}

#[test]
fn a_trained_block_is_left_alone() {
    let program = format!("{LLAMA}model(x : [T?, 8]) {{ x >> linear(8, 8) >> trainable(toy.layer[0]) }}");
    let joined = Passes { freeze_frontier: false, ..Passes::ALL };
    assert_eq!(text(&Passes::NONE.plan(&graph(&program))), text(&joined.plan(&graph(&program))));
}

/// What the runtime, checkpoints and `--tap` hold on to.
#[test]
fn names_and_fillings_stay_as_the_graph_has_them() {
    for block in [LLAMA, OPT] {
        let program = format!(
            "{block}model(x : [T?, 8]) {{\n  let seen = x >> linear(8, 8) >> frozen(toy.layer[0])\n  seen >> linear(8, 3)\n}}"
        );
        let graph = graph(&program);
        let plan = Passes::ALL.plan(&graph);
        assert_eq!(format!("{:?}", plan.parameters), format!("{:?}", graph.parameters));
        for (ours, theirs) in
            [(&plan.inputs, &graph.inputs), (&plan.outputs, &graph.outputs), (&plan.taps, &graph.taps)]
        {
            assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
            assert!(ours.iter().all(|port| plan.shape(port.stream) == graph.shape(port.stream)));
        }
        let trained: Vec<&str> = plan.trained().map(|(_, parameter)| parameter.path.as_str()).collect();
        assert_eq!(trained, ["linear.weight", "linear.bias", "linear_2.weight", "linear_2.bias"]);
        // Every parameter still has its part in the model.
        let mut used: Vec<usize> = plan.tensors.iter().flat_map(|tensor| &tensor.parameters).map(|id| id.0).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used, (0..graph.parameters.len()).collect::<Vec<_>>());
    }
}

#[test]
fn every_stream_is_made_before_it_is_used() {
    let program = format!("{LLAMA}model(x : [T?, 8]) {{ x >> linear(8, 8) >> frozen(random(toy.layer[0])) }}");
    let plan = Passes::ALL.plan(&graph(&program));
    let mut made: Vec<StreamId> = plan.inputs.iter().map(|port| port.stream).collect();
    for node in &plan.nodes {
        assert!(node.inputs.iter().all(|stream| made.contains(stream)), "{}", node.path);
        made.extend(&node.outputs);
    }
    assert!(plan.outputs.iter().chain(&plan.taps).all(|port| made.contains(&port.stream)));
}
