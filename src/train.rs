//! `lmvc train SPEC`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::value_parser;
use lmv_compiler::library;
use lmv_runtime::device::{self, DeviceChoice};
use lmv_runtime::error::Failure;
use lmv_runtime::events::{Event, Observer};
use lmv_runtime::metrics::Score;
use lmv_runtime::places::Places;
use lmv_runtime::precision::Precision;
use lmv_runtime::runnable;
use lmv_runtime::training::atomic_file::write_atomic;
use lmv_runtime::training::engine::{Outcome, Training};
use lmv_runtime::training::lock::{self, Lock};
use lmv_runtime::training::recipe;
use lmv_runtime::training::run_folder::RunFolder;
use serde_json::json;

use crate::config;
use crate::context::{Context, Exit, Message};
use crate::device::{Compute, Device};
use crate::interruption::interruption;
use crate::locate::{self, Locate};
use crate::progress::{Progress, by_name, in_words};
use crate::proof::{Locked, Purpose, Subject};
use crate::report;
use crate::room;
use crate::spec::{self, Checked, Override, Set, Variant};

/// The folder that runs go into where nothing else is said.
pub const RUNS: &str = "runs";

/// Train a spec, evaluate it, and write a run folder
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec; with --resume it is the one in the run folder
    #[arg(required_unless_present = "resume")]
    spec: Option<PathBuf>,
    #[command(flatten)]
    variant: Variant,
    /// Passes over the data, in place of the recipe's
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Stops after this many steps, with a checkpoint to resume from
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Samples a step, in place of the recipe's
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// The seed of everything random, in place of the spec's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    device: Device,
    /// Goes on with a run that was stopped or killed; its spec and settings stay what they were
    #[arg(long, value_name = "RUN", conflicts_with_all = ["spec", "variant", "epochs", "batch", "seed", "set", "out", "name", "locked"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    set: Set,
    #[command(flatten)]
    locate: Locate,
    #[command(flatten)]
    locked: Locked,
    /// The folder for run folders
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    out: PathBuf,
    /// The run's name, in place of the spec's; the run folder is DIR/NAME-1, or the next number that is free
    #[arg(long)]
    name: Option<String>,
    /// Writes a checkpoint every so many steps, besides the one after each epoch
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    checkpoint_steps: Option<u64>,
}

/// A training run as the command line asks for it: the spec is right, nothing is opened yet.
pub struct Job<'a> {
    /// The spec.
    pub spec: &'a Checked,
    /// Where names of data and weights lead.
    pub places: &'a Places,
    /// Where it runs.
    pub device: DeviceChoice,
    /// `--seed`, else the spec's.
    pub seed: Option<u64>,
    /// Stop after so many steps.
    pub steps: Option<u64>,
    /// A checkpoint every so many steps.
    pub checkpoint_steps: Option<u64>,
    /// The most samples at a time.
    pub micro_batch: Option<usize>,
    /// What matrix products are computed in, if it is said.
    pub precision: Option<Precision>,
    /// Where the run is written.
    pub target: Target<'a>,
}

/// Where a run is written.
pub enum Target<'a> {
    /// To a new folder `root/name-N`.
    New {
        /// `--out`.
        root: &'a Path,
        /// `--name`, else the spec's file name without its ending, with the variant behind it.
        name: String,
    },
    /// To the folder of a run that goes on.
    Resume(&'a Path),
}

/// Trains.
pub fn run(args: &Args, context: &Context) -> Exit {
    prepare(args, context).into()
}

fn prepare(args: &Args, context: &Context) -> Result<(), Exit> {
    let (spec_path, target) = match (&args.resume, &args.spec) {
        (Some(run), _) => (run_spec(run, context)?, Target::Resume(run)),
        (None, Some(spec)) => (spec.clone(), Target::New { root: &args.out, name: name(args, spec) }),
        // clap asks for one of the two.
        (None, None) => return Err(context.wrong_command(&Message::error("there is no spec to train"))),
    };
    let (variant, overrides) = match &args.resume {
        Some(run) => run_settings(run, context)?,
        None => (args.variant.clone(), overrides(args)),
    };
    let spec = spec::checked(&spec_path, &variant, &overrides, context)?;
    if spec.experiment.train.is_none() {
        let message = Message::error("this spec says nothing about training").about(spec_path.display().to_string());
        context.tell(&message.help("add a recipe, for example `train = one_cycle()`"));
        return Err(Exit::WrongSpec);
    }
    runnable::check(&spec.experiment, runnable::Purpose::Training).map_err(|failure| context.failed(&failure))?;
    let (spec, places) = args.locate.places(spec, context)?;
    if args.resume.is_none() {
        let subject = Subject { spec: &spec, places: &places, purpose: Purpose::Training };
        args.locked.hold(&subject, context)?;
    }
    let job = Job {
        spec: &spec,
        places: &places,
        device: args.device.device,
        seed: args.seed.or(spec.experiment.seed),
        steps: args.steps,
        checkpoint_steps: args.checkpoint_steps,
        micro_batch: args.compute.micro_batch.map(|n| n as usize),
        precision: args.compute.precision,
        target,
    };
    let mut progress = Progress::new(context);
    let done = train(&job, context, &mut progress);
    progress.finish();
    match done {
        Ok(true) => Ok(()),
        Ok(false) => Err(Exit::Failed),
        Err(failure) => Err(context.failed(&failure)),
    }
}

