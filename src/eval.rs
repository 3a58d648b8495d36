//! `lmvc eval SPEC --checkpoint RUN|FILE`

use std::path::{Path, PathBuf};

use lmv_runtime::device::{self, DeviceChoice};
use lmv_runtime::error::Failure;
use lmv_runtime::evaluation::{Evaluation, Measured};
use lmv_runtime::events::{Event, Observer};
use lmv_runtime::parameters::Trained;
use lmv_runtime::places::Places;
use lmv_runtime::runnable;
use lmv_runtime::training::lock;

use crate::context::{Context, Exit, Message, MessageFormat};
use crate::device::Device;
use crate::locate::Locate;
use crate::progress::{Progress, by_name, measured};
use crate::proof::{Locked, Purpose, Subject};
use crate::spec::{self, Checked, Set, Variant};

/// Evaluate everything in a spec's `eval`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    /// What training gave: a run folder (its best checkpoint) or a file of weights
    #[arg(long, value_name = "RUN|FILE")]
    checkpoint: PathBuf,
    /// Takes the averaged weights that a run keeps where its recipe has `ema`, in place of the trained ones
    #[arg(long)]
    ema: bool,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    locate: Locate,
    #[command(flatten)]
    locked: Locked,
    #[command(flatten)]
    set: Set,
}

/// An evaluation as the command line asks for it.
pub struct Job<'a> {
    /// The spec.
    pub spec: &'a Checked,
    /// A run folder or a file; it is there.
    pub checkpoint: Trained<'a>,
    /// Where names of data and weights lead.
    pub places: &'a Places,
    /// Where it runs.
    pub device: DeviceChoice,
}

/// Evaluates, and prints a line for each metric: its name and its value in percent.
pub fn run(args: &Args, context: &Context) -> Exit {
    prepare(args, context).into()
}

fn prepare(args: &Args, context: &Context) -> Result<(), Exit> {
    // What a run was made with holds for measuring it, unless something else is said.
    let (variant, set) = spec::of_run(Some(&args.checkpoint), &args.variant, &args.set.set);
    let spec = spec::checked(&args.spec, &variant, &set, context)?;
    if spec.experiment.eval.is_empty() {
        let message = Message::error("this spec says nothing about evaluation").about(args.spec.display().to_string());
        context.tell(&message.help("list what is measured, for example `eval = [top1]`"));
        return Err(Exit::WrongSpec);
    }
    runnable::check(&spec.experiment, runnable::Purpose::Evaluation).map_err(|failure| context.failed(&failure))?;
    existing(&args.checkpoint, context)?;
    let places = args.locate.places(&args.spec, &spec.experiment, context)?;
    let (variant, purpose) = (variant.variant.as_deref(), Purpose::Trained);
    let subject = Subject { spec: &args.spec, variant, experiment: &spec.experiment, places: &places, purpose };
    args.locked.hold(&subject, context)?;
    let job = Job {
        spec: &spec,
        checkpoint: Trained { path: &args.checkpoint, average: args.ema },
        places: &places,
        device: args.device.device,
    };
    let mut progress = Progress::new(context);
    let done = evaluate(&job, &mut progress);
    progress.finish();
    let Measured { metrics, samples, left_out } = done.map_err(|failure| context.failed(&failure))?;
    if context.message_format == MessageFormat::Json {
        let object = serde_json::json!({ "metrics": by_name(&metrics), "samples": samples, "left_out": left_out });
        return context.print(&format!("{object}\n"));
    }
    if left_out > 0 {
        context.remark(&format!("measured on {samples} samples; {left_out} could not be read and were left out"));
    }
    let width = metrics.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: String =
        metrics.iter().map(|(name, value)| format!("{name:width$}  {}\n", measured(name, *value))).collect();
    context.print(&lines)
}

/// A checkpoint that the command line names must be there.
pub fn existing(checkpoint: &Path, context: &Context) -> Result<(), Exit> {
    match checkpoint.try_exists() {
        Ok(false) => {
            Err(context.wrong_command(&Message::error(format!("there is no checkpoint `{}`", checkpoint.display()))))
        }
        // Whatever else keeps it from being read is told by whoever reads it.
        _ => Ok(()),
    }
}

/// Measures what the spec's `eval` lists.
fn evaluate(job: &Job<'_>, observer: &mut dyn Observer) -> Result<Measured, Failure> {
    let (device, remark) = device::settle(job.device)?;
    remark.into_iter().for_each(|text| observer.event(Event::Note(text)));
    let evaluation = Evaluation {
        experiment: &job.spec.experiment,
        passes: device::passes(device),
        places: job.places,
        checkpoint: job.checkpoint,
        drawn: crate::train::drawn(match job.checkpoint.path.parent() {
            Some(runs) if job.checkpoint.path.join(lock::NAME).exists() => runs,
            _ => Path::new(crate::train::RUNS),
        }),
        observer,
    };
    device::run(device, evaluation)
}
