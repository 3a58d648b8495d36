//! How fast a spec runs on this machine: `lmvc bench`.
//!
//! Each part is warmed up and repeated. Data that is not on this machine is replaced by random batches of the same shapes,
//! weights that are not by random starts; both are told.

mod machine;
mod memory;
mod samples;
mod train;

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::ops::FloatTensor;
use lmv_compiler::Experiment;
use lmv_compiler::config::Config;
use lmv_compiler::graph::Filling;
use lmv_compiler::passes::Passes;
use lmv_compiler::plan::Plan;

pub use self::machine::Machine;
use crate::device::Work;
use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::examples::Examples;
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::network::{Network, values};
use crate::parameters;
use crate::places::Places;
use crate::precision::Precision;
use crate::tasks::{self, Opening, Task};
use crate::training::seeds::Seeds;

/// Runs of a part before those that count: the first one asks for memory, and fills caches.
pub const WARM_UP: usize = 2;

/// Batches of data in a run.
const BATCHES: usize = 16;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Loading the weights that the spec names: found, read, hashed, made tensors of.
    Weights,
    /// Batches of training, from files to numbers in memory.
    Data,
    /// The model on one batch, as an evaluation runs it.
    Forward,
    /// A whole step of training: forward, backward, clipping, AdamW, average.
    Train,
}

impl Part {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::Weights, Self::Data, Self::Forward, Self::Train];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Data => "data",
            Self::Forward => "forward",
            Self::Train => "train",
        }
    }
}

/// What to measure.
pub struct Benchmark<'a> {
    /// The spec.
    pub experiment: &'a Experiment,
    /// What its graph goes through before it runs.
    pub passes: Passes,
    /// Where its names lead.
    pub places: &'a Places,
    /// Which parts.
    pub parts: &'a [Part],
    /// Samples at a time.
    pub batch: usize,
    /// The most samples that go through the model at a time in a step of training.
    pub micro_batch: Option<usize>,
    /// Runs that count.
    pub repeats: usize,
    /// What matrix products are computed in.
    pub precision: Precision,
    /// The type of frozen weights of linear layers, in place of the one that they have.
    pub frozen_as: Option<Precision>,
    /// The length of what varies, where batches are drawn.
    pub length: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// Gives memory that is free back to the system, so that the peak of a part is its own.
    pub give_back: &'a dyn Fn(),
    /// Who watches.
    pub observer: &'a mut dyn Observer,
    /// Whether the user wants it to end.
    pub stop: &'a dyn Fn() -> bool,
}

/// What was measured of one part.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Which.
    pub part: Part,
    /// Seconds of each run that counts, in their order.
    pub seconds: Vec<f64>,
    /// Floating-point operations of a run, as far as they are known.
    pub flops: Option<f64>,
    /// Samples of a run.
    pub samples: Option<usize>,
    /// Batches of a run.
    pub batches: Option<usize>,
    /// Bytes that a run loads.
    pub bytes: Option<f64>,
    /// The peak of the process's memory while it ran, in bytes, with all that the process held before; `None` where the
    /// system does not tell.
    pub peak_bytes: Option<u64>,
}

/// What a benchmark found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The parts that could be measured.
    pub parts: Vec<Measured>,
    /// Those that could not, each with the reason.
    pub left_out: Vec<(Part, String)>,
    /// What the machine reaches at most, where the model was run.
    pub machine: Option<Machine>,
    /// What was drawn in place of what is not on this machine.
    pub notes: Vec<String>,
}

impl Work for Benchmark<'_> {
    type Output = Result<Option<Found>>;

    /// `None` if the user ended it.
    fn run<B: Kernels>(mut self, device: B::Device) -> Self::Output {
        let mut found = Found::default();
        match self.measure::<B>(&device, &mut found)? {
            Some(()) => Ok(Some(found)),
            None => Ok(None),
        }
    }
}

/// What the model's runs need.
struct Ready<B: Kernels> {
    plan: Plan,
    tensors: Vec<FloatTensor<B>>,
    examples: Examples,
}

