//! Point-BERT and VideoMAE with a block of LLaMA at toy size, as the paper's reference code runs them: from checkpoints with
//! its names, logits, gradients, and for Point-BERT three steps with their batch-norm statistics. The files lie beside the
//! project, and a clone without them skips these tests.

mod golden_support;

use std::path::{Path, PathBuf};

use golden_support::stepping::{Model, Moments};
use golden_support::{difference, infer, read, write};
use lmv_compiler::passes::Passes;
use lmv_runtime::kernels::AdamW;
use lmv_runtime::layers::Pass;
use lmv_runtime::training::step::Stepped;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const POINT_BERT: &str = "use points.point_bert { point_bert, head }
llm toy = llama(dim = 64, heads = 4, ffn = 192, layers = 3, eps = 1e-6)
model(points : [128, 3]) {
  points >> point_bert(groups = 16, size = 8, d = 48, depth = 2, heads = 3, drop_path = 0.0)
    >> linear(48, 64, bias = false) as llama_dim_mapper1
    >> frozen(toy.layer[2])
    >> rms_norm(64, affine = false, eps = 1e-6)
    >> linear(64, 48, bias = false) as llama_dim_mapper2
    >> head(5, drop = 0.0)
}";

const VIDEOMAE: &str = "use video.videomae { video_vit, head }
llm toy = llama(dim = 64, heads = 4, ffn = 192, layers = 3, eps = 1e-6)
model(video : [3, 4, 32, 32]) {
  video >> video_vit(frames = 4, image = 32, tubelet = 2, patch = 8, d = 48, depth = 2, heads = 3, drop_path = 0.0)
    >> linear(48, 64, bias = false) as llama_dim_mapper1
    >> frozen(toy.layer[2])
    >> rms_norm(64, affine = false, eps = 1e-6)
    >> linear(64, 48, bias = false) as llama_dim_mapper2
    >> head(6)
}";

fn open(spec: &str, folder: &Path, input: &str, passes: Passes) -> Model {
    let files = [folder.join("checkpoint.pth"), folder.join("cases.safetensors")];
    let table = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Model::open(spec, files.each_ref().map(PathBuf::as_path), input, &table, passes)
}

/// The folder of a reference model's files, where they are.
fn folder(name: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var("LMV_SHARED").map_or_else(|_| here.join("../../shared"), PathBuf::from);
    let folder = shared.join("golden").join(name);
    if !folder.is_dir() {
        println!("skipped: no reference files at {}", folder.display());
    }
    folder.is_dir().then_some(folder)
}

#[test]
fn point_bert_and_three_steps_of_it() {
    let Some(folder) = folder("point_bert") else { return };
    for passes in [Passes::NONE, Passes::ALL] {
        let mut model = open(POINT_BERT, &folder, "points", passes);
        let off = difference(&model.logits(), &read(&model.cases, "logits_eval"));
        assert!(off <= 1e-4, "logits off by {off:e}");
        let mut moments = Moments::new();
        let settings = AdamW { lr: 5e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
        let losses = read(&model.cases, "losses_train_adamw_lr5e-4_wd0.05_all").values;
        for (number, expected) in losses.iter().enumerate() {
            let stepped = model.step(&mut Pass::training(ChaCha8Rng::seed_from_u64(number as u64)));
            let loss = stepped.loss;
            assert!((loss - f64::from(*expected)).abs() <= 1e-4, "step {number}: {loss}, expected {expected}");
            if number == 0 {
                assert_eq!(model.compare_gradients(&stepped.gradients), 4);
            }
            model.advance(stepped, &mut moments, number as u32 + 1, |_| settings);
        }
        for statistic in ["running_mean", "running_var"] {
            let path = format!("point_bert.encoder.first_conv.norm.{statistic}");
            let found = model.tensor(&path);
            let expected = read(&model.cases, &format!("{statistic}_after_3")).values;
            let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // The bias in front of a batch norm has a gradient of zero, and AdamW takes steps of up to the learning rate by
            // what rounding leaves of it: PyTorch's moves by up to 5e-4 at each of the first two steps, and the mean with it by
            // 0.1 · (0.9 · 5e-4 + 1e-3) = 1.45e-4; ours moves too. What the norm gives while training does not change, and
            // the variance agrees exactly.
            let most = if statistic == "running_mean" { 2.9e-4 } else { 1e-6 };
            assert!(off <= most, "{path} is off by {off:e}");
        }
        let off = difference(&model.logits(), &read(&model.cases, "logits_eval_after_3"));
        assert!(off <= 1e-3, "logits after three steps off by {off:e}");
    }
}

#[test]
fn the_points_that_point_bert_groups_are_the_references() {
    let Some(folder) = folder("point_bert") else { return };
    let cases = folder.join("cases.safetensors");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let input = scratch.path().join("in.safetensors");
    write(&input, &[("points", &read(&cases, "points"))]);
    let spec = "model(points : [128, 3]) {
  let taken = points >> farthest_points(16)
  let centers = (points, taken) >> gather
  let near = (points, (points, centers) >> nearest_points(8)) >> gather
  (taken, centers, ((near, (centers, near) >> spread) >> subtract) >> length)
}";
    let found = infer(spec, Passes::NONE, &[], None, &input, &[]);
    assert_eq!(found["output.0"].values, read(&cases, "fps_index").values, "the same points in the same order");
    assert_eq!(difference(&found["output.1"], &read(&cases, "centers")), 0.0);
    // Which of equally near points is taken is no matter: how far they are is the same.
    let off = difference(&found["output.2"], &read(&cases, "neighborhood_sorted"));
    assert!(off <= 1e-5, "distances of the neighbours, the nearest first, off by {off:e}");
}

#[test]
fn videomae() {
    let Some(folder) = folder("videomae") else { return };
    for passes in [Passes::NONE, Passes::ALL] {
        let model = open(VIDEOMAE, &folder, "video", passes);
        let off = difference(&model.logits(), &read(&model.cases, "logits"));
        assert!(off <= 1e-4, "logits off by {off:e}");
        let Stepped { loss, gradients, .. } = model.step(&mut Pass::evaluating());
        assert!((loss - f64::from(read(&model.cases, "loss").values[0])).abs() <= 1e-4, "loss {loss}");
        assert_eq!(model.compare_gradients(&gradients), 5);
    }
}
