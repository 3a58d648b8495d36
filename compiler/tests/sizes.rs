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

#[test]
fn every_use_has_parameters_of_its_own() {
    let one = counts("model(x : [4, 8]) { x >> linear(8, 8) }").0;
    assert_eq!(counts("let f = linear(8, 8)\nmodel(x : [4, 8]) { x >> f >> f }").0, 2 * one);
    assert_eq!(counts("model(x : [4, 8]) { x >> repeat(5) { linear(8, 8) } }").0, 5 * one);
}
