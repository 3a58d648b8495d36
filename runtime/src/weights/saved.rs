//! Checkpoints that PyTorch itself saved, in all of its formats, as trainers leave them (runtime/tests/golden).

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Checkpoint, Dtype};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/checkpoints")).join(name)
}

/// Opens a file, and holds every tensor that PyTorch says is the model's against what is read.
fn as_pytorch_has_it(name: &str) -> Checkpoint {
    let checkpoint = Checkpoint::open(golden(name)).unwrap();
    let expected = Checkpoint::open(golden("expected.safetensors")).unwrap();
    let mut names = BTreeSet::new();
    for full in expected.names() {
        let Some(tensor) = full.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')) else { continue };
        assert_eq!(checkpoint.require(tensor).unwrap().shape, expected.require(full).unwrap().shape, "{full}");
        let (numbers, hash) = checkpoint.read_hashed(tensor).unwrap();
        assert_eq!(numbers, expected.read_f32(full).unwrap(), "{full}");
        assert_eq!(hash, checkpoint.hash_tensor(tensor).unwrap(), "{full}");
        // Halves as they are stored, in the file where it can be mapped.
        let (halves, again) = checkpoint.read_numbers(tensor, true).unwrap();
        assert_eq!((halves.into_f32(), again), (numbers, hash), "{full}");
        names.insert(tensor);
    }
    assert!(!names.is_empty());
    assert_eq!(checkpoint.names().collect::<BTreeSet<_>>(), names, "{name}");
    checkpoint
}

#[test]
fn deit_with_its_command_line_optimizer_and_average() {
    for name in ["deit_old.pth", "deit_new.pth"] {
        let checkpoint = as_pytorch_has_it(name);
        assert_eq!(
            checkpoint.notes().collect::<Vec<_>>(),
            ["the tensors under `model` are taken; there are some under `model_ema` as well"]
        );
    }
}

#[test]
fn point_bert_with_metrics_of_a_class_of_its_own() {
    assert_eq!(as_pytorch_has_it("point_bert.pth").notes().count(), 0);
}

#[test]
fn meter_with_callbacks_by_their_class_and_numbers_of_numpy() {
    assert_eq!(as_pytorch_has_it("meter.ckpt").notes().count(), 0);
}

#[test]
fn views_of_every_kind_in_old_and_new() {
    for name in ["views_old.pt", "views_new.pt"] {
        let checkpoint = as_pytorch_has_it(name);
        let dtype = |name| checkpoint.info(name).unwrap().dtype;
        assert_eq!(
            ["whole", "half_transposed", "tied", "scalar", "counter", "flags"].map(dtype),
            [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64, Dtype::I64, Dtype::Bool]
        );
        assert_eq!(checkpoint.hash_tensor("tied"), checkpoint.hash_tensor("table"));
    }
}

#[test]
fn modules_that_were_saved_whole() {
    as_pytorch_has_it("module_old.pt");
    as_pytorch_has_it("module.pt");
}

#[test]
fn an_archive_of_torchscript() {
    let checkpoint = as_pytorch_has_it("clip.pt");
    assert_eq!(checkpoint.info("visual.conv1.weight").unwrap().dtype, Dtype::F16);
}
