//! `lmvc data corrupt IN OUT`

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::value_parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lmv_runtime::data::corruptions::{CORRUPTIONS, CorruptImages, Corrupted, Severity, corrupt_images};
use lmv_runtime::data::{Damage, ImageSet, TarCache};
use lmv_runtime::error::Failure;
use serde_json::json;

use crate::context::{Context, Exit, Message, MessageFormat};
use crate::interruption::interruption;
use crate::units::duration;

/// How often a plain line says how it goes.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// How many damaged files are named.
const NAMED: usize = 5;

/// Make ImageNet-C of a folder of images: 15 corruptions at 5 severities
///
/// The corruptions are those of Hendrycks and Dietterich (2019), with the published constants. `frost` lays drawn ice over
/// an image where the published files have photographs, so that accuracy on it may differ. The result depends on the
/// seed and on nothing else; the same command goes on where it was stopped.
#[derive(clap::Args, Debug)]
pub struct Corrupt {
    /// The images: a folder with a folder for each class, or an uncompressed tar of one
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The folder to write: OUT/CORRUPTION/SEVERITY/CLASS/FILE
    pub out: PathBuf,
    /// These corruptions alone, between commas; all fifteen where it is not given
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = names())]
    pub only: Vec<String>,
    /// These severities alone, 1 (mild) to 5, between commas
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = value_parser!(u8).range(1..=5))]
    pub severities: Vec<u8>,
    /// Another seed, other noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Threads that work; 0 is one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u16).range(0..=1024))]
    pub threads: u16,
    /// Pixels on each side, 32 to 1024: the short side is resized to 256/224 of it, and the middle cut out
    #[arg(long, value_name = "N", default_value_t = 224, value_parser = value_parser!(u16).range(32..=1024))]
    pub image: u16,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(CORRUPTIONS.map(|corruption| corruption.name))
}

/// Makes the images, and says what is there.
pub fn run(wanted: &Corrupt, context: &Context) -> Exit {
    match corrupt(wanted, context) {
        Ok(exit) => exit,
        Err(failure) => context.failed(&failure),
    }
}

fn corrupt(wanted: &Corrupt, context: &Context) -> Result<Exit, Failure> {
    let set = open(&wanted.input)?;
    outside(&wanted.input, &wanted.out)?;
    for warning in set.warnings() {
        context.tell(&Message::warning(warning.clone()).about(wanted.input.display().to_string()));
    }
    let options = options(wanted);
    let each = options.corruptions.len() * options.severities.len();
    let damage = Damage::new();
    let stop = interruption();
    let bar = Bar::new(context, set.len() * each);
    let corrupted = corrupt_images(&set, &wanted.out, &options, &damage, &stop, &|images| {
        bar.add(images, each);
        for failure in damage.untold() {
            bar.around(|| context.tell(&Message::from(&failure).into_warning()));
        }
    });
    bar.finish();
    let Corrupted { written, kept, finished } = corrupted?;
    let damaged = damage.count();
    context.event(
        if finished { "done" } else { "interrupted" },
        json!({ "written": written, "kept": kept, "damaged": damaged, "images": set.len() }),
    );
    let mut said = format!("wrote {written} images to {}", wanted.out.display());
    if kept > 0 {
        said += &format!(", kept {kept} from before");
    }
    if !finished {
        context.remark(&format!("{said}; interrupted: the same command goes on"));
        return Ok(Exit::Failed);
    }
    if damaged > 0 {
        said += &format!("; {damaged} of {} originals are damaged and left out", set.len());
    }
    if damaged == set.len() {
        let mut failure = Failure::at(&wanted.input, format!("none of the {damaged} images can be read"));
        for found in damage.first(NAMED) {
            failure = failure.note(found.to_string().lines().next().unwrap_or_default());
        }
        return Err(failure.help("check that the folder holds real images and was copied whole"));
    }
    context.remark(&said);
    Ok(Exit::Done)
}

/// Whether what is written lies outside of what is read, which would have it for a class the next time.
fn outside(input: &Path, out: &Path) -> Result<(), Failure> {
    // What is not there yet lies where the nearest folder above it is.
    let whole = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
        there.map_or(path.clone(), |(above, real)| real.join(path.strip_prefix(above).unwrap_or(&path)))
    };
    match whole(out).starts_with(whole(input)) {
        true => Err(Failure::at(out, "lies within the folder that is read, and would be a class of it from then on")
            .help("give a folder outside of it")),
        false => Ok(()),
    }
}

/// The set at a folder or a tar.
fn open(input: &Path) -> Result<ImageSet, Failure> {
    let is_tar = input.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tar")) && input.is_file();
    match (is_tar, input.parent(), input.file_stem().and_then(|stem| stem.to_str())) {
        (true, Some(root), Some(split)) => {
            ImageSet::open_with(root, split, TarCache::by(|name| std::env::var(name).ok()).as_ref())
        }
        _ => ImageSet::open(input, ""),
    }
}

fn options(wanted: &Corrupt) -> CorruptImages {
    let asked = |name: &str| wanted.only.is_empty() || wanted.only.iter().any(|only| only == name);
    let severe = |number: u8| wanted.severities.is_empty() || wanted.severities.contains(&number);
    CorruptImages {
        corruptions: CORRUPTIONS.into_iter().filter(|corruption| asked(corruption.name)).collect(),
        severities: Severity::ALL.into_iter().filter(|severity| severe(severity.number())).collect(),
        side: wanted.image.into(),
        seed: wanted.seed,
        threads: wanted.threads.into(),
    }
}

/// A bar on a terminal, else plain lines; programs get neither.
struct Bar {
    context: Context,
    bar: Option<ProgressBar>,
    total: usize,
    done: AtomicUsize,
    began: Instant,
    last_line: Mutex<Instant>,
}

impl Bar {
    /// For `total` images to come.
    fn new(context: &Context, total: usize) -> Self {
        let watched = context.stderr_is_terminal && context.message_format == MessageFormat::Human;
        let bar = watched.then(|| {
            let bar = if context.stderr_color { "{bar:16.green/black.bright}" } else { "{bar:16}" };
            let style = ProgressStyle::with_template(&format!("corrupting  {bar}  {{pos}}/{{len}}  {{wide_msg}}"))
                .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("━━─"));
            ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr()).with_style(style)
        });
        let now = Instant::now();
        Self { context: context.clone(), bar, total, done: AtomicUsize::new(0), began: now, last_line: Mutex::new(now) }
    }

    /// `images` more are there; an original that is damaged has come to its end with fewer than `each`.
    fn add(&self, images: usize, each: usize) {
        let done = self.done.fetch_add(each.max(images), Ordering::Relaxed) + each.max(images);
        let spent = self.began.elapsed().as_secs_f64();
        let left = spent / done.max(1) as f64 * self.total.saturating_sub(done) as f64;
        let pace = format!("{:.0} images/s  {} left", done as f64 / spent.max(1e-9), duration(left));
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(pace);
            return;
        }
        let mut last_line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if last_line.elapsed() >= PLAIN_EVERY {
            *last_line = Instant::now();
            self.context.remark(&format!("corrupting  {done}/{}  {pace}", self.total));
        }
    }

    /// Does what writes to the terminal, with the bar out of the way.
    fn around(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
