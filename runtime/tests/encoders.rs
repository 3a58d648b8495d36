//! CLIP's image tower, RoBERTa and VideoMAE against Hugging Face's, from checkpoints with their own names.

mod golden_support;

use std::path::{Path, PathBuf};

use golden_support::{difference, infer, read, write};
use lmv_compiler::passes::Passes;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoders").join(name)
}

/// What a spec gives for these golden inputs, filled by the checkpoint of this name.
fn given(spec: &str, checkpoint: &str, inputs: &[&str], passes: Passes) -> golden_support::Golden {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = folder.path().join("in.safetensors");
    let tensors: Vec<_> = inputs.iter().map(|name| (*name, read(&golden("cases.safetensors"), name))).collect();
    write(&input, &tensors.iter().map(|(name, tensor)| (*name, tensor)).collect::<Vec<_>>());
    let weights = golden(&format!("{checkpoint}.safetensors"));
    infer(spec, passes, &[(checkpoint, &weights)], None, &input, &[]).remove("output").expect("an output")
}

#[test]
fn clips_image_tower() {
    let spec = "use vision.clip { clip_tower }
model(image : [3, 16, 16]) {
  image >> frozen(pretrained(\"clip\", clip_tower(image = 16, patch = 8, d = 16, depth = 2, heads = 2)))
}";
    for passes in [Passes::NONE, Passes::ALL] {
        let off = difference(&given(spec, "clip", &["image"], passes), &read(&golden("cases.safetensors"), "clip"));
        assert!(off <= 1e-4, "off by {off:e}");
    }
}

#[test]
fn roberta_with_padding() {
    let spec = "use language.roberta { roberta }
model(tokens : [T?] of class(30)) {
  tokens >> frozen(pretrained(\"roberta\", roberta(vocabulary = 30, positions = 20, d = 16, depth = 2, heads = 2)))
}";
    let expected = read(&golden("cases.safetensors"), "roberta");
    let mask = read(&golden("cases.safetensors"), "tokens.mask").values;
    for passes in [Passes::NONE, Passes::ALL] {
        let found = given(spec, "roberta", &["tokens", "tokens.mask"], passes);
        assert_eq!(found.shape, expected.shape);
        let rows = found.values.chunks_exact(16).zip(expected.values.chunks_exact(16)).zip(&mask);
        for (row, ((found, expected), _)) in rows.enumerate().filter(|(_, (_, real))| **real == 1.0) {
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-4, "token {} of text {}: off by {off:e}", row % 7, row / 7);
        }
    }
}

#[test]
fn videomae() {
    let spec = "use video.videomae { video_vit, head }
model(video : [3, 4, 16, 16]) {
  video
    >> pretrained(\"videomae\", (video_vit(frames = 4, image = 16, tubelet = 2, patch = 8, d = 16, depth = 2, heads = 2)
                                 >> head(5)))
}";
    for passes in [Passes::NONE, Passes::ALL] {
        let off =
            difference(&given(spec, "videomae", &["video"], passes), &read(&golden("cases.safetensors"), "videomae"));
        assert!(off <= 1e-4, "off by {off:e}");
    }
}
