//! `lmvc generate SPEC --prompt TEXT`

use std::path::PathBuf;

use lmv_runtime::device;
use lmv_runtime::events::{Event, Observer};
use lmv_runtime::generation::{Generation, vocabulary};
use lmv_runtime::runnable;

use crate::context::{Context, Exit, Message};
use crate::device::Device;
use crate::locate::LocateWeights;
use crate::progress::Progress;
use crate::proof::{Locked, Purpose, Subject};
use crate::spec::{self, Variant};

/// A language model of bytes knows so many tokens.
const BYTES: usize = 256;

/// Go on with a text by a language model
///
/// Each token is the one that the model finds likeliest. A model of bytes takes and gives text; any other takes and gives
/// the numbers of its tokens.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec of a causal language model
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    /// The text to go on with; of a model of other tokens than bytes, their numbers: `1,403,407`
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// How many tokens to add
    #[arg(long, value_name = "N", default_value_t = 200)]
    tokens: usize,
    /// What training gave: a run folder (its best checkpoint) or a file of weights
    #[arg(long, value_name = "RUN|FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    weights: LocateWeights,
    #[command(flatten)]
    locked: Locked,
}

/// Writes the text and what follows it.
pub fn run(args: &Args, context: &Context) -> Exit {
    generate(args, context).into()
}

fn generate(args: &Args, context: &Context) -> Result<(), Exit> {
    let (variant, set) = spec::of_run(args.checkpoint.as_deref(), &args.variant, &[]);
    let spec = spec::checked(&args.spec, &variant, &set, context)?;
    runnable::check(&spec.experiment, runnable::Purpose::Inference).map_err(|failure| context.failed(&failure))?;
    let known =
        vocabulary(&spec.experiment.graph).map_err(|failure| context.wrong_command(&Message::from(&failure)))?;
    if let Some(checkpoint) = &args.checkpoint {
        crate::eval::existing(checkpoint, context)?;
    }
    let bytes = known.size == BYTES;
    let prompt: Vec<i32> = match bytes {
        true => args.prompt.bytes().map(i32::from).collect(),
        false => {
            let numbers = args.prompt.split(',').map(|number| number.trim().parse::<i32>());
            numbers.collect::<Result<_, _>>().map_err(|_| {
                let message = Message::error(format!("`{}` is no list of token numbers", args.prompt))
                    .help(format!("this model knows {} tokens, by their numbers: `--prompt 1,403,407`", known.size));
                context.wrong_command(&message)
            })?
        }
    };
    let (spec, places) = args.weights.places(spec, context)?;
    let purpose = if args.checkpoint.is_some() { Purpose::Trained } else { Purpose::Running };
    let subject = Subject { spec: &spec, places: &places, purpose };
    args.locked.hold(&subject, context)?;
    let mut progress = Progress::new(context);
    let (device, remark) = device::settle(args.device.device).map_err(|failure| context.failed(&failure))?;
    remark.into_iter().for_each(|text| progress.event(Event::Note(text)));
    context.print(&args.prompt)?;
    let separator = if bytes { "" } else { "," };
    let mut text = Vec::new();
    let mut each = |token: i32| {
        // Bytes of one character may come one by one: what is no whole character yet waits.
        match u8::try_from(token) {
            Ok(byte) if bytes => text.push(byte),
            _ => text.extend(format!("{separator}{token}").bytes()),
        }
        let whole = match std::str::from_utf8(&text) {
            Ok(_) => text.len(),
            Err(error) if error.error_len().is_none() && text.len() < 4 => error.valid_up_to(),
            Err(_) => text.len(),
        };
        let said = String::from_utf8_lossy(&text[..whole]).into_owned();
        text.drain(..whole);
        context.print(&said).is_ok()
    };
    let generation = Generation {
        experiment: &spec.experiment,
        passes: device::passes(device),
        places: &places,
        checkpoint: args.checkpoint.as_deref(),
        prompt,
        tokens: args.tokens,
        seed: spec.experiment.seed.unwrap_or(0),
        each: &mut each,
        observer: &mut progress,
    };
    let done = device::run(device, generation);
    progress.finish();
    context.print("\n")?;
    done.map(drop).map_err(|failure| context.failed(&failure))
}
