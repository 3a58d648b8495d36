//! Specs of several files, and variants, from outside: checked, shown, trained into a folder that stands by itself.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use tempfile::TempDir;

const BASE: &str = "use \"../sizes.lmv\" { width }
llm small = llama(dim = 48, heads = 4, ffn = 96, layers = 3)
let around(middle) = vit(image = 16, patch = 8, d = width, depth = 1, heads = 2)
     >> linear(width, 48) >> middle >> linear(48, width) >> head
model = around(frozen(random(small.layer[0])))
data  = shapes(image = 16, classes = 4, train = 24, val = 8)
train = one_cycle(epochs = 5, batch = 16)
eval  = [top1]
";
const TABLE: &str = "//! A table.
use \"./specs/base.lmv\"
train.epochs = 2
variant mlp { model = around(gelu) }
variant layer for i in 0..3 { model = around(frozen(random(small.layer[i]))) }
variant wrong_twin { train.lr = 1e-4 }
";

/// A table of variants, over a base in a folder below, over sizes in the folder above that one.
fn table() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("specs")).expect("a folder in it");
    for (name, text) in [("table.lmv", TABLE), ("specs/base.lmv", BASE), ("sizes.lmv", "let width = 32\n")] {
        std::fs::write(folder.path().join(name), text).expect("a file in it");
    }
    folder
}

