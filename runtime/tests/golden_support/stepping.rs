//! A model under training, held against golden numbers step by step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use lmv_compiler::config::{Call, Config, On};
use lmv_compiler::graph::Parameter;
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

use super::{Golden, compile, read};

type Taped = Autodiff<Flex>;

/// AdamW's two moments of each trained tensor, by its index.
pub type Moments = BTreeMap<usize, [FloatTensor<Flex>; 2]>;

/// A model with its checkpoint, a batch, and what a reference makes of them.
pub struct Model {
    pub plan: Plan,
    pub tensors: Vec<FloatTensor<Flex>>,
    pub trained: Vec<usize>,
    pub examples: Examples,
    pub cases: PathBuf,
    pub names: NameMap,
}

impl Model {
    /// Of a spec whose parameters `checkpoint` has by the names of the library's `table`; `cases` holds the batch, with
    /// the input of this name, and what is to come of it.
    pub fn open(spec: &str, [checkpoint, cases]: [&Path; 2], input: &str, table: &str, passes: Passes) -> Self {
        let plan = passes.plan(&compile(spec).graph);
        let places = Places::from_environment();
        let device = Default::default();
        let seeds = Seeds::new(0);
        let loaded =
            parameters::load::<Flex>(&plan, &seeds, &places, Some(checkpoint.into()), &device, &mut |_: Event| {});
        let given = read(cases, input);
        let labels: Vec<usize> = read(cases, "label").values.iter().map(|&label| label as usize).collect();
        let examples = Examples {
            samples: labels.len(),
            fields: BTreeMap::from([
                (input.to_owned(), Batch::numbers(given.shape, given.values)),
                ("label".to_owned(), Batch::labels(&labels)),
            ]),
        };
        let names = name_tables().into_iter().map(|(name, pairs)| NameMap { name, pairs });
        Self {
            trained: plan.trained().map(|(index, _)| index).collect(),
            tensors: loaded.unwrap_or_else(|failure| panic!("{failure}")).tensors,
            names: names.into_iter().find(|map| map.name == table).expect("the library knows its names"),
            plan,
            examples,
            cases: cases.to_path_buf(),
        }
    }

    /// What the batch says of it.
    pub fn step(&self, pass: &mut Pass) -> Stepped<Flex> {
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
        Step { network: &network, losses: &losses, trained: &self.trained, scale: 1.0, norm: false, device: &device }
            .of(&self.tensors, &self.examples, pass)
            .expect("the model gives something")
    }

    /// What it gives for the batch, looked at.
    pub fn logits(&self) -> Golden {
        let network = Network::<Flex>::new(&self.plan, &[]).expect("the layers are there");
        let inputs = self.examples.inputs::<Flex>(&self.plan.inputs, &Default::default()).expect("an input");
        let output = network.forward(inputs, &self.tensors, &mut Pass::evaluating()).remove(0);
        Golden { shape: output.dims(), values: values::<Flex>(output.into_numbers()) }
    }

    /// Compares the gradients that the file holds; gives how many.
    pub fn compare_gradients(&self, found: &[Option<FloatTensor<Flex>>]) -> usize {
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

    /// One of the tensors, by its path.
    pub fn tensor(&self, path: &str) -> Vec<f32> {
        let index = self.plan.tensors.iter().position(|tensor| tensor.path == path);
        values::<Flex>(self.tensors[index.unwrap_or_else(|| panic!("{path} is a tensor of the plan"))].clone())
    }

    /// Gives one of the tensors other numbers.
    pub fn set(&mut self, path: &str, to: &Golden) {
        let index = self.plan.tensors.iter().position(|tensor| tensor.path == path);
        let index = index.unwrap_or_else(|| panic!("{path} is a tensor of the plan"));
        self.tensors[index] = tensor::<Flex>(to.values.clone(), &to.shape, &Default::default());
    }

    /// What comes of a step: buffers, and parameters by AdamW; `settings` says by what settings a parameter moves.
    pub fn advance(
        &mut self,
        stepped: Stepped<Flex>,
        moments: &mut Moments,
        step: u32,
        settings: impl Fn(&Parameter) -> AdamW,
    ) {
        for (buffer, value) in stepped.updates {
            self.tensors[buffer.0] = value;
        }
        let parameters: BTreeMap<usize, Parameter> =
            self.plan.trained().map(|(index, parameter)| (index, parameter.clone())).collect();
        for (&index, gradient) in self.trained.iter().zip(stepped.gradients) {
            let dims = self.plan.tensors[index].shape.numbers().expect("known");
            let zeros = || tensor::<Flex>(vec![0.0; dims.iter().product()], &dims, &Default::default());
            let [m, v] = moments.remove(&index).unwrap_or_else(|| [zeros(), zeros()]);
            let gradient = gradient.expect("a gradient reaches it");
            let before = self.tensors[index].clone();
            let [after, m, v] = Flex::fused_adamw_step(before, gradient, m, v, step, settings(&parameters[&index]));
            self.tensors[index] = after;
            moments.insert(index, [m, v]);
        }
    }
}

/// The gradient of the sum of the squares of what a model gives, by the trained tensor at `path`, which has the values
/// `start`.
pub fn gradient_of_squares(spec: &str, inputs: &[(&str, Golden)], path: &str, start: &Golden) -> Vec<f32> {
    let plan = Passes::NONE.plan(&compile(spec).graph);
    let index = plan.tensors.iter().position(|tensor| tensor.path == path).expect("it is a tensor of the plan");
    let device = Default::default();
    let tensors: Vec<FloatTensor<Flex>> = plan
        .tensors
        .iter()
        .map(|of| {
            assert_eq!(of.path, path, "the only one");
            tensor::<Flex>(start.values.clone(), &start.shape, &device)
        })
        .collect();
    let samples = inputs[0].1.shape[0];
    let fields = inputs
        .iter()
        .map(|(name, given)| ((*name).to_owned(), Batch::numbers(given.shape.clone(), given.values.clone())));
    let examples = Examples { samples, fields: fields.collect() };
    let network = TapedNetwork::<Flex>::new(&plan, &[]).expect("the layers are there");
    let given = examples.inputs::<Flex>(&plan.inputs, &device).expect("the inputs");
    let pass = &mut Pass::training(ChaCha8Rng::seed_from_u64(0));
    let mut taped = network.forward(given, &tensors, &[index], pass);
    let output = taped.outputs.remove(0).into_numbers();
    let squares = <Taped as FloatTensorOps<Taped>>::float_mul(output.clone(), output);
    let mut gradients = Taped::backward(<Taped as FloatTensorOps<Taped>>::float_sum(squares));
    values::<Flex>(Taped::grad_remove(&taped.leaves[0], &mut gradients).expect("a gradient reaches it"))
}
