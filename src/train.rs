//! `lmvc train SPEC`

use std::path::{Path, PathBuf};

use clap::value_parser;
use lmv_runtime::device::DeviceChoice;
use lmv_runtime::error::Failure;
use lmv_runtime::events::Observer;
use lmv_runtime::places::Places;

use crate::context::{Context, Exit, Message};
use crate::device::Device;
use crate::locate::Locate;
use crate::progress::Progress;
use crate::spec::{self, Checked, Override, Set};

/// Train a spec, evaluate it, and write a run folder
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec; with --resume it is the one in the run folder
    #[arg(required_unless_present = "resume")]
    spec: Option<PathBuf>,
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
    device: Device,
    /// Goes on with a run that was stopped or killed; its spec and settings stay what they were
    #[arg(long, value_name = "RUN", conflicts_with_all = ["spec", "epochs", "batch", "seed", "set", "out", "name"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    set: Set,
    #[command(flatten)]
    locate: Locate,
    /// The folder for run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// The run's name, in place of the spec's; the run folder is DIR/NAME-1, or the next number that is free
    #[arg(long)]
    name: Option<String>,
    /// Writes a checkpoint every so many steps, besides the one after each epoch
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    checkpoint_steps: Option<u64>,
}

/// A training run as the command line asks for it: the spec is right, nothing is opened yet.
#[expect(dead_code, reason = "the runtime reads it, and is not plugged in yet")]
pub struct Job<'a> {
    /// The spec.
    pub spec: &'a Checked,
    /// Where the spec is.
    pub spec_path: &'a Path,
    /// What `--set`, `--epochs` and `--batch` set; already in the spec.
    pub overrides: &'a [Override],
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
    /// Where the run is written.
    pub target: Target<'a>,
}

/// Where a run is written.
#[expect(dead_code, reason = "the runtime reads it, and is not plugged in yet")]
pub enum Target<'a> {
    /// To a new folder `root/name-N`.
    New {
        /// `--out`.
        root: &'a Path,
        /// `--name`, else the spec's file name without its ending.
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
    let overrides = match &args.resume {
        Some(run) => run_overrides(run, context)?,
        None => overrides(args),
    };
    let spec = spec::checked(&spec_path, &overrides, context)?;
    if spec.experiment.train.is_none() {
        let message = Message::error("this spec says nothing about training").about(spec_path.display().to_string());
        context.tell(&message.help("add a recipe, for example `train = one_cycle()`"));
        return Err(Exit::WrongSpec);
    }
    let places = args.locate.places(&spec_path, context)?;
    let job = Job {
        spec: &spec,
        spec_path: &spec_path,
        overrides: &overrides,
        places: &places,
        device: args.device.device,
        seed: args.seed.or(spec.experiment.seed),
        steps: args.steps,
        checkpoint_steps: args.checkpoint_steps,
        target,
    };
    let mut progress = Progress::new(context);
    let done = train(&job, &mut progress);
    progress.finish();
    done.map_err(|failure| context.failed(&failure))
}

fn name(args: &Args, spec: &Path) -> String {
    let stem = || spec.file_stem().map(|stem| stem.to_string_lossy().into_owned());
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

// ===================================================================================================================
// THE RUNTIME GOES IN BELOW: these two functions, and nothing above, are to be filled in.
// ===================================================================================================================

/// What was set from outside when the run began: the `Job::overrides` of then, as the run folder keeps them.
fn run_overrides(_run: &Path, _context: &Context) -> Result<Vec<Override>, Exit> {
    Ok(Vec::new())
}

/// Trains as the job says, and tells the observer how it goes.
fn train(_job: &Job<'_>, _observer: &mut dyn Observer) -> Result<(), Failure> {
    Err(Failure::new("this build of lmvc cannot train"))
}
