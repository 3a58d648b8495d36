//! Clouds of points against PyTorch, h5py and numpy: which are far from and near each other, Point-BERT at toy size with
//! three steps by the paper's groups, and the files that the datasets come in (`golden/points.py`).

mod golden_support;

use std::path::{Path, PathBuf};

use golden_support::stepping::{Model, Moments};
use golden_support::{Golden, compile, difference, infer, read, write};
use lmv_compiler::passes::Passes;
use lmv_runtime::data::clouds::{self, CloudSet};
use lmv_runtime::kernels::AdamW;
use lmv_runtime::layers::Pass;
use lmv_runtime::network::values;
use lmv_runtime::training::recipe;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/points").join(file)
}

#[test]
fn far_and_near_points_are_pytorchs_index_for_index() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let input = scratch.path().join("in.safetensors");
    let file = golden("sets.safetensors");
    let spec = "model(points : [300, 3], centres : [10, 3]) {
  (points >> farthest_points(40),
   points >> farthest_points(40, near_origin = -1.0),
   (points, centres) >> nearest_points(16),
   (points, centres) >> ball_query(0.35, 16))
}";
    for case in ["random", "duplicated", "degenerate"] {
        let of = |name: &str| read(&file, &format!("{case}.{name}"));
        write(&input, &[("points", &of("points")), ("centres", &of("centres"))]);
        let found = infer(spec, Passes::NONE, &[], None, &input, &[]);
        for (number, name) in ["farthest", "farthest_of_all", "nearest", "ball"].into_iter().enumerate() {
            let expected = of(name);
            let found = &found[&format!("output.{number}")];
            assert_eq!((&found.shape, &found.values), (&expected.shape, &expected.values), "{name} of {case}");
        }
    }
}

#[test]
fn features_between_three_points() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let input = scratch.path().join("in.safetensors");
    let of = |name: &str| read(&golden("sets.safetensors"), &format!("between.{name}"));
    write(&input, &[("coarse", &of("coarse")), ("features", &of("features")), ("fine", &of("fine"))]);
    let spec = "model(coarse : [20, 3], features : [20, 7], fine : [50, 3]) {
  (coarse, features, fine) >> interpolate_points
}";
    let found = infer(spec, Passes::NONE, &[], None, &input, &[]);
    let off = difference(&found["output"], &of("output"));
    assert!(off <= 1e-5, "off by {off:e}");
}

const POINT_BERT: &str = "use points.point_bert { point_bert, head }
use training.point_bert { point_bert_finetuning }
use data.points { modelnet }
llm toy = llama(dim = 32, heads = 4, ffn = 96, layers = 2, eps = 1e-6)
model = point_bert(groups = 12, size = 8, d = 24, depth = 2, heads = 3, drop_path = 0.0)
     >> linear(24, 32, bias = false) as llama_dim_mapper1
     >> frozen(toy.layer[1])
     >> rms_norm(32, affine = false, eps = 1e-6)
     >> linear(32, 24, bias = false) as llama_dim_mapper2
     >> head(5, drop = 0.0)
