//! Single layers against timm and PyTorch: `tests/golden/layers.py` wrote the numbers.

mod golden_support;

use std::path::{Path, PathBuf};

use burn_flex::Flex;
use golden_support::{Golden, compile, difference, infer, read, write};
use lmv_compiler::config::Config;
use lmv_compiler::passes::Passes;
use lmv_runtime::layers::Pass;
use lmv_runtime::network::{Network, tensor, values};
use lmv_runtime::stream::Stream;
use lmv_runtime::training::seeds::Seeds;
use tempfile::TempDir;

fn case(name: &str) -> Golden {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/layers.safetensors"), name)
}

/// A file with these golden tensors under the names that a model gives them.
fn file(tensors: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("in.safetensors");
    let read: Vec<(&str, Golden)> = tensors.iter().map(|(name, golden)| (*name, case(golden))).collect();
    write(&path, &read.iter().map(|(name, golden)| (*name, golden)).collect::<Vec<_>>());
    (folder, path)
}

/// What a model of one input and no parameters gives for `x`, in training step `step` or while evaluating.
fn run(network: &Network<Flex>, x: &Golden, step: Option<u64>) -> Vec<f32> {
    let input = Stream::new(tensor::<Flex>(x.values.clone(), &x.shape, &Default::default()));
    let mut pass = match step {
        Some(step) => Pass::training(Seeds::new(7).stream("drop_path", 0, step)),
        None => Pass::evaluating(),
    };
    let output = network.forward(vec![input], &[], &mut pass).remove(0);
    values::<Flex>(output.into_numbers())
}

fn network(layers: &str) -> Network<Flex> {
    let graph = compile(&format!("model(x : [3, 4]) {{ x >> {layers} }}")).graph;
    Network::new(&Passes::NONE.plan(&graph), &[]).expect("the layers are there")
}

/// That `found` of `n` draws lies within five deviations of the share it has in truth.
fn likely(what: &str, found: usize, n: usize, share: f64) {
    let (expected, deviation) = (n as f64 * share, (n as f64 * share * (1.0 - share)).sqrt());
    assert!((found as f64 - expected).abs() <= 5.0 * deviation, "{what}: {found} of {n}, expected about {expected}");
}

#[test]
fn stochastic_depth_drops_and_scales_whole_samples_as_timms() {
    let x = case("stochastic_depth.x");
    let (batch, steps) = (x.shape[0], 2000);
    let sample = x.values.len() / batch;
    for rate in ["0.1", "0.25", "0.5", "0.9"] {
        let kept = case(&format!("stochastic_depth.kept_{rate}"));
        let network = network(&format!("stochastic_depth({rate})"));
        let (mut dropped, mut mixed) = (0, 0);
        for step in 0..steps {
            let y = run(&network, &x, Some(step));
            let mut dropped_here = 0;
            for (found, expected) in y.chunks_exact(sample).zip(kept.values.chunks_exact(sample)) {
                if found.iter().all(|&number| number == 0.0) {
                    dropped_here += 1;
                    continue;
                }
                for (a, b) in found.iter().zip(expected) {
                    // The factor may be rounded once more or less.
                    assert!((a - b).abs() <= 3e-7 * b.abs(), "rate {rate}, step {step}: {a} and not {b}");
                }
            }
            dropped += dropped_here;
            mixed += usize::from(dropped_here > 0 && dropped_here < batch);
        }
        let rate: f64 = rate.parse().expect("a number");
        likely("dropped", dropped, batch * steps as usize, rate);
        // Each sample has a draw of its own: all of a batch are dropped, or all kept, as seldom as that makes it.
        let alike = rate.powi(batch as i32) + (1.0 - rate).powi(batch as i32);
        likely("batches with both", mixed, steps as usize, 1.0 - alike);
    }
}

#[test]
fn two_stochastic_depths_of_a_step_draw_each_for_itself() {
    let x = case("stochastic_depth.x");
    let (batch, steps) = (x.shape[0], 500);
    let network = network("stochastic_depth(0.5) >> stochastic_depth(0.5)");
    let dropped: usize = (0..steps)
        .map(|step| {
            let y = run(&network, &x, Some(step));
            y.chunks_exact(y.len() / batch).filter(|sample| sample.iter().all(|&number| number == 0.0)).count()
        })
        .sum();
    likely("dropped by one of the two", dropped, batch * steps as usize, 0.75);
}

