//! The training loop, the same for every task.
//!
//! A step: batch → forward on the tape → loss → backward → clip → AdamW → average. Everything random in it is drawn
//! from the seed, the epoch and the step, so a run that is killed and resumed goes on with the same numbers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;
use burn_autodiff::Autodiff;
use lmv_compiler::passes::Passes;
use lmv_compiler::plan::Plan;
use lmv_compiler::{Experiment, Recipe};
use serde_json::{Map, Value, json};

use super::checkpoint_store::{Best, Checkpoint, CheckpointStore, Slot, TrainState};
use super::lock::Lock;
use super::loss_scale::LossScale;
use super::metrics::Metrics;
use super::recipe;
use super::run_folder::RunFolder;
use super::schedule::Schedule;
use super::seeds::Seeds;
use super::step::{Step, Stepped};
use super::tensor_file::Tensor;
use super::update::{At, Trained, Update};
use crate::device::Work;
use crate::error::{Failure, Result};
use crate::evaluation::{self, Kept, Measured, Model};
use crate::events::{Event, Observer};
use crate::examples::placed::{Destination, Placed};
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::losses::{Losses, Use};
use crate::metrics::Score;
use crate::network::{Network, TapedNetwork, tensor, values};
use crate::parameters;
use crate::places::Places;
use crate::precision::Precision;
use crate::tasks::{self, Task};
use crate::weights::{MappedFile, mapped};

/// How long training goes on without a checkpoint when nothing else says when one is due.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// A run to begin or to go on with.
pub struct Training<'a> {
    /// The spec.
    pub experiment: &'a Experiment,
    /// What its graph goes through before it runs.
    pub passes: Passes,
    /// Where its names lead.
    pub places: &'a Places,
    /// The folder of the run; its spec is written already.
    pub folder: &'a RunFolder,
    /// What the run is made of; hashes of data and weights are filled in here.
    pub lock: Lock,
    /// Whether to take up the last checkpoint of the folder.
    pub resume: bool,
    /// Where data that the program draws itself is kept.
    pub drawn: PathBuf,
    /// Decoding threads; 0 for one a core.
    pub threads: usize,
    /// What matrix products are computed in.
    pub precision: Precision,
    /// The most samples that go through the model at a time; a larger batch goes in parts. All of them where there is none.
    pub micro_batch: Option<usize>,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
    /// Whether the user wants it to end.
    pub stop: &'a dyn Fn() -> bool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is done; the metrics of its last evaluation.
    Done {
        /// Whether all epochs are done; not so when it was asked to end after some steps.
        whole: bool,
        /// Of all epochs: those that are measured elsewhere than on the evaluation split too.
        metrics: Vec<Score>,
        /// The best of the first metric and its epoch.
        best: Option<(f64, u64)>,
    },
    /// The user ended it; it can be resumed from its last checkpoint.
    Interrupted,
}

/// Everything that a step changes.
struct State<B: Kernels> {
    tensors: Vec<FloatTensor<B>>,
    trained: Vec<Trained<B>>,
    epoch: u64,
    step_in_epoch: u64,
    global_step: u64,
    loss_sum: f64,
    best: Option<Best>,
    /// Where matrix products are computed in `f16`.
    scale: Option<LossScale>,
}

impl Work for Training<'_> {
    type Output = Result<Outcome>;

    fn run<B: Kernels>(self, device: B::Device) -> Self::Output {
        self.trained::<B>(device).map(|(outcome, _)| outcome)
    }
}

