//! Whole runs on a GPU beside the same on the CPU: `cargo test --features wgpu --test gpu`, or `--features cuda`. Without a GPU that
//! the build can use, they say so and pass.
#![cfg(any(feature = "cuda", feature = "wgpu"))]

mod place;

use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use place::Place;
use serde_json::Value;

#[cfg(all(feature = "cuda", not(feature = "wgpu")))]
const GPU: &str = "cuda";
#[cfg(feature = "wgpu")]
const GPU: &str = "wgpu";

/// A frozen block between trained layers, a norm over the batch, everything random that is drawn on the host.
const IMAGES: &str = "llm small = llama(dim = 48, heads = 4, kv_heads = 2, ffn = 96, layers = 1)
model = vit(image = 16, patch = 4, d = 32, depth = 2, heads = 2, drop_path = 0.0)
     >> linear(32, 48, bias = false) >> frozen(random(small.layer[0])) >> linear(48, 32, bias = false)
     >> batch_norm(32) >> head
data  = shapes(image = 16, classes = 4, train = 48, val = 16)
train = mine()
eval  = [top1]
recipe mine(epochs = 3, batch = 16) {
  loss      = cross_entropy(smoothing = 0.1)
  optimizer = adamw(1e-3) with { no_decay: [rank(1), position, class_token] }
  schedule  = cosine(epochs, warmup = 1)
  augment   = [random_crop(16, padding = 2), horizontal_flip]
  mix       = mixup(0.8) or cutmix(1.0)
  ema       = 0.9
  clip      = 1.0
}
";

fn lmvc(place: &Place, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
    command.current_dir(place.folder.path()).args(arguments).stdin(Stdio::null());
    // Fewer sizes are measured by themselves, and what was found goes with the folder.
    command.env("CUBECL_AUTOTUNE_LEVEL", "minimal").env("LMV_CACHE", place.path("cache"));
    command.output().expect("lmvc starts")
}

/// Trains on a device; `None` where there is no such device.
fn trained(place: &Place, device: &str, more: &[&str]) -> Option<Vec<Value>> {
    let run = format!("on-{device}{}", more.concat());
    let arguments = [&["train", "a.lmv", "--out", &run, "--device", device], more].concat();
    let output = lmvc(place, &arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("no GPU was found") || said.contains("there is no NVIDIA GPU") {
        eprintln!("skipped: {said}");
        return None;
    }
    assert!(output.status.success(), "{said}");
    let lines = std::fs::read_to_string(place.path(&run).join("a-1/metrics.jsonl")).expect("metrics of the run");
    Some(lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// Every number of two lists of records, which have to be as near as this.
fn assert_near(got: &Value, want: &Value, tolerance: f64, at: &str) {
    match (got, want) {
        (Value::Object(got), Value::Object(want)) => {
            // Times differ.
            for (name, want) in want.iter().filter(|(name, _)| !name.contains("second") && !name.contains("time")) {
                assert_near(got.get(name).unwrap_or(&Value::Null), want, tolerance, &format!("{at}.{name}"));
            }
        }
        (Value::Array(got), Value::Array(want)) => {
            assert_eq!(got.len(), want.len(), "{at}");
            got.iter().zip(want).for_each(|(got, want)| assert_near(got, want, tolerance, at));
        }
        (Value::Number(got), Value::Number(want)) => {
            let (got, want) = (got.as_f64().expect("a number"), want.as_f64().expect("a number"));
            assert!((got - want).abs() <= tolerance * (1.0 + want.abs()), "{at}: {got} for {want}");
        }
        _ => assert_eq!(got, want, "{at}"),
    }
}

#[test]
fn a_run_is_that_of_the_cpu() {
    let place = Place::new(IMAGES);
    let Some(got) = trained(&place, GPU, &[]) else { return };
    let want = trained(&place, "cpu", &[]).expect("a CPU");
    assert_eq!(got.len(), want.len());
    got.iter().zip(&want).for_each(|(got, want)| assert_near(got, want, 2e-3, "metrics"));
    // The other device measures either run as its own does.
    let measured = |run: &str, device| {
        let output = lmvc(&place, &["eval", "a.lmv", "--checkpoint", run, "--device", device]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let run = format!("on-{GPU}/a-1");
    assert_eq!(measured(&run, GPU), measured(&run, "cpu"));
}

#[test]
fn half_precision_is_that_of_the_cpu() {
    let place = Place::new(IMAGES);
    let f16 = ["--precision", "f16"];
    let Some(got) = trained(&place, GPU, &f16) else { return };
    let want = trained(&place, "cpu", &f16).expect("a CPU");
    got.iter().zip(&want).for_each(|(got, want)| assert_near(got, want, 2e-2, "metrics"));
}
