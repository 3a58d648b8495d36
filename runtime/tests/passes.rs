//! What passes make of a plan gives the same numbers: outputs, taps and gradients with and without them.

mod golden_support;

use std::collections::BTreeMap;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{Bool, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use golden_support::compile;
use lmv_compiler::graph::{Graph, Parameter};
use lmv_compiler::passes::Passes;
use lmv_compiler::plan::Plan;
use lmv_runtime::layers::Pass;
use lmv_runtime::network::{Network, TapedNetwork, tensor, values};
use lmv_runtime::parameters::make;
use lmv_runtime::stream::Stream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Relative to the largest number of the tensor.
const TOLERANCE: f32 = 1e-5;

const FOLDING: Passes = Passes { fold_norms: true, ..Passes::NONE };
const JOINING: Passes = Passes { join_linears: true, ..Passes::NONE };
const FRONTIER: Passes = Passes { freeze_frontier: true, ..Passes::NONE };

/// Numbers between -1 and 1 that only the name decides.
fn noise(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(17u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A parameter that is nothing special: gains far from one and biases far from zero, weights that keep a stream's size.
fn parameter(parameter: &Parameter) -> Vec<f32> {
    let dims = parameter.shape.numbers().expect("known");
    let noise = noise(&parameter.path, dims.iter().product());
    let is_norm = parameter.layer.ends_with("_norm");
    let fan_in = dims.iter().skip(1).product::<usize>() as f32;
    match dims.len() {
        1 if is_norm && parameter.path.ends_with("weight") => noise.iter().map(|x| 1.0 + 0.7 * x).collect(),
        1 => noise.iter().map(|x| 0.7 * x).collect(),
        _ => noise.iter().map(|x| x * 1.7 / fan_in.sqrt()).collect(),
    }
}

/// The inputs of a graph, four samples of each; a varying length is 6, of which each sample has one less than the one before.
fn inputs(graph: &Graph) -> Vec<Stream<Flex>> {
    let device = Default::default();
    let of = |port: &lmv_compiler::graph::Port| {
        let shape = graph.shape(port.stream);
        let dims: Vec<usize> =
            std::iter::once(4).chain(shape.0.iter().map(|dim| dim.known().map_or(6, |n| n as usize))).collect();
        let stream = Stream::new(tensor::<Flex>(noise(&port.name, dims.iter().product()), &dims, &device));
        let mask = shape.varies().then(|| {
            let real: Vec<bool> = (0..24).map(|i| i % 6 < 6 - i / 6).collect();
            Tensor::<Flex, 2, Bool>::from_data(TensorData::new(real, [4, 6]), &device).into_primitive()
        });
        Stream { mask, ..stream }
    };
    graph.inputs.iter().map(of).collect()
}

/// What a step of training draws at random, the same for each call.
fn training() -> Pass {
    Pass { training: Some(ChaCha8Rng::seed_from_u64(5)) }
}

type Named = BTreeMap<String, Vec<f32>>;

/// Outputs and taps by name, without gradients.
fn evaluated(graph: &Graph, passes: Passes) -> Named {
    let plan = passes.plan(graph);
    let taps: Vec<String> = plan.taps.iter().map(|port| port.name.clone()).collect();
    let network = Network::<Flex>::new(&plan, &taps).expect("the layers are there");
    let tensors = tensors(&plan);
    let found = network.forward(inputs(graph), &tensors, &mut Pass { training: None });
    let names = plan.outputs.iter().map(|port| port.name.clone()).chain(taps);
    names.zip(found).map(|(name, stream)| (name, values::<Flex>(stream.tensor))).collect()
}

fn tensors(plan: &Plan) -> Vec<FloatTensor<Flex>> {
    make::<Flex>(plan, &Default::default(), |p| Ok(parameter(p))).expect("all sizes are known")
}

/// Outputs of a step of training, and the gradient of a sum over all of them, each number with a weight of its own.
fn trained(graph: &Graph, passes: Passes) -> Named {
    type Tape = Autodiff<Flex>;
    let plan = passes.plan(graph);
    let network = TapedNetwork::<Flex>::new(&plan, &[]).expect("the layers are there");
    let (indexes, paths): (Vec<usize>, Vec<String>) =
        plan.trained().map(|(index, parameter)| (index, parameter.path.clone())).unzip();
    let taped = network.forward(inputs(graph), &tensors(&plan), &indexes, &mut training());
    let mut named = Named::new();
    let mut loss: Option<FloatTensor<Tape>> = None;
    for (port, stream) in plan.outputs.iter().zip(taped.outputs) {
        let inner = Tape::inner(stream.tensor.clone());
        let dims = stream.dims();
        named.insert(port.name.clone(), values::<Flex>(inner));
        let weights = noise(&format!("weights of {}", port.name), dims.iter().product());
        let weights = Tape::from_inner(tensor::<Flex>(weights, &dims, &Default::default()));
        let sum = Tape::float_sum(Tape::float_mul(stream.tensor, weights));
        loss = Some(match loss {
            Some(loss) => Tape::float_add(loss, sum),
            None => sum,
        });
    }
    let mut gradients = Tape::backward(loss.expect("an output"));
    for (path, leaf) in paths.into_iter().zip(&taped.leaves) {
        let gradient = Tape::grad_remove(leaf, &mut gradients).unwrap_or_else(|| panic!("{path} has a gradient"));
        named.insert(format!("gradient of {path}"), values::<Flex>(gradient));
    }
    named
}

/// How far two sets of numbers are apart, relative to the largest of each tensor.
fn apart(what: &str, one: &Named, other: &Named) -> f32 {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{what}");
    let mut worst = 0.0f32;
    for (name, a) in one {
        let b = &other[name];
        assert_eq!(a.len(), b.len(), "{what}: {name}");
        let largest = a.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert!(largest > 1e-3 && largest.is_finite(), "{what}: {name} says something: {largest}");
        let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
        assert!(off <= TOLERANCE, "{what}: {name} is off by {off:e}");
        worst = worst.max(off);
    }
    worst
}

/// Holds a program without passes against each pass alone and all of them; those of `change` must change its plan.
fn agree(program: &str, change: &[Passes]) {
    let graph = &compile(program).graph;
    let (plain, plain_step) = (evaluated(graph, Passes::NONE), trained(graph, Passes::NONE));
    for passes in [FOLDING, JOINING, FRONTIER, Passes::ALL] {
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
            &[FOLDING, JOINING, FRONTIER, Passes::ALL],
        );
    }
}

#[test]
fn opt_blocks_with_padding() {
    for (norm_first, change) in [
        ("true", &[FOLDING, JOINING, FRONTIER, Passes::ALL][..]),
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
    agree(FROZEN_ENCODER, &[FOLDING, FRONTIER, Passes::ALL]);
}

#[test]
fn a_frozen_layer_beside_a_trained_one() {
    agree(
        "model(x : [T?, 16]) {
  let normed = x >> linear(16, 24) >> frozen(random(layer_norm(24) >> linear(24, 16)))
  (normed >> frozen(random(linear(16, 8))), normed >> linear(16, 8)) >> add
}",
        &[FOLDING, FRONTIER, Passes::ALL],
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
        assert!(output.tensor.is_tracked() && !seen.tensor.is_tracked());
        seen.tensor.node.order
    };
    assert!(steps_to_it(Passes::NONE) > 10, "without the pass, each operation of the encoder is a node");
    assert_eq!(steps_to_it(FRONTIER), 0, "with it, the tape begins behind the encoder");
}