impl Benchmark<'_> {
    fn measure<B: Kernels>(&mut self, device: &B::Device, found: &mut Found) -> Result<Option<()>> {
        let plan = self.passes.plan(&self.experiment.graph);
        let absent = self.absent_weights();
        // Dropped at the end, with what was drawn into it.
        let folder = tempfile::tempdir().map_err(|error| Failure::new(format!("no temporary folder: {error}")))?;
        let task = match self.parts {
            // Weights need no data, and drawing some takes its time.
            [Part::Weights] => None,
            _ => self.task(folder.path().to_path_buf(), found)?,
        };
        if self.wants(Part::Weights) && self.weights::<B>(&plan, &absent, device, found)?.is_none() {
            return Ok(None);
        }
        if self.wants(Part::Data) && self.data(task.as_deref(), found)?.is_none() {
            return Ok(None);
        }
        if !self.wants(Part::Forward) && !self.wants(Part::Train) {
            return Ok(Some(()));
        }
        let mut plan = plan;
        let tensors = self.tensors::<B>(&mut plan, &absent, device, found)?;
        let examples = self.examples(task.as_deref(), found)?;
        drop(task);
        let mut ready = Ready::<B> { plan, tensors, examples };
        let before = machine::measure::<B>(&ready.plan, self.batch, self.precision, device);
        found.machine = Some(before);
        if self.wants(Part::Forward) && self.forward(&ready, device, found)?.is_none() {
            return Ok(None);
        }
        if self.wants(Part::Train) && self.train(&mut ready, device, found)?.is_none() {
            return Ok(None);
        }
        // What a machine reaches at most is the best that was seen: other programs come and go.
        let after = machine::measure::<B>(&ready.plan, self.batch, self.precision, device);
        found.machine = Some(before.or_better(after));
        Ok(Some(()))
    }

    fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Warms up, repeats, and keeps what was found; `None` if the user ended it. `bytes` are those that a run loads.
    fn repeat(
        &mut self,
        part: Part,
        costs: (Option<f64>, Option<usize>, Option<f64>),
        found: &mut Found,
        mut run: impl FnMut(&mut dyn Observer) -> Result<()>,
    ) -> Result<Option<()>> {
        let total = WARM_UP + self.repeats;
        (self.give_back)();
        memory::forget_peak();
        let mut seconds = Vec::new();
        for done in 0..total {
            if (self.stop)() {
                return Ok(None);
            }
            let began = Instant::now();
            run(self.observer)?;
            if done >= WARM_UP {
                seconds.push(began.elapsed().as_secs_f64());
            }
            self.observer.event(Event::Repeated { what: part.name(), done: done + 1, total });
        }
        let (flops, samples, bytes) = costs;
        let batches = samples.map(|_| 1);
        found.parts.push(Measured { part, seconds, flops, samples, batches, bytes, peak_bytes: memory::peak() });
        Ok(Some(()))
    }

    /// The names of weights that nothing on this machine has.
    fn absent_weights(&self) -> Vec<String> {
        let names =
            self.experiment.graph.parameters.iter().filter_map(|parameter| weights_of(parameter.filled_by.as_ref()?));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names.dedup();
        let weights = &self.places.weights;
        names.retain(|name| weights.source(name).is_none() && !weights.is_built_in(name));
        names
    }

    /// The data, where it is on this machine.
    fn task(&mut self, drawn: PathBuf, found: &mut Found) -> Result<Option<Box<dyn Task>>> {
        let why = match (&self.experiment.data, &self.experiment.train) {
            (None, _) => "the spec has no data".to_owned(),
            (_, None) => "the spec has no recipe to make batches by".to_owned(),
            (Some(data), _) => {
                let absent = data.arguments.values().find_map(|argument| match argument {
                    Config::Path(name) if self.places.paths.source(name).is_none() => Some(name.as_str()),
                    _ => None,
                });
                match absent {
                    Some(name) => format!("nothing says where `{name}` is: `--path {name}=DIR` does"),
                    None if !tasks::datasets().contains(&data.name.as_str()) => {
                        format!("this lmvc cannot open the dataset `{}`", data.name)
                    }
                    None => {
                        let opening = Opening { places: self.places, drawn, seed: self.seed, threads: 0 };
                        return tasks::open(self.experiment, &opening, self.observer).map(Some);
                    }
                }
            }
        };
        if self.wants(Part::Data) {
            found.left_out.push((Part::Data, why));
        }
        Ok(None)
    }

    fn weights<B: Kernels>(
        &mut self,
        plan: &Plan,
        absent: &[String],
        device: &B::Device,
        found: &mut Found,
    ) -> Result<Option<()>> {
        let filled = |parameter: &&lmv_compiler::graph::Parameter| parameter.filled_by.is_some();
        let why = match (absent, plan.parameters.iter().any(|parameter| filled(&parameter))) {
            (_, false) => "the spec names no weights".to_owned(),
            ([], true) => {
                let (seeds, places) = (Seeds::new(self.seed), self.places);
                let load = |observer: &mut dyn Observer| {
                    parameters::load::<B>(plan, &seeds, places, None, device, observer).map(|loaded| loaded.tensors)
                };
                // What there is to tell of the weights is told once.
                let tensors = load(self.observer)?;
                let bytes: usize = tensors.iter().map(machine::bytes_of::<B>).sum();
                drop(tensors);
                return self.repeat(Part::Weights, (None, None, Some(bytes as f64)), found, |_| {
                    load(&mut |_: Event| {}).map(drop)
                });
            }
            ([name, ..], true) => format!("nothing says where `{name}` is: `--weights {name}=DIR` does"),
        };
        found.left_out.push((Part::Weights, why));
        Ok(Some(()))
    }

    fn data(&mut self, task: Option<&dyn Task>, found: &mut Found) -> Result<Option<()>> {
        // Why there is none was told when it was looked for.
        let Some(task) = task else { return Ok(Some(())) };
        if task.steps_per_epoch() == 0 {
            found.left_out.push((Part::Data, "an epoch has no whole batch of this size".to_owned()));
            return Ok(Some(()));
        }
        // Batches are made ahead of who takes them: a run is a stretch of an epoch from a loader that begins.
        let count = usize::try_from(task.steps_per_epoch()).unwrap_or(usize::MAX).min(BATCHES);
        let mut epoch = 0;
        // Those that were made: with fewer samples than a batch has, a batch is as large as the data.
        let (mut batches, mut samples) = (0, 0);
        let done = self.repeat(Part::Data, (None, None, None), found, |_| {
            epoch += 1;
            (batches, samples) = (0, 0);
            task.training(epoch, 0)?.take(count).try_for_each(|batch| {
                (batches, samples) = (batches + 1, samples + batch?.samples);
                Ok(())
            })
        })?;
        if let (Some(()), Some(measured)) = (done, found.parts.last_mut()) {
            (measured.batches, measured.samples) = (Some(batches), Some(samples));
            if samples < batches * self.batch {
                found
                    .notes
                    .push(format!("a batch of the data has {} samples: there are no more", samples / batches.max(1)));
            }
        }
        Ok(done)
    }

    /// The plan's tensors: loaded, or started at random where their weights are not here.
    fn tensors<B: Kernels>(
        &mut self,
        plan: &mut Plan,
        absent: &[String],
        device: &B::Device,
        found: &mut Found,
    ) -> Result<Vec<FloatTensor<B>>> {
        for parameter in &mut plan.parameters {
            if parameter.filled_by.as_ref().and_then(weights_of).is_some_and(|name| absent.iter().any(|a| a == name)) {
                parameter.filled_by = None;
            }
        }
        for name in absent {
            found.notes.push(format!("nothing says where `{name}` is, so its weights were drawn at random, as f32"));
        }
        let seeds = Seeds::new(self.seed);
        let mut tensors = parameters::load::<B>(plan, &seeds, self.places, None, device, &mut |_: Event| {})?.tensors;
        if let Some(precision) = self.frozen_as {
            let may = parameters::may_be_halves(plan);
            let mut cast = false;
            for (planned, tensor) in plan.tensors.iter().zip(&mut tensors) {
                if may.contains(planned.path.as_str()) && B::takes_halves(device) {
                    *tensor = precision.cast::<B>(tensor.clone());
                    cast = true;
                }
            }
            found.notes.push(match cast {
                true => format!("frozen weights of linear layers were made {precision}"),
                false => format!(
                    "no weight could be made {precision}: none of a linear layer is frozen, or the device takes none"
                ),
            });
        }
        Ok(tensors)
    }

    /// A batch: the first of the data, or one of random numbers.
    fn examples(&mut self, task: Option<&dyn Task>, found: &mut Found) -> Result<Examples> {
        if let Some(batch) = task.map(|task| task.training(0, 0)).transpose()?.and_then(|mut batches| batches.next()) {
            return batch;
        }
        found.notes.push("the batch is of random numbers".to_owned());
        samples::draw(self.experiment, self.batch, self.length, self.seed)
    }

    fn forward<B: Kernels>(&mut self, ready: &Ready<B>, device: &B::Device, found: &mut Found) -> Result<Option<()>> {
        let Ready { plan, tensors, examples } = ready;
        let network = Network::<B>::new(plan, &[])?;
        let needed = plan.needed_for(plan.outputs.iter().map(|port| port.stream));
        let nodes =
            plan.nodes.iter().zip(needed).filter(|(_, needed)| *needed).map(|(node, _)| node.flops.unwrap_or(0.0));
        let flops = nodes.sum::<f64>() * examples.samples as f64;
        let precision = self.precision;
        self.repeat(Part::Forward, (Some(flops), Some(examples.samples), None), found, |_| {
            let inputs = examples.inputs::<B>(&plan.inputs, device)?;
            let mut pass = Pass::evaluating();
            pass.precision = precision;
            for output in network.forward(inputs, tensors, &mut pass) {
                if !output.holds_classes() {
                    // Reading them waits for the device.
                    drop(values::<B>(output.into_numbers()));
                }
            }
            Ok(())
        })
    }
}

/// The name of the weights of a filling.
fn weights_of(filling: &Filling) -> Option<&str> {
    match filling {
        Filling::Block { weights, .. } | Filling::Named { weights, .. } => Some(weights),
    }
}
