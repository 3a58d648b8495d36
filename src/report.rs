//! `lmvc report RUN`: a page of what a run came to, in one file that opens from disk.

mod classes;
mod page;
mod plot;

use std::path::{Path, PathBuf};

use lmv_runtime::error::Failure;
use lmv_runtime::evaluation::Kept;
use lmv_runtime::training::atomic_file::write_atomic;
use lmv_runtime::training::lock::Lock;
use lmv_runtime::training::metrics;
use lmv_runtime::training::run_folder::RunFolder;

use crate::context::{Context, Exit};

/// The name of the page in a run's folder.
const NAME: &str = "report.html";

/// Write a page with the curves, the scores and the mistakes of a run, which opens without a network
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The run's folder
    run: PathBuf,
    /// The file to write, in place of RUN/report.html
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the page, and says where it is.
pub fn run(args: &Args, context: &Context) -> Exit {
    let to = args.output.clone().unwrap_or_else(|| args.run.join(NAME));
    let written = page(&args.run).and_then(|text| write_atomic(&to, |out| out.write_all(text.as_bytes())));
    match written {
        Ok(()) => context.print(&format!("{}\n", to.display())).into(),
        Err(failure) => context.failed(&failure),
    }
}

/// Writes the page of a run that is done into its folder.
pub fn write(run: &Path) -> Result<(), Failure> {
    let text = page(run)?;
    write_atomic(run.join(NAME), |out| out.write_all(text.as_bytes()))
}

fn page(run: &Path) -> Result<String, Failure> {
    let folder = RunFolder::open(run)?;
    let lock = Lock::read(run)?;
    let lines = metrics::read(folder.metrics_path())?;
    let kept = Kept::read(run)?;
    page::html(run, &lock, &lines, kept.as_ref())
}