data  = modelnet(name = \"toy\", classes = 5, count = 96)
train = point_bert_finetuning
eval  = [top1]";

fn largest(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn point_bert_and_three_steps_by_the_groups_of_the_papers_code() {
    let fields = compile(POINT_BERT).train.expect("it has a recipe").fields;
    for passes in [Passes::NONE, Passes::ALL] {
        let [checkpoint, cases] = ["point_bert.pth", "point_bert.safetensors"].map(golden);
        let mut model = Model::open(POINT_BERT, [&checkpoint, &cases], "points", "point_bert", passes);
        let off = difference(&model.logits(), &read(&cases, "logits"));
        assert!(off <= 1e-4, "logits off by {off:e}");
        let mut moments = Moments::new();
        let optimizer = recipe::optimizer(&fields).expect("AdamW");
        let [losses, norms] = ["losses", "norms"].map(|name| read(&cases, name).values);
        for (number, (expected, norm)) in losses.iter().zip(norms).enumerate() {
            let stepped = model.step(&mut Pass::training(ChaCha8Rng::seed_from_u64(number as u64)));
            let loss = stepped.loss;
            assert!((loss - f64::from(*expected)).abs() <= 1e-4, "step {number}: {loss}, expected {expected}");
            let squares = stepped.gradients.iter().flatten().flat_map(|g| values::<burn_flex::Flex>(g.clone()));
            let found = squares.map(|x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
            // Within the clip of 10, so that nothing is clipped.
            assert!((found - f64::from(norm)).abs() <= 1e-3 && found < 10.0, "step {number}: {found}, expected {norm}");
            if number == 0 {
                assert_eq!(model.compare_gradients(&stepped.gradients), 45);
            }
            model.advance(stepped, &mut moments, number as u32 + 1, |parameter| AdamW {
                lr: optimizer.lr * recipe::rate(&fields, parameter),
                weight_decay: if recipe::undecayed(&fields, parameter) { 0.0 } else { optimizer.weight_decay },
                ..optimizer
            });
        }
        for (path, name) in [
            ("point_bert.cls_token.token.weight", "cls_token"),
            ("point_bert.cls_pos.token.weight", "cls_pos"),
            ("llama_dim_mapper1.weight", "llama_dim_mapper1.weight"),
        ] {
            let off = largest(&model.tensor(path), &read(&cases, &format!("after.{name}")).values);
            println!("{name} is off by {off:e}");
            assert!(off <= 1e-5, "{name} is off by {off:e} after three steps");
        }
        for conv in ["first_conv", "second_conv"] {
            for statistic in ["running_mean", "running_var"] {
                let path = format!("point_bert.encoder.{conv}.norm.{statistic}");
                let off =
                    largest(&model.tensor(&path), &read(&cases, &format!("after.encoder.{conv}.1.{statistic}")).values);
                println!("{path} is off by {off:e}");
                assert!(off <= 1e-4, "{path} is off by {off:e}");
            }
            // Its gradient is zero, and AdamW steps by what rounding leaves of it: PyTorch's and ours each move by up to the
            // rate of its group, 5e-5, at each of three steps.
            let path = format!("point_bert.encoder.{conv}.conv1.bias");
            let off = largest(&model.tensor(&path), &read(&cases, &format!("after.encoder.{conv}.0.bias")).values);
            println!("{path} is off by {off:e}");
            assert!(off <= 2.0 * 3.0 * 5e-5, "{path} is off by {off:e}");
        }
        // An evaluation sees how far bias and mean have wandered apart; with both taken over, all else must agree.
        let expected = read(&cases, "logits_after_3");
        let off = difference(&model.logits(), &expected);
        println!("logits after three steps are off by {off:e}");
        assert!(off <= 2e-4, "logits after three steps off by {off:e}");
        // The second bias of the first part is one of them: a shift of all that the second part takes is taken away there.
        for (ours, theirs) in [
            ("first_conv.conv1.bias", "first_conv.0.bias"),
            ("first_conv.norm.running_mean", "first_conv.1.running_mean"),
            ("first_conv.conv2.bias", "first_conv.3.bias"),
            ("second_conv.conv1.bias", "second_conv.0.bias"),
            ("second_conv.norm.running_mean", "second_conv.1.running_mean"),
        ] {
            let wandered = read(&cases, &format!("after.encoder.{theirs}"));
            model.set(&format!("point_bert.encoder.{ours}"), &wandered);
        }
        let off = difference(&model.logits(), &expected);
        println!("and but for these by {off:e}");
        assert!(off <= 1e-4, "logits after three steps off by {off:e}");
    }
}

/// The points of every cloud of a set, one below the other.
fn all(set: &CloudSet) -> Vec<f32> {
    (0..set.len()).flat_map(|index| set.cloud(index).to_vec()).collect()
}

fn labels(set: &CloudSet) -> Vec<f32> {
    (0..set.len()).map(|index| set.label(index) as f32).collect()
}

#[test]
fn scanned_objects_read_the_same_however_hdf5_keeps_them() {
    let of = |name: &str| read(&golden("files.safetensors"), name);
    for way in ["plain", "gzip", "shuffled", "latest", "wide"] {
        let set = clouds::scanned(&golden(&format!("scanned_{way}.h5")), 15).unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(labels(&set), of("labels").values, "{way}");
        assert_eq!(all(&set), of("clouds").values, "{way}");
        assert_eq!((set.name(0), set.classes().len()), ("chair/0", 15));
    }
    let failure = clouds::scanned(&golden("scanned_plain.h5"), 14).expect_err("there is a label 14");
    assert!(failure.what.contains("has the label 14, and there are 14 classes"), "{failure}");
}

#[test]
fn hdf5_with_something_else_in_it_says_what() {
    let said = |path: &Path| format!("{}", clouds::scanned(path, 40).expect_err("it is not as expected"));
    let lzf = said(&golden("scanned_lzf.h5"));
    assert!(lzf.contains("has tables compressed by LZF, which this lmvc does not read"), "{lzf}");
    let turned = said(&golden("scanned_turned.h5"));
    assert!(turned.contains("has `data` of shape [6, 3, 64]") && turned.contains("transpose(0, 2, 1)"), "{turned}");
    // Its name stands in the file once, without a checksum over it.
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let path = scratch.path().join("changed.h5");
    let mut changed = std::fs::read(golden("scanned_plain.h5")).expect("it reads");
    let at = changed.windows(6).position(|part| part == b"label\0").expect("the name is in the file");
    changed[at..at + 5].copy_from_slice(b"kinds");
    std::fs::write(&path, &changed).expect("it writes");
    let renamed = said(&path);
    assert!(renamed.contains("has no table `label`") && renamed.contains("`data`, `kinds`, `mask`"), "{renamed}");
    // A sixteenth kind: there are forty classes, and still fifteen kinds.
    let mut changed = std::fs::read(golden("scanned_plain.h5")).expect("it reads");
    let first: Vec<u8> = [4i64, 0, 14].iter().flat_map(|label| label.to_le_bytes()).collect();
    let at = changed.windows(first.len()).position(|part| part == first).expect("the labels are in the file");
    changed[at + 16] = 15;
    std::fs::write(&path, &changed).expect("it writes");
    let beyond = said(&path);
    assert!(beyond.contains("the cloud `?/2` has the label 15") && beyond.contains("has 15 kinds"), "{beyond}");
}

#[test]
fn hdf5_that_is_cut_short_says_so_and_never_panics() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let path = scratch.path().join("cut.h5");
    for way in ["plain", "gzip", "shuffled", "latest"] {
        let whole = std::fs::read(golden(&format!("scanned_{way}.h5"))).expect("it reads");
        for end in (0..whole.len()).step_by(211).chain([whole.len() - 1]) {
            std::fs::write(&path, &whole[..end]).expect("it writes");
            let failure = clouds::scanned(&path, 15).expect_err("it is cut short, in whichever table");
            assert!(failure.path.is_some(), "{failure}");
            let mut changed = whole.clone();
            changed[end] ^= 0x55;
            std::fs::write(&path, &changed).expect("it writes");
            // Whatever it says of them: it comes to an end, and without a panic.
            let _ = clouds::scanned(&path, 15);
        }
    }
}

#[test]
fn a_cache_of_modelnet_is_read_in_every_protocol() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let root = scratch.path();
    std::fs::write(root.join("toy_shape_names.txt"), "bed\nnight_stand\nsofa\n").expect("it writes");
    std::fs::write(root.join("toy_train.txt"), "night_stand_0001\nbed_0001\nnight_stand_0002\nsofa_0001\n")
        .expect("it writes");
    let of = |name: &str| read(&golden("files.safetensors"), name);
    for protocol in [2, 3, 4, 5] {
        std::fs::copy(golden(&format!("cache_{protocol}.dat")), root.join("toy_train_8192pts_fps.dat"))
            .expect("it copies");
        let set = clouds::listed(root, "toy", "train", 3).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(labels(&set), of("classes").values, "{protocol}");
        assert!(largest(&all(&set), &of("unit").values) <= 1e-6, "{protocol}");
        assert_eq!(set.name(2), "night_stand/night_stand_0002");
    }
    std::fs::copy(golden("cache_halves.dat"), root.join("toy_train_8192pts_fps.dat")).expect("it copies");
    let failure = clouds::listed(root, "toy", "train", 3).expect_err("1.7 is no class");
    assert!(failure.what.contains("cloud 2 has the label 1.7, expected a whole number"), "{failure}");
}

#[test]
fn a_start_from_the_pretraining_takes_its_last_norm() {
    const WIDTH: usize = 24;
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let [start, input] = ["start.safetensors", "in.safetensors"].map(|name| scratch.path().join(name));
    // What Point-BERT.pth holds of the transformer, by its names, with the head of the pretraining beside it.
    let tuned = lmv_runtime::weights::Checkpoint::open(golden("point_bert.pth")).expect("it opens");
    let own = |name: &&str| !name.contains("llama") && !name.contains("cls_head");
    let names: Vec<String> =
        tuned.names().map(|name| name.trim_start_matches("module.")).filter(own).map(str::to_owned).collect();
    let mut tensors: Vec<(String, Golden)> = names
        .into_iter()
        .map(|name| {
            (format!("module.transformer_q.{name}"), read(&golden("point_bert.pth"), &format!("module.{name}")))
        })
        .collect();
    let weight: Vec<f32> = (0..WIDTH).map(|at| 1.5 + at as f32 / 8.0).collect();
    let bias: Vec<f32> = (0..WIDTH).map(|at| at as f32 / 4.0 - 2.0).collect();
    for (name, values) in [("weight", &weight), ("bias", &bias)] {
        let name = format!("module.transformer_q.norm.{name}");
        let norm = tensors.iter_mut().find(|(known, _)| *known == name).expect("it has a last norm");
        norm.1.values.clone_from(values);
    }
    tensors.push(("module.transformer_q.cls_head.0.weight".into(), Golden { shape: vec![3, 3], values: vec![0.0; 9] }));
    let tensors: Vec<(&str, &Golden)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    write(&start, &tensors);
    write(&input, &[("points", &read(&golden("point_bert.safetensors"), "points"))]);
    let spec = |rest: &str| {
        format!(
            "use points.point_bert {{ point_bert, last_norm }}
model(points : [96, 3]) {{
  points >> pretrained(\"start\", point_bert(groups = 12, size = 8, d = 24, depth = 2, heads = 3)){rest}
}}"
        )
    };
    let infer = |rest: &str| infer(&spec(rest), Passes::NONE, &[("start", &start)], None, &input, &[]).remove("output");
    let before = infer("").expect("an output");
    let after = infer(" >> pretrained(\"start\", last_norm)").expect("an output");
    assert_eq!(before.shape, after.shape);
    for (x, y) in before.values.chunks_exact(WIDTH).zip(after.values.chunks_exact(WIDTH)) {
        let mean = x.iter().sum::<f32>() / WIDTH as f32;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / WIDTH as f32;
        for at in 0..WIDTH {
            let expected = (x[at] - mean) / (variance + 1e-5).sqrt() * weight[at] + bias[at];
            assert!((y[at] - expected).abs() <= 1e-4, "{} at {at}, expected {expected}", y[at]);
        }
    }
}

#[test]
fn gradients_go_through_what_is_gathered() {
    // Σ y² of what three neighbours give, by its features, as PyTorch's tape has it.
    let of = |name: &str| read(&golden("sets.safetensors"), &format!("between.{name}"));
    let spec = "model(coarse : [20, 3], features : [20, 7], fine : [50, 3]) {
  (coarse, features >> linear(7, 7, bias = false) as own, fine) >> interpolate_points
}";
    let found = golden_support::stepping::gradient_of_squares(
        spec,
        &[("coarse", of("coarse")), ("features", of("features")), ("fine", of("fine"))],
        "own.weight",
        &identity(7),
    );
    // With the identity in front, the weight's gradient is (∂/∂features)ᵀ · features.
    let (grad, features) = (of("grad").values, of("features").values);
    let expected: Vec<f32> =
        (0..49).map(|at| (0..40).map(|row| grad[row * 7 + at / 7] * features[row * 7 + at % 7]).sum()).collect();
    let size = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
    assert!(largest(&found, &expected) <= 1e-4 * size);
}

fn identity(n: usize) -> Golden {
    Golden { shape: vec![n, n], values: (0..n * n).map(|at| f32::from(u8::from(at / n == at % n))).collect() }
}
