//! The command line from outside: what it prints where, and the exit codes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;
use tempfile::TempDir;

const GOOD: &str = "//! A small one.\n\nmodel = vit(image = 32, patch = 4, d = 64, depth = 3, heads = 4) >> linear(64, 128) \
                    >> frozen(small.layer[1]) >> linear(128, 64) >> head\nllm small = llama(dim = 128, heads = 4, ffn = 256, \
                    layers = 2)\ndata = shapes()\ntrain = one_cycle(epochs = 2, batch = 8)\neval = [top1]\n";
const WRONG: &str = "model = vit_smal >> head\ndata = shapes()\n";

/// A folder with files in it, to run lmvc in.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("a file in it");
    }
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
    command.current_dir(folder).args(arguments).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn lmvc(folder: &TempDir, arguments: &[&str]) -> Output {
    command(folder.path(), arguments).output().expect("lmvc starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// stdout as JSON, an object a line.
fn objects(output: &Output) -> Vec<Value> {
    out(output).lines().map(|line| serde_json::from_str(line).expect("JSON, one object a line")).collect()
}

#[test]
fn a_sound_spec_is_checked_in_one_line() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes())]);
    let output = lmvc(&folder, &["check", "a.lmv"]);
    assert_eq!((code(&output), out(&output)), (0, String::new()));
    assert_eq!(err(&output), "ok: 1 spec\n");
}

#[test]
fn a_file_of_parts_is_right_and_has_no_model() {
    let folder =
        folder(&[("parts.lmv", b"let width = 384\nlet wide = linear(384, width)\n"), ("a.lmv", GOOD.as_bytes())]);
    let alone = lmvc(&folder, &["check", "parts.lmv"]);
    assert_eq!((code(&alone), err(&alone)), (0, "ok: 2 definitions, no experiment\n".to_owned()));
    let beside = lmvc(&folder, &["check", "parts.lmv", "a.lmv"]);
    assert_eq!(err(&beside), "ok: 1 spec, 1 file of parts with 2 definitions\n");
    let shown = lmvc(&folder, &["show", "parts.lmv"]);
    assert_eq!(code(&shown), 1);
    assert!(err(&shown).contains("it holds parts for other files: `width`, `wide`"), "{}", err(&shown));
}

#[test]
fn what_cannot_run_yet_is_said_in_the_summary() {
    let spec = "model(image, question) { (image, question) >> meter >> vqa_classifier }\ndata = vqav2\n";
    let spec = format!("use data.vqav2 {{ vqav2 }}\nuse vision_language.meter {{ meter, vqa_classifier }}\n{spec}");
    let folder = folder(&[("a.lmv", spec.as_bytes()), ("b.lmv", GOOD.as_bytes())]);
    let said = err(&lmvc(&folder, &["check", "a.lmv", "b.lmv"]));
    assert!(said.starts_with("ok: 2 specs; 1 spec uses ") && said.ends_with("(lmvc explain not_yet_run)\n"), "{said}");
}

#[test]
fn checking_goes_on_after_a_wrong_spec() {
    let folder = folder(&[("a.lmv", WRONG.as_bytes()), ("b.lmv", GOOD.as_bytes()), ("c.lmv", WRONG.as_bytes())]);
    let output = lmvc(&folder, &["check", "a.lmv", "b.lmv", "c.lmv"]);
    assert_eq!((code(&output), out(&output)), (1, String::new()));
    let said = err(&output);
    assert!(said.contains("a.lmv:1:9") && said.contains("c.lmv:1:9"), "{said}");
    assert!(said.ends_with("3 specs checked: 2 errors in 2 of them\n"), "{said}");
}

/// The first metric of the library that is declared and not written in Rust.
fn unwritten_metric() -> Option<&'static str> {
    let entries = lmv_compiler::manual::entries().iter();
    entries.filter(|entry| entry.kind == "metric" && entry.not_yet_run).map(|entry| entry.name).next()
}

