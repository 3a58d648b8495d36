//! A whole run against PyTorch: `tests/golden/training.py` wrote the numbers.

use std::path::Path;

use burn_flex::Flex;

use super::*;
use crate::training::metrics;
use crate::weights::Checkpoint as File;

/// What parameters may be off by: `TOLERANCE` of `training.py`, whose decay on a wrong group is off by ten times that.
const TOLERANCE: f32 = 2e-5;

/// The classifier of `vit_llama.py` on the pictures, with the recipe `mine` behind it.
const MODEL: &str = "llm toy = llama(dim = 32, heads = 4, ffn = 96, layers = 2, eps = 1e-6)
model = pretrained(\"start\", vit(image = 16, patch = 8, d = 24, depth = 2, heads = 3, drop_path = 0.0)
     >> linear(24, 32, bias = false) >> frozen(toy.layer[1]) >> rms_norm(32, affine = false, eps = 1e-6)
     >> linear(32, 24, bias = false) >> head)
data  = image_folder(root = path(\"pictures\"), image = 16, classes = 5)
train = mine()
eval  = [top1]
";

/// The recipe of `training.py`.
const EVERYTHING: &str = "recipe mine(epochs = 5, batch = 5) {
  loss      = cross_entropy(smoothing = 0.1)
  optimizer = adamw(1e-2, weight_decay = 0.5, eps = 1e-3) with { no_decay: [rank(1), position, class_token] }
  schedule  = constant
  clip      = 1.0
  ema       = 0.9
}
";

/// That of `deit_run.py`: the library's `deit` without what it draws.
const DEIT: &str = "recipe mine(epochs = 10, batch = 5) {
  loss      = cross_entropy(smoothing = 0.1)
  optimizer = adamw(1e-3, weight_decay = 0.05) with { no_decay: [rank(1), position, class_token] }
  schedule  = cosine(epochs, warmup = 3, from = 1e-6, to = 1e-5)
  ema       = 0.99996
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

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= tolerance, "{what}: off by {off:e}\n{found:?}\n{expected:?}");
}

/// A run of the classifier in a folder of its own.
struct Ran {
    /// Holds everything.
    _folder: tempfile::TempDir,
    golden: File,
    plan: Plan,
    run: RunFolder,
    /// The frozen tensors before the run, by their names and bits.
    frozen: Vec<(String, Vec<u32>)>,
    state: State<Flex>,
}

/// How to run it.
struct How {
    recipe: &'static str,
    golden: &'static str,
    passes: Passes,
    precision: Precision,
    micro_batch: Option<usize>,
}

const TORCHS: How = How {
    recipe: EVERYTHING,
    golden: "training.safetensors",
    passes: Passes::ALL,
    precision: Precision::F32,
    micro_batch: None,
};

const DEITS: How = How { recipe: DEIT, golden: "deit_run.safetensors", ..TORCHS };

impl How {
    fn run(self) -> Ran {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let folder = tempfile::tempdir().expect("a temporary folder");
        pictures(&File::open(files.join("training.safetensors")).expect("pixels"), &folder.path().join("pictures"));
        let compiled = lmv_compiler::compile("test.lmv", &format!("{MODEL}{}", self.recipe), &[]);
        let messages: String = compiled.diagnostics.iter().map(|d| d.render(&compiled.sources, false)).collect();
        let experiment = compiled.experiment.unwrap_or_else(|| panic!("{messages}"));
        let plan = self.passes.plan(&experiment.graph);
        let mut places = Places::from_environment();
        places.paths = places.paths.with_flag("pictures", folder.path().join("pictures"));
        places.weights = places.weights.with_flag("start", files.join("vit_llama/checkpoint.pth"));
        let device = Default::default();
        let loaded = parameters::load::<Flex>(&plan, &Seeds::new(0), &places, None, &device, &mut |_: Event| {});
        let frozen = frozen(&plan, &loaded.expect("the checkpoint fits").tensors);

        let run = RunFolder::create(folder.path(), "run").expect("a run folder");
        let lock = Lock {
            lmvc: String::new(),
            seed: 0,
            device: String::new(),
            set: Vec::new(),
            steps: None,
            checkpoint_steps: None,
            micro_batch: None,
            precision: None,
            spec: String::new(),
            library: String::new(),
            imports: Default::default(),
            variant: Default::default(),
            data: String::new(),
            weights: Default::default(),
        };
        let training = Training {
            experiment: &experiment,
            passes: self.passes,
            places: &places,
            folder: &run,
            lock,
            resume: false,
            drawn: folder.path().join("drawn"),
            threads: 1,
            precision: self.precision,
            micro_batch: self.micro_batch,
            observer: &mut |_: Event| {},
            stop: &|| false,
        };
        let (outcome, state) = training.trained::<Flex>(device).expect("it trains");
        assert!(matches!(outcome, Outcome::Done { whole: true, .. }), "{outcome:?}");
        let golden = File::open(files.join(self.golden)).expect("the golden file");
        Ran { _folder: folder, golden, plan, run, frozen, state }
    }
}

