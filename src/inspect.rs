//! `lmvc inspect SPEC`: clouds of points with their groups coloured by how active they are.

mod lettering;
mod page;
mod panel;

use std::path::{Path, PathBuf};

use lmv_runtime::device;
use lmv_runtime::error::Failure;
use lmv_runtime::events::{Event, Observer};
use lmv_runtime::inspection::{Inspected, Inspection};
use lmv_runtime::network::find_tap;
use lmv_runtime::parameters::Trained;
use lmv_runtime::places::Places;
use lmv_runtime::runnable;
use lmv_runtime::training::atomic_file::write_atomic;
use lmv_runtime::training::lock;

use crate::context::{Context, Exit, Message};
use crate::device::Device;
use crate::locate::Locate;
use crate::progress::Progress;
use crate::proof::{Locked, Purpose, Subject};
use crate::spec::{self, Checked, Set, Variant};

/// Draw clouds of the evaluation split with their groups coloured by how active they are
///
/// For each cloud a picture, CLOUD.png, and for all of them a page that opens from disk and turns with the mouse,
/// index.html. From left to right: the groups themselves, then each stage of the model, from its encoder through the
/// layers around the block; above by magnitude, below by frequency (paper §6).
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    /// What training gave: a run folder (its best checkpoint) or a file of weights
    #[arg(long, value_name = "RUN|FILE")]
    checkpoint: Option<PathBuf>,
    /// Takes the averaged weights that a run keeps where its recipe has `ema`, in place of the trained ones
    #[arg(long, requires = "checkpoint")]
    ema: bool,
    /// The number of a cloud in the evaluation split, from 0; may be repeated, or a list such as 0,5,17
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0")]
    sample: Vec<usize>,
    /// Also shows a stream that the spec or a layer in it named with `let`; may be repeated
    #[arg(long, value_name = "NAME")]
    tap: Vec<String>,
    /// Groups below this share of the most active one are drawn in grey in the pictures
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    above: f32,
    /// The folder to write into
    #[arg(long, short, value_name = "DIR", default_value = "inspected")]
    output: PathBuf,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    locate: Locate,
    #[command(flatten)]
    locked: Locked,
    #[command(flatten)]
    set: Set,
}

/// Draws, and says where.
pub fn run(args: &Args, context: &Context) -> Exit {
    prepare(args, context).into()
}

fn prepare(args: &Args, context: &Context) -> Result<(), Exit> {
    let (variant, set) = spec::of_run(args.checkpoint.as_deref(), &args.variant, &args.set.set);
    let spec = spec::checked(&args.spec, &variant, &set, context)?;
    runnable::check(&spec.experiment, runnable::Purpose::Evaluation).map_err(|failure| context.failed(&failure))?;
    for tap in &args.tap {
        if let Err(failure) = find_tap(&spec.experiment.graph.taps, tap) {
            return Err(context.wrong_command(&Message::from(&failure)));
        }
    }
    if !(0.0..=1.0).contains(&args.above) {
        let message = Message::error(format!("`--above` is {}, and must lie between 0 and 1", args.above));
        return Err(context.wrong_command(&message));
    }
    if let Some(checkpoint) = &args.checkpoint {
        crate::eval::existing(checkpoint, context)?;
    }
    let (spec, places) = args.locate.places(spec, context)?;
    let purpose = if args.checkpoint.is_some() { Purpose::Trained } else { Purpose::Running };
    let subject = Subject { spec: &spec, places: &places, purpose };
    args.locked.hold(&subject, context)?;
    let mut progress = Progress::new(context);
    let found = inspect(args, &spec, &places, &mut progress);
    progress.finish();
    let found = found.map_err(|failure| context.failed(&failure))?;
    let written = write(&found, args).map_err(|failure| context.failed(&failure))?;
    context.print(&written)
}

/// Runs the model on the samples.
fn inspect(
    args: &Args,
    spec: &Checked,
    places: &Places,
    observer: &mut dyn Observer,
) -> Result<Vec<Inspected>, Failure> {
    let (device, remark) = device::settle(args.device.device)?;
    remark.into_iter().for_each(|text| observer.event(Event::Note(text)));
    let checkpoint = args.checkpoint.as_deref();
    let runs = checkpoint.filter(|run| run.join(lock::NAME).exists()).and_then(Path::parent);
    let inspection = Inspection {
        experiment: &spec.experiment,
        places,
        checkpoint: checkpoint.map(|path| Trained { path, average: args.ema }),
        samples: &args.sample,
        taps: &args.tap,
        drawn: crate::train::drawn(runs.unwrap_or(Path::new(crate::train::RUNS))),
        observer,
    };
    device::run(device, inspection)
}

/// Writes the pictures and the page; gives a line for each.
fn write(found: &[Inspected], args: &Args) -> Result<String, Failure> {
    let folder = &args.output;
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::at(folder, format!("this folder cannot be made: {error}")))?;
    let mut lines = String::new();
    for inspected in found {
        let path = folder.join(format!("{}.png", inspected.name.replace(['/', '\\'], "-")));
        let picture = panel::draw(inspected, args.above).png();
        write_atomic(&path, |out| out.write_all(&picture))?;
        lines += &format!("{}: {}", path.display(), told(inspected));
    }
    let page = folder.join("index.html");
    write_atomic(&page, |out| out.write_all(page::html(found, args.above).as_bytes()))?;
    Ok(lines + &format!("{}\n", page.display()))
}

/// What the model finds of a cloud, and the columns of its picture.
fn told(inspected: &Inspected) -> String {
    let columns: Vec<&str> = inspected.stages.iter().map(|stage| stage.name.as_str()).collect();
    format!("{}\n  columns: groups, {}\n", panel::taken_for(inspected), columns.join(", "))
}