#[test]
fn what_is_not_written_in_rust_stops_a_run_before_it_begins() {
    // Once every metric is written there is nothing left to stop one here.
    let Some(metric) = unwritten_metric() else { return };
    let entry = lmv_compiler::manual::entries().iter().find(|entry| entry.name == metric).expect("the metric");
    let import = if entry.in_prelude { String::new() } else { format!("use {} {{ {metric} }}\n", entry.module().path) };
    let spec = format!("{import}model = vit_small >> head\ndata = imagenet\ntrain = deit\neval = [top1, {metric}]\n");
    let folder = folder(&[("a.lmv", spec.as_bytes())]);
    let checked = lmvc(&folder, &["check", "a.lmv"]);
    if code(&checked) != 0 {
        // A metric of another task does not fit this model, which is told first.
        return;
    }
    for arguments in [&["train", "a.lmv"][..], &["eval", "a.lmv", "--checkpoint", "a.lmv"]] {
        let output = lmvc(&folder, arguments);
        let said = err(&output);
        assert_eq!((code(&output), out(&output)), (3, String::new()), "{said}");
        assert!(said.contains(&format!("the metric `{metric}`: a.lmv:")), "{said}");
    }
    let files: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert_eq!(files.len(), 1, "no run folder: {files:?}");
    // The model alone is sound, so it is only the missing input that infer tells of.
    let output = lmvc(&folder, &["infer", "a.lmv", "--input", "x.safetensors", "--output", "y.safetensors"]);
    assert!(!err(&output).contains(metric), "{}", err(&output));
    let shown = lmvc(&folder, &["show", "a.lmv"]);
    assert!(out(&shown).contains("not written in Rust yet"), "{}", out(&shown));
}

#[test]
fn a_model_is_drawn() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes())]);
    let output = lmvc(&folder, &["show", "a.lmv", "--format", "svg"]);
    let svg = out(&output);
    assert_eq!((code(&output), err(&output)), (0, String::new()));
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("class=\"flake\""), "{svg}");
    let many: String = (0..500).map(|_| " >> gelu").collect();
    std::fs::write(folder.path().join("b.lmv"), format!("model(x : [8]) {{ x{many} }}\n")).expect("a file");
    let output = lmvc(&folder, &["show", "b.lmv", "--format", "svg"]);
    assert_eq!((code(&output), out(&output)), (2, String::new()));
    assert!(err(&output).contains("too many for a picture"), "{}", err(&output));
}

#[test]
fn words_of_the_language_and_uses_of_a_layer_are_explained() {
    let folder = folder(&[]);
    for word in ["frozen", "repeat", "shared", "when", "variant", "use", "residual"] {
        let output = lmvc(&folder, &["explain", word]);
        assert_eq!((code(&output), err(&output)), (0, String::new()), "{word}");
        assert!(out(&output).starts_with(&format!("{word}\n")) && out(&output).contains("```lmv"), "{word}");
    }
    let listed = out(&lmvc(&folder, &["explain"]));
    assert!(listed.contains("frozen") && listed.contains("layers.linear  linear"), "{listed}");
    let said = out(&lmvc(&folder, &["explain", "linear"]));
    assert!(said.contains("needs     in, out\n") && said.contains("layers.attention.feed_forward"), "{said}");
}

#[test]
fn fix_mends_what_is_evident_and_tells_the_rest() {
    let wrong = "model = vit_smal >> head\ndata = imagenet\neval = [top2]\n";
    let folder = folder(&[("a.lmv", wrong.as_bytes()), ("b.lmv", b"// as it was\nmodel = vit_small >> head\n")]);
    let output = lmvc(&folder, &["check", "--fix", "a.lmv", "b.lmv"]);
    let said = err(&output);
    assert_eq!((code(&output), out(&output)), (1, String::new()), "{said}");
    assert!(said.starts_with("fixed[E0201]: a.lmv:1:9: `vit_smal` is now `vit_small`\n"), "{said}");
    assert!(said.contains("a.lmv:3:9"), "{said}");
    assert!(said.ends_with("2 specs checked: 1 place mended, 1 error in 1 of them\n"), "{said}");
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("it is there");
    assert_eq!(text("a.lmv"), wrong.replace("vit_smal ", "vit_small "));
    assert_eq!(text("b.lmv"), "// as it was\nmodel = vit_small >> head\n");
    let names: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert_eq!(names.len(), 2, "nothing is left beside them: {names:?}");
}

