//! What the golden tests share: where the files are, reading them, and running a spec on them.
#![allow(dead_code)] // Each test binary uses its own part.

pub mod stepping;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lmv_compiler::passes::Passes;
use lmv_runtime::device::{DeviceChoice, run, settle};
use lmv_runtime::events::Event;
use lmv_runtime::inference::Inference;
use lmv_runtime::places::Places;
use lmv_runtime::weights::Checkpoint;

/// The project's own golden files, and the shared ones where they are there.
pub fn golden_folders() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![here.join("tests/golden")];
    let shared = std::env::var("LMV_SHARED").map_or_else(|_| here.join("../../shared"), PathBuf::from).join("golden");
    if shared.is_dir() {
        folders.push(shared);
    } else {
        println!("skipped: no shared golden files at {}", shared.display());
    }
    folders
}

/// A tensor of a file.
pub struct Golden {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A tensor by its name.
pub fn read(file: &Path, name: &str) -> Golden {
    let file = Checkpoint::open(file).expect("the golden file opens");
    let info = file.info(name).unwrap_or_else(|| panic!("{name} is in the golden file"));
    Golden { shape: info.shape.clone(), values: file.read_f32(name).expect("it reads") }
}

/// Compiles a spec that must be right.
pub fn compile(spec: &str) -> lmv_compiler::Experiment {
    let compiled = lmv_compiler::compile("test.lmv", spec, &[]);
    let messages: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    compiled.experiment.unwrap_or_else(|| panic!("{spec}\n{messages}"))
}

/// Runs a spec on a file of inputs; gives its outputs and taps by name.
pub fn infer(
    spec: &str,
    passes: Passes,
    weights: &[(&str, &Path)],
    checkpoint: Option<&Path>,
    input: &Path,
    taps: &[&str],
) -> BTreeMap<String, Golden> {
    let experiment = compile(spec);
    let mut places = Places::from_environment();
    for (name, path) in weights {
        places.weights = places.weights.with_flag(*name, *path);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("out.safetensors");
    let taps: Vec<String> = taps.iter().map(|tap| (*tap).to_owned()).collect();
    let inference = Inference {
        experiment: &experiment,
        passes,
        places: &places,
        checkpoint: checkpoint.map(Into::into),
        input,
        output: &output,
        taps: &taps,
        seed: 0,
        observer: &mut |_: Event| {},
    };
    let written = run(device(), inference).unwrap_or_else(|failure| panic!("{failure}"));
    written.into_iter().map(|(name, _)| (name.clone(), read(&output, &name))).collect()
}

/// Where the tests that ask for it run: what `LMV_TEST_DEVICE` says, such as `cuda` or `wgpu`, else the CPU.
///
/// # Panics
/// The variable names no device, or none that this build can use.
pub fn device() -> DeviceChoice {
    let said = std::env::var("LMV_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
    let settled = said.parse().map(settle);
    let (device, _) = settled.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|failure| panic!("{failure}"));
    device
}

/// The largest difference of two tensors of one shape.
pub fn difference(a: &Golden, b: &Golden) -> f32 {
    assert_eq!(a.shape, b.shape);
    a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Writes tensors to a safetensors file.
pub fn write(path: &Path, tensors: &[(&str, &Golden)]) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, t)| t.values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, t), bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, t.shape.clone(), bytes);
        (*name, view.expect("the bytes are the shape's"))
    });
    std::fs::write(path, safetensors::serialize(views, None).expect("they serialize")).expect("they write");
}
