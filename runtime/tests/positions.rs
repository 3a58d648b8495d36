//! A vision transformer that was made for one image size, on images of another: its learned positions are interpolated, and
//! what comes of it is held against PyTorch.

mod golden_support;

use std::path::Path;

use golden_support::{compile, device, difference, infer, read, write};
use lmv_compiler::passes::Passes;
use lmv_runtime::device::run;
use lmv_runtime::error::Result;
use lmv_runtime::events::Event;
use lmv_runtime::inference::Inference;
use lmv_runtime::places::Places;

fn spec(image: usize, patch: usize) -> String {
    format!(
        "model(image : [3, {image}, {image}]) {{
  image >> pretrained(\"toy\", vit(image = {image}, patch = {patch}, d = 24, depth = 2, heads = 3))
}}"
    )
}

/// Runs a model that takes its weights from `checkpoint`; gives what was told.
fn told(spec: &str, checkpoint: &Path, input: &Path) -> Result<Vec<String>> {
    let experiment = compile(spec);
    let mut places = Places::from_environment();
    places.weights = places.weights.with_flag("toy", checkpoint);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut notes = Vec::new();
    let inference = Inference {
        experiment: &experiment,
        passes: Passes::ALL,
        places: &places,
        checkpoint: None,
        input,
        output: &folder.path().join("out.safetensors"),
        taps: &[],
        seed: 0,
        observer: &mut |event: Event| {
            if let Event::Note(note) = event {
                notes.push(note);
            }
        },
    };
    run(device(), inference)?;
    Ok(notes)
}

#[test]
fn positions_are_interpolated_to_the_grid_of_the_spec() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (cases, checkpoint) = (golden.join("positions.safetensors"), golden.join("vit_llama/checkpoint.pth"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = folder.path().join("in.safetensors");
    for side in [1, 3, 5] {
        write(&input, &[("image", &read(&cases, &format!("{side}.image")))]);
        let spec = spec(8 * side, 8);
        let found = infer(&spec, Passes::ALL, &[("toy", &checkpoint)], None, &input, &[]).remove("output");
        let off = difference(&found.expect("an output"), &read(&cases, &format!("{side}.tokens")));
        assert!(off <= 1e-4, "{side} x {side} patches are off by {off:e}");
        let notes = told(&spec, &checkpoint, &input).expect("it runs");
        let line = format!("the positions `pos_embed` are of 2 x 2 patches, and were interpolated to {side} x {side}");
        assert!(notes.iter().any(|note| note.ends_with(&line)), "{notes:?}");
    }
}

#[test]
fn what_is_no_square_grid_is_refused() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, oblong) = (folder.path().join("in.safetensors"), folder.path().join("oblong.safetensors"));
    write(&input, &[("image", &read(&golden.join("positions.safetensors"), "3.image"))]);
    let of = golden.join("vit_llama/checkpoint.pth");
    let names: Vec<String> =
        lmv_runtime::weights::Checkpoint::open(&of).expect("it opens").names().map(String::from).collect();
    let mut tensors: Vec<_> = names.iter().map(|name| (name.as_str(), read(&of, name))).collect();
    let positions = tensors.iter_mut().find(|(name, _)| *name == "pos_embed").expect("positions");
    // 2 x 3 patches.
    positions.1 = golden_support::Golden { shape: vec![1, 7, 24], values: vec![0.5; 7 * 24] };
    write(&oblong, &tensors.iter().map(|(name, tensor)| (*name, tensor)).collect::<Vec<_>>());
    let failure = told(&spec(24, 8), &oblong, &input).expect_err("no square grid");
    let line = "positions are interpolated between square grids only, behind 1 more";
    assert!(failure.notes.iter().any(|note| note.contains("`pos_embed`") && note.ends_with(line)), "{failure:?}");
}
