//! The parts of a recipe against PyTorch and timm: `tests/golden/recipes.py` wrote the numbers.

mod golden_support;

use std::path::PathBuf;

use burn_flex::Flex;
use golden_support::{Golden, read};
use lmv_runtime::kernels::global_norm;
use lmv_runtime::kernels::{AdamW, Kernels};
use lmv_runtime::network::{tensor, values};
use lmv_runtime::training::clip::clip;
use lmv_runtime::training::mix::{CutBox, Mixing, one_hot_smoothed};
use lmv_runtime::training::schedule::Schedule;

fn case(name: &str) -> Golden {
    read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recipes.safetensors"), name)
}

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1e-3), "{what}, {i}: {a} and not {b}");
    }
}

fn flex(golden: &Golden) -> burn::tensor::ops::FloatTensor<Flex> {
    tensor::<Flex>(golden.values.clone(), &golden.shape, &Default::default())
}

#[test]
fn the_cosine_is_timms_for_all_300_epochs() {
    let schedule = Schedule::Cosine { epochs: 300, warmup: 20, from: 1e-6, to: 1e-5 };
    let found: Vec<f32> = (0..300).map(|epoch| schedule.lr(1e-3, epoch, 0, 10) as f32).collect();
    close("cosine", &found, &case("cosine.lr").values, 1e-6);
}

#[test]
fn one_cycle_is_torchs_for_every_step() {
    let schedule = Schedule::one_cycle(10);
    let found: Vec<f32> = (0..100).map(|step| schedule.lr(1e-3, step / 10, step % 10, 10) as f32).collect();
    close("one cycle", &found, &case("one_cycle.lr").values, 1e-6);
}

#[test]
fn both_cross_entropies_and_their_gradients_are_torchs() {
    for name in ["smoothing_cross_entropy", "mixup_cross_entropy"] {
        let logits = case(&format!("{name}.logits"));
        let labels: Vec<usize> = case(&format!("{name}.labels")).values.iter().map(|&x| x as usize).collect();
        let classes = logits.shape[1];
        let targets = match name {
            "mixup_cross_entropy" => {
                let targets = Mixing { lambda: 0.3, cut: None }.targets(&labels, classes, 0.1).expect("classes");
                close("targets", &targets, &case("mixup_cross_entropy.targets").values, 1e-6);
                targets
            }
            _ => one_hot_smoothed(&labels, classes, 0.1).expect("classes"),
        };
        let targets = tensor::<Flex>(targets, &logits.shape, &Default::default());
        let loss = values::<Flex>(Flex::fused_softmax_cross_entropy(flex(&logits), targets.clone()));
        close(name, &loss, &case(&format!("{name}.loss")).values, 1e-6);
        let one = tensor::<Flex>(vec![1.0], &[1], &Default::default());
        let gradient = values::<Flex>(Flex::fused_softmax_cross_entropy_backward(flex(&logits), targets, one));
        close(name, &gradient, &case(&format!("{name}.grad")).values, 1e-5);
    }
}

#[test]
fn boxes_of_cutmix_are_timms() {
    let (places, lambdas, boxes) =
        (case("cutmix_box.image_and_centre"), case("cutmix_box.lambda"), case("cutmix_box.box_0_4"));
    let corrected = case("cutmix_box.corrected_lambda_0_4");
    for (i, (place, expected)) in places.values.chunks(4).zip(boxes.values.chunks(4)).enumerate() {
        let n: Vec<usize> = place.iter().map(|&x| x as usize).collect();
        let found = CutBox::around((n[2], n[3]), f64::from(lambdas.values[i]), n[0], n[1]);
        let edges = [found.top, found.bottom, found.left, found.right].map(|edge| edge as f32);
        assert_eq!(edges, expected, "case {i}");
        let lambda = 1.0 - found.area() as f32 / (n[0] * n[1]) as f32;
        close("corrected lambda", &[lambda], &corrected.values[i..=i], 1e-6);
    }
}

/// A batch that timm 0.4.12 mixed: `tests/golden/augmentations.py` wrote it.
#[derive(serde::Deserialize)]
struct Mixed {
    cutmix: bool,
    lambda: f64,
    centre: Option<(usize, usize)>,
    mixed: Vec<f32>,
    targets: Vec<f32>,
}

