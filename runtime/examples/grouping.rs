//! How long farthest-point sampling and grouping take, as the layers of a model run them. `bench/points/measure.py` holds it
//! against PyTorch.
//!
//!     grouping IN.safetensors OUT.safetensors COUNT SIZE
//!
//! IN has `points` [batch, N, 3]. Writes `taken` [batch, COUNT] and `near` [batch, COUNT, SIZE], and prints the seconds of the
//! sampling, then those of the grouping.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use burn_flex::Flex;
use lmv_compiler::passes::Passes;
use lmv_runtime::layers::Pass;
use lmv_runtime::network::{Network, class_numbers, tensor};
use lmv_runtime::stream::Stream;
use lmv_runtime::weights::Checkpoint;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, count, size] = arguments.as_slice() else {
        return Err("usage: grouping IN.safetensors OUT.safetensors COUNT SIZE".into());
    };
    let file = Checkpoint::open(Path::new(input)).map_err(|failure| failure.to_string())?;
    let shape = file.info("points").ok_or("IN has no `points`")?.shape.clone();
    let [batch, n, 3] = shape[..] else { return Err("`points` is [batch, N, 3]".into()) };
    let points = file.read_f32("points").map_err(|failure| failure.to_string())?;
    let device = Default::default();
    let stream = || Stream::<Flex>::new(tensor::<Flex>(points.clone(), &shape, &device));
    let network = |spec: String| -> Result<Network<Flex>, Box<dyn Error>> {
        let experiment = lmv_compiler::compile("grouping.lmv", &spec, &[]).experiment.ok_or("the spec is right")?;
        Ok(Network::new(&Passes::NONE.plan(&experiment.graph), &[]).map_err(|failure| failure.to_string())?)
    };
    let sampling = network(format!("model(points : [{n}, 3]) {{ points >> farthest_points({count}) }}"))?;
    let gathering =
        network(format!("model(points : [{n}, 3], taken : [{count}] of class({n})) {{ (points, taken) >> gather }}"))?;
    let grouping = network(format!(
        "model(points : [{n}, 3], centres : [{count}, 3]) {{ (points, centres) >> nearest_points({size}) }}"
    ))?;
    let run = |network: &Network<Flex>, inputs: Vec<Stream<Flex>>| {
        let begun = Instant::now();
        let found = network.forward(inputs, &[], &mut Pass::evaluating()).remove(0);
        (found, begun.elapsed().as_secs_f64())
    };
    let (taken, sampled) = run(&sampling, vec![stream()]);
    let (centres, _) = run(&gathering, vec![stream(), taken.clone()]);
    let (near, grouped) = run(&grouping, vec![stream(), centres]);
    let bytes = |stream: Stream<Flex>| -> Vec<u8> {
        class_numbers::<Flex>(stream.classes()).into_iter().flat_map(|n| (n as i32).to_le_bytes()).collect()
    };
    let (count, size) = (count.parse::<usize>()?, size.parse::<usize>()?);
    let (taken, near) = (bytes(taken), bytes(near));
    let view = |shape: Vec<usize>, bytes| safetensors::tensor::TensorView::new(safetensors::Dtype::I32, shape, bytes);
    let tensors = [("taken", view(vec![batch, count], &taken)?), ("near", view(vec![batch, count, size], &near)?)];
    std::fs::write(output, safetensors::serialize(tensors, None)?)?;
    println!("{sampled:.6} {grouped:.6}");
    Ok(())
}