#[test]
fn fix_tells_programs_what_it_changed() {
    let folder = folder(&[("a.lmv", WRONG.as_bytes())]);
    let output = lmvc(&folder, &["check", "--fix", "a.lmv", "--message-format", "json"]);
    let change = &objects(&output)[0]["fixed"];
    assert_eq!((&change["line"], &change["column"]), (&1.into(), &9.into()));
    assert_eq!((&change["before"], &change["after"]), (&"vit_smal".into(), &"vit_small".into()));
}

#[test]
#[cfg(unix)]
fn fix_keeps_links_and_permissions_and_leaves_what_it_may_not_write() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder(&[("a.lmv", b"model = vit_smal >> head\n"), ("closed.lmv", b"model = vit_smal >> head\n")]);
    let at = |name: &str| folder.path().join(name);
    let mode = |name: &str, mode| std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode));
    mode("a.lmv", 0o640).expect("its permissions");
    mode("closed.lmv", 0o444).expect("its permissions");
    symlink("a.lmv", at("link.lmv")).expect("a link");
    assert_eq!(code(&lmvc(&folder, &["check", "--fix", "link.lmv"])), 0);
    assert!(std::fs::symlink_metadata(at("link.lmv")).expect("the link").is_symlink());
    assert_eq!(std::fs::metadata(at("a.lmv")).expect("the file").permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_to_string(at("a.lmv")).expect("the file"), "model = vit_small >> head\n");
    let output = lmvc(&folder, &["check", "--fix", "closed.lmv"]);
    assert_eq!(code(&output), 3, "{}", err(&output));
    assert!(err(&output).contains("this file may not be written"), "{}", err(&output));
    assert_eq!(std::fs::read_to_string(at("closed.lmv")).expect("the file"), "model = vit_smal >> head\n");
}

#[test]
fn a_diagnostic_for_programs_has_the_keys_of_the_design() {
    let folder = folder(&[("a.lmv", WRONG.as_bytes())]);
    let output = lmvc(&folder, &["check", "a.lmv", "--message-format", "json"]);
    assert_eq!((code(&output), err(&output)), (1, String::new()));
    let [object] = &objects(&output)[..] else { panic!("one error: {}", out(&output)) };
    let keys: Vec<&String> = object.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "code",
            "column",
            "end_column",
            "end_line",
            "file",
            "labels",
            "line",
            "message",
            "notes",
            "severity",
            "suggestions"
        ]
    );
    assert_eq!(object["code"], "E0201");
    assert_eq!(object["severity"], "error");
    assert_eq!((&object["file"], &object["line"], &object["column"]), (&"a.lmv".into(), &1.into(), &9.into()));
    assert_eq!(object["labels"][0]["end_column"], 17);
    assert_eq!(object["suggestions"][0]["edits"][0]["text"], "vit_small");
}

