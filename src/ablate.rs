//! `lmvc ablate SPEC`

mod table;

use std::path::{Path, PathBuf};

use clap::value_parser;
use lmv_runtime::error::Failure;
use lmv_runtime::evaluation::Kept;
use lmv_runtime::runnable;
use lmv_runtime::training::atomic_file::write_atomic;
use lmv_runtime::training::lock::Lock;
use serde_json::json;

use self::table::Row;
use crate::context::{Context, Exit, Message, MessageFormat};
use crate::device::{Compute, Device};
use crate::locate::{self, Locate};
use crate::progress::Progress;
use crate::spec::{self, Override, Set, Variant};
use crate::train::{self, Job, RUNS, Target};

/// Train the variants of a spec with several seeds, and write a table of what they come to
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    /// The variants, the one that others are compared with first; all of them where nothing is said
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    variants: Vec<String>,
    /// The seeds that each is trained with
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Passes over the data, in place of the recipe's
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// The folder for all of it, runs/SPEC-ablation where nothing is said: what is finished there is kept, and what was
    /// interrupted goes on
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    set: Set,
    #[command(flatten)]
    locate: Locate,
}

/// Trains what is left to train, and writes the table after each run.
pub fn run(args: &Args, context: &Context) -> Exit {
    ablate(args, context).into()
}

fn ablate(args: &Args, context: &Context) -> Result<(), Exit> {
    let short = args.epochs.map(|epochs| ("train.epochs".to_owned(), epochs.to_string()));
    let overrides: Vec<Override> = args.set.set.iter().cloned().chain(short).collect();
    // All of it is checked before the first one is trained.
    let all = spec::compile_all(&args.spec, &Variant::default(), &overrides, context)?;
    if !all.diagnostics.is_empty() {
        return Err(spec::verdict(&all));
    }
    let mut names = if args.variants.is_empty() { all.variants } else { args.variants.clone() };
    let mut seeds = args.seeds.clone();
    once_each(&mut names);
    once_each(&mut seeds);
    if names.is_empty() {
        let message = Message::error("this spec has no variants to compare").about(args.spec.display().to_string());
        return Err(
            context.wrong_command(&message.help("`lmvc train` trains it; a variant is `variant NAME { model = … }`"))
        );
    }
    let mut variants = Vec::new();
    for name in &names {
        let variant = Variant { variant: Some(name.clone()), of_run: None };
        let checked = spec::checked(&args.spec, &variant, &overrides, context)?;
        if checked.experiment.train.is_none() {
            let message = Message::error(format!("the variant `{name}` says nothing about training"));
            context.tell(&message.help("add a recipe, for example `train = one_cycle()`"));
            return Err(Exit::WrongSpec);
        }
        runnable::check(&checked.experiment, runnable::Purpose::Training)
            .map_err(|failure| context.failed(&failure))?;
        variants.push(args.locate.places(checked, context)?);
    }
    // What is missing is told before the first run, and not between two of them.
    for (checked, places) in &variants {
        for name in locate::weight_names(&checked.experiment) {
            places.open_weights(name).map_err(|failure| context.failed(&failure))?;
        }
        for name in locate::data_names(&checked.experiment) {
            places.paths.resolve(name).map_err(|failure| context.failed(&failure))?;
        }
    }
    let stem = args.spec.file_stem().map_or_else(|| "spec".into(), |stem| stem.to_string_lossy().into_owned());
    let out = args.out.clone().unwrap_or_else(|| Path::new(RUNS).join(format!("{stem}-ablation")));
    let mut rows: Vec<Row> = names.iter().map(|name| Row { variant: name.clone(), runs: Vec::new() }).collect();
    let count = names.len() * seeds.len();
    let mut number = 0;
    // Seed by seed: an interrupted ablation has something of every variant to show.
    for &seed in &seeds {
        for (index, (checked, places)) in variants.iter().enumerate() {
            let row = &mut rows[index];
            number += 1;
            let name = format!("{}-seed{seed}", row.variant);
            let begun = begun(&out, &name);
            let target = match &begun {
                Some(run) => Target::Resume(run),
                None => Target::New { root: &out, name: name.clone() },
            };
            let job = Job {
                spec: checked,
                places,
                device: args.device.device,
                seed: Some(seed),
                steps: None,
                checkpoint_steps: None,
                micro_batch: args.compute.micro_batch.map(|n| n as usize),
                precision: args.compute.precision,
                target,
            };
            let kept = begun.as_ref().map_or(Ok(None), |run| same(run, &job).and_then(|()| Kept::read(run)));
            let kept = kept.map_err(|failure| context.failed(&failure))?;
            let state = match (&kept, &begun) {
                (Some(_), _) => "is done",
                (None, Some(_)) => "goes on",
                (None, None) => "begins",
            };
            context.remark(&format!("run {number} of {count}: {}, seed {seed} {state}", row.variant));
            let fields =
                json!({ "number": number, "count": count, "variant": row.variant, "seed": seed, "state": state });
            context.event("ablation", fields);
            let kept = match kept {
                Some(kept) => kept,
                None => trained(&job, &out, &name, number, count, context)?,
            };
            let run = self::begun(&out, &name).unwrap_or_else(|| out.join(&name));
            row.runs.push((seed, run.display().to_string(), kept.scores));
            write(&out, &rows).map_err(|failure| context.failed(&failure))?;
        }
    }
    context.remark(&format!("the table is in {} and ablation.json", out.join("ablation.md").display()));
    match context.message_format {
        MessageFormat::Json => context.print(&format!("{}\n", table::json(&rows))),
        MessageFormat::Human => context.print(&table::markdown(&rows)),
    }
}