fn name(args: &Args, spec: &Path) -> String {
    let stem = || {
        let stem = spec.file_stem()?.to_string_lossy().into_owned();
        Some(match &args.variant.variant {
            Some(variant) => format!("{stem}-{variant}"),
            None => stem,
        })
    };
    args.name.clone().or_else(stem).unwrap_or_else(|| "run".into())
}

fn overrides(args: &Args) -> Vec<Override> {
    let short = [("train.epochs", args.epochs), ("train.batch", args.batch)];
    let short = short.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_string())));
    args.set.set.iter().cloned().chain(short).collect()
}

/// The spec that a run folder keeps.
fn run_spec(run: &Path, context: &Context) -> Result<PathBuf, Exit> {
    let spec = run.join("spec.lmv");
    let shown = run.display();
    let message = match (run.is_dir(), spec.is_file()) {
        (true, true) => return Ok(spec),
        (true, false) => Message::error(format!("`{shown}` is no run folder: it has no spec.lmv")),
        (false, _) => Message::error(format!("there is no run folder `{shown}`")),
    };
    Err(context.wrong_command(&message))
}

/// The variant, and what the command line set, when the run began.
fn run_settings(run: &Path, context: &Context) -> Result<(Variant, Vec<Override>), Exit> {
    let lock = Lock::read(run).map_err(|failure| context.failed(&failure))?;
    Ok((Variant { variant: lock.variant, of_run: Some(run.to_path_buf()) }, lock.set))
}

/// Where data that lmvc draws itself is kept, beside the runs that use it.
pub fn drawn(runs: &Path) -> PathBuf {
    runs.join("data")
}

/// Begins a run or goes on with one, and tells where it is; false if the user ended it.
pub fn train(job: &Job<'_>, context: &Context, observer: &mut dyn Observer) -> Result<bool, Failure> {
    let (device, remark) = device::settle(job.device)?;
    remark.into_iter().for_each(|text| observer.event(Event::Note(text)));
    match &job.target {
        Target::New { root, name } => {
            // A place that is missing is told before there is a folder that says a run began.
            let places = places_of(job)?;
            room::check(&job.spec.experiment, device, job.micro_batch, observer)?;
            let folder = RunFolder::create(root, name)?;
            let run = Run { job, device, folder: &folder, lock: new_lock(job, device), runs: root };
            let done = write_spec(job, &folder, &places).and_then(|()| run.train(context, observer));
            if done.is_err() {
                folder.discard_unused();
            }
            done
        }
        Target::Resume(run) => {
            let folder = RunFolder::resume(run)?;
            let then = Lock::read(folder.path())?;
            let micro_batch = job.micro_batch.or(then.micro_batch);
            room::check(&job.spec.experiment, device, micro_batch, observer)?;
            let lock = Lock {
                seed: then.seed,
                steps: job.steps,
                checkpoint_steps: job.checkpoint_steps.or(then.checkpoint_steps),
                micro_batch,
                precision: job.precision.or(then.precision),
                ..new_lock(job, device)
            };
            let runs = folder.path().parent().unwrap_or(Path::new(RUNS));
            Run { job, device, folder: &folder, lock, runs }.train(context, observer)
        }
    }
}

/// Writes what a run's folder keeps of the spec.
fn write_spec(job: &Job<'_>, folder: &RunFolder, places: &str) -> Result<(), Failure> {
    let files = job.spec.compiled.folder();
    if files.len() > 1 {
        let imports = folder.path().join("imports");
        std::fs::create_dir(&imports)
            .map_err(|error| Failure::at(&imports, format!("this folder cannot be made: {error}")))?;
    }
    for (path, text) in files {
        write_atomic(folder.path().join(path), |out| out.write_all(text.as_bytes()))?;
    }
    write_atomic(folder.path().join(config::NAME), |out| out.write_all(places.as_bytes()))
}

/// A run with its folder.
struct Run<'a> {
    job: &'a Job<'a>,
    device: DeviceChoice,
    folder: &'a RunFolder,
    lock: Lock,
    /// Where runs are kept.
    runs: &'a Path,
}

