//! Measuring a model: on the evaluation split, and on what else its metrics name.

mod attacked;
mod beside;
pub mod kept;

use std::path::{Path, PathBuf};

use burn::tensor::ops::FloatTensor;
use lmv_compiler::Experiment;
use lmv_compiler::passes::Passes;

pub use self::attacked::Attacked;
pub use self::beside::look;
pub use self::kept::{Kept, Prediction};
use crate::device::Work;
use crate::error::Result;
use crate::events::{Event, Observer};
use crate::examples::Examples;
use crate::examples::placed::{Destination, Part, Placed};
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::losses::{Losses, Use};
use crate::metrics::{Meters, Output, Reading, Score, Way, entry};
use crate::network::{Network, class_numbers, values};
use crate::parameters::{self, Trained};
use crate::places::Places;
use crate::stream::Stream;
use crate::tasks::{self, Opening, Task};
use crate::training::meters::RunningMean;
use crate::training::seeds::Seeds;
use crate::training::{lock, recipe};
use crate::weights::mapped;

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
    /// The run's folder to keep what was measured in, for its report.
    pub keep: Option<&'a Path>,
    /// Where data that the program draws itself is kept.
    pub drawn: PathBuf,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Every metric that was asked for, and where there is a recipe the mean of its loss as `loss`, without label smoothing.
    pub scores: Vec<Score>,
    /// The samples of the evaluation split that it was measured on.
    pub samples: usize,
    /// The samples that could not be read, and count for nothing.
    pub left_out: usize,
    /// What the model gave for each image, in order, where it gives one label an image.
    pub predictions: Vec<Prediction>,
}

/// What is said where a run is measured on what it was not made of.
const OTHER_DATA: &str = "the data are not those that the run was made of: other files, sizes or classes, or classes in \
    another order, by which labels would mean something else";

impl Work for Evaluation<'_> {
    type Output = Result<Measured>;

    fn run<B: Kernels>(self, device: B::Device) -> Self::Output {
        let seed = lock::seed_of(self.checkpoint.path).or(self.experiment.seed).unwrap_or(0);
        let plan = self.passes.plan(&self.experiment.graph);
        let opening = Opening { places: self.places, drawn: self.drawn, seed, threads: 0 };
        let task = tasks::open(self.experiment, &opening, self.observer)?;
        look(self.experiment, &*task, self.places)?;
        // A file that is of no run says nothing of its data; without a recipe the training split is not looked at.
        if self.experiment.train.is_some()
            && lock::Lock::read(self.checkpoint.path).is_ok_and(|run| run.data != task.listing_hash())
        {
            self.observer.event(Event::Warning(OTHER_DATA.to_owned()));
        }
        let checkpoint = Some(self.checkpoint);
        let loaded = parameters::load::<B>(&plan, &Seeds::new(seed), self.places, checkpoint, &device, self.observer)?;
        let network = Network::<B>::new(&plan, &[])?;
        let model = Model {
            network: &network,
            parameters: &loaded.tensors,
            task: &*task,
            experiment: self.experiment,
            places: self.places,
            seeds: Seeds::new(seed),
            device: &device,
        };
        let never = || false;
        let mut measured = model.on_split(self.observer, &never)?.unwrap_or_default();
        measured.scores.extend(model.elsewhere(self.observer, &never)?.unwrap_or_default());
        mapped::unchanged(&loaded.mapped)?;
        in_order(&mut measured.scores, self.experiment);
        if let Some(run) = self.keep {
            let kept = Kept::new(&measured, self.experiment, &*task, None);
            Kept { average: self.checkpoint.average, ..kept }.write(run, &*task)?;
        }
        Ok(measured)
    }
}

/// A model with its parameters, and what it is measured on.
pub struct Model<'a, B: Kernels> {
    /// What it computes.
    pub network: &'a Network<B>,
    /// With what.
    pub parameters: &'a [FloatTensor<B>],
    /// The data, opened.
    pub task: &'a dyn Task,
    /// The spec.
    pub experiment: &'a Experiment,
    /// Where the names of further data lead.
    pub places: &'a Places,
    /// Where what is random comes from.
    pub seeds: Seeds,
    /// Where it runs.
    pub device: &'a B::Device,
}

