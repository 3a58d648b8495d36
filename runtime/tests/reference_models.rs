//! Point-BERT and VideoMAE with a block of LLaMA at toy size, as the paper's reference code runs them: from checkpoints with
//! its names, logits, gradients, and for Point-BERT three steps with their batch-norm statistics. The files lie beside the
//! project, and a clone without them skips these tests.

mod golden_support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;
use golden_support::{Golden, compile, difference, infer, read, write};
use lmv_compiler::config::{Call, Config, On};
use lmv_compiler::library::name_tables;
use lmv_compiler::passes::Passes;
use lmv_compiler::plan::Plan;
use lmv_runtime::events::Event;
use lmv_runtime::examples::{Batch, Examples};
use lmv_runtime::kernels::{AdamW, Kernels};
use lmv_runtime::layers::Pass;
use lmv_runtime::losses::{Losses, Use};
use lmv_runtime::network::{Network, TapedNetwork, tensor, values};
use lmv_runtime::parameters;
use lmv_runtime::places::Places;
use lmv_runtime::training::seeds::Seeds;
use lmv_runtime::training::step::{Step, Stepped};
use lmv_runtime::weights::NameMap;
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

struct Model {
    plan: Plan,
    tensors: Vec<FloatTensor<Flex>>,
    trained: Vec<usize>,
    examples: Examples,
    cases: PathBuf,
    names: NameMap,
}

impl Model {
    fn open(spec: &str, folder: &Path, input: &str, passes: Passes) -> Self {
        let plan = passes.plan(&compile(spec).graph);
        let checkpoint = folder.join("checkpoint.pth");
        let places = Places::from_environment();
        let device = Default::default();
        let seeds = Seeds::new(0);
        let loaded = parameters::load::<Flex>(
            &plan,
            &seeds,
            &places,
            Some(checkpoint.as_path().into()),
            &device,
            &mut |_: Event| {},
        );
        let cases = folder.join("cases.safetensors");
        let given = read(&cases, input);
        let labels: Vec<usize> = read(&cases, "label").values.iter().map(|&label| label as usize).collect();
        let examples = Examples {
            samples: labels.len(),
            fields: BTreeMap::from([
                (input.to_owned(), Batch::numbers(given.shape, given.values)),
                ("label".to_owned(), Batch::labels(&labels)),
            ]),
        };
        let table = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names = name_tables().into_iter().map(|(name, pairs)| NameMap { name, pairs });
        Self {
            trained: plan.trained().map(|(index, _)| index).collect(),
            tensors: loaded.unwrap_or_else(|failure| panic!("{failure}")).tensors,
            names: names.into_iter().find(|map| map.name == table).expect("the library knows its names"),
            plan,
            examples,
            cases,
        }
    }

    fn step(&self, pass: &mut Pass) -> Stepped<Flex> {
        let network = TapedNetwork::<Flex>::new(&self.plan, &[]).expect("the layers are there");
        let loss = Config::Call(Box::new(Call {
            kind: "loss".into(),
            name: "cross_entropy".into(),
            arguments: BTreeMap::new(),
            with: BTreeMap::new(),
            on: Some(On { outputs: vec!["output".into()], fields: vec!["label".into()] }),
        }));
        let losses = Losses::new(&loss, &self.plan.outputs, Use::Training).expect("a loss that runs");
        let device = Default::default();
        Step { network: &network, losses: &losses, trained: &self.trained, scale: 1.0, device: &device }
            .of(&self.tensors, &self.examples, pass)
            .expect("the model gives something")
    }

    fn logits(&self) -> Golden {
        let network = Network::<Flex>::new(&self.plan, &[]).expect("the layers are there");
        let inputs = self.examples.inputs::<Flex>(&self.plan.inputs, &Default::default()).expect("an input");
        let output = network.forward(inputs, &self.tensors, &mut Pass::evaluating()).remove(0);
        Golden { shape: output.dims(), values: values::<Flex>(output.into_numbers()) }
    }

