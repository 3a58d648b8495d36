//! Whole language models against Hugging Face's: what stands around OPT's blocks, and rotary positions as LLaMA-3.1 has them,
//! whose settings stand in the configuration beside the weights alone.

mod golden_support;

use std::path::{Path, PathBuf};

use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;
use golden_support::{compile, read};
use lmv_compiler::Experiment;
use lmv_compiler::passes::Passes;
use lmv_runtime::events::Event;
use lmv_runtime::examples::{Batch, Examples};
use lmv_runtime::layers::Pass;
use lmv_runtime::network::{Network, values};
use lmv_runtime::parameters::{self, settings_left_open};
use lmv_runtime::places::Places;
use lmv_runtime::training::seeds::Seeds;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn places(weights: &str, folder: &str) -> Places {
    let mut places = Places::from_environment();
    places.weights = places.weights.with_flag(weights, golden().join(folder));
    places
}

/// The greatest distance of a model's scores of `tokens` from those that the golden file has under `expected`.
fn off(experiment: &Experiment, places: &Places, tokens: &str, expected: &str) -> f32 {
    let file = golden().join("whole_models.safetensors");
    let plan = Passes::ALL.plan(&experiment.graph);
    let device = Default::default();
    let loaded = parameters::load::<Flex>(&plan, &Seeds::new(0), places, None, &device, &mut |_: Event| {});
    let tensors: Vec<FloatTensor<Flex>> = loaded.unwrap_or_else(|failure| panic!("{failure}")).tensors;
    let found = read(&file, tokens);
    let ids = found.values.iter().map(|&id| id as i32).collect();
    let examples =
        Examples { samples: found.shape[0], fields: [("tokens".to_owned(), Batch::classes(found.shape, ids))].into() };
    let network = Network::<Flex>::new(&plan, &[]).expect("the layers are there");
    let inputs = examples.inputs::<Flex>(&plan.inputs, &device).expect("tokens");
    let output = network.forward(inputs, &tensors, &mut Pass::evaluating()).remove(0);
    let expected = read(&file, expected);
    assert_eq!(output.dims(), expected.shape);
    let scores = values::<Flex>(output.into_numbers());
    scores.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn what_stands_around_the_blocks_of_opt() {
    for (folder, width, norm_first) in [("opt_hf", 32, true), ("opt_hf_postnorm", 16, false)] {
        let projected = width != 32;
        let spec = format!(
            "use language.opt {{ opt_embeddings, opt_scores }}
llm toy = opt(dim = 32, heads = 4, ffn = 96, layers = 2, norm_first = {norm_first}, causal = true)
model(tokens : [T?] of class(40)) {{
  tokens
    >> frozen(pretrained(\"toy\", opt_embeddings(40, 16, 32, {projected}, {width}) as embed))
    >> frozen(toy.layer[0..2])
    >> frozen(pretrained(\"toy\", opt_scores(40, 32, {norm_first}, {projected}, {width}) as scores))
}}"
        );
        let off = off(&compile(&spec), &places("toy", folder), "few_tokens", folder);
        assert!(off <= 1e-5, "{folder}: off by {off:e}");
    }
}

#[test]
fn a_llama_whose_settings_stand_beside_its_weights() {
    let spec = |llm: &str, settings: &[(&str, &str)]| {
        let text = format!(
            "{llm}
model(tokens : [T?] of class(40)) {{
  tokens
    >> frozen(pretrained(\"grown\", embedding(40, 32) as embed))
    >> frozen(grown.layer[0..2](rope = true, causal = true))
    >> frozen(pretrained(\"grown\", rms_norm(32, eps = grown.eps) as norm))
    >> frozen(pretrained(\"grown\", linear(32, 40, bias = false) as output))
}}"
        );
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let compiled = lmv_compiler::compile("a.lmv", &text, &settings);
        let messages: Vec<String> = compiled.diagnostics.iter().map(|found| found.message.clone()).collect();
        compiled.experiment.unwrap_or_else(|| panic!("{messages:?}"))
    };
    let places = places("grown", "llama3");
    let open = "llm grown = llama(dim = 32, heads = 4, kv_heads = 2, ffn = 48, layers = 2)";
    let said = settings_left_open(&spec(open, &[]).graph, &places);
    let said: Vec<(&str, &str)> = said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(said, [("grown.eps", "1e-2"), ("grown.scaling", "[8.0, 1.0, 4.0, 48.0]"), ("grown.theta", "120.0")]);
    let whole = off(&spec(open, &said), &places, "tokens", "llama3");
    assert!(whole <= 1e-5, "off by {whole:e}");
    // What the spec says itself is not asked for, and what was asked for has to be given.
    let own = "llm grown = llama(dim = 32, heads = 4, kv_heads = 2, ffn = 48, layers = 2, eps = 1e-2, theta = 120.0)";
    let own = spec(own, &[]);
    assert_eq!(settings_left_open(&own.graph, &places), [("grown.scaling".into(), "[8.0, 1.0, 4.0, 48.0]".into())]);
    let plan = Passes::ALL.plan(&own.graph);
    let loaded =
        parameters::load::<Flex>(&plan, &Seeds::new(0), &places, None, &Default::default(), &mut |_: Event| {});
    let failure = loaded.err().expect("one setting is another");
    assert_eq!(failure.notes.len(), 1, "{failure}");
    assert!(failure.notes[0].contains("scaling = []"), "{failure}");
}