#[test]
fn what_is_no_spec_is_told_in_one_message() {
    let binary = [b"model = \x00".as_slice(), &[0xff; 64]].concat();
    let folder = folder(&[("binary.lmv", &binary), ("empty.lmv", b""), ("latin.lmv", b"// caf\xe9\n")]);
    std::fs::create_dir(folder.path().join("specs")).expect("a folder");
    for (name, exit, said) in [
        ("binary.lmv", 1, "error[E0101]: this file is not text"),
        ("empty.lmv", 1, "error[E0102]: this spec is empty"),
        ("latin.lmv", 1, "latin.lmv:1:7"),
        ("missing.lmv", 2, "error: there is no file `missing.lmv`"),
        ("emty.lmv", 2, "help: did you mean `empty.lmv`?"),
        ("specs", 2, "error: `specs` is a folder, and a spec is a file"),
    ] {
        let output = lmvc(&folder, &["check", name]);
        assert_eq!(code(&output), exit, "{name}: {}", err(&output));
        assert!(err(&output).contains(said), "{name}: {}", err(&output));
        assert_eq!(err(&output).matches("error").count(), 2, "one message and the summary: {}", err(&output));
        let output = lmvc(&folder, &["check", name, "--message-format=json"]);
        assert_eq!((code(&output), objects(&output).len()), (exit, 1), "{name}");
        assert_eq!(objects(&output)[0]["severity"], "error");
    }
}

#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_too_large() {
    let output = lmvc(&folder(&[]), &["check", "/dev/zero"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("too large to be a spec"), "{}", err(&output));
}

#[test]
fn text_that_goes_deep_is_no_crash() {
    let deep = format!("model = {}identity{}", "(".repeat(100_000), ")".repeat(100_000));
    let pipes = format!("model = identity{}", " >> identity".repeat(20_000));
    let folder = folder(&[("deep.lmv", deep.as_bytes()), ("long.lmv", pipes.as_bytes())]);
    for name in ["deep.lmv", "long.lmv"] {
        let output = lmvc(&folder, &["check", name]);
        assert_eq!(code(&output), 1, "{name}: {:.300}", err(&output));
        assert!(!err(&output).contains("fault of lmvc"), "{name}: {:.300}", err(&output));
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes())]);
    for arguments in [
        &[][..],
        &["chekc", "a.lmv"],
        &["check"],
        &["show", "a.lmv", "--format", "png"],
        &["show", "a.lmv", "--depth", "0"],
        &["train"],
        &["train", "a.lmv", "--resume", "runs/a-1"],
        &["train", "--resume", "runs/a-1"],
        &["train", "a.lmv", "--device", "gpu"],
        &["train", "a.lmv", "--epochs", "0"],
        &["train", "a.lmv", "--set", "train.lr"],
        &["train", "a.lmv", "--set", "train.lr=nothing_like_it"],
        &["train", "a.lmv", "--path", "imagenet"],
        &["eval", "a.lmv"],
        &["eval", "a.lmv", "--checkpoint", "nowhere"],
        &["infer", "a.lmv", "--input", "nothing.safetensors", "--output", "o.safetensors"],
        &["data", "synth", "sounds", "d"],
        &["data", "synth", "images", "d", "--classes", "1"],
        &["build", "a.lmv"],
        &["explain", "nothing_like_it"],
    ] {
        let output = lmvc(&folder, arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", err(&output));
        assert!(!err(&output).is_empty() && out(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["train", "--help"], &["help", "show"]] {
        let output = lmvc(&folder(&[]), arguments);
        assert_eq!((code(&output), err(&output)), (0, String::new()), "{arguments:?}");
        assert!(!out(&output).is_empty());
    }
}

#[test]
fn a_model_is_shown_as_a_table() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes())]);
    let output = lmvc(&folder, &["show", "a.lmv"]);
    assert_eq!((code(&output), err(&output)), (0, String::new()));
    let table = out(&output);
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    insta::assert_snapshot!("show", table);
    let deeper = out(&lmvc(&folder, &["show", "a.lmv", "--depth", "3"]));
    assert!(!table.contains("qkv") && deeper.contains("attn"), "{deeper}");
}

