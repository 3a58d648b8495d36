//! What passes make of a plan gives the same numbers: outputs, taps and gradients with and without them.

mod agreement;
mod golden_support;

use agreement::{apart, evaluated, inputs, tensors, trained, training};
use burn_flex::Flex;
use golden_support::compile;
use lmv_compiler::passes::Passes;
use lmv_runtime::network::TapedNetwork;

const JOINING: Passes = Passes { join_linears: true, ..Passes::NONE };
const FRONTIER: Passes = Passes { freeze_frontier: true, ..Passes::NONE };

/// Holds a program without passes against each pass alone and all of them; those of `change` must change its plan.
fn agree(program: &str, change: &[Passes]) {
    let graph = &compile(program).graph;
    let (plain, plain_step) = (evaluated(graph, Passes::NONE), trained(graph, Passes::NONE));
    for passes in [JOINING, FRONTIER, Passes::ALL] {
        let changed = format!("{:?}", passes.plan(graph)) != format!("{:?}", Passes::NONE.plan(graph));
        assert_eq!(changed, change.contains(&passes), "{program}: {passes:?}");
        let what = format!("{program}: {passes:?}");
        let off = apart(&what, &plain, &evaluated(graph, passes));
        let off_step = apart(&what, &plain_step, &trained(graph, passes));
        println!("{passes:?}: outputs within {off:e}, a step within {off_step:e}");
        if passes == FRONTIER {
            assert_eq!((off, off_step), (0.0, 0.0), "{what}: on and off the tape, to the bit");
        }
    }
}

#[test]
fn a_vision_transformer_around_a_llama_block_with_grouped_heads() {
    for block in ["toy.layer[0]", "toy.layer[0](rope = true, causal = true)"] {
        agree(
            &format!(
                "llm toy = llama(dim = 32, heads = 4, kv_heads = 2, ffn = 48, layers = 1)
model(image : [3, 16, 16]) {{
  image >> vit(image = 16, patch = 4, d = 24, depth = 2, heads = 3, drop_path = 0.3) >> linear(24, 32, bias = false)
    >> frozen({block}) >> rms_norm(32, affine = false) >> linear(32, 24) >> head(5)
}}"
            ),
            &[JOINING, FRONTIER, Passes::ALL],
        );
    }
}

#[test]
fn opt_blocks_with_padding() {
    for (norm_first, change) in [
        ("true", &[JOINING, FRONTIER, Passes::ALL][..]),
        // Each norm is behind a sum, and the next sum reads it.
        ("false", &[JOINING, FRONTIER, Passes::ALL][..]),
    ] {
        agree(
            &format!(
                "llm toy = opt(dim = 32, heads = 4, ffn = 64, layers = 2, norm_first = {norm_first})
model(x : [T?, 16]) {{ x >> linear(16, 32) >> frozen(toy.layer[0..2]) >> mean_tokens >> linear(32, 7) }}"
            ),
            change,
        );
    }
}

const FROZEN_ENCODER: &str = "model(image : [3, 16, 16]) {
  let seen = image >> frozen(random(vit(image = 16, patch = 4, d = 24, depth = 2, heads = 3, drop_path = 0.3)))
  seen >> head(5)
}";

#[test]
fn a_frozen_encoder() {
    agree(FROZEN_ENCODER, &[FRONTIER, Passes::ALL]);
}

#[test]
fn a_frozen_layer_beside_a_trained_one() {
    agree(
        "model(x : [T?, 16]) {
  let normed = x >> linear(16, 24) >> frozen(random(layer_norm(24) >> linear(24, 16)))
  (normed >> frozen(random(linear(16, 8))), normed >> linear(16, 8)) >> add
}",
        &[FRONTIER, Passes::ALL],
    );
}

/// What is upstream of every trained parameter leaves no trace on the gradient tape.
#[test]
fn a_frozen_encoder_runs_without_a_tape() {
    let graph = &compile(FROZEN_ENCODER).graph;
    let steps_to_it = |passes: Passes| {
        let plan = passes.plan(graph);
        let network = TapedNetwork::<Flex>::new(&plan, &["seen".to_owned()]).expect("the layers are there");
        let indexes: Vec<usize> = plan.trained().map(|(index, _)| index).collect();
        let taped = network.forward(inputs(graph), &tensors(&plan), &indexes, &mut training());
        let [output, seen] = &taped.outputs[..] else { panic!("the output and the tap") };
        assert!(output.numbers().is_tracked() && !seen.numbers().is_tracked());
        seen.numbers().node.order
    };
    assert!(steps_to_it(Passes::NONE) > 10, "without the pass, each operation of the encoder is a node");
    assert_eq!(steps_to_it(FRONTIER), 0, "with it, the tape begins behind the encoder");
}
