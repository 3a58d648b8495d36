//! Measuring a model on the evaluation split.

use std::path::{Path, PathBuf};

use burn::tensor::ops::FloatTensor;
use lmv_compiler::Experiment;
use lmv_compiler::config::Call;
use lmv_compiler::passes::Passes;

use crate::device::Work;
use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::network::{Network, tensor, values};
use crate::parameters;
use crate::places::Places;
use crate::stream::Stream;
use crate::tasks::{self, Opening, Task};
use crate::training::lock;
use crate::training::meters::{Accuracy, RunningMean};
use crate::training::seeds::Seeds;

/// What to measure: a trained model on its spec's data.
pub struct Evaluation<'a> {
    /// The spec.
    pub experiment: &'a Experiment,
    /// What its graph goes through before it runs.
    pub passes: Passes,
    /// Where its names lead.
    pub places: &'a Places,
    /// What training gave: a run's folder, a checkpoint's folder or a file.
    pub checkpoint: &'a Path,
    /// Where data that the program draws itself is kept.
    pub drawn: PathBuf,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Every metric that was asked for by name, in percent, and the mean plain cross entropy as `loss`.
    pub metrics: Vec<(String, f64)>,
    /// The samples it was measured on.
    pub samples: usize,
    /// The samples that could not be read, and count for nothing.
    pub left_out: usize,
}

impl Work for Evaluation<'_> {
    type Output = Result<Measured>;

    fn run<B: Kernels>(self, device: B::Device) -> Self::Output {
        let seed = lock::seed_of(self.checkpoint).or(self.experiment.seed).unwrap_or(0);
        let plan = self.passes.plan(&self.experiment.graph);
        let opening = Opening { places: self.places, drawn: self.drawn, seed, threads: 0 };
        let task = tasks::open(self.experiment, &opening, self.observer)?;
        let checkpoint = Some(self.checkpoint);
        let loaded = parameters::load::<B>(&plan, &Seeds::new(seed), self.places, checkpoint, &device, self.observer)?;
        let network = Network::<B>::new(&plan, &[])?;
        let metrics = &self.experiment.eval;
        let never = || false;
        let measured = evaluate(&network, &loaded.tensors, &*task, metrics, &device, self.observer, &never)?;
        Ok(measured.unwrap_or_default())
    }
}

/// The names of all metrics that Rust measures.
pub const METRICS: [&str; 2] = ["top1", "top5"];

/// Measures a model on the evaluation split of its task, and tells of the files that turned out damaged.
///
/// # Errors
/// Data that cannot be read; a metric that Rust does not measure; `None` inside `Ok` is an interruption.
pub fn evaluate<B: Kernels>(
    network: &Network<B>,
    parameters: &[FloatTensor<B>],
    task: &dyn Task,
    metrics: &[Call],
    device: &B::Device,
    observer: &mut dyn Observer,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Measured>> {
    let mut accuracy = Accuracy::new(&[1, 5]);
    let mut loss = RunningMean::default();
    let total = task.evaluation_len();
    let mut done = 0;
    for examples in task.evaluation()? {
        if stop() {
            return Ok(None);
        }
        let examples = examples?;
        let classes = task.classes();
        let inputs =
            examples.inputs.into_iter().map(|(dims, values)| Stream::new(tensor::<B>(values, &dims, device))).collect();
        let Some(output) = network.forward(inputs, parameters, &mut Pass { training: None }).into_iter().next() else {
            return Err(Failure::new("the model gives nothing to measure"));
        };
        let targets = tensor::<B>(examples.targets, &[examples.labels.len(), classes], device);
        let mean = values::<B>(B::fused_softmax_cross_entropy(output.numbers(), targets));
        loss.add(f64::from(mean[0]), examples.labels.len() as u64);
        accuracy.add(&values::<B>(output.into_numbers()), classes, &examples.labels)?;
        done += examples.labels.len();
        observer.event(Event::Evaluated { done, total });
    }
    for line in task.damage() {
        observer.event(Event::Warning(line));
    }
    let mut results = Vec::new();
    for metric in metrics {
        let value = match metric.name.as_str() {
            "top1" => accuracy.top(1),
            "top5" => accuracy.top(5),
            other => return Err(Failure::new(format!("this lmvc cannot measure `{other}`"))),
        };
        let value = value.ok_or_else(|| Failure::new("there was no sample to measure on"))?;
        results.push((metric.name.clone(), 100.0 * value));
    }
    results.push(("loss".to_owned(), loss.mean().unwrap_or(f64::NAN)));
    Ok(Some(Measured { metrics: results, samples: done, left_out: total - done }))
}
