//! `lmvc infer SPEC --input IN.safetensors --output OUT.safetensors`

use std::path::{Path, PathBuf};

use lmv_runtime::device::{self, DeviceChoice};
use lmv_runtime::error::Failure;
use lmv_runtime::events::{Event, Observer};
use lmv_runtime::inference::Inference;
use lmv_runtime::network::find_tap;
use lmv_runtime::parameters::Trained;
use lmv_runtime::places::Places;
use lmv_runtime::runnable;

use crate::context::{Context, Exit, Message};
use crate::device::Device;
use crate::locate::LocateWeights;
use crate::progress::Progress;
use crate::proof::{Locked, Purpose, Subject};
use crate::spec::{self, Checked, Variant};

/// Run a model on tensors in a file
///
/// The input's tensors are named like the model's inputs, batch first: `x` f32 [batch, T, 64]; where the length varies
/// also `x.mask` u8 [batch, T], 1 for what is real. The output's are `output`, or `output.0`, `output.1`, … for a tuple.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    /// The tensors that the model takes
    #[arg(long, value_name = "IN.safetensors")]
    input: PathBuf,
    /// Where the tensors that the model gives are written
    #[arg(long, value_name = "OUT.safetensors")]
    output: PathBuf,
    /// What training gave: a run folder (its best checkpoint) or a file of weights
    #[arg(long, value_name = "RUN|FILE")]
    checkpoint: Option<PathBuf>,
    /// Takes the averaged weights that a run keeps where its recipe has `ema`, in place of the trained ones
    #[arg(long, requires = "checkpoint")]
    ema: bool,
    /// Also writes a stream that the spec named with `let`; may be repeated
    #[arg(long, value_name = "NAME")]
    tap: Vec<String>,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    weights: LocateWeights,
    #[command(flatten)]
    locked: Locked,
}

/// An inference as the command line asks for it.
pub struct Job<'a> {
    /// The spec.
    pub spec: &'a Checked,
    /// The file of tensors; it is there.
    pub input: &'a Path,
    /// The file to write.
    pub output: &'a Path,
    /// A run folder or a file; it is there.
    pub checkpoint: Option<Trained<'a>>,
    /// Names of taps; the model has them.
    pub taps: &'a [String],
    /// Where names of weights lead.
    pub places: &'a Places,
    /// Where it runs.
    pub device: DeviceChoice,
}

/// Runs the model.
pub fn run(args: &Args, context: &Context) -> Exit {
    prepare(args, context).into()
}

fn prepare(args: &Args, context: &Context) -> Result<(), Exit> {
    let (variant, set) = spec::of_run(args.checkpoint.as_deref(), &args.variant, &[]);
    let spec = spec::checked(&args.spec, &variant, &set, context)?;
    runnable::check(&spec.experiment, runnable::Purpose::Inference).map_err(|failure| context.failed(&failure))?;
    for tap in &args.tap {
        if let Err(failure) = find_tap(&spec.experiment.graph.taps, tap) {
            return Err(context.wrong_command(&Message::from(&failure)));
        }
    }
    if let Ok(false) = args.input.try_exists() {
        let message = Message::error(format!("there is no file `{}`", args.input.display()));
        return Err(context.wrong_command(&message));
    }
    if let Some(checkpoint) = &args.checkpoint {
        crate::eval::existing(checkpoint, context)?;
    }
    let (spec, places) = args.weights.places(spec, context)?;
    let purpose = if args.checkpoint.is_some() { Purpose::Trained } else { Purpose::Running };
    let subject = Subject { spec: &spec, places: &places, purpose };
    args.locked.hold(&subject, context)?;
    let job = Job {
        spec: &spec,
        input: &args.input,
        output: &args.output,
        checkpoint: args.checkpoint.as_deref().map(|path| Trained { path, average: args.ema }),
        taps: &args.tap,
        places: &places,
        device: args.device.device,
    };
    let mut progress = Progress::new(context);
    let done = infer(&job, &mut progress);
    progress.finish();
    done.map_err(|failure| context.failed(&failure))
}

/// Runs the model, and writes what it gives.
fn infer(job: &Job<'_>, observer: &mut dyn Observer) -> Result<(), Failure> {
    let (device, remark) = device::settle(job.device)?;
    remark.into_iter().for_each(|text| observer.event(Event::Note(text)));
    let inference = Inference {
        experiment: &job.spec.experiment,
        passes: device::passes(device),
        places: job.places,
        checkpoint: job.checkpoint,
        input: job.input,
        output: job.output,
        taps: job.taps,
        seed: job.spec.experiment.seed.unwrap_or(0),
        observer,
    };
    device::run(device, inference).map(drop)
}