impl Run<'_> {
    /// Trains, and tells what came of it; false if the user ended it.
    fn train(self, context: &Context, observer: &mut dyn Observer) -> Result<bool, Failure> {
        let Run { job, device, folder, lock, runs } = self;
        let run = folder.path().display().to_string();
        context.event("run", json!({ "folder": run }));
        let stop = interruption();
        let (micro_batch, recipe) = (lock.micro_batch, job.spec.experiment.train.as_ref());
        let training = Training {
            precision: device::precision(
                device,
                lock.precision,
                recipe.is_some_and(|recipe| recipe::amp(&recipe.fields)),
            )?,
            micro_batch,
            experiment: &job.spec.experiment,
            passes: device::passes(device),
            places: job.places,
            folder,
            lock,
            resume: matches!(job.target, Target::Resume(_)),
            drawn: drawn(runs),
            threads: 0,
            observer,
            stop: &|| stop.load(Ordering::Relaxed),
        };
        match device::run(device, training)? {
            Outcome::Done { whole, metrics, best } => {
                let found = best.map(|(value, epoch)| json!({ "value": value, "epoch": epoch + 1 }));
                context.event(
                    "done",
                    json!({ "whole": whole, "folder": run, "metrics": by_name(&metrics), "best": found }),
                );
                let measured = metrics.iter().map(in_words).collect::<Vec<_>>().join(", ");
                if !whole {
                    context.remark(&format!("\nstopped as asked: {measured}\nthe run is in {run}"));
                    context.remark(&format!("go on by `lmvc train --resume {run}`"));
                    return Ok(true);
                }
                // The run is what counts: a page that cannot be written is no reason to fail.
                let page = report::write(folder.path());
                if let Err(failure) = &page {
                    context.tell(&Message::from(failure).into_warning());
                }
                context.remark(&format!("\ndone: {measured}"));
                // What decides is the first of those that are measured after each epoch.
                let first = metrics.iter().find(|score| score.samples.is_none());
                if let (Some((best, epoch)), Some(Score { name, reading, .. })) = (best, first) {
                    context.remark(&format!("best {name}: {} after epoch {}", reading.show(best), epoch + 1));
                }
                context.remark(&format!("the run is in {run}"));
                if page.is_ok() {
                    context.remark(&format!("a page of it is {run}/report.html"));
                }
                context.remark(&format!(
                "next: `lmvc show {}{}` draws the model, `lmvc eval {run}/spec.lmv --checkpoint {run}` measures it again",
                job.spec.path.display(),
                job.spec.variant.variant.iter().map(|name| format!(" --variant {name}")).collect::<String>()
            ));
                Ok(true)
            }
            Outcome::Interrupted => {
                context.event("interrupted", json!({ "folder": run }));
                context.remark(&format!("\ninterrupted; go on by `lmvc train --resume {run}`"));
                Ok(false)
            }
        }
    }
}

/// What a run that begins now is made of; the runtime adds what it reads.
pub fn new_lock(job: &Job<'_>, device: DeviceChoice) -> Lock {
    let (spec, imports) = job.spec.hashes();
    Lock {
        lmvc: env!("CARGO_PKG_VERSION").into(),
        seed: job.seed.unwrap_or(0),
        device: device.to_string(),
        variant: job.spec.variant.variant.clone(),
        set: job.spec.set.clone(),
        steps: job.steps,
        checkpoint_steps: job.checkpoint_steps,
        micro_batch: job.micro_batch,
        precision: job.precision,
        spec,
        imports,
        library: lock::hash(library::fingerprint_text().as_bytes()),
        data: String::new(),
        weights: BTreeMap::new(),
    }
}

/// An `lmv.toml` for the run's folder with the places that the spec's names have on this machine, so that the run can
/// be resumed without saying them again.
fn places_of(job: &Job<'_>) -> Result<String, Failure> {
    let mut paths = toml::Table::new();
    let mut weights = toml::Table::new();
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path).display().to_string();
    for name in locate::data_names(&job.spec.experiment) {
        paths.insert(name.to_owned(), absolute(job.places.paths.resolve(name)?).into());
    }
    let given = |name: &&str| !job.places.weights.is_built_in(name);
    for name in locate::weight_names(&job.spec.experiment).into_iter().filter(given) {
        weights.insert(name.to_owned(), absolute(job.places.weights.resolve(name)?).into());
    }
    let table = toml::Table::from_iter([("paths".to_owned(), paths.into()), ("weights".to_owned(), weights.into())]);
    Ok(format!("# Where the names of spec.lmv led on the machine of this run.\n{table}"))
}
