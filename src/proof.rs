//! `--locked`: what a command reads is held against the lock beside the spec.

use std::path::{Path, PathBuf};

use clap::Args;
use lmv_compiler::Experiment;
use lmv_compiler::graph::Parameter;
use lmv_runtime::error::Failure;
use lmv_runtime::events::Event;
use lmv_runtime::parameters::used::uses;
use lmv_runtime::places::Places;
use lmv_runtime::proof::{Change, Proof};
use lmv_runtime::tasks::{self, Opening};

use crate::context::{Context, Exit, Message};
use crate::locate;
use crate::spec::Checked;

/// How many changes a message lists.
const LISTED: usize = 24;

/// `--locked`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Locked {
    /// Refuses to run where weights, data or library are not as NAME.lock beside the spec has them, or there is none
    #[arg(long)]
    pub locked: bool,
}

/// What is about to run.
pub struct Subject<'a> {
    /// The spec.
    pub spec: &'a Checked,
    /// Where its names lead.
    pub places: &'a Places,
    /// What for.
    pub purpose: Purpose,
}

/// What a spec is read for, and so how much of it is held against the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Training: everything; where there is no lock, one is written.
    Training,
    /// Measuring or running the model as it stands: the weights, and with `--locked` the data where it is here.
    Running,
    /// The same with a checkpoint, which brings what is trained: the weights of what is frozen.
    Trained,
}

impl Locked {
    /// Holds what is about to run against its lock: a difference is told, and with `--locked` ends the command.
    pub fn hold(self, subject: &Subject<'_>, context: &Context) -> Result<(), Exit> {
        let path = Proof::path(&subject.spec.path, subject.variant());
        let failed = |failure: Failure| context.failed(&failure);
        match Proof::read(&path).map_err(failed)? {
            None if self.locked => Err(failed(no_lock(&path, &subject.spec.path, subject.variant()))),
            None if subject.purpose == Purpose::Training && subject.reads() => {
                match subject.found(true).map_err(failed)?.write(&path) {
                    Ok(()) => context.remark(&format!("what this spec reads is locked in {}", path.display())),
                    // A run does not need it.
                    Err(failure) => context.tell(&Message::from(&failure).into_warning()),
                }
                Ok(())
            }
            None => Ok(()),
            Some(lock) => {
                let now = match subject.found(self.locked) {
                    Ok(now) => now,
                    // A checkpoint may bring these too; the run tells where it does not.
                    Err(_) if subject.purpose == Purpose::Trained && !self.locked => return Ok(()),
                    Err(failure) => return Err(failed(failure)),
                };
                let changes = lock.changes(&now, subject.purpose == Purpose::Training);
                if changes.is_empty() {
                    return Ok(());
                }
                let message = different(&changes, &path, subject, self.locked);
                context.tell(&message);
                if self.locked { Err(Exit::Failed) } else { Ok(()) }
            }
        }
    }
}

impl Subject<'_> {
    fn variant(&self) -> Option<&str> {
        self.spec.variant.variant.as_deref()
    }

    /// Whether it reads a file at all that another could take the place of.
    fn reads(&self) -> bool {
        let weights = locate::weight_names(&self.spec.experiment);
        !locate::data_names(&self.spec.experiment).is_empty()
            || weights.iter().any(|name| !self.places.weights.is_built_in(name))
    }

    /// What it reads, as it is now. The listing of the data takes its time, and other commands than `train` are held
    /// against it where that is asked for (`data`) and the data is here.
    fn found(&self, data: bool) -> Result<Proof, Failure> {
        let frozen = self.purpose == Purpose::Trained;
        let mut proof = of_weights(self.spec, self.places, |parameter| !frozen || parameter.frozen)?;
        let here = || {
            let names = locate::data_names(&self.spec.experiment);
            names.iter().all(|name| self.places.paths.source(name).is_some_and(|(place, _)| place.exists()))
        };
        if self.purpose == Purpose::Training || data && here() {
            let drawn = PathBuf::new();
            let opening = Opening { places: self.places, drawn, seed: 0, threads: 1 };
            proof.data = of_data(&self.spec.experiment, &opening)?;
        }
        Ok(proof)
    }
}

/// The tensors that a spec takes of its weights, as they are now.
pub fn of_weights(spec: &Checked, places: &Places, of: impl Fn(&Parameter) -> bool) -> Result<Proof, Failure> {
    let mut proof = Proof::of_lmvc(env!("CARGO_PKG_VERSION"));
    proof.settings.extend(spec.by_weights.iter().cloned());
    for used in uses(&spec.experiment.graph, of) {
        proof.add_weights(&used, &places.open_weights(used.weights)?)?;
    }
    Ok(proof)
}

/// The hash of the listing of a spec's data; `None` where it has none, or has it drawn.
pub fn of_data(experiment: &Experiment, opening: &Opening<'_>) -> Result<Option<String>, Failure> {
    if locate::data_names(experiment).is_empty() {
        return Ok(None);
    }
    // What there is to tell of the data is told by the run.
    let task = tasks::open(experiment, opening, &mut |_: Event| {})?;
    Ok(Some(task.listing_hash()))
}

/// What to say where there is no lock and one is wanted.
pub fn no_lock(path: &Path, spec: &Path, variant: Option<&str>) -> Failure {
    Failure::at(path, "there is no lock of this spec").help(format!("`{}` writes it", command(spec, variant)))
}

/// The command that writes a lock.
fn command(spec: &Path, variant: Option<&str>) -> String {
    let variant = variant.map(|variant| format!(" --variant {variant}")).unwrap_or_default();
    format!("lmvc weights lock {}{variant}", spec.display())
}

fn different(changes: &[Change], path: &Path, subject: &Subject<'_>, refused: bool) -> Message {
    let what = match refused {
        true => "this is not what the spec's lock has, and --locked refuses anything else",
        false => "this is not what the spec's lock has",
    };
    let message = if refused { Message::error(what) } else { Message::warning(what) };
    let mut message = message.about(path.display().to_string());
    for change in changes.iter().take(LISTED) {
        message = message.note(change.line());
    }
    if changes.len() > LISTED {
        message = message.note(format!("and {} more", changes.len() - LISTED));
    }
    message.help(format!(
        "put back what changed; or, where it is meant, `{}`",
        command(&subject.spec.path, subject.variant())
    ))
}
