//! The numbers of the paper's recipes, as paper.md tells them, in the specs that train by them.

use std::collections::BTreeSet;

use lmv_compiler::config::Config;
use lmv_compiler::{Spec, Which, check};

mod spec_files;

use spec_files::spec_files;

/// A recipe as lines: `optimizer.adamw.lr = 0.001`. Parts of a list are told apart by their places, `augment.2.…`.
fn lines(folder: &str, spec: &str, variant: &str) -> BTreeSet<String> {
    let files = spec_files();
    let name = format!("specs/{folder}/{spec}.lmv");
    let which = if variant.is_empty() { Which::Base } else { Which::Variant(variant) };
    let compiled = check(&Spec { name: &name, text: &files[&name], files: &files, overrides: &[], which });
    let shown: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    let train = compiled.experiment.unwrap_or_else(|| panic!("{shown}")).train.expect("it has a recipe");
    let mut lines = BTreeSet::from([format!("epochs = {}", train.epochs), format!("batch = {}", train.batch)]);
    train.fields.iter().for_each(|(field, value)| write(field, value, &mut lines));
    lines
}

fn write(at: &str, value: &Config, lines: &mut BTreeSet<String>) {
    match value {
        Config::Call(call) => {
            let at = format!("{at}.{}", call.name);
            lines.insert(at.clone());
            for (name, value) in call.arguments.iter().chain(&call.with) {
                write(&format!("{at}.{name}"), value, lines);
            }
        }
        Config::List(items) | Config::Sum(items) => {
            items.iter().enumerate().for_each(|(i, item)| write(&format!("{at}.{i}"), item, lines));
        }
        Config::Record(fields) => fields.iter().for_each(|(name, item)| write(&format!("{at}.{name}"), item, lines)),
        Config::Scaled(factor, part) => {
            lines.insert(format!("{at} * {factor}"));
            write(at, part, lines);
        }
        Config::Either(a, b) => [a, b].into_iter().for_each(|part| write(at, part, lines)),
        other => {
            lines.insert(format!("{at} = {other}"));
        }
    }
}

/// Holds a recipe against lines that stand under each other.
fn holds(folder: &str, spec: &str, variant: &str, expected: &str) {
    let found = lines(folder, spec, variant);
    let missing: Vec<&str> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty() && !found.contains(*line)).collect();
    assert!(missing.is_empty(), "{folder}/{spec} {variant} lacks {missing:#?}\nof {found:#?}");
}

/// paper.md §3.3.
#[test]
fn deit() {
    for (variant, epochs) in [("table1 tiny", 300), ("table1 base_llama", 300), ("table6 llama_100", 100)] {
        let (spec, variant) = variant.split_once(' ').expect("a spec and a variant");
        let epochs = format!("epochs = {epochs}\nschedule.cosine.epochs = {epochs}");
        holds("imagenet", spec, variant, &epochs);
        holds(
            "imagenet",
            spec,
            variant,
            "batch = 1024
             optimizer.adamw.lr = 0.001
             optimizer.adamw.beta1 = 0.9
             optimizer.adamw.beta2 = 0.999
             optimizer.adamw.eps = 1e-8
             optimizer.adamw.weight_decay = 0.05
             optimizer.adamw.no_decay.0.rank.n = 1
             optimizer.adamw.no_decay.1.position
             optimizer.adamw.no_decay.2.class_token
             schedule.cosine.warmup = 20
             schedule.cosine.from = 1e-6
             schedule.cosine.to = 1e-5
             loss.cross_entropy.smoothing = 0.1
             augment.0.random_resized_crop.size = 224
             augment.0.random_resized_crop.scale_min = 0.08
             augment.1.horizontal_flip.p = 0.5
             augment.2.rand_augment.ops = 2
             augment.2.rand_augment.magnitude = 9
             augment.2.rand_augment.std = 0.5
             augment.2.rand_augment.p = 0.5
             augment.2.rand_augment.from.0.auto_contrast
             augment.2.rand_augment.from.1.equalize
             augment.2.rand_augment.from.2.invert
             augment.2.rand_augment.from.3.rotate.degrees = 30
             augment.2.rand_augment.from.4.posterize.bits = 4
             augment.2.rand_augment.from.5.solarize.depth = 256
             augment.2.rand_augment.from.6.solarize_add.most = 110
             augment.2.rand_augment.from.7.color.most = 0.9
             augment.2.rand_augment.from.8.contrast.most = 0.9
             augment.2.rand_augment.from.9.brightness.most = 0.9
             augment.2.rand_augment.from.10.sharpness.most = 0.9
             augment.2.rand_augment.from.11.shear_x.most = 0.3
             augment.2.rand_augment.from.12.shear_y.most = 0.3
             augment.2.rand_augment.from.13.translate_x.most = 0.45
             augment.2.rand_augment.from.14.translate_y.most = 0.45
             augment.3.random_erasing.p = 0.25
             eval_augment.0.resize.size = 256
             eval_augment.1.center_crop.size = 224
             mix.mixup.alpha = 0.8
             mix.cutmix.alpha = 1
             sampler.repeated.times = 3
             ema = 0.99996",
        );
    }
}

