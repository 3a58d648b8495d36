//! Sizes of models against other implementations, with no data and no weights.

use lmv_compiler::{Experiment, compile};

fn check(text: &str) -> Experiment {
    let compiled = compile("sizes.lmv", text, &[]);
    let shown: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    compiled.experiment.unwrap_or_else(|| panic!("{shown}"))
}

/// `(trained, frozen)`.
fn counts(text: &str) -> (i64, i64) {
    check(text).graph.parameter_counts()
}

#[test]
fn the_line_that_started_the_project_needs_no_data() {
    let line = "model = vit_small >> linear(384,4096) >> frozen(llama7b.layer[31]) >> linear(4096,384) >> head";
    let graph = check(line).graph;
    assert_eq!(graph.shape(graph.inputs[0].stream).to_string(), "[3, 224, 224]");
    assert_eq!(graph.shape(graph.outputs[0].stream).to_string(), "[classes]");
    assert_eq!(graph.parameter_counts().1, 202_383_360);
}

/// paper.md §3.1 and timm's `vit_*_patch16_224`.
#[test]
fn vision_transformers_have_as_many_parameters_as_timm_has() {
    let count = |model: &str| counts(&format!("model = {model} >> head\ndata = imagenet"));
    assert_eq!(count("vit_tiny"), (5_717_416, 0));
    assert_eq!(count("vit_small"), (22_050_664, 0));
    assert_eq!(count("vit_base"), (86_567_656, 0));
}

/// paper.md §1.2.
#[test]
fn a_block_of_llama_7b_is_frozen_whole() {
    let (trained, frozen) = counts("model(x : [16, 4096]) { x >> frozen(llama7b.layer[31]) >> linear(4096, 10) }");
    assert_eq!((trained, frozen), (40_970, 202_383_360));
}

/// Attention's four matrices (the keys' and values' narrower where their heads are fewer), the three of the feed-forward
/// part, and two norms without bias.
#[test]
fn blocks_of_llama_have_the_sizes_of_their_matrices() {
    for (name, dim, heads, kv_heads, ffn, layers) in [
        ("llama7b", 4096, 32, 32, 11008, 32),
        ("llama13b", 5120, 40, 40, 13824, 40),
        ("llama30b", 6656, 52, 52, 17920, 60),
        ("llama65b", 8192, 64, 64, 22016, 80),
        ("llama2_7b", 4096, 32, 32, 11008, 32),
        ("llama2_13b", 5120, 40, 40, 13824, 40),
        ("llama2_70b", 8192, 64, 8, 28672, 80),
        ("llama3_8b", 4096, 32, 8, 14336, 32),
    ] {
        let kv = kv_heads * dim / heads;
        let block = 2 * dim * dim + 2 * dim * kv + 3 * dim * ffn + 2 * dim;
        assert_eq!(last_block(name, dim, layers), block, "{name}");
    }
}

/// Attention's four matrices and the two of the feed-forward part, all with biases, and two norms with biases.
#[test]
fn blocks_of_opt_have_the_sizes_of_their_matrices() {
    for (name, dim, layers) in [
        ("opt_125m", 768, 12),
        ("opt_350m", 1024, 24),
        ("opt_1_3b", 2048, 24),
        ("opt_2_7b", 2560, 32),
        ("opt_6_7b", 4096, 32),
        ("opt_13b", 5120, 40),
        ("opt_30b", 7168, 48),
        ("opt_66b", 9216, 64),
    ] {
        // The feed-forward part is four times as wide in all of them.
        let block = 4 * (dim * dim + dim) + (4 * dim * dim + 4 * dim) + (4 * dim * dim + dim) + 2 * 2 * dim;
        assert_eq!(last_block(name, dim, layers), block, "{name}");
    }
}

/// How many parameters block `layers - 1` has, which must be the last one.
fn last_block(name: &str, dim: i64, layers: i64) -> i64 {
    let at =
        |index: i64| format!("model(x : [16, {dim}]) {{ x >> frozen({name}.layer[{index}]) >> linear({dim}, 10) }}");
    let beyond = compile("sizes.lmv", &at(layers), &[]);
    assert!(beyond.experiment.is_none(), "{name} has more than {layers} blocks");
    counts(&at(layers - 1)).1
}

/// paper.md §1.4: the weight and the bias of PyTorch's linear layer start within ±1/sqrt(in).
#[test]
fn a_linear_layer_starts_as_pytorch_starts_it_where_that_is_said() {
    let graph = check("model(x : [4, 8]) { x >> torch_linear(8, 5) }").graph;
    let starts: Vec<String> = graph.parameters.iter().map(|p| format!("{} {}", p.path, p.init)).collect();
    assert_eq!(starts, ["torch_linear.weight fan_in_uniform", "torch_linear.bias fan_in_uniform_bias(fan_in = 8)"]);
}

#[test]
fn every_use_has_parameters_of_its_own() {
    let one = counts("model(x : [4, 8]) { x >> linear(8, 8) }").0;
    assert_eq!(counts("let f = linear(8, 8)\nmodel(x : [4, 8]) { x >> f >> f }").0, 2 * one);
    assert_eq!(counts("model(x : [4, 8]) { x >> repeat(5) { linear(8, 8) } }").0, 5 * one);
}