#[test]
fn stochastic_depth_does_nothing_while_evaluating_or_at_rate_0() {
    let x = case("stochastic_depth.x");
    assert_eq!(run(&network("stochastic_depth(0.5)"), &x, None), case("stochastic_depth.evaluated").values);
    for step in 0..20 {
        assert_eq!(run(&network("stochastic_depth(0.0)"), &x, Some(step)), x.values);
    }
}

#[test]
fn the_rates_of_a_vit_rise_with_depth_as_timms() {
    let experiment = compile("model(image : [3, 224, 224]) { image >> vit_small >> head(classes = 5) }");
    let rates: Vec<f64> = experiment
        .graph
        .nodes
        .iter()
        .filter(|node| node.layer == "stochastic_depth")
        .map(|node| node.arguments.get("p").and_then(Config::float).expect("a rate"))
        .collect();
    let expected = case("stochastic_depth.rates").values;
    // Two in each block, of one rate.
    assert_eq!(rates.len(), 2 * expected.len());
    for (pair, expected) in rates.chunks_exact(2).zip(&expected) {
        assert!(pair[0] == pair[1] && (pair[0] - f64::from(*expected)).abs() <= 1e-7, "{pair:?} and not {expected}");
    }
}

#[test]
fn the_mean_is_over_real_tokens() {
    let (_folder, plain) = file(&[("x", "mean_tokens.x")]);
    let (_masked, masked) = file(&[("x", "mean_tokens.x"), ("x.mask", "mean_tokens.mask")]);
    let (fixed, varying) = ("model(x : [5, 6]) { x >> mean_tokens }", "model(x : [T?, 6]) { x >> mean_tokens }");
    for (spec, input, golden) in [
        (fixed, &plain, "mean_tokens.plain"),
        (varying, &plain, "mean_tokens.plain"),
        (varying, &masked, "mean_tokens.masked"),
    ] {
        let off = difference(&infer(spec, Passes::ALL, &[], None, input, &[])["output"], &case(golden));
        // The padding is up to a hundred in size.
        assert!(off <= 1e-5, "{spec}, {golden}: off by {off:e}");
    }
}

#[test]
fn the_mean_of_a_sample_without_a_real_token_is_zero() {
    let mut mask = case("mean_tokens.mask");
    mask.values[..5].fill(0.0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = folder.path().join("in.safetensors");
    write(&input, &[("x", &case("mean_tokens.x")), ("x.mask", &mask)]);
    let found = infer("model(x : [T?, 6]) { x >> mean_tokens }", Passes::ALL, &[], None, &input, &[])
        .remove("output")
        .expect("one");
    assert_eq!(found.values[..6], [0.0; 6]);
    let expected = case("mean_tokens.masked").values;
    assert!(
        found.values[6..].iter().zip(&expected[6..]).all(|(a, b)| (a - b).abs() <= 1e-5),
        "the others are as before"
    );
}

#[test]
fn a_class_token_is_real_and_stands_in_front_of_the_mask() {
    let (_folder, input) = file(&[("x", "class_token.x"), ("x.mask", "class_token.mask")]);
    let (_weights, checkpoint) = file(&[
        ("cls.token.weight", "class_token.token"),
        ("attn.qkv.weight", "class_token.qkv.weight"),
        ("attn.qkv.bias", "class_token.qkv.bias"),
        ("attn.proj.weight", "class_token.proj.weight"),
        ("attn.proj.bias", "class_token.proj.bias"),
    ]);
    let spec = "model(x : [T?, 8]) {
  let seen = x >> class_token(8) as cls >> attention(8, heads = 2) as attn
  seen >> mean_tokens
}";
    let found = infer(spec, Passes::ALL, &[], Some(&checkpoint), &input, &["seen"]);
    let (seen, expected, real) = (&found["seen"], case("class_token.seen"), case("class_token.longer_mask"));
    assert_eq!(seen.shape, expected.shape);
    let rows = seen.values.chunks_exact(8).zip(expected.values.chunks_exact(8)).zip(&real.values);
    for (row, ((found, expected), _)) in rows.enumerate().filter(|(_, (_, real))| **real == 1.0) {
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-5, "token {} of sample {}: off by {off:e}", row % 5, row / 5);
    }
    let off = difference(&found["output"], &case("class_token.mean"));
    assert!(off <= 1e-5, "the mean: off by {off:e}");
}