/// paper.md §4.3: epochs are one more than the schedule's; 0.1 · 5e-4 is 5e-5, 0.5 · 5e-4 is 2.5e-4.
#[test]
fn point_bert() {
    for variant in ["bg", "obj_llama", "t50_random", "modelnet_1k"] {
        holds(
            "points",
            "table2",
            variant,
            "epochs = 301
             batch = 32
             optimizer.adamw.lr = 5e-4
             optimizer.adamw.weight_decay = 0.05
             optimizer.adamw.no_decay.0.rank.n = 1
             optimizer.adamw.no_decay.1.part.name = \"cls_token\"
             optimizer.adamw.no_decay.2.part.name = \"llama\"
             optimizer.adamw.scaled.0.times.factor = 0.1
             optimizer.adamw.scaled.0.times.group.rank.n = 1
             optimizer.adamw.scaled.1.times.factor = 0.1
             optimizer.adamw.scaled.1.times.group.part.name = \"cls_token\"
             optimizer.adamw.scaled.2.times.factor = 0.5
             optimizer.adamw.scaled.2.times.group.part.name = \"llama\"
             schedule.cosine.epochs = 300
             schedule.cosine.warmup = 10
             schedule.cosine.from = 1e-6
             schedule.cosine.to = 1e-6
             loss.cross_entropy.smoothing = 0
             augment.0.shuffle_points
             augment.1.sample_farthest.count = 1200
             augment.2.sample_random.count = 1024
             augment.3.scale_points.least = 0.6666666666666666
             augment.3.scale_points.most = 1.5
             augment.4.move_points.most = 0.2
             eval_augment.0.sample_farthest.count = 1024
             clip = 10",
        );
    }
    holds("points", "table2", "bg_llama_by_the_text", "optimizer.adamw.scaled.2.times.factor = 0.1");
    // 0.8 on the class of 40 and 0.2 / 39 on each of the others, as `cross_entropy` counts it.
    let smoothing = format!("loss.cross_entropy.smoothing = {}", 0.2 * 40.0 / 39.0);
    holds("points", "table2", "bg_llama_smoothed", &smoothing);
    for (variant, count, of) in [("modelnet_4k", 4096, 4800), ("modelnet_8k_llama", 8192, 8192)] {
        let expected = format!("augment.1.sample_farthest.count = {of}\naugment.2.sample_random.count = {count}");
        holds("points", "table2", variant, &expected);
    }
}

/// paper.md §5.3; the products of rate and batch stand there, the lowest rates are 1e-6 · 24 / 256 and 1e-6 · 12 / 256.
#[test]
fn videomae() {
    for (variants, own) in [
        (
            ["small", "small_llama", "small_random"],
            "epochs = 40
             batch = 24
             optimizer.adamw.lr = 9.375e-5
             optimizer.adamw.scaled.0.layer_decay.factor = 0.7
             schedule.cosine_steps.epochs = 40
             schedule.cosine_steps.to = 9.375e-8",
        ),
        (
            ["base", "base_llama", "base_llama_by_the_text"],
            "epochs = 30
             batch = 12
             optimizer.adamw.lr = 2.34375e-5
             optimizer.adamw.scaled.0.layer_decay.factor = 0.75
             schedule.cosine_steps.epochs = 30
             schedule.cosine_steps.to = 4.6875e-8",
        ),
    ] {
        for variant in variants {
            holds("video", "table3", variant, own);
            holds(
                "video",
                "table3",
                variant,
                "optimizer.adamw.beta1 = 0.9
                 optimizer.adamw.beta2 = 0.999
                 optimizer.adamw.eps = 1e-8
                 optimizer.adamw.weight_decay = 0.05
                 optimizer.adamw.no_decay.0.rank.n = 1
                 optimizer.adamw.scaled.0.layer_decay.depth = 12
                 schedule.cosine_steps.from = 0
                 schedule.cosine_steps.warmup = 5
                 loss.cross_entropy.smoothing = 0.1
                 augment.0.sample_frames.frames = 16
                 augment.1.rand_augment.ops = 4
                 augment.1.rand_augment.magnitude = 7
                 augment.1.rand_augment.std = 0.5
                 augment.2.random_resized_crop.size = 224
                 augment.2.random_resized_crop.scale_min = 0.08
                 augment.3.random_erasing.p = 0.25
                 eval_augment.1.resize_bilinear.size = 224
                 eval_augment.2.center_crop.size = 224
                 views.clips.temporal = 2
                 views.clips.spatial = 3
                 mix.mixup.alpha = 0.8
                 mix.cutmix.alpha = 1
                 sampler.augmented.times = 2",
            );
        }
    }
}