#[test]
fn a_model_with_dims_that_are_not_known_is_shown() {
    let spec = "model(x : [T?, 64]) { x >> repeat(2) { block(64, heads = 4) } >> (linear(64, 8), linear(64, 9)) }\n";
    let output = lmvc(&folder(&[("a.lmv", spec.as_bytes())]), &["show", "a.lmv"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    insta::assert_snapshot!("show_unknown_dims", out(&output));
}

#[test]
fn colour_is_used_where_it_is_asked_for() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes()), ("b.lmv", WRONG.as_bytes())]);
    let escapes = |arguments: &[&str]| {
        let output = lmvc(&folder, arguments);
        (out(&output) + &err(&output)).contains('\x1b')
    };
    for arguments in [["show", "a.lmv"], ["check", "b.lmv"]] {
        assert!(!escapes(&arguments), "no terminal, no colour: {arguments:?}");
        assert!(escapes(&[&arguments[..], &["--color", "always"]].concat()), "{arguments:?}");
    }
    let plain = out(&lmvc(&folder, &["show", "a.lmv"]));
    let coloured = out(&lmvc(&folder, &["show", "a.lmv", "--color=always"]));
    let mut stripped = String::new();
    for (index, part) in coloured.split('\x1b').enumerate() {
        stripped += if index == 0 { part } else { part.split_once('m').map_or("", |(_, rest)| rest) };
    }
    assert_eq!(stripped, plain, "colour changes nothing else");
}

#[test]
fn the_graph_is_shown_for_programs() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes())]);
    let graph: Value =
        serde_json::from_slice(&lmvc(&folder, &["show", "a.lmv", "--format", "json"]).stdout).expect("JSON");
    assert_eq!(graph["inputs"][0]["name"], "image");
    assert!(graph["nodes"].as_array().is_some_and(|nodes| nodes.len() > 30));
    let dot = out(&lmvc(&folder, &["show", "a.lmv", "--format", "dot"]));
    assert!(dot.starts_with("digraph model {\n") && dot.ends_with("}\n"), "{dot}");
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    assert!(dot.contains("label = \"blocks\"") && dot.contains("fillcolor = \"#b3d4ff\""), "{dot}");
}

#[cfg(unix)]
#[test]
fn a_reader_who_leaves_is_no_error() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes())]);
    for arguments in [&["show", "a.lmv", "--format", "json"][..], &["build", "a.lmv", "--emit", "graph"]] {
        let mut child = command(folder.path(), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lmvc starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((code(&output), err(&output)), (0, String::new()), "{arguments:?}");
    }
}

#[test]
fn stages_are_printed_as_json() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes()), ("b.lmv", WRONG.as_bytes()), ("c.lmv", b"model = = 3\n")]);
    let tree: Value =
        serde_json::from_slice(&lmvc(&folder, &["build", "a.lmv", "--emit", "ast"]).stdout).expect("JSON");
    assert_eq!(tree["doc"], "A small one.");
    let experiment: Value =
        serde_json::from_slice(&lmvc(&folder, &["build", "a.lmv", "--emit", "graph"]).stdout).expect("JSON");
    assert_eq!(experiment["train"]["epochs"], 2);
    let plan = |arguments: &[&str]| -> Value {
        let arguments = [&["build", "a.lmv", "--emit", "plan"], arguments].concat();
        serde_json::from_slice(&lmvc(&folder, &arguments).stdout).expect("JSON")
    };
    let norm = |plan: &Value| -> Value {
        let nodes = plan["nodes"].as_array().expect("a list");
        nodes.iter().find(|node| node["path"] == "small.layer.1.ffn_norm").expect("the block's norm").clone()
    };
    let (passed, plain) = (plan(&[]), plan(&["--no-passes"]));
    assert_eq!(passed["parameters"], plain["parameters"]);
    assert_eq!(norm(&plain)["tensors"][0][0], "weight");
    // What the CPU is given: its gain is not in the layers behind it, whose weights stay as they are stored.
    assert_eq!(norm(&passed)["tensors"], norm(&plain)["tensors"]);
    assert_ne!(norm(&passed)["gradients"], norm(&plain)["gradients"]);
    assert_eq!(norm(&passed)["gradients"], serde_json::json!({ "inputs": true, "parameters": false }));
    for (file, stage, exit) in
        [("b.lmv", "ast", 0), ("b.lmv", "graph", 1), ("c.lmv", "ast", 1), ("nothing.lmv", "graph", 2)]
    {
        assert_eq!(code(&lmvc(&folder, &["build", file, "--emit", stage])), exit, "{file} {stage}");
    }
}

