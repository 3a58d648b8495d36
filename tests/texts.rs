//! A language model from outside: trained on a folder of texts, measured, and asked to go on with one.

use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt;

const SPEC: &str = "use data.text { text_folder }
use measures.language { perplexity }
use training.language { next_token }

llm small = llama(dim = 16, heads = 2, ffn = 32, layers = 2, rope = true, causal = true)

model(tokens) {
  tokens
    >> embedding(256, 16) as embed
    >> trainable(random(small.layer[0..2]))
    >> rms_norm(16) as norm
    >> linear(16, 256, bias = false) as output
}

data  = text_folder(root = path(\"text\"), window = 32)
train = next_token(epochs = 12, batch = 8, lr = 0.02)
eval  = [perplexity, top1]
";

/// What it printed to stdout, its exit code, and what it said.
fn lmvc(folder: &Path, arguments: &[&str]) -> (String, Option<i32>, String) {
    let mut command = Command::cargo_bin("lmvc").expect("the binary");
    let output = command.current_dir(folder).args(arguments).env("LMV_PATH_TEXT", "texts").output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(output.stdout), output.status.code(), text(output.stderr))
}

#[test]
fn a_text_of_one_sentence_is_learned_by_heart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.lmv"), SPEC).expect("a spec");
    std::fs::create_dir(path("texts")).expect("a folder");
    let (_, code, said) = lmvc(folder.path(), &["train", "a.lmv"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("texts/train") && said.contains("ROOT/train/*.txt"), "{said}");
    for split in ["train", "val"] {
        std::fs::create_dir_all(path("texts").join(split)).expect("a folder");
        let text = "the quick brown fox jumps over the lazy dog. ".repeat(if split == "train" { 60 } else { 4 });
        std::fs::write(path("texts").join(split).join("fox.txt"), text).expect("a text");
    }

    let (_, code, said) = lmvc(folder.path(), &["train", "a.lmv"]);
    assert_eq!(code, Some(0), "{said}");
    let run = said.lines().find_map(|line| line.strip_prefix("the run is in ")).expect("a run");
    assert!(said.contains("best perplexity: 1."), "less is better: {said}");
    let (measured, code, said) = lmvc(folder.path(), &["eval", "a.lmv", "--checkpoint", run]);
    assert_eq!(code, Some(0), "{said}");
    let perplexity = measured.lines().find_map(|line| line.strip_prefix("perplexity")).expect("measured").trim();
    assert!(perplexity.parse::<f64>().is_ok_and(|x| (1.0..2.0).contains(&x)), "{measured}");
    let text = ["--prompt", "the quick ", "--tokens", "14", "--checkpoint", run];
    let (text, code, said) = lmvc(folder.path(), &[&["generate", "a.lmv"], &text[..]].concat());
    assert_eq!((text.as_str(), code), ("the quick brown fox jump\n", Some(0)), "{said}");
}

#[test]
fn a_classifier_goes_on_with_no_text() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("a.lmv"), "model(x : [4]) { x >> linear(4, 4) }\n").expect("a spec");
    let (_, code, said) = lmvc(folder.path(), &["generate", "a.lmv", "--prompt", "a"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no language model") && said.contains("it takes `[4]`"), "{said}");
}