impl Training<'_> {
    /// Trains; gives what came of it and the state at its end.
    fn trained<B: Kernels>(self, device: B::Device) -> Result<(Outcome, State<B>)> {
        let Some(recipe) = &self.experiment.train else {
            return Err(Failure::new("this spec has no recipe to train by")
                .help("add for example `train = one_cycle(epochs = 10)`"));
        };
        let seeds = Seeds::new(self.lock.seed);
        let opening = tasks::Opening {
            places: self.places,
            drawn: self.drawn.clone(),
            seed: self.lock.seed,
            threads: self.threads,
        };
        let task = tasks::open(self.experiment, &opening, self.observer)?;
        evaluation::look(self.experiment, &*task, self.places)?;
        let plan = self.passes.plan(&self.experiment.graph);
        let loaded = parameters::load::<B>(&plan, &seeds, self.places, None, &device, self.observer)?;
        let mut lock = self.lock.clone();
        lock.data = task.listing_hash();
        lock.weights = loaded.hashes;
        let store = self.folder.checkpoints();
        let mut metrics = self.folder.metrics()?;
        let mut state = fresh::<B>(&plan, recipe, loaded.tensors, &device);
        state.scale = LossScale::of(self.precision);
        if self.resume {
            Lock::read(self.folder.path())?.unchanged(&lock, self.folder.path())?;
            let from = match store.exists(Slot::Last) {
                true => restore(&mut state, &store, &plan, &device)?,
                // Killed before its first checkpoint: it begins again.
                false => 0,
            };
            metrics.truncate_after(from)?;
        } else {
            lock.write(self.folder.path())?;
        }
        let mut run = Run::<B> {
            network: TapedNetwork::new(&plan, &[])?,
            evaluating: Network::new(&plan, &[])?,
            schedule: recipe::schedule(&recipe.fields)?,
            update: Update::of(recipe)?,
            losses: Losses::new(recipe::loss(&recipe.fields)?, &plan.outputs, Use::Training)?,
            // The mean over an epoch's steps needs their number; a run may end before.
            steps_per_epoch: task.steps_per_epoch(),
            epochs: recipe.epochs as u64,
            precision: self.precision,
            micro_batch: self.micro_batch,
            experiment: self.experiment,
            places: self.places,
            folder: self.folder.path(),
            task: &*task,
            seeds,
            store,
            metrics,
            lock,
            mapped: loaded.mapped,
            device,
            observer: self.observer,
            stop: self.stop,
            saved: Instant::now(),
        };
        let outcome = run.train(&mut state)?;
        Ok((outcome, state))
    }
}

/// The state of a run that begins.
fn fresh<B: Kernels>(plan: &Plan, recipe: &Recipe, tensors: Vec<FloatTensor<B>>, device: &B::Device) -> State<B> {
    let trained = Trained::all(plan, recipe, &tensors, device);
    State { tensors, trained, epoch: 0, step_in_epoch: 0, global_step: 0, loss_sum: 0.0, best: None, scale: None }
}

/// Takes up the last checkpoint; gives its step.
fn restore<B: Kernels>(state: &mut State<B>, store: &CheckpointStore, plan: &Plan, device: &B::Device) -> Result<u64> {
    let loaded = store.load(Slot::Last)?;
    let folder = loaded.folder.clone();
    let find = |tensors: &[Tensor<'static>], name: &str| -> Result<FloatTensor<B>> {
        let found = tensors.iter().find(|tensor| tensor.name == name);
        let found = found.ok_or_else(|| Failure::at(&folder, format!("has no `{name}`")))?;
        Ok(tensor::<B>(found.values.to_vec(), &found.shape, device))
    };
    for trained in &mut state.trained {
        let path = &plan.tensors[trained.index].path;
        state.tensors[trained.index] = find(&loaded.model, path)?;
        trained.m = find(&loaded.optimizer, &format!("{path}.m"))?;
        trained.v = find(&loaded.optimizer, &format!("{path}.v"))?;
        if trained.average.is_some() {
            trained.average = Some(find(loaded.ema.as_deref().unwrap_or_default(), path)?);
        }
    }
    for (index, buffer) in plan.updated() {
        state.tensors[index] = find(&loaded.model, &buffer.path)?;
    }
    let saved = loaded.state;
    state.epoch = saved.epoch;
    state.step_in_epoch = saved.step_in_epoch;
    state.global_step = saved.global_step;
    state.best = saved.best;
    // Kept as bits: a sum that went through decimal text could come back another one.
    let bits = saved.extra.get("loss_sum").and_then(Value::as_str).and_then(|bits| bits.parse::<u64>().ok());
    state.loss_sum = bits.map_or(0.0, f64::from_bits);
    if let (Some(scale), Some(saved)) = (&mut state.scale, saved.extra.get("loss_scale")) {
        *scale = serde_json::from_value(saved.clone())
            .map_err(|error| Failure::at(&folder, format!("the scale of the loss cannot be read: {error}")))?;
    }
    Ok(state.global_step)
}

