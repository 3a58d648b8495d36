//! What passes save: `cargo run --release -p lmv-runtime --example passes [ROUNDS [BATCH]]`.
//!
//! Each round runs every model once with each choice of passes, in turn, so that whatever else the machine does falls on
//! all of them. Printed are medians over the rounds, and each choice's time over that without passes, as the median of
//! the rounds' own ratios.

use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use lmv_compiler::graph::Graph;
use lmv_compiler::passes::Passes;
use lmv_compiler::plan::Plan;
use lmv_runtime::layers::Pass;
use lmv_runtime::network::{Network, TapedNetwork, tensor};
use lmv_runtime::parameters::make;
use lmv_runtime::stream::Stream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Tokens of a stream: those of an image of 224 × 224 in patches of 16, and the class token.
const TOKENS: usize = 197;

const MODELS: [(&str, &str); 5] = [
    (
        "LLaMA block, dim 192",
        "llm toy = llama(dim = 192, heads = 6, ffn = 512, layers = 1)\nmodel(x : [197, 192]) { x >> linear(192, 192) >> frozen(toy.layer[0]) }",
    ),
    (
        "LLaMA block, dim 1024",
        "llm toy = llama(dim = 1024, heads = 16, ffn = 2816, layers = 1)\nmodel(x : [197, 1024]) { x >> linear(1024, 1024) >> frozen(toy.layer[0]) }",
    ),
    ("OPT-125M block", "model(x : [197, 768]) { x >> linear(768, 768) >> frozen(opt_125m.layer[0]) }"),
    ("LLaMA-7B block", "model(x : [197, 384]) { x >> linear(384, 4096) >> frozen(llama7b.layer[31]) }"),
    ("frozen ViT-S, trained head", "model(image : [3, 224, 224]) { image >> frozen(random(vit_small)) >> head(1000) }"),
];

const CHOICES: [(&str, Passes); 4] = [
    ("none", Passes::NONE),
    ("join linears", Passes { join_linears: true, ..Passes::NONE }),
    ("freeze frontier", Passes { freeze_frontier: true, ..Passes::NONE }),
    ("all", Passes::ALL),
];

/// A model as one choice of passes has it.
struct Prepared {
    plan: Plan,
    evaluating: Network<Flex>,
    training: TapedNetwork<Flex>,
    tensors: Vec<FloatTensor<Flex>>,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (rounds, batch) = (arguments.next().unwrap_or(15), arguments.next().unwrap_or(4));
    println!("batches of {batch}, {rounds} rounds, {} threads; medians in milliseconds", rayon::current_num_threads());
    for (name, program) in MODELS {
        let compiled = lmv_compiler::compile(name, program, &[]);
        let Some(experiment) = compiled.experiment else { panic!("{name} does not compile") };
        measure(name, &experiment.graph, rounds, batch);
    }
}

fn measure(name: &str, graph: &Graph, rounds: usize, batch: usize) {
    let prepared: Vec<Prepared> = CHOICES.iter().map(|(_, passes)| prepare(*passes, graph)).collect();
    let dims: Vec<usize> = std::iter::once(batch)
        .chain(graph.shape(graph.inputs[0].stream).0.iter().map(|dim| dim.known().map_or(TOKENS, |n| n as usize)))
        .collect();
    let input = tensor::<Flex>(noise(1, dims.iter().product()), &dims, &Default::default());
    let mut forward = vec![Vec::new(); CHOICES.len()];
    let mut step = vec![Vec::new(); CHOICES.len()];
    for round in 0..=rounds {
        for (choice, model) in prepared.iter().enumerate() {
            let times = [evaluate(model, &input), train(model, &input)];
            // The first round warms up.
            if round > 0 {
                forward[choice].push(times[0]);
                step[choice].push(times[1]);
            }
        }
    }
    println!("\n{name}\n  {:16} {:>20} {:>28}", "", "forward", "forward and backward");
    for (choice, (label, _)) in CHOICES.iter().enumerate() {
        let ratio = |times: &[Vec<f64>]| median(times[choice].iter().zip(&times[0]).map(|(a, b)| a / b).collect());
        println!(
            "  {label:16} {:>12.1}  ×{:.3} {:>20.1}  ×{:.3}",
            median(forward[choice].clone()),
            ratio(&forward),
            median(step[choice].clone()),
            ratio(&step)
        );
    }
}

fn prepare(passes: Passes, graph: &Graph) -> Prepared {
    let plan = passes.plan(graph);
    let tensors = make::<Flex, Vec<f32>>(&plan, &Default::default(), |parameter| {
        let dims = parameter.shape.numbers().unwrap_or_default();
        let scale = 1.0 / (dims.iter().skip(1).product::<usize>() as f32).sqrt();
        Ok(noise(2, dims.iter().product()).into_iter().map(|x| x * scale).collect())
    });
    let (Ok(evaluating), Ok(training), Ok(tensors)) =
        (Network::new(&plan, &[]), TapedNetwork::new(&plan, &[]), tensors)
    else {
        panic!("the models here can run");
    };
    Prepared { plan, evaluating, training, tensors }
}

/// Milliseconds of a forward pass without gradients.
fn evaluate(model: &Prepared, input: &FloatTensor<Flex>) -> f64 {
    let start = Instant::now();
    let outputs = model.evaluating.forward(vec![Stream::new(input.clone())], &model.tensors, &mut Pass::evaluating());
    let time = start.elapsed().as_secs_f64() * 1e3;
    drop(outputs);
    time
}

/// Milliseconds of a forward pass on the tape and its backward pass.
fn train(model: &Prepared, input: &FloatTensor<Flex>) -> f64 {
    let trained: Vec<usize> = model.plan.trained().map(|(index, _)| index).collect();
    let mut pass = Pass::training(ChaCha8Rng::seed_from_u64(3));
    let start = Instant::now();
    let taped = model.training.forward(vec![Stream::new(input.clone())], &model.tensors, &trained, &mut pass);
    let loss = Autodiff::<Flex>::float_sum(taped.outputs[0].numbers());
    let mut gradients = Autodiff::<Flex>::backward(loss);
    let found: Vec<_> =
        taped.leaves.iter().filter_map(|leaf| Autodiff::<Flex>::grad_remove(leaf, &mut gradients)).collect();
    let time = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(found.len(), trained.len(), "every trained parameter has a gradient");
    time
}

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