    /// Compares the gradients that the file holds; gives how many.
    fn compare_gradients(&self, found: &[Option<FloatTensor<Flex>>]) -> usize {
        let mut compared = 0;
        let file = lmv_runtime::weights::Checkpoint::open(&self.cases).expect("the cases open");
        for (&index, gradient) in self.trained.iter().zip(found) {
            let path = &self.plan.tensors[index].path;
            let theirs = self.names.theirs(path).unwrap_or_else(|| panic!("{path} has a name in the checkpoint"));
            if !file.contains(&format!("grad.{theirs}")) {
                continue;
            }
            let expected = read(&self.cases, &format!("grad.{theirs}")).values;
            let gradient = values::<Flex>(gradient.clone().expect("a gradient reaches it"));
            assert_eq!(gradient.len(), expected.len(), "{theirs}");
            let off = gradient.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-4, "the gradient of {theirs} is off by {off:e}");
            compared += 1;
        }
        compared
    }
}

#[test]
fn point_bert_and_three_steps_of_it() {
    let Some(folder) = folder("point_bert") else { return };
    for passes in [Passes::NONE, Passes::ALL] {
        let mut model = Model::open(POINT_BERT, &folder, "points", passes);
        let off = difference(&model.logits(), &read(&model.cases, "logits_eval"));
        assert!(off <= 1e-4, "logits off by {off:e}");
        let mut moments: BTreeMap<usize, [FloatTensor<Flex>; 2]> = BTreeMap::new();
        let losses = read(&model.cases, "losses_train_adamw_lr5e-4_wd0.05_all").values;
        for (number, expected) in losses.iter().enumerate() {
            let Stepped { loss, gradients, updates } =
                model.step(&mut Pass::training(ChaCha8Rng::seed_from_u64(number as u64)));
            assert!((loss - f64::from(*expected)).abs() <= 1e-4, "step {number}: {loss}, expected {expected}");
            if number == 0 {
                assert_eq!(model.compare_gradients(&gradients), 4);
            }
            for (buffer, value) in updates {
                model.tensors[buffer.0] = value;
            }
            for (&index, gradient) in model.trained.iter().zip(gradients) {
                let dims = model.plan.tensors[index].shape.numbers().expect("known");
                let zeros = || tensor::<Flex>(vec![0.0; dims.iter().product()], &dims, &Default::default());
                let [m, v] = moments.remove(&index).unwrap_or_else(|| [zeros(), zeros()]);
                let settings = AdamW { lr: 5e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
                let gradient = gradient.expect("a gradient reaches it");
                let before = model.tensors[index].clone();
                let [after, m, v] = Flex::fused_adamw_step(before, gradient, m, v, number as u32 + 1, settings);
                model.tensors[index] = after;
                moments.insert(index, [m, v]);
            }
        }
        for statistic in ["running_mean", "running_var"] {
            let path = format!("point_bert.encoder.first_conv.norm.{statistic}");
            let index = model.plan.tensors.iter().position(|tensor| tensor.path == path).expect("it is kept");
            let found = values::<Flex>(model.tensors[index].clone());
            let expected = read(&model.cases, &format!("{statistic}_after_3")).values;
            let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // The bias in front of a batch norm has a gradient of zero, and AdamW takes steps of up to the learning rate by
            // what rounding leaves of it; the mean moves by as much.
            assert!(off <= 5e-4, "{path} is off by {off:e}");
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
        let model = Model::open(VIDEOMAE, &folder, "video", passes);
        let off = difference(&model.logits(), &read(&model.cases, "logits"));
        assert!(off <= 1e-4, "logits off by {off:e}");
        let Stepped { loss, gradients, .. } = model.step(&mut Pass::evaluating());
        assert!((loss - f64::from(read(&model.cases, "loss").values[0])).abs() <= 1e-4, "loss {loss}");
        assert_eq!(model.compare_gradients(&gradients), 5);
    }
}