/// The frozen tensors by their names and bits.
fn frozen(plan: &Plan, tensors: &[FloatTensor<Flex>]) -> Vec<(String, Vec<u32>)> {
    let all = plan.tensors.iter().zip(tensors).filter(|(planned, _)| planned.frozen);
    let bits = |tensor: &FloatTensor<Flex>| values::<Flex>(tensor.clone()).into_iter().map(f32::to_bits).collect();
    all.map(|(planned, tensor)| (planned.path.clone(), bits(tensor))).collect()
}

impl Ran {
    /// A field of all lines of a kind.
    fn metric(&self, kind: &str, field: &str) -> Vec<f32> {
        let lines = metrics::read(self.run.metrics_path()).expect("metrics");
        let lines = lines.iter().filter(|line| line["kind"] == kind);
        lines.map(|line| line[field].as_f64().expect("a number") as f32).collect()
    }

    fn expected(&self, name: &str) -> Vec<f32> {
        self.golden.read_f32(name).expect("numbers of the golden file")
    }

    /// The trained tensor that the reference calls `theirs`.
    fn trained(&self, theirs: &str) -> &Trained<Flex> {
        let path = ours(theirs);
        let trained = self.state.trained.iter().find(|trained| self.plan.tensors[trained.index].path == path);
        trained.unwrap_or_else(|| panic!("{theirs} is {path} here, and is trained"))
    }

    /// Everything that `training.py` wrote.
    fn is_torchs(&self) {
        assert!(self.frozen == frozen(&self.plan, &self.state.tensors), "the frozen block is as it was, to the bit");
        for (field, name) in [("train_loss", "losses"), ("val_loss", "evaluated")] {
            close(name, &self.metric("epoch", field), &self.expected(name), TOLERANCE);
        }
        let mut compared = 0;
        for name in self.golden.names() {
            let tensor = match (name.strip_prefix("after."), name.strip_prefix("average.")) {
                (Some(theirs), _) => {
                    compared += 1;
                    self.state.tensors[self.trained(theirs).index].clone()
                }
                (_, Some(theirs)) => self.trained(theirs).average.clone().expect("an average is kept"),
                _ => continue,
            };
            close(name, &values::<Flex>(tensor), &self.expected(name), TOLERANCE);
        }
        assert_eq!(compared, self.state.trained.len(), "every trained tensor is compared");
        // What a run writes is what it has.
        let saved = self.run.checkpoints().load(Slot::Last).expect("a checkpoint");
        for trained in &self.state.trained {
            let path = &self.plan.tensors[trained.index].path;
            let tensor = saved.model.iter().find(|tensor| tensor.name == *path).expect("it is saved");
            assert!(tensor.values[..] == values::<Flex>(self.state.tensors[trained.index].clone())[..], "{path}");
        }
    }
}

#[test]
fn a_whole_run_is_torchs_and_leaves_the_frozen_block_alone() {
    // A block's nine tensors; joined, it has one for q, k and v and one for gate and up.
    for (passes, tensors) in [(Passes::NONE, 9), (Passes::ALL, 6)] {
        let ran = How { passes, ..TORCHS }.run();
        assert_eq!(ran.frozen.len(), tensors, "the block's tensors");
        ran.is_torchs();
    }
}

#[test]
fn a_batch_in_parts_is_the_same_step() {
    // Five samples, as two and three.
    How { micro_batch: Some(3), ..TORCHS }.run().is_torchs();
}

#[test]
fn ten_steps_of_the_papers_recipe_are_the_references() {
    let ran = DEITS.run();
    close("losses", &ran.metric("step", "loss"), &ran.expected("losses"), 5e-4);
    // The file has f64, and reads as f32.
    close("lr", &ran.metric("step", "lr"), &ran.expected("lr"), 1e-9);
    let average = ran.trained("head.weight").average.clone().expect("an average is kept");
    close("average", &values::<Flex>(average), &ran.expected("average.head.weight"), 1e-6);
}

#[test]
fn half_precision_stays_near_and_scales_the_loss() {
    let ran = How { precision: Precision::Bf16, ..DEITS }.run();
    close("bf16", &ran.metric("step", "loss"), &ran.expected("losses"), 3e-2);
    assert!(ran.state.scale.is_none(), "bf16 has the range of f32");
    assert!(ran.metric("step", "loss") != DEITS.run().metric("step", "loss"), "another precision, other numbers");

    let ran = How { precision: Precision::F16, ..DEITS }.run();
    let scale = ran.state.scale.expect("f16 scales its loss");
    // Steps at too large a scale are left out at the beginning, and the rest follows the reference behind them.
    let losses = ran.metric("step", "loss");
    assert!(scale.left_out < 5 && losses.last() < losses.first(), "{scale:?}, {losses:?}");
    let saved = ran.run.checkpoints().load(Slot::Last).expect("a checkpoint").state.extra;
    assert_eq!(saved["loss_scale"], serde_json::to_value(scale).expect("a value"), "a resumed run goes on with it");
}
