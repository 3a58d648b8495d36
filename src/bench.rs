//! `lmvc bench SPEC`

mod table;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::{ValueEnum, value_parser};
use lmv_runtime::benchmark::{Benchmark, Found, Part, WARM_UP};
use lmv_runtime::device;
use lmv_runtime::events::{Event, Observer};
use lmv_runtime::precision::Precision;
use lmv_runtime::runnable;
use lmv_runtime::training::recipe;

use crate::context::{Context, Exit, Message, MessageFormat};
use crate::device::{Compute, Device};
use crate::interruption::interruption;
use crate::locate::Locate;
use crate::memory;
use crate::progress::Progress;
use crate::room;
use crate::spec::{self, Set, Variant};

/// Measure how fast a spec runs here: loading, data, the model, a step of training
///
/// Medians over repeats after a warm-up, the share of what this machine reaches at most (a matrix product of the size that
/// the model spends most on, and a copy, measured beside it), and the peak of memory. Weights and data that are not here
/// are drawn at random, which the output says.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    /// Measures these parts only: several with commas, or the flag repeated
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    only: Vec<PartName>,
    /// Samples at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u32).range(1..))]
    batch: u32,
    /// Runs of each part that count; two more come before them
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = value_parser!(u32).range(1..))]
    repeats: u32,
    /// Keeps frozen weights of linear layers in this type, in place of the one that they have: f32, bf16 or f16
    #[arg(long, value_name = "TYPE", value_parser = parse_type)]
    frozen_as: Option<Precision>,
    /// The length of what varies from sample to sample, where batches are drawn
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..))]
    length: u32,
    /// Prints what was measured as one JSON object, with the seconds of every run
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    locate: Locate,
    #[command(flatten)]
    set: Set,
}

/// A part as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartName {
    /// Loading the weights that the spec names
    Weights,
    /// Batches of training, from files to numbers in memory
    Data,
    /// The model on one batch, without gradients
    Forward,
    /// A whole step of training
    Train,
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Self {
        match name {
            PartName::Weights => Part::Weights,
            PartName::Data => Part::Data,
            PartName::Forward => Part::Forward,
            PartName::Train => Part::Train,
        }
    }
}

/// A type that numbers are kept in.
fn parse_type(text: &str) -> Result<Precision, String> {
    let found = text.parse().ok().filter(|precision| *precision != Precision::FrozenBf16);
    found.ok_or_else(|| format!("`{text}` is none of f32, bf16, f16"))
}

/// Measures.
pub fn run(args: &Args, context: &Context) -> Exit {
    prepare(args, context).into()
}

fn prepare(args: &Args, context: &Context) -> Result<(), Exit> {
    // Without a recipe there is no batch to set, and the model can be measured all the same.
    let plain = spec::checked(&args.spec, &args.variant, &args.set.set, context)?;
    let spec = match plain.experiment.train {
        Some(_) => {
            let batch = ("train.batch".to_owned(), args.batch.to_string());
            spec::checked(&args.spec, &args.variant, &[&args.set.set[..], &[batch]].concat(), context)?
        }
        None => plain,
    };
    let parts: Vec<Part> = match args.only.is_empty() {
        true => Part::ALL.to_vec(),
        false => args.only.iter().map(|&name| name.into()).collect(),
    };
    let purpose = match parts.contains(&Part::Train) && spec.experiment.train.is_some() {
        true => runnable::Purpose::Training,
        false => runnable::Purpose::Inference,
    };
    runnable::check(&spec.experiment, purpose).map_err(|failure| context.failed(&failure))?;
    let (spec, places) = args.locate.places(spec, context)?;
    let mut progress = Progress::new(context);
    let (device, remark) = device::settle(args.device.device).map_err(|failure| context.failed(&failure))?;
    remark.into_iter().for_each(|text| progress.event(Event::Note(text)));
    if parts.contains(&Part::Train) {
        let micro_batch = args.compute.micro_batch.map(|n| n as usize);
        room::check(&spec.experiment, device, micro_batch, &mut progress)
            .map_err(|failure| context.failed(&failure))?;
    }
    let stop = interruption();
    let amp = spec.experiment.train.as_ref().is_some_and(|recipe| recipe::amp(&recipe.fields));
    let precision =
        device::precision(device, args.compute.precision, amp).map_err(|failure| context.failed(&failure))?;
    let benchmark = Benchmark {
        experiment: &spec.experiment,
        passes: device::passes(device),
        places: &places,
        parts: &parts,
        batch: args.batch as usize,
        micro_batch: args.compute.micro_batch.map(|n| n as usize),
        repeats: args.repeats as usize,
        precision,
        frozen_as: args.frozen_as,
        length: args.length as usize,
        seed: spec.experiment.seed.unwrap_or(0),
        give_back: &memory::give_back,
        observer: &mut progress,
        stop: &|| stop.load(Ordering::Relaxed),
    };
    let done = device::run(device, benchmark);
    progress.finish();
    let Some(found) = done.map_err(|failure| context.failed(&failure))? else {
        context.tell(&Message::error("interrupted"));
        return Err(Exit::Failed);
    };
    let name = args.variant.behind(args.spec.display().to_string());
    let head = Head { name: &name, batch: args.batch, precision, device: device.to_string(), threads: threads() };
    match args.json || context.message_format == MessageFormat::Json {
        true => context.print(&table::json(&head, &found)),
        false => context.print(&table::draw(&head, &found, context.stdout_color)),
    }
}

/// What was measured, in general.
struct Head<'a> {
    /// The spec, with its variant.
    name: &'a str,
    /// Samples at a time.
    batch: u32,
    /// What matrix products were computed in.
    precision: Precision,
    /// Where.
    device: String,
    /// On how many cores.
    threads: usize,
}

/// How many threads the CPU's work is spread over.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Kept together so that both forms say the same: how often each part ran.
fn runs(found: &Found) -> usize {
    found.parts.iter().map(|part| part.seconds.len()).max().unwrap_or(0)
}

/// Runs before those that count.
const BEFORE: usize = WARM_UP;