#[test]
fn codes_and_names_are_explained() {
    let folder = folder(&[]);
    let page = lmvc(&folder, &["explain", "e0301"]);
    assert_eq!(code(&page), 0);
    assert!(out(&page).contains("E0301"), "{}", out(&page));
    let linear = out(&lmvc(&folder, &["explain", "linear"]));
    assert!(linear.contains("extern layer linear(in, out") && linear.contains("stdlib/layers/linear.lmv"), "{linear}");
    assert!(linear.starts_with("y = "), "{linear}");
    for (asked, near) in [("vit_smal", "vit_small"), ("E0310", "E0301"), ("deitt", "deit")] {
        let output = lmvc(&folder, &["explain", asked]);
        assert_eq!(code(&output), 2);
        assert!(err(&output).contains("did you mean") && err(&output).contains(near), "{}", err(&output));
    }
}

#[test]
fn a_new_spec_is_sound_and_never_written_over_another() {
    let folder = folder(&[]);
    assert_eq!(code(&lmvc(&folder, &["new", "mine"])), 0);
    assert_eq!(code(&lmvc(&folder, &["check", "mine.lmv"])), 0);
    std::fs::write(folder.path().join("mine.lmv"), "// mine").expect("writing");
    let output = lmvc(&folder, &["new", "mine.lmv"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("`mine.lmv` is there already"), "{}", err(&output));
    assert_eq!(std::fs::read_to_string(folder.path().join("mine.lmv")).expect("reading"), "// mine");
    assert_eq!(code(&lmvc(&folder, &["new", "no/such/folder/mine"])), 2);
}

#[test]
fn completions_know_the_subcommands() {
    let output = lmvc(&folder(&[]), &["completions", "bash"]);
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("message-format"));
}

#[test]
fn a_wrong_lmv_toml_is_told_with_its_line() {
    let folder = folder(&[("a.lmv", GOOD.as_bytes()), ("lmv.toml", b"[paths]\n\n[weight]\n")]);
    let output = lmvc(&folder, &["train", "a.lmv", "--message-format=json"]);
    assert_eq!(code(&output), 1);
    let [object] = &objects(&output)[..] else { panic!("one message: {}", out(&output)) };
    assert_eq!(
        (&object["line"], &object["suggestions"][0]["message"]),
        (&3.into(), &"did you mean `[weights]`?".into())
    );
}

/// paper.md §1.2, §3.1 and timm's counts: what is trained and what is frozen, to the last number.
#[test]
fn show_counts_what_is_trained_and_frozen_exactly() {
    let totals = |spec: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("spec.lmv"), format!("{spec}\ndata = imagenet\n")).expect("written");
        let output = lmvc(&folder, &["show", "--format", "json", "spec.lmv"]);
        let graph: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (graph["totals"]["trained"].as_i64(), graph["totals"]["frozen"].as_i64())
    };
    for (vit, width, trained) in [("tiny", 192, 5_717_416), ("small", 384, 22_050_664), ("base", 768, 86_567_656)] {
        assert_eq!(totals(&format!("model = vit_{vit} >> head")), (Some(trained), Some(0)));
        let around = format!(
            "linear({width}, 4096, bias = false) >> frozen(llama7b.layer[31]) >> rms_norm(4096, affine = false) >> linear(4096, {width}, bias = false)"
        );
        let with_llama = totals(&format!("model = vit_{vit} >> {around} >> head"));
        assert_eq!(with_llama, (Some(trained + 2 * width * 4096), Some(202_383_360)));
    }
}