/// Trains one; gives what it came to.
fn trained(
    job: &Job<'_>,
    out: &Path,
    name: &str,
    number: usize,
    count: usize,
    context: &Context,
) -> Result<Kept, Exit> {
    let mut progress = Progress::new(context);
    let done = train::train(job, context, &mut progress);
    progress.finish();
    if !done.map_err(|failure| context.failed(&failure))? {
        context.remark(&format!("run {number} of {count} was interrupted; the same command goes on with it"));
        return Err(Exit::Failed);
    }
    let run = begun(out, name).unwrap_or_else(|| out.join(name));
    let kept = Kept::read(&run).map_err(|failure| context.failed(&failure))?;
    kept.ok_or_else(|| context.failed(&Failure::at(&run, "the run is done and has no scores")))
}

/// The run of this name that is in the folder already: the latest that got as far as a lock.
fn begun(out: &Path, name: &str) -> Option<PathBuf> {
    let numbered = (1..).map(|number| out.join(format!("{name}-{number}")));
    numbered.take_while(|run| run.is_dir()).filter(|run| run.join(lmv_runtime::training::lock::NAME).is_file()).last()
}

/// Whether a run that is there is what would be trained now.
fn same(run: &Path, job: &Job<'_>) -> Result<(), Failure> {
    let (then, now) = (Lock::read(run)?, train::new_lock(job, job.device));
    if (&then.spec, &then.imports, &then.set, &then.library) == (&now.spec, &now.imports, &now.set, &now.library) {
        return Ok(());
    }
    let mut failure =
        Failure::at(run, "this run is of another spec, or was set otherwise, than what is to be compared");
    for (what, same) in [
        ("the text of the spec", then.spec == now.spec),
        ("a file that it imports", then.imports == now.imports),
        ("the library of lmvc", then.library == now.library),
    ] {
        if !same {
            failure = failure.note(format!("{what} is another"));
        }
    }
    let set = |lock: &Lock| match lock.set.as_slice() {
        [] => "nothing was set".to_owned(),
        set => set.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", "),
    };
    if then.set != now.set {
        failure = failure.note(format!("then: {}; now: {}", set(&then), set(&now)));
    }
    Err(failure.help("put the spec and the settings back, take the folder away, or give another one: `--out DIR`"))
}

/// Drops what has been named before.
fn once_each<T: PartialEq + Clone>(all: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::new();
    all.retain(|item| {
        let new = !kept.contains(item);
        kept.push(item.clone());
        new
    });
}

/// Writes the table of what is finished.
fn write(out: &Path, rows: &[Row]) -> Result<(), Failure> {
    write_atomic(out.join("ablation.md"), |file| file.write_all(table::markdown(rows).as_bytes()))?;
    write_atomic(out.join("ablation.json"), |file| writeln!(file, "{:#}", table::json(rows)))
}
