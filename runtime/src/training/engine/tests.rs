//! A whole run against PyTorch: `tests/golden/training.py` wrote the numbers.

use std::path::Path;

use burn_flex::Flex;

use super::*;
use crate::training::metrics;
use crate::weights::Checkpoint as File;

/// What parameters may be off by: `TOLERANCE` of `training.py`, whose decay on a wrong group is off by ten times that.
const TOLERANCE: f32 = 2e-5;

const SPEC: &str = "llm toy = llama(dim = 32, heads = 4, ffn = 96, layers = 2, eps = 1e-6)
model = pretrained(\"start\", vit(image = 16, patch = 8, d = 24, depth = 2, heads = 3, drop_path = 0.0)
     >> linear(24, 32, bias = false) >> frozen(toy.layer[1]) >> rms_norm(32, affine = false, eps = 1e-6)
     >> linear(32, 24, bias = false) >> head)
data  = image_folder(root = path(\"pictures\"), image = 16, classes = 5)
train = mine()
eval  = [top1]
recipe mine(epochs = 5, batch = 5) {
  loss      = cross_entropy(smoothing = 0.1)
  optimizer = adamw(1e-2, weight_decay = 0.5, eps = 1e-3) with { no_decay: [rank(1), position, class_token] }
  schedule  = constant
  clip      = 1.0
  ema       = 0.9
}
";

/// Our name of a parameter that the reference calls `theirs`.
fn ours(theirs: &str) -> String {
    match theirs {
        "cls_token" => "vit.cls.token.weight".into(),
        "pos_embed" => "vit.pos.embed.weight".into(),
        "llama_dim_mapper1.weight" => "linear.weight".into(),
        "llama_dim_mapper2.weight" => "linear_2.weight".into(),
        _ => match theirs.split_once('.') {
            Some(("patch_embed", rest)) => format!("vit.patch_embed.{}", rest.trim_start_matches("proj.")),
            Some(("blocks", _)) => format!("vit.{theirs}"),
            Some(("norm", _)) => format!("head.{theirs}"),
            Some(("head", rest)) => format!("head.fc.{rest}"),
            _ => theirs.to_owned(),
        },
    }
}

/// The golden pictures as an image folder, one a class.
fn pictures(golden: &File, root: &Path) {
    let pixels = golden.read_f32("pixels").expect("the pixels");
    for (class, picture) in pixels.chunks_exact(16 * 16 * 3).enumerate() {
        let bytes = picture.iter().map(|&value| value as u8).collect();
        let picture = image::RgbImage::from_raw(16, 16, bytes).expect("16 × 16 pixels");
        for split in ["train", "val"] {
            let folder = root.join(format!("{split}/class{class}"));
            std::fs::create_dir_all(&folder).expect("a folder");
            picture.save(folder.join("a.png")).expect("a picture");
        }
    }
}

fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= TOLERANCE, "{what}: off by {off:e}");
}

#[test]
fn a_whole_run_is_torchs_and_leaves_the_frozen_block_alone() {
    // A block's nine tensors; folded, it has none for its norms, and joined, one for q, k and v and one for gate and up.
    for (passes, tensors) in [(Passes::NONE, 9), (Passes { join_linears: false, ..Passes::ALL }, 7), (Passes::ALL, 4)] {
        whole_run(passes, tensors);
    }
}

/// Trains with these passes; the block then has so many tensors.
fn whole_run(passes: Passes, tensors: usize) {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let golden = File::open(files.join("training.safetensors")).expect("the golden file");
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(&golden, &folder.path().join("pictures"));
    let compiled = lmv_compiler::compile("test.lmv", SPEC, &[]);
    let messages: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
    let experiment = compiled.experiment.unwrap_or_else(|| panic!("{messages}"));
    let plan = passes.plan(&experiment.graph);
    let mut places = Places::from_environment();
    places.paths = places.paths.with_flag("pictures", folder.path().join("pictures"));
    places.weights = places.weights.with_flag("start", files.join("vit_llama/checkpoint.pth"));
    let frozen = |tensors: &[FloatTensor<Flex>]| -> Vec<(String, Vec<u32>)> {
        let all = plan.tensors.iter().zip(tensors).filter(|(planned, _)| planned.frozen);
        all.map(|(planned, tensor)| {
            let bits = values::<Flex>(tensor.clone()).into_iter().map(f32::to_bits).collect();
            (planned.path.clone(), bits)
        })
        .collect()
    };
    let device = Default::default();
    let loaded = parameters::load::<Flex>(&plan, &Seeds::new(0), &places, None, &device, &mut |_: Event| {});
    let before = frozen(&loaded.expect("the checkpoint fits").tensors);
    assert_eq!(before.len(), tensors, "the block's tensors");

    let run = RunFolder::create(folder.path(), "run").expect("a run folder");
    let lock = Lock {
        lmvc: String::new(),
        seed: 0,
        device: String::new(),
        set: Vec::new(),
        steps: None,
        checkpoint_steps: None,
        spec: String::new(),
        library: String::new(),
        imports: Default::default(),
        variant: Default::default(),
        data: String::new(),
        weights: Default::default(),
    };
    let training = Training {
        experiment: &experiment,
        passes,
        places: &places,
        folder: &run,
        lock,
        resume: false,
        drawn: folder.path().join("drawn"),
        threads: 1,
        observer: &mut |_: Event| {},
        stop: &|| false,
    };
    let (outcome, state) = training.trained::<Flex>(device).expect("it trains");
    assert!(matches!(outcome, Outcome::Done { whole: true, .. }), "{outcome:?}");
    assert!(before == frozen(&state.tensors), "the frozen block is as it was, to the bit");

    let epochs = metrics::read(run.metrics_path()).expect("metrics");
    let epochs: Vec<_> = epochs.iter().filter(|line| line["kind"] == "epoch").collect();
    for (field, name) in [("train_loss", "losses"), ("val_loss", "evaluated")] {
        let found: Vec<f32> = epochs.iter().map(|line| line[field].as_f64().expect("a number") as f32).collect();
        close(name, &found, &golden.read_f32(name).expect("losses"));
    }
    let mut compared = 0;
    for name in golden.names() {
        let (averaged, theirs) = match (name.strip_prefix("after."), name.strip_prefix("average.")) {
            (Some(theirs), _) => (false, theirs),
            (_, Some(theirs)) => (true, theirs),
            _ => continue,
        };
        let path = ours(theirs);
        let trained = state.trained.iter().find(|trained| plan.tensors[trained.index].path == path);
        let trained = trained.unwrap_or_else(|| panic!("{theirs} is {path} here, and is trained"));
        let tensor = match averaged {
            true => trained.average.clone().expect("an average is kept"),
            false => state.tensors[trained.index].clone(),
        };
        close(name, &values::<Flex>(tensor), &golden.read_f32(name).expect("numbers"));
        compared += usize::from(!averaged);
    }
    assert_eq!(compared, state.trained.len(), "every trained tensor is compared");
    // What a run writes is what it has.
    let saved = run.checkpoints().load(Slot::Last).expect("a checkpoint");
    for trained in &state.trained {
        let path = &plan.tensors[trained.index].path;
        let tensor = saved.model.iter().find(|tensor| tensor.name == *path).expect("it is saved");
        assert!(tensor.values[..] == values::<Flex>(state.tensors[trained.index].clone())[..], "{path}");
    }
}