impl<B: Kernels> Model<'_, B> {
    /// Measures what counts on the evaluation split, and tells of the files that turned out damaged.
    ///
    /// # Errors
    /// Data that cannot be read; a metric that Rust does not measure; `None` inside `Ok` is an interruption.
    pub fn on_split(&self, observer: &mut dyn Observer, stop: &dyn Fn() -> bool) -> Result<Option<Measured>> {
        let outputs = &self.network.plan().outputs;
        let mut meters = Meters::new(&self.experiment.eval, outputs)?;
        let losses = match &self.experiment.train {
            Some(recipe) => Some(Losses::<B>::new(recipe::loss(&recipe.fields)?, outputs, Use::Looking)?),
            None => None,
        };
        let mut noted = kept::Noted::of(self.experiment, outputs, self.task.labelled());
        let mut loss = RunningMean::default();
        let total = self.task.evaluation_len();
        let mut done = 0;
        let destination = Destination { ports: &self.network.plan().inputs, device: self.device, most: None };
        let mut batch = |placed: Placed<B>, observer: &mut dyn Observer| -> Result<()> {
            let Some(Part { examples, inputs }) = placed.parts.into_iter().next() else { return Ok(()) };
            let found = self.network.forward(inputs, self.parameters, &mut Pass::evaluating());
            if let Some(losses) = &losses {
                loss.add(f64::from(values::<B>(losses.of(&found, &examples)?)[0]), examples.samples as u64);
            }
            let mut found: Vec<Output> = found.into_iter().map(output::<B>).collect();
            let examples = match self.task.views() {
                1 => examples,
                views => {
                    found = found.into_iter().map(|output| output.averaged(views)).collect();
                    examples.every(views)
                }
            };
            meters.add(&found, &examples)?;
            noted.add(&found, &examples)?;
            done += examples.samples;
            observer.event(Event::Evaluated { done, total });
            Ok(())
        };
        let whole = destination.ahead(self.task.evaluation()?, |batches| {
            for placed in batches {
                if stop() {
                    return Ok(false);
                }
                batch(placed?, observer)?;
            }
            Ok(true)
        })?;
        if !whole {
            return Ok(None);
        }
        for line in self.task.damage() {
            observer.event(Event::Warning(line));
        }
        let mut scores = meters.scores()?;
        scores.extend(loss.mean().map(|loss| Score::new("loss", loss, Reading::Less)));
        let predictions = noted.finish(self.task.labelled());
        Ok(Some(Measured { scores, samples: done, left_out: total - done, predictions }))
    }

    /// Measures what is measured elsewhere: on folders of their own, and on images that are changed against the model.
    ///
    /// # Errors
    /// As [`Model::on_split`].
    pub fn elsewhere(&self, observer: &mut dyn Observer, stop: &dyn Fn() -> bool) -> Result<Option<Vec<Score>>> {
        let Some(mut scores) = self.on_folders(observer, stop)? else { return Ok(None) };
        for metric in &self.experiment.eval {
            if let (reading, Way::Attacking(attack)) = entry(&metric.call)? {
                let Some(value) = self.attacked(metric, attack(&metric.call), observer, stop)? else { return Ok(None) };
                scores.push(Score::new(&metric.label, value, reading));
            }
        }
        Ok(Some(scores))
    }

    /// What the model gives for a batch.
    fn outputs(&self, examples: &Examples) -> Result<Vec<Output>> {
        let inputs = examples.inputs::<B>(&self.network.plan().inputs, self.device)?;
        let found = self.network.forward(inputs, self.parameters, &mut Pass::evaluating());
        Ok(found.into_iter().map(output::<B>).collect())
    }
}

/// Brings scores into the order of `eval`; what is not listed there comes last.
pub fn in_order(scores: &mut [Score], experiment: &Experiment) {
    let place = |score: &Score| experiment.eval.iter().position(|metric| metric.label == score.name);
    scores.sort_by_key(|score| place(score).unwrap_or(usize::MAX));
}

/// A stream in memory, classes as numbers too.
fn output<B: Kernels>(stream: Stream<B>) -> Output {
    let dims = stream.dims();
    let values = match stream.holds_classes() {
        true => class_numbers::<B>(stream.classes()).into_iter().map(|class| class as f32).collect(),
        false => values::<B>(stream.into_numbers()),
    };
    Output { dims, values }
}
