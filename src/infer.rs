//! `lmvc infer SPEC --input IN.safetensors --output OUT.safetensors`

use std::path::{Path, PathBuf};

use lmv_runtime::device::DeviceChoice;
use lmv_runtime::error::Failure;
use lmv_runtime::events::Observer;
use lmv_runtime::places::Places;

use crate::context::{Context, Exit, Message};
use crate::device::Device;
use crate::locate::LocateWeights;
use crate::progress::Progress;
use crate::spec::{self, Checked, nearest};

/// Run a model on tensors in a file
///
/// The input's tensors are named like the model's inputs, batch first: `x` f32 [batch, T, 64]; where the length varies
/// also `x.mask` u8 [batch, T], 1 for what is real. The output's are `output`, or `output.0`, `output.1`, … for a tuple.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    /// The tensors that the model takes
    #[arg(long, value_name = "IN.safetensors")]
    input: PathBuf,
    /// Where the tensors that the model gives are written
    #[arg(long, value_name = "OUT.safetensors")]
    output: PathBuf,
    /// What training gave: a run folder (its best checkpoint) or a file of weights
    #[arg(long, value_name = "RUN|FILE")]
    checkpoint: Option<PathBuf>,
    /// Also writes a stream that the spec named with `let`; may be repeated
    #[arg(long, value_name = "NAME")]
    tap: Vec<String>,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    weights: LocateWeights,
}

/// An inference as the command line asks for it.
#[expect(dead_code, reason = "the runtime reads it, and is not plugged in yet")]
pub struct Job<'a> {
    /// The spec.
    pub spec: &'a Checked,
    /// The file of tensors; it is there.
    pub input: &'a Path,
    /// The file to write.
    pub output: &'a Path,
    /// A run folder or a file; it is there.
    pub checkpoint: Option<&'a Path>,
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
    let spec = spec::checked(&args.spec, &[], context)?;
    for tap in &args.tap {
        let known: Vec<&str> = spec.experiment.graph.taps.iter().map(|port| port.name.as_str()).collect();
        if known.contains(&tap.as_str()) {
            continue;
        }
        let message = Message::error(format!("the model has no stream `{tap}`")).about(args.spec.display().to_string());
        let message = match (nearest(tap, known.iter().copied()).first(), known.is_empty()) {
            (Some(near), _) => message.help(format!("did you mean `{near}`?")),
            (None, false) => message.note(format!("it has `{}`", known.join("`, `"))),
            (None, true) => message.help("name a stream by `let` in the model"),
        };
        return Err(context.wrong_command(&message));
    }
    if let Ok(false) = args.input.try_exists() {
        let message = Message::error(format!("there is no file `{}`", args.input.display()));
        return Err(context.wrong_command(&message));
    }
    if let Some(checkpoint) = &args.checkpoint {
        crate::eval::existing(checkpoint, context)?;
    }
    let places = args.weights.places(&args.spec, context)?;
    let job = Job {
        spec: &spec,
        input: &args.input,
        output: &args.output,
        checkpoint: args.checkpoint.as_deref(),
        taps: &args.tap,
        places: &places,
        device: args.device.device,
    };
    let mut progress = Progress::new(context);
    let done = infer(&job, &mut progress);
    progress.finish();
    done.map_err(|failure| context.failed(&failure))
}

// ===================================================================================================================
// THE RUNTIME GOES IN BELOW: this function, and nothing above, is to be filled in.
// ===================================================================================================================

/// Reads the input, runs the model, writes the output.
fn infer(_job: &Job<'_>, _observer: &mut dyn Observer) -> Result<(), Failure> {
    Err(Failure::new("this build of lmvc cannot run a model"))
}