/// paper.md §6.3, §6.4.
#[test]
fn motion() {
    holds(
        "motion",
        "vectornet",
        "llama",
        "epochs = 60
         batch = 32
         optimizer.adamw.lr = 5e-4
         schedule.cosine_annealing.epochs = 60
         loss.0.closest_guess
         loss.1.closest_confidence",
    );
    holds("motion", "vectornet", "likelihood", "loss.0.closest_likelihood\nloss.1.closest_confidence");
    holds(
        "motion",
        "mmtransformer",
        "llama",
        "epochs = 32
         batch = 32
         optimizer.adamw.lr = 5e-4
         schedule.steps.at.0 = 20
         schedule.steps.at.1 = 24
         schedule.steps.at.2 = 28
         schedule.steps.factor = 0.25
         loss.0.closest_guess
         loss.1.distance_confidence",
    );
    holds("motion", "mmtransformer", "drop_by_a_quarter", "schedule.steps.factor = 0.75");
}

/// paper.md §7.4.
#[test]
fn meter() {
    for (folder, variant, head, factor) in
        [("vqa", "llama", "vqa_classifier", 50), ("retrieval", "llama_for_both", "itm_score", 5)]
    {
        holds(
            folder,
            "meter",
            variant,
            "epochs = 10
             batch = 512
             optimizer.adamw.lr = 5e-6
             optimizer.adamw.beta1 = 0.9
             optimizer.adamw.beta2 = 0.98
             optimizer.adamw.eps = 1e-8
             optimizer.adamw.weight_decay = 0.01
             optimizer.adamw.no_decay.0.rank.n = 1
             optimizer.adamw.scaled.0.times.factor = 5
             optimizer.adamw.scaled.0.times.group.part.name = \"cross_modal\"
             optimizer.adamw.scaled.2.times.factor = 10
             optimizer.adamw.scaled.2.times.group.part.name = \"mapper\"
             schedule.linear_decay.epochs = 10
             schedule.linear_decay.warmup = 0.1
             augment.0.rand_augment.ops = 2
             augment.0.rand_augment.magnitude = 9
             augment.0.rand_augment.std = 0
             augment.0.rand_augment.p = 1
             augment.1.resize.size = 224
             augment.2.center_crop.size = 224
             augment.3.normalize.mean.0 = 0.48145466
             augment.3.normalize.mean.1 = 0.4578275
             augment.3.normalize.mean.2 = 0.40821073
             augment.3.normalize.std.0 = 0.26862954
             augment.3.normalize.std.1 = 0.26130258
             augment.3.normalize.std.2 = 0.27577711",
        );
        let scaled = "optimizer.adamw.scaled.1.times";
        holds(folder, "meter", variant, &format!("{scaled}.factor = {factor}\n{scaled}.group.part.name = {head:?}"));
        holds(folder, "meter", "image_576", "augment.1.resize.size = 576\neval_augment.0.resize.size = 576");
        holds(folder, "meter", "without_rand_augment", "augment.0.resize.size = 224");
    }
    holds(
        "vqa",
        "meter",
        "absvit",
        "optimizer.adamw.lr = 1e-5
         optimizer.adamw.scaled.0.times.factor = 10",
    );
}

/// paper.md §8.2, §8.5.
#[test]
fn sqa3d() {
    holds(
        "sqa3d",
        "sqa3d",
        "llama",
        "epochs = 30
         batch = 32
         optimizer.adamw.lr = 5e-4
         optimizer.adamw.weight_decay = 1e-5
         schedule.steps.at.0 = 10
         schedule.steps.at.1 = 15
         schedule.steps.at.2 = 20
         schedule.steps.factor = 0.1
         clip.by_value.most = 1
         batch_norm.falling.from = 0.5
         batch_norm.falling.factor = 0.5
         batch_norm.falling.every = 20
         batch_norm.falling.least = 0.001
         loss.answer.binary_cross_entropy
         loss.position * 1
         loss.rotation * 1
         loss.votes * 10
         loss.objectness * 5
         loss.objectness.proposal_objectness.near = 0.3
         loss.objectness.proposal_objectness.far = 0.6
         loss.centres * 10
         loss.headings.box_heading
         loss.heading_residuals * 10
         loss.sizes.box_size
         loss.size_residuals * 10
         loss.kinds.object_kind
         augment.0.flip_scene.p = 0.5
         augment.1.turn_scene.degrees = 5
         augment.2.move_scene.metres = 0.5",
    );
    holds("sqa3d", "sqa3d", "llama_without_situation", "loss.position * 0\nloss.rotation * 0");
    holds(
        "sqa3d",
        "sqa3d",
        "repository_recipe",
        "epochs = 50
         batch = 16
         optimizer.adam_l2.lr = 5e-4
         optimizer.adam_l2.weight_decay = 1e-5
         schedule.steps.at.0 = 100
         schedule.steps.at.1 = 200
         schedule.steps.factor = 0.2",
    );
}
