//! Measuring a model on the evaluation split.

use std::path::PathBuf;

use burn::tensor::ops::FloatTensor;
use lmv_compiler::Experiment;
use lmv_compiler::passes::Passes;

use crate::device::Work;
use crate::error::Result;
use crate::events::{Event, Observer};
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::losses::{Losses, Use};
use crate::metrics::{Meters, Output};
use crate::network::{Network, class_numbers, values};
use crate::parameters::{self, Trained};
use crate::places::Places;
use crate::stream::Stream;
use crate::tasks::{self, Opening, Task};
use crate::training::meters::RunningMean;
use crate::training::seeds::Seeds;
use crate::training::{lock, recipe};

/// What to measure: a trained model on its spec's data.
pub struct Evaluation<'a> {
    /// The spec.
    pub experiment: &'a Experiment,
    /// What its graph goes through before it runs.
    pub passes: Passes,
    /// Where its names lead.
    pub places: &'a Places,
    /// What training gave.
    pub checkpoint: Trained<'a>,
    /// Where data that the program draws itself is kept.
    pub drawn: PathBuf,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Every metric that was asked for by name, and where there is a recipe the mean of its loss as `loss`, without label
    /// smoothing.
    pub metrics: Vec<(String, f64)>,
    /// The samples it was measured on.
    pub samples: usize,
    /// The samples that could not be read, and count for nothing.
    pub left_out: usize,
}

impl Work for Evaluation<'_> {
    type Output = Result<Measured>;

    fn run<B: Kernels>(self, device: B::Device) -> Self::Output {
        let seed = lock::seed_of(self.checkpoint.path).or(self.experiment.seed).unwrap_or(0);
        let plan = self.passes.plan(&self.experiment.graph);
        let opening = Opening { places: self.places, drawn: self.drawn, seed, threads: 0 };
        let task = tasks::open(self.experiment, &opening, self.observer)?;
        let checkpoint = Some(self.checkpoint);
        let loaded = parameters::load::<B>(&plan, &Seeds::new(seed), self.places, checkpoint, &device, self.observer)?;
        let network = Network::<B>::new(&plan, &[])?;
        let never = || false;
        let measured = evaluate(&network, &loaded.tensors, &*task, self.experiment, &device, self.observer, &never)?;
        Ok(measured.unwrap_or_default())
    }
}

/// Measures a model on the evaluation split of its task, and tells of the files that turned out damaged.
///
/// # Errors
/// Data that cannot be read; a metric that Rust does not measure; `None` inside `Ok` is an interruption.
pub fn evaluate<B: Kernels>(
    network: &Network<B>,
    parameters: &[FloatTensor<B>],
    task: &dyn Task,
    experiment: &Experiment,
    device: &B::Device,
    observer: &mut dyn Observer,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Measured>> {
    let outputs = &network.plan().outputs;
    let mut meters = Meters::new(&experiment.eval, outputs)?;
    let losses = match &experiment.train {
        Some(recipe) => Some(Losses::<B>::new(recipe::loss(&recipe.fields)?, outputs, Use::Looking)?),
        None => None,
    };
    let mut loss = RunningMean::default();
    let total = task.evaluation_len();
    let mut done = 0;
    for examples in task.evaluation()? {
        if stop() {
            return Ok(None);
        }
        let examples = examples?;
        let inputs = examples.inputs::<B>(&network.plan().inputs, device)?;
        let found = network.forward(inputs, parameters, &mut Pass::evaluating());
        if let Some(losses) = &losses {
            loss.add(f64::from(values::<B>(losses.of(&found, &examples)?)[0]), examples.samples as u64);
        }
        let found = found.into_iter().map(|stream| Output { dims: stream.dims(), values: numbers::<B>(stream) });
        meters.add(&found.collect::<Vec<_>>(), &examples)?;
        done += examples.samples;
        observer.event(Event::Evaluated { done, total });
    }
    for line in task.damage() {
        observer.event(Event::Warning(line));
    }
    let mut results = meters.values()?;
    results.extend(loss.mean().map(|loss| ("loss".to_owned(), loss)));
    Ok(Some(Measured { metrics: results, samples: done, left_out: total - done }))
}

/// A stream's numbers, classes as numbers too.
fn numbers<B: Kernels>(stream: Stream<B>) -> Vec<f32> {
    match stream.holds_classes() {
        true => class_numbers::<B>(stream.classes()).into_iter().map(|class| class as f32).collect(),
        false => values::<B>(stream.into_numbers()),
    }
}
