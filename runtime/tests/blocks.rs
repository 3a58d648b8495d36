//! Blocks of language models against Hugging Face's own modules: `tests/golden/make.py` wrote the numbers.

mod golden_support;

use std::path::Path;

use golden_support::{difference, golden_folders, infer, read, write};
use lmv_compiler::passes::Passes;
use lmv_runtime::weights::Checkpoint;

fn sizes(folder: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).expect("config.json")).expect("JSON")
}

fn llama(golden: &Path, name: &str) -> String {
    let c = sizes(&golden.join(name));
    let n = |key: &str| c[key].as_i64().expect("a number");
    format!(
        "llm toy = llama(dim = {}, heads = {}, kv_heads = {}, ffn = {}, layers = {}, eps = 1e-6)\n",
        n("hidden_size"),
        n("num_attention_heads"),
        n("num_key_value_heads"),
        n("intermediate_size"),
        n("num_hidden_layers")
    )
}

fn opt(golden: &Path, name: &str) -> String {
    let c = sizes(&golden.join(name));
    let n = |key: &str| c[key].as_i64().expect("a number");
    format!(
        "llm toy = opt(dim = {}, heads = {}, ffn = {}, layers = {}, norm_first = {})\n",
        n("hidden_size"),
        n("num_attention_heads"),
        n("ffn_dim"),
        n("num_hidden_layers"),
        c["do_layer_norm_before"]
    )
}

fn read_names(golden: &Path) -> Vec<String> {
    let cases = Checkpoint::open(golden.join("blocks.safetensors")).expect("the cases open");
    cases.names().map(str::to_owned).collect()
}

fn layers(llm: &str) -> usize {
    let at = llm.find("layers = ").expect("it says so") + "layers = ".len();
    llm[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

/// Runs every block of one checkpoint in every way that there are golden numbers for, with passes and without.
fn check(golden: &Path, name: &str, llm: &str, expected: &str, tolerance: f32) {
    for passes in [Passes::NONE, Passes::ALL] {
        check_with(passes, golden, name, llm, expected, tolerance);
    }
}

fn check_with(passes: Passes, golden: &Path, name: &str, llm: &str, expected: &str, tolerance: f32) {
    let cases = golden.join("blocks.safetensors");
    let weights = golden.join(name);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (x, mask) = (read(&cases, "x"), read(&cases, "key_mask"));
    let dim = x.shape[2];
    let plain = folder.path().join("plain.safetensors");
    let masked = folder.path().join("masked.safetensors");
    write(&plain, &[("x", &x)]);
    write(&masked, &[("x", &x), ("x.mask", &mask)]);
    for layer in 0..layers(llm) {
        let spec =
            |arguments: &str| format!("{llm}model(x : [T?, {dim}]) {{ x >> frozen(toy.layer[{layer}]{arguments}) }}\n");
        let is_llama = llm.contains("llama(");
        let taps: &[&str] = if is_llama { &["after_attention", "attention_weights"] } else { &[] };
        let weights: &[(&str, &Path)] = &[("toy", &weights)];
        let close = |what: &str, found: &golden_support::Golden, case: &str| {
            let off = difference(found, &read(&cases, case));
            assert!(off <= tolerance, "{}: {name} layer {layer}, {what}: off by {off:e}", golden.display());
        };
        let case = format!("{expected}.layer{layer}");
        let outputs = infer(&spec(""), passes, weights, None, &plain, taps);
        close("plain", &outputs["output"], &case);
        if is_llama {
            close("after attention", &outputs["after_attention"], &format!("{case}.after_attention"));
            close("attention weights", &outputs["attention_weights"], &format!("{case}.attention"));
            let outputs = infer(&spec("(rope = true, causal = true)"), passes, weights, None, &plain, &[]);
            close("rope and causal", &outputs["output"], &format!("{case}.rope_causal"));
        }
        // The rows of padded tokens mean nothing, on either side.
        let outputs = infer(&spec(""), passes, weights, None, &masked, &[]);
        let real = |golden: &golden_support::Golden| golden_support::Golden {
            shape: vec![mask.values.iter().filter(|&&real| real != 0.0).count(), dim],
            values: golden
                .values
                .chunks(dim)
                .zip(&mask.values)
                .filter(|(_, real)| **real != 0.0)
                .flat_map(|(row, _)| row.to_vec())
                .collect(),
        };
        let off = difference(&real(&outputs["output"]), &real(&read(&cases, &format!("{case}.masked"))));
        assert!(off <= tolerance, "{}: {name} layer {layer}, masked: off by {off:e}", golden.display());
    }
}

#[test]
fn llama_blocks_give_what_hugging_face_gives() {
    for golden in golden_folders() {
        for name in ["llama_hf", "llama_hf_gqa_bf16"] {
            check(&golden, name, &llama(&golden, name), name, 2e-5);
        }
    }
}

#[test]
fn opt_blocks_give_what_hugging_face_gives() {
    for golden in golden_folders() {
        for name in ["opt_hf", "opt_hf_postnorm"] {
            check(&golden, name, &opt(&golden, name), name, 2e-5);
        }
    }
}

#[test]
fn meta_blocks_give_what_the_rounded_weights_give() {
    for golden in golden_folders() {
        let llm = llama(&golden, "llama_hf");
        // The project's own cases hold what the rounded weights give; the shared ones what the unrounded ones do.
        let own = read_names(&golden).iter().any(|name| name.starts_with("llama_meta."));
        match own {
            true => check(&golden, "llama_meta", &llm, "llama_meta", 2e-5),
            false => check(&golden, "llama_meta", &llm, "llama_hf", 1e-3),
        }
    }
}
