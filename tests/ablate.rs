//! `lmvc ablate` from outside: every variant with every seed, a table of them, and going on where it ended.

mod place;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt;
use place::Place;

const SPEC: &str = "let around(middle) = vit(image = 16, patch = 8, d = 16, depth = 1, heads = 2) >> middle >> head
data  = shapes(image = 16, classes = 4, train = 16, val = 8)
train = one_cycle(epochs = 3, batch = 8)
eval  = [top1]

variant without {
  model    = around(identity)
  reported = { top1: 25 }
}
variant wide { model = around(linear(16, 64) >> gelu >> linear(64, 16)) }
variant third { model = around(gelu) }
";

impl Place {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
        command.current_dir(self.folder.path()).args(["ablate", "a.lmv", "--device", "cpu"]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn ablate(&self, arguments: &[&str], code: i32) -> (String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("lmvc starts");
        let (said, told) =
            (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned());
        assert_eq!(status.code(), Some(code), "{told}");
        (said, told)
    }

    fn table(&self, out: &str) -> serde_json::Value {
        let text = std::fs::read_to_string(self.path(&format!("{out}/ablation.json"))).expect("a table");
        serde_json::from_str(&text).expect("an object")
    }
}

#[test]
fn every_variant_is_trained_with_every_seed_once() {
    let place = Place::new(SPEC);
    let asked = ["--variants", "without,wide", "--seeds", "0,1"];
    let (said, told) = place.ablate(&asked, 0);
    assert!(told.contains("run 4 of 4: wide, seed 1 begins"), "{told}");
    assert!(said.starts_with("| variant | seeds | top1 | difference | reported | loss | difference |\n"), "{said}");
    assert!(said.contains("\n| without | 0, 1 |") && !said.contains("third"), "{said}");
    let table = place.table("runs/a-ablation");
    let wide = &table["variants"][1];
    assert_eq!(wide["runs"][1]["seed"], 1);
    assert_eq!(table["variants"][0]["metrics"]["top1"]["reported"], 25.0);
    // The mean and the range are of what the runs' own folders say.
    let of = |seed: usize| {
        let text = std::fs::read_to_string(place.path(&format!("runs/a-ablation/wide-seed{seed}-1/metrics.jsonl")));
        let text = text.expect("metrics");
        let last =
            text.lines().rfind(|line| line.contains("\"epoch\":3") && line.contains("val_top1")).expect("an epoch");
        serde_json::from_str::<serde_json::Value>(last).expect("an object")["val_top1"].as_f64().expect("a number")
    };
    assert_eq!(wide["metrics"]["top1"]["mean"].as_f64(), Some((of(0) + of(1)) / 2.0));
    assert_eq!(wide["metrics"]["top1"]["max"].as_f64(), Some(of(0).max(of(1))));
    // A report is of one run, and the folder of all of them is none.
    let mut report = Command::cargo_bin("lmvc").expect("the binary of this package");
    let output = report.current_dir(place.folder.path()).args(["report", "runs/a-ablation"]).output().expect("starts");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    for said in
        ["a folder with 4 runs in it", "runs/a-ablation/ablation.md", "give a run: runs/a-ablation/wide-seed0-1"]
    {
        assert!(output.status.code() == Some(3) && message.contains(said), "`{said}` in: {message}");
    }
    // Nothing is trained again, and another seed is added to what is there.
    let (again, told) = place.ablate(&["--variants", "without,wide", "--seeds", "0,1"], 0);
    assert_eq!(again, said);
    assert_eq!(told.matches("is done").count(), 4, "{told}");
    // Runs of other settings are not mixed in.
    let (_, told) = place.ablate(&["--variants", "without,wide", "--epochs", "2"], 3);
    assert!(told.contains("another spec, or was set otherwise") && told.contains("--out DIR"), "{told}");
}

#[test]
fn a_warning_about_variants_is_told_once() {
    let place = Place::new(&SPEC.replace("[top1]", "[top1, top5]"));
    let (_, told) = place.ablate(&["--epochs", "1", "--variants", "without,wide"], 0);
    assert_eq!(told.matches("warning[W0002]: `top5` expects 5 < classes").count(), 1, "{told}");
}

#[test]
fn a_killed_ablation_goes_on() {
    let place = Place::new(SPEC);
    place.ablate(&["--seeds", "3", "--out", "whole"], 0);
    let mut child = place
        .command(&["--seeds", "3", "--out", "cut"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let second = place.path("cut/wide-seed3-1/metrics.jsonl");
    for _ in 0..6000 {
        let ended = child.try_wait().expect("it can be asked").is_some();
        if ended || std::fs::read(&second).unwrap_or_default().iter().filter(|&&byte| byte == b'\n').count() > 9 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait().expect("it ends");
    let (_, told) = place.ablate(&["--seeds", "3", "--out", "cut"], 0);
    assert!(told.contains("run 1 of 3: without, seed 3 is done"), "{told}");
    let metrics = |out: &str| {
        let table = place.table(out);
        let variants = table["variants"].as_array().expect("variants").clone();
        variants.into_iter().map(|variant| variant["metrics"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(metrics("cut"), metrics("whole"));
}

#[test]
fn what_cannot_be_compared_is_told() {
    let place = Place::new(SPEC);
    let (_, told) = place.ablate(&["--variants", "without,wides"], 2);
    assert!(told.contains("there is no variant `wides`") && told.contains("`wide`"), "{told}");
    let none = Place::new("model = vit_small >> head\ndata = imagenet\ntrain = deit\neval = [top1]\n");
    let (_, told) = none.ablate(&[], 2);
    assert!(told.contains("no variants to compare"), "{told}");
}

#[test]
fn weights_that_a_later_variant_lacks_are_told_before_the_first_run() {
    let spec = "llm absent = llama(dim = 16, heads = 2, ffn = 32, layers = 1)
"
    .to_owned()
        + SPEC
        + "variant block { model = around(frozen(absent.layer[0])) }
";
    let place = Place::new(&spec);
    let (_, told) = place.ablate(&[], 3);
    assert!(told.contains("nothing says where the weights of `absent` are"), "{told}");
    assert!(!place.path("runs").exists(), "nothing was begun");
}

#[test]
fn a_run_of_other_settings_says_what_is_another() {
    let place = Place::new(SPEC);
    place.ablate(&["--variants", "wide", "--epochs", "1"], 0);
    let (_, told) = place.ablate(&["--variants", "wide", "--epochs", "2"], 3);
    assert!(told.contains("then: train.epochs = 1; now: train.epochs = 2"), "{told}");
    std::fs::write(place.path("a.lmv"), format!("// changed\n{SPEC}")).expect("a spec");
    let (_, told) = place.ablate(&["--variants", "wide", "--epochs", "1"], 3);
    assert!(told.contains("the text of the spec is another") && !told.contains("then:"), "{told}");
}
