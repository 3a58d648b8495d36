//! A file of weights that is given as a checkpoint is watched, as the weights of a spec's names are.

#![cfg(target_os = "linux")]

mod golden_support;

use burn_flex::Flex;
use golden_support::compile;
use half::f16;
use lmv_compiler::passes::Passes;
use lmv_runtime::events::Event;
use lmv_runtime::parameters::{self, Trained};
use lmv_runtime::places::Places;
use lmv_runtime::training::seeds::Seeds;
use lmv_runtime::weights::mapped::unchanged;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

#[test]
fn a_file_given_as_a_checkpoint_is_watched() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trained.safetensors");
    let bytes: Vec<u8> = (0..12).flat_map(|number| f16::from_f32(number as f32).to_le_bytes()).collect();
    let view = |dims: &[usize]| {
        let count = dims.iter().product::<usize>();
        TensorView::new(Dtype::F16, dims.to_vec(), &bytes[..2 * count]).expect("as many numbers")
    };
    let tensors =
        [("a.weight", view(&[3, 4])), ("a.bias", view(&[3])), ("b.weight", view(&[2, 3])), ("b.bias", view(&[2]))];
    safetensors::serialize_to_file(tensors, None, &path).expect("a file");
    let spec = "model(x : [4]) { x >> frozen(random(linear(4, 3) as a)) >> linear(3, 2) as b }";
    let plan = Passes::ALL.plan(&compile(spec).graph);
    let loaded = parameters::load::<Flex>(
        &plan,
        &Seeds::new(0),
        &Places::from_environment(),
        Some(Trained::from(path.as_path())),
        &Default::default(),
        &mut |_: Event| {},
    );
    let loaded = loaded.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!loaded.mapped.is_empty(), "the frozen weight lies in the file");
    assert_eq!(unchanged(&loaded.mapped), Ok(()));
    std::fs::OpenOptions::new().append(true).open(&path).expect("the file").set_len(10_000).expect("a longer one");
    let failure = unchanged(&loaded.mapped).expect_err("it is longer");
    assert_eq!(failure.path, Some(path));
}