struct Run<'a, B: Kernels> {
    network: TapedNetwork<B>,
    evaluating: Network<B>,
    schedule: Schedule,
    update: Update,
    losses: Losses<Autodiff<B>>,
    steps_per_epoch: u64,
    epochs: u64,
    precision: Precision,
    micro_batch: Option<usize>,
    experiment: &'a Experiment,
    places: &'a Places,
    folder: &'a Path,
    task: &'a dyn Task,
    seeds: Seeds,
    store: CheckpointStore,
    metrics: Metrics,
    lock: Lock,
    mapped: Vec<Arc<MappedFile>>,
    device: B::Device,
    observer: &'a mut dyn Observer,
    stop: &'a dyn Fn() -> bool,
    saved: Instant,
}

impl<B: Kernels> Run<'_, B> {
    fn train(&mut self, state: &mut State<B>) -> Result<Outcome> {
        self.observer.event(Event::Started {
            epochs: self.epochs,
            steps_per_epoch: self.steps_per_epoch,
            left_out: self.task.left_out(),
            at: (state.epoch, state.step_in_epoch),
        });
        let mut last = Measured::default();
        while state.epoch < self.epochs && !self.enough(state) {
            if !self.epoch(state)? {
                return Ok(Outcome::Interrupted);
            }
            if state.step_in_epoch < self.steps_per_epoch {
                // Asked to end within an epoch: what is left of it waits for a resumption.
                self.save(state, Slot::Last)?;
                break;
            }
            match self.finish_epoch(state)? {
                Some(measured) => last = measured,
                None => return Ok(Outcome::Interrupted),
            }
        }
        if last.scores.is_empty() {
            // Ended within an epoch, or resumed after its end: measured, so that there is something to tell.
            match self.measure(state)? {
                Some(measured) => last = measured,
                None => return Ok(Outcome::Interrupted),
            }
        }
        let whole = state.epoch >= self.epochs;
        if whole {
            let elsewhere = self.looked_at(state, |model, observer, stop| model.elsewhere(observer, stop))?;
            let Some(scores) = elsewhere else { return Ok(Outcome::Interrupted) };
            last.scores.extend(scores);
            evaluation::in_order(&mut last.scores, self.experiment);
            Kept::new(&last, self.experiment, self.task, Some(state.epoch)).write(self.folder, self.task)?;
        }
        Ok(Outcome::Done {
            whole,
            metrics: last.scores,
            best: state.best.as_ref().map(|best| (best.metric, best.epoch)),
        })
    }

    fn enough(&self, state: &State<B>) -> bool {
        self.lock.steps.is_some_and(|steps| state.global_step >= steps)
    }

    /// The steps of an epoch that are left; false if the user wants it to end.
    fn epoch(&mut self, state: &mut State<B>) -> Result<bool> {
        let batches = self.task.training(state.epoch, state.step_in_epoch)?;
        let (ports, device) = (self.network.plan().inputs.clone(), self.device.clone());
        let destination = Destination { ports: &ports, device: &device, most: self.micro_batch };
        destination.ahead(batches, |batches| self.steps(state, batches))
    }

    fn steps(&mut self, state: &mut State<B>, batches: &mut dyn Iterator<Item = Result<Placed<B>>>) -> Result<bool> {
        for placed in batches {
            if self.enough(state) {
                break;
            }
            if (self.stop)() {
                self.save(state, Slot::Last)?;
                return Ok(false);
            }
            let (samples, loss, lr) = self.step(state, placed?)?;
            state.step_in_epoch += 1;
            state.global_step += 1;
            state.loss_sum += loss;
            self.metrics.append(
                state.global_step,
                &json!({ "kind": "step", "epoch": state.epoch + 1, "loss": loss, "lr": lr }),
            )?;
            self.observer.event(Event::Step { epoch: state.epoch, step: state.step_in_epoch, loss, lr, samples });
            for line in self.task.damage() {
                self.observer.event(Event::Warning(line));
            }
            let due = match self.lock.checkpoint_steps {
                Some(steps) => state.global_step.is_multiple_of(steps.max(1)),
                None => self.saved.elapsed() >= CHECKPOINT_EVERY,
            };
            // At an epoch's last step the evaluation comes first: a checkpoint between the two would, resumed, write the
            // epoch's line a second time.
            if due && state.step_in_epoch < self.steps_per_epoch {
                self.save(state, Slot::Last)?;
            }
        }
        Ok(true)
    }

    /// One step; gives its number of samples, its loss and its learning rate.
    fn step(&mut self, state: &mut State<B>, placed: Placed<B>) -> Result<(usize, f64, f64)> {
        let samples = placed.samples;
        let lr = self.schedule.lr(self.update.optimizer.lr, state.epoch, state.step_in_epoch, self.steps_per_epoch);
        let mut pass = Pass::training(self.seeds.stream("drop_path", state.epoch, state.step_in_epoch));
        pass.precision = self.precision;
        let indices: Vec<usize> = state.trained.iter().map(|trained| trained.index).collect();
        let step = Step {
            network: &self.network,
            losses: &self.losses,
            trained: &indices,
            scale: state.scale.map_or(1.0, |scale| scale.scale),
            norm: self.update.clip.is_some() || state.scale.is_some(),
            device: &self.device,
        };
        let Stepped { loss: value, norm, gradients: found, updates } =
            step.in_parts(&state.tensors, placed, &mut pass)?;
        if !value.is_finite() {
            return Err(Failure::new(format!(
                "the loss is {value} at epoch {}, step {}",
                state.epoch + 1,
                state.step_in_epoch + 1
            ))
            .note(format!("the learning rate there is {lr:.3e}"))
            .note(match self.store.exists(Slot::Last) {
                true => "the last checkpoint is from before, and is unharmed",
                false => "there is no checkpoint yet",
            })
            .help("lower the learning rate (`--set train.lr=…`), warm up longer, or look at the data for numbers that are none"));
        }
        for (buffer, value) in updates {
            state.tensors[buffer.0] = value;
        }
        if let Some(scale) = &mut state.scale {
            let finite = norm.is_none_or(f64::is_finite);
            scale.update(finite);
            if !finite {
                // Too large a scale, and not too large a step: the next one is taken with half of it.
                return Ok((samples, value, lr));
            }
        }
        // A step number beyond u32 would take centuries.
        let taken = state.global_step + 1 - state.scale.map_or(0, |scale| scale.left_out);
        let (epoch, step_in_epoch) = (state.epoch, state.step_in_epoch);
        let number = u32::try_from(taken).unwrap_or(u32::MAX);
        let rate = |rate: f64| match rate {
            1.0 => lr,
            rate => {
                let base = self.update.optimizer.lr * rate;
                self.schedule.lr(base, epoch, step_in_epoch, self.steps_per_epoch)
            }
        };
        let at = At { lr: &rate, step: number, norm, plan: self.network.plan() };
        self.update.apply(&mut state.tensors, &mut state.trained, found, at, &self.device).map_err(|failure| {
            failure.note(format!("at epoch {}, step {}", state.epoch + 1, state.step_in_epoch + 1))
        })?;
        Ok((samples, value, lr))
    }

    /// Evaluation, the epoch's line in the metrics, checkpoints; `None` if the user wants it to end.
    fn finish_epoch(&mut self, state: &mut State<B>) -> Result<Option<Measured>> {
        let Some(measured) = self.measure(state)? else {
            self.save(state, Slot::Last)?;
            return Ok(None);
        };
        let loss = state.loss_sum / state.step_in_epoch.max(1) as f64;
        let left_out = measured.left_out;
        let first = measured.scores.first().filter(|score| score.name != "loss");
        let val_loss = measured.scores.iter().find(|score| score.name == "loss").map(|score| score.value);
        let best = first.is_some_and(|first| {
            state.best.as_ref().is_none_or(|best| best.is_beaten(first.reading, first.value, val_loss))
        });
        if let (true, Some(first)) = (best, first) {
            let loss = val_loss.filter(|loss| loss.is_finite());
            state.best = Some(Best { metric: first.value, epoch: state.epoch, loss });
        }
        let mut record = Map::new();
        record.insert("kind".into(), json!("epoch"));
        record.insert("epoch".into(), json!(state.epoch + 1));
        record.insert("train_loss".into(), json!(loss));
        for Score { name, value, .. } in &measured.scores {
            record.insert(format!("val_{name}"), json!(value));
        }
        if left_out > 0 {
            record.insert("val_left_out".into(), json!(left_out));
        }
        let replaced = self.task.damaged_in_training();
        if replaced > 0 {
            record.insert("train_replaced".into(), json!(replaced));
        }
        self.metrics.append(state.global_step, &record)?;
        let metrics = measured.scores.clone();
        self.observer.event(Event::Epoch { epoch: state.epoch, loss, metrics, best, left_out, replaced });
        state.epoch += 1;
        state.step_in_epoch = 0;
        state.loss_sum = 0.0;
        // The best first: a kill in between then repeats the epoch, where the other order would lose it.
        if best {
            self.save(state, Slot::Best)?;
        }
        self.save(state, Slot::Last)?;
        Ok(Some(measured))
    }

    fn measure(&mut self, state: &State<B>) -> Result<Option<Measured>> {
        self.looked_at(state, |model, observer, stop| model.on_split(observer, stop))
    }

    /// Does something with the model as it is. What it gives is worth something only where its weights stayed what they were.
    fn looked_at<T>(
        &mut self,
        state: &State<B>,
        look: impl FnOnce(&Model<'_, B>, &mut dyn Observer, &dyn Fn() -> bool) -> Result<T>,
    ) -> Result<T> {
        let model = Model {
            network: &self.evaluating,
            parameters: &state.tensors,
            task: self.task,
            experiment: self.experiment,
            places: self.places,
            seeds: self.seeds,
            device: &self.device,
        };
        let seen = look(&model, &mut *self.observer, self.stop)?;
        mapped::unchanged(&self.mapped)?;
        Ok(seen)
    }

    fn save(&mut self, state: &State<B>, slot: Slot) -> Result<()> {
        mapped::unchanged(&self.mapped)?;
        self.metrics.sync()?;
        let plan = self.network.plan();
        let named = |name: String, tensor: &FloatTensor<B>| {
            let dims = tensor.shape().to_vec();
            Tensor::new(name, dims, values::<B>(tensor.clone()))
        };
        let path = |trained: &Trained<B>| plan.tensors[trained.index].path.clone();
        let buffers = plan.updated().map(|(index, buffer)| named(buffer.path.clone(), &state.tensors[index]));
        let trained = state.trained.iter().map(|trained| named(path(trained), &state.tensors[trained.index]));
        let model: Vec<_> = trained.chain(buffers).collect();
        let optimizer: Vec<_> = state
            .trained
            .iter()
            .flat_map(|trained| {
                let path = path(trained);
                [named(format!("{path}.m"), &trained.m), named(format!("{path}.v"), &trained.v)]
            })
            .collect();
        let average: Option<Vec<_>> = state
            .trained
            .iter()
            .map(|trained| trained.average.as_ref().map(|average| named(path(trained), average)))
            .collect();
        let saved = TrainState {
            epoch: state.epoch,
            step_in_epoch: state.step_in_epoch,
            global_step: state.global_step,
            seed: self.seeds.seed(),
            best: state.best,
            spec_hash: self.lock.spec.clone(),
            extra: json!({ "loss_sum": state.loss_sum.to_bits().to_string(), "loss_scale": state.scale }),
        };
        self.store
            .save(slot, Checkpoint { state: &saved, model: &model, optimizer: &optimizer, ema: average.as_deref() })?;
        self.saved = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