#[test]
fn mixed_batches_and_their_targets_are_timms() {
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/augmentations/cases.json");
    let text = std::fs::read_to_string(place).expect("cases.json");
    let mut all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let cases: Vec<Mixed> = serde_json::from_value(all["mixes"].take()).expect("mixes");
    assert_eq!(cases.len(), 5);
    for case in cases {
        // Image i is full of i + 1 in its first channel, and has 10 (i + 1) + column in its second.
        let mut images: Vec<f32> = (0..4 * 90)
            .map(|at| match (at / 90 + 1, at % 90 / 30, at % 5) {
                (image, 0, _) => image as f32,
                (image, 1, column) => (10 * image + column) as f32,
                _ => 0.0,
            })
            .collect();
        let cut = case.centre.map(|centre| CutBox::around(centre, case.lambda, 6, 5));
        assert_eq!(cut.is_some(), case.cutmix);
        let lambda = cut.map_or(case.lambda, |cut| 1.0 - cut.area() as f64 / 30.0);
        let mixing = Mixing { lambda, cut };
        mixing.apply(&mut images, [4, 3, 6, 5]).expect("a batch of that shape");
        let seen: Vec<f32> = images.chunks(90).flat_map(|image| &image[..60]).copied().collect();
        close("mixed images", &seen, &case.mixed, 1e-5);
        close("mixed targets", &mixing.targets(&[3, 0, 4, 3], 5, 0.1).expect("classes"), &case.targets, 1e-4);
    }
}

#[test]
fn the_moving_average_is_timms() {
    let seen = case("moving_average.values");
    let width = seen.shape[1];
    for (name, decay) in [("0.9", 0.9), ("0.99996", 0.99996)] {
        let expected = case(&format!("moving_average.average_{name}"));
        let row = |i: usize| seen.values[i * width..(i + 1) * width].to_vec();
        let mut average = tensor::<Flex>(row(0), &[width], &Default::default());
        for step in 0..expected.shape[0] {
            average = Flex::fused_average(average, tensor::<Flex>(row(step + 1), &[width], &Default::default()), decay);
            let found = values::<Flex>(average.clone());
            close(name, &found, &expected.values[step * width..(step + 1) * width], 1e-5);
        }
    }
}

#[test]
fn the_norm_is_clipped_as_torch_clips_it() {
    let (a, b) = (case("clip_by_norm.grad.a"), case("clip_by_norm.grad.b"));
    for (name, limit) in [("1", 1.0), ("100", 100.0)] {
        let clipped = clip(global_norm(&[&a.values, &b.values]), limit).expect("finite");
        close("norm", &[clipped.norm as f32], &case("clip_by_norm.norm").values, 1e-6);
        for (gradient, part) in [(&a, "a"), (&b, "b")] {
            let found: Vec<f32> = gradient.values.iter().map(|x| x * clipped.factor).collect();
            close(part, &found, &case(&format!("clip_by_norm.clipped_{name}.{part}")).values, 1e-6);
        }
    }
}

#[test]
fn adamw_is_torchs_for_six_steps() {
    let (start, gradients) = (case("adamw.start"), case("adamw.grads"));
    let size: usize = start.shape.iter().product();
    for (name, weight_decay) in [("0", 0.0), ("0.05", 0.05)] {
        let expected = case(&format!("adamw.after_decay_{name}"));
        let zeros = || tensor::<Flex>(vec![0.0; size], &start.shape, &Default::default());
        let (mut parameter, mut m, mut v) = (flex(&start), zeros(), zeros());
        for step in 0..gradients.shape[0] {
            let part = |golden: &Golden| golden.values[step * size..(step + 1) * size].to_vec();
            let gradient = tensor::<Flex>(part(&gradients), &start.shape, &Default::default());
            let settings = AdamW { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay };
            [parameter, m, v] = Flex::fused_adamw_step(parameter, gradient, m, v, step as u32 + 1, settings);
            close(name, &values::<Flex>(parameter.clone()), &part(&expected), 1e-5);
        }
    }
}
