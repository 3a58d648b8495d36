//! `lmvc eval SPEC --checkpoint RUN|FILE`

use std::path::{Path, PathBuf};

use lmv_runtime::device::DeviceChoice;
use lmv_runtime::error::Failure;
use lmv_runtime::events::Observer;
use lmv_runtime::places::Places;

use crate::context::{Context, Exit, Message};
use crate::device::Device;
use crate::locate::Locate;
use crate::progress::Progress;
use crate::spec::{self, Checked, Set};

/// Evaluate everything in a spec's `eval`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    /// What training gave: a run folder (its best checkpoint) or a file of weights
    #[arg(long, value_name = "RUN|FILE")]
    checkpoint: PathBuf,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    locate: Locate,
    #[command(flatten)]
    set: Set,
}

/// An evaluation as the command line asks for it.
#[expect(dead_code, reason = "the runtime reads it, and is not plugged in yet")]
pub struct Job<'a> {
    /// The spec.
    pub spec: &'a Checked,
    /// A run folder or a file; it is there.
    pub checkpoint: &'a Path,
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
    let spec = spec::checked(&args.spec, &args.set.set, context)?;
    if spec.experiment.eval.is_empty() {
        let message = Message::error("this spec says nothing about evaluation").about(args.spec.display().to_string());
        context.tell(&message.help("list what is measured, for example `eval = [top1]`"));
        return Err(Exit::WrongSpec);
    }
    existing(&args.checkpoint, context)?;
    let places = args.locate.places(&args.spec, context)?;
    let job = Job { spec: &spec, checkpoint: &args.checkpoint, places: &places, device: args.device.device };
    let mut progress = Progress::new(context);
    let metrics = evaluate(&job, &mut progress);
    progress.finish();
    let metrics = metrics.map_err(|failure| context.failed(&failure))?;
    let width = metrics.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: String = metrics.iter().map(|(name, value)| format!("{name:width$}  {value:.2} %\n")).collect();
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

// ===================================================================================================================
// THE RUNTIME GOES IN BELOW: this function, and nothing above, is to be filled in.
// ===================================================================================================================

/// The metrics of the spec's `eval` by name, in percent.
fn evaluate(_job: &Job<'_>, _observer: &mut dyn Observer) -> Result<Vec<(String, f64)>, Failure> {
    Err(Failure::new("this build of lmvc cannot evaluate"))
}
