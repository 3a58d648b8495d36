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
use crate::progress::Progress;
use crate::proof::{Locked, Purpose, Subject};
use crate::scores;
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
    /// Prints the metrics as a table in Markdown: one row, with the published numbers and the differences below
    #[arg(long)]
    markdown: bool,
    /// Keeps what was measured in the run's folder, where `lmvc report` finds it
    #[arg(long)]
    keep: bool,
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
    /// The run's folder to keep what was measured in.
    pub keep: Option<&'a Path>,
    /// Where names of data and weights lead.
    pub places: &'a Places,
    /// Where it runs.
    pub device: DeviceChoice,
}

/// Evaluates, and prints a line for each metric: its name, its value, and beside it what was published.
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
    let (spec, places) = args.locate.places(spec, context)?;
    let subject = Subject { spec: &spec, places: &places, purpose: Purpose::Trained };
    args.locked.hold(&subject, context)?;
    if args.keep && !args.checkpoint.join(lock::NAME).is_file() {
        let message = Message::error(format!("`{}` is no run folder to keep anything in", args.checkpoint.display()));
        return Err(context.wrong_command(&message.help("leave `--keep` out, or name the folder of a run")));
    }
    let keep = args.keep.then_some(args.checkpoint.as_path());
    if let Some(run) = keep {
        let lock = lock::Lock::read(run).map_err(|failure| context.failed(&failure))?;
        if spec.hashes() != (lock.spec, lock.imports) || lock.variant != variant.variant || !args.set.set.is_empty() {
            let what = format!("what is kept in {} is of another spec than the run was made of", run.display());
            context.tell(&Message::warning(what).about(args.spec.display().to_string()));
        }
    }
    let job = Job {
        spec: &spec,
        checkpoint: Trained { path: &args.checkpoint, average: args.ema },
        keep,
        places: &places,
        device: args.device.device,
    };
    let mut progress = Progress::new(context);
    let done = evaluate(&job, &mut progress);
    progress.finish();
    let Measured { scores, samples, left_out, .. } = done.map_err(|failure| context.failed(&failure))?;
    let rows = scores::rows(&scores, &spec.experiment);
    if context.message_format == MessageFormat::Json {
        let mut object = scores::json(&rows);
        object.insert("samples".into(), samples.into());
        object.insert("left_out".into(), left_out.into());
        return context.print(&format!("{}\n", serde_json::Value::Object(object)));
    }
    if left_out > 0 {
        context.remark(&format!("measured on {samples} samples; {left_out} could not be read and were left out"));
    }
    for score in &scores {
        if let Some((samples, left_out @ 1..)) = score.samples {
            let name = &score.name;
            context.remark(&format!(
                "{name}: measured on {samples} samples; {left_out} could not be read and were left out"
            ));
        }
    }
    context.print(&if args.markdown { scores::markdown(&rows) } else { scores::lines(&rows) })
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
        keep: job.keep,
        drawn: crate::train::drawn(match job.checkpoint.path.parent() {
            Some(runs) if job.checkpoint.path.join(lock::NAME).exists() => runs,
            _ => Path::new(crate::train::RUNS),
        }),
        observer,
    };
    device::run(device, evaluation)
}
