//! What tests of agreement share: a graph run on numbers that only its names decide, evaluated and in a step of training, and
//! how far two such runs are apart.
#![allow(dead_code)] // Each test binary uses its own part.

use std::collections::BTreeMap;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{Bool, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
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
pub const TOLERANCE: f32 = 1e-5;

/// Numbers between -1 and 1 that only the name decides.
pub fn noise(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(17u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A parameter that is nothing special: gains far from one and biases far from zero, weights that keep a stream's size.
pub fn parameter(parameter: &Parameter) -> Vec<f32> {
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
pub fn inputs(graph: &Graph) -> Vec<Stream<Flex>> {
    let device = Default::default();
    let of = |port: &lmv_compiler::graph::Port| {
        let shape = graph.shape(port.stream);
        let dims: Vec<usize> =
            std::iter::once(4).chain(shape.0.iter().map(|dim| dim.known().map_or(6, |n| n as usize))).collect();
        let stream = Stream::new(tensor::<Flex>(noise(&port.name, dims.iter().product()), &dims, &device));
        let mask = || {
            let real: Vec<bool> = (0..24).map(|i| i % 6 < 6 - i / 6).collect();
            Tensor::<Flex, 2, Bool>::from_data(TensorData::new(real, [4, 6]), &device).into_primitive()
        };
        let varying = shape.0.iter().enumerate().filter(|(_, dim)| dim.varies());
        varying.fold(stream, |stream, (dim, _)| stream.masked(dim, Some(mask())))
    };
    graph.inputs.iter().map(of).collect()
}

/// What a step of training draws at random, the same for each call.
pub fn training() -> Pass {
    Pass::training(ChaCha8Rng::seed_from_u64(5))
}

pub type Named = BTreeMap<String, Vec<f32>>;

/// Outputs and taps by name, without gradients.
pub fn evaluated(graph: &Graph, passes: Passes) -> Named {
    let plan = passes.plan(graph);
    let taps: Vec<String> = plan.taps.iter().map(|port| port.name.clone()).collect();
    let network = Network::<Flex>::new(&plan, &taps).expect("the layers are there");
    let tensors = tensors(&plan);
    let found = network.forward(inputs(graph), &tensors, &mut Pass::evaluating());
    let names = plan.outputs.iter().map(|port| port.name.clone()).chain(taps);
    names.zip(found).map(|(name, stream)| (name, values::<Flex>(stream.into_numbers()))).collect()
}

pub fn tensors(plan: &Plan) -> Vec<FloatTensor<Flex>> {
    make::<Flex, Vec<f32>>(plan, &Default::default(), |p| Ok(parameter(p))).expect("all sizes are known")
}

/// Outputs of a step of training, and the gradient of a sum over all of them, each number with a weight of its own.
pub fn trained(graph: &Graph, passes: Passes) -> Named {
    type Tape = Autodiff<Flex>;
    let plan = passes.plan(graph);
    let network = TapedNetwork::<Flex>::new(&plan, &[]).expect("the layers are there");
    let (indexes, paths): (Vec<usize>, Vec<String>) =
        plan.trained().map(|(index, parameter)| (index, parameter.path.clone())).unzip();
    let taped = network.forward(inputs(graph), &tensors(&plan), &indexes, &mut training());
    let mut named = Named::new();
    let mut loss: Option<FloatTensor<Tape>> = None;
    for (port, stream) in plan.outputs.iter().zip(taped.outputs) {
        let inner = Tape::inner(stream.numbers());
        let dims = stream.dims();
        named.insert(port.name.clone(), values::<Flex>(inner));
        let weights = noise(&format!("weights of {}", port.name), dims.iter().product());
        let weights = Tape::from_inner(tensor::<Flex>(weights, &dims, &Default::default()));
        let sum = Tape::float_sum(Tape::float_mul(stream.into_numbers(), weights));
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
pub fn apart(what: &str, one: &Named, other: &Named) -> f32 {
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