fn lmvc(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().expect("lmvc starts")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command that must end well; what it printed, to both sides.
fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = lmvc(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", err(&output));
    String::from_utf8_lossy(&output.stdout).into_owned() + &err(&output)
}

/// Runs a command that must end in this code, and say all of `said`.
fn fails(folder: &Path, arguments: &[&str], code: i32, said: &[&str]) {
    let output = lmvc(folder, arguments);
    let message = err(&output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    said.iter().for_each(|part| assert!(message.contains(part), "`{part}` in: {message}"));
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file that may be written");
}

#[test]
fn a_spec_is_checked_with_its_files_and_variants() {
    let folder = table();
    let here = folder.path();
    assert_eq!(succeeds(here, &["check", "table.lmv"]), "ok: 1 spec, 5 variants\n");
    assert_eq!(succeeds(here, &["check", "table.lmv", "--variant", "layer.2"]), "ok: 1 spec\n");
    // The paths begin at the file, wherever lmvc is run.
    assert_eq!(succeeds(&here.join("specs"), &["check", "../table.lmv", "base.lmv"]).lines().count(), 1);
    write(here, "sizes.lmv", "let width = 33\n");
    let said = ["E0302", "specs/base.lmv:3:79", "1 spec, 5 variants checked: 1 error\n"];
    fails(here, &["check", "table.lmv"], 1, &said);
}

#[test]
fn a_variant_that_is_not_there_is_the_command_lines_mistake() {
    let folder = table();
    let here = folder.path();
    for (name, said) in
        [("layers.2", "did you mean `layer.2`"), ("layer", "`layer.0` to `layer.2`"), ("x", "it has `mlp`")]
    {
        for command in ["check", "show", "train"] {
            fails(here, &[command, "table.lmv", "--variant", name], 2, &["there is no variant", said]);
        }
    }
    fails(here, &["show", "specs/base.lmv", "--variant", "mlp"], 2, &["it has no variants"]);
    write(here, "only.lmv", "variant a { model = vit_small >> head }\n");
    fails(here, &["show", "only.lmv"], 1, &["E0401", "`--variant a`"]);
    succeeds(here, &["check", "only.lmv"]);
    assert!(succeeds(here, &["show", "only.lmv", "--variant", "a"]).contains("only.lmv, variant a"));
}

#[test]
fn files_that_cannot_be_imported_are_told_where_they_are_asked_for() {
    let folder = table();
    let here = folder.path();
    for (bytes, said) in [
        (b"let a\0 = 1".as_slice(), "is not text: it has zero bytes"),
        (b"let a = \xff", "is not UTF-8 text"),
        (&vec![b' '; 16 * 1024 * 1024 + 1], "is too large to be a spec"),
    ] {
        std::fs::write(here.join("sizes.lmv"), bytes).expect("a file");
        fails(here, &["check", "table.lmv"], 1, &["E0801", said, "base.lmv:1:5"]);
    }
    std::fs::remove_file(here.join("sizes.lmv")).expect("it was there");
    std::fs::create_dir(here.join("sizes.lmv")).expect("a folder");
    fails(here, &["check", "table.lmv"], 1, &["E0801", "is a folder"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_above_itself_comes_to_an_end() {
    let folder = table();
    let here = folder.path();
    std::os::unix::fs::symlink(".", here.join("deeper")).expect("a link");
    write(here, "round.lmv", "use \"./deeper/round.lmv\"\nmodel = vit_small >> head\n");
    fails(here, &["check", "round.lmv"], 1, &["E0702", "too long a row"]);
}

#[test]
fn a_run_holds_all_its_files_and_goes_on_without_the_first_ones() {
    let folder = table();
    let here = folder.path();
    succeeds(here, &["train", "table.lmv", "--variant", "layer.2", "--device", "cpu", "--steps", "3"]);
    let run = here.join("runs/table-layer.2-1");
    let lock = std::fs::read_to_string(run.join("lmv.lock")).expect("a lock");
    for part in ["\"variant\": \"layer.2\"", "imports/base.lmv", "imports/sizes.lmv"] {
        assert!(lock.contains(part), "{part} in {lock}");
    }
    std::fs::remove_file(here.join("table.lmv")).expect("it was there");
    std::fs::remove_file(here.join("sizes.lmv")).expect("it was there");
    let moved = here.join("elsewhere");
    std::fs::create_dir(&moved).expect("a folder");
    std::fs::rename(&run, moved.join("run")).expect("on one disk");
    std::fs::rename(here.join("runs/data"), moved.join("data")).expect("on one disk");
    succeeds(&moved, &["check", "run/spec.lmv"]);
    succeeds(&moved, &["train", "--resume", "run", "--device", "cpu"]);
    let measured = succeeds(&moved, &["eval", "run/spec.lmv", "--checkpoint", "run", "--device", "cpu"]);
    let metrics = std::fs::read_to_string(moved.join("run/metrics.jsonl")).expect("metrics");
    assert!(measured.starts_with("top1") && metrics.contains("top1"), "{measured}");
    // Two epochs, as the table says and its base does not: one step each of 96 images in batches of 16.
    assert!(metrics.contains("\"step\":12") && !metrics.contains("\"step\":13"), "{metrics}");
    fails(&moved, &["train", "--resume", "run", "--variant", "mlp"], 2, &["cannot be used with"]);
    let sizes = moved.join("run/imports/sizes.lmv");
    let text = std::fs::read_to_string(&sizes).expect("it is there");
    std::fs::write(&sizes, text + "\n").expect("writable");
    fails(&moved, &["train", "--resume", "run", "--device", "cpu"], 3, &["the imported file imports/sizes.lmv"]);
}

#[test]
fn measuring_takes_the_variant_of_the_run() {
    let folder = table();
    let here = folder.path();
    succeeds(here, &["train", "table.lmv", "--variant", "mlp", "--device", "cpu", "--epochs", "1"]);
    let run = "runs/table-mlp-1";
    // The model of the spec itself has a block of a language model, and the checkpoint has none of its own either way;
    // so that the right one is taken shows where the spec has no such variant.
    let of_run = succeeds(here, &["eval", "table.lmv", "--checkpoint", run, "--device", "cpu"]);
    let named = succeeds(here, &["eval", "table.lmv", "--variant", "mlp", "--checkpoint", run, "--device", "cpu"]);
    let other = succeeds(here, &["eval", "table.lmv", "--variant", "layer.0", "--checkpoint", run, "--device", "cpu"]);
    assert_eq!(of_run, named);
    assert_ne!(of_run, other);
    let said = ["there is no variant `mlp`", "the run `runs/table-mlp-1` is of that variant"];
    fails(here, &["eval", "specs/base.lmv", "--checkpoint", run, "--device", "cpu"], 2, &said);
}

#[test]
fn names_of_the_library_are_explained_by_module() {
    let folder = table();
    let here = folder.path();
    assert!(succeeds(here, &["explain", "vision.vit.block"]).contains("layer block(d, heads"));
    assert!(succeeds(here, &["explain", "vision.vit"]).contains("vision.vit.vit_small  ViT-S/16"));
    assert!(succeeds(here, &["explain", "data.vqav2.vqav2"]).contains("use data.vqav2 { vqav2 }"));
    // A dataset and a table of checkpoint names.
    let both = succeeds(here, &["explain", "sqa3d"]);
    assert!(both.contains("data.sqa3d.sqa3d") && both.contains("weights.sqa3d.sqa3d"), "{both}");
    fails(here, &["explain", "vision.vit.blok"], 2, &["did you mean `vision.vit.block`"]);
}

/// Two hundred models of 13 layers with a block of a language model are a table that somebody may write.
#[test]
fn a_large_family_is_checked_in_time() {
    let folder = table();
    let here = folder.path();
    let text = "let around(middle) = vit_small >> linear(384, 4096) >> middle >> linear(4096, 384) >> head
data = imagenet
train = deit
variant layer for i in 0..32 { model = around(frozen(llama7b.layer[i])) }
variant seed for i in 0..168 {
  model = around(frozen(llama7b.layer[31]))
  seed = i
}
";
    write(here, "sweep.lmv", text);
    let begun = std::time::Instant::now();
    assert_eq!(succeeds(here, &["check", "sweep.lmv"]), "ok: 1 spec, 200 variants\n");
    // It takes a tenth of this alone.
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn a_warning_is_told_once_and_stops_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let spec = "use \"./own.lmv\" { around }
model = around(gelu) >> head
data  = shapes(image = 16, classes = 4, train = 16, val = 8)
train = one_cycle(epochs = 1, batch = 16)
eval  = [top5]
";
    let parts = "let around(middle) = vit(image = 16, patch = 8, d = 16, depth = 1, heads = 2) >> middle
let head = mean_tokens >> linear(16, 4)
";
    write(here, "a.lmv", spec);
    write(here, "own.lmv", parts);
    let said = succeeds(here, &["check", "a.lmv", "a.lmv"]);
    assert!(said.ends_with("ok: 2 specs; 4 warnings\n"), "{said}");
    // `bench` compiles a spec twice.
    let bench = ["bench", "a.lmv", "--only", "forward", "--repeats", "1", "--batch", "2", "--device", "cpu"];
    for command in [&["check", "a.lmv", "a.lmv"][..], &["train", "a.lmv", "--device", "cpu"], &bench] {
        let said = succeeds(here, command);
        for warning in ["warning[W0001]: there are two `head`", "warning[W0002]: `top5` expects 5 < classes"] {
            assert_eq!(said.matches(warning).count(), 1, "{command:?}: {said}");
        }
    }
    let output = lmvc(here, &["check", "a.lmv", "--message-format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let told: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect();
    let heads: Vec<_> = told.iter().map(|told| (told["code"].as_str(), told["severity"].as_str())).collect();
    assert_eq!(heads, [(Some("W0001"), Some("warning")), (Some("W0002"), Some("warning"))]);
    assert_eq!(told[0]["suggestions"][0]["edits"][0]["text"], "head, ");
    // With what it proposes, or with the import that says that the other one is meant, nothing is told.
    for import in ["use \"./own.lmv\" { head, around }", "use \"./own.lmv\" { around }\nuse vision.vit { head }"] {
        let quiet = spec.replace("use \"./own.lmv\" { around }", import).replace("top5", "top1");
        write(here, "a.lmv", &quiet);
        assert_eq!(succeeds(here, &["check", "a.lmv"]), "ok: 1 spec\n");
    }
    // An error is told beside a warning, and counts.
    write(here, "a.lmv", &spec.replace("gelu", "gelo"));
    fails(here, &["check", "a.lmv"], 1, &["warning[W0001]", "error[E0201]", "1 spec checked: 1 error, 1 warning\n"]);
}
