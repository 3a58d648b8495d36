//! `lmv.lock`: what a run was made of, so that it can be made again and a resumed run can tell that nothing changed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};
use crate::precision::Precision;
use crate::training::atomic_file::write_atomic;
use crate::training::checkpoint_store::read_checkpoint;

/// The name of the file in a run's folder.
pub const NAME: &str = "lmv.lock";

/// What a run was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    /// The version of lmvc that made the run.
    pub lmvc: String,
    /// The seed.
    pub seed: u64,
    /// The device that it ran on first.
    pub device: String,
    /// The variant of the spec, if it is one.
    #[serde(default)]
    pub variant: Option<String>,
    /// What the command line set, in its order.
    pub set: Vec<(String, String)>,
    /// Steps after which the run ends early, if it was asked to.
    pub steps: Option<u64>,
    /// Steps between checkpoints within an epoch, if it was asked for.
    pub checkpoint_steps: Option<u64>,
    /// The most samples that go through the model at a time, if it was said.
    #[serde(default)]
    pub micro_batch: Option<usize>,
    /// What matrix products are computed in, if it was said.
    #[serde(default)]
    pub precision: Option<Precision>,
    /// BLAKE3 of the spec, as it is kept in the run's folder.
    pub spec: String,
    /// BLAKE3 of each file that it imports, by the path in the run's folder.
    #[serde(default)]
    pub imports: BTreeMap<String, String>,
    /// BLAKE3 of the library that it was checked with.
    pub library: String,
    /// BLAKE3 over the names and sizes of the data's files.
    pub data: String,
    /// BLAKE3 over the pretrained tensors that were used, by the name of their weights.
    pub weights: BTreeMap<String, String>,
}

impl Lock {
    /// Reads the lock of a run's folder.
    ///
    /// # Errors
    /// No such file, or one that is no lock.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join(NAME);
        let text = std::fs::read_to_string(&path).map_err(|error| match runs_in(run).as_slice() {
            [] => Failure::at(&path, format!("cannot be read: {error}"))
                .help("is this the folder of a run? it holds spec.lmv, lmv.lock and checkpoints/"),
            runs => folder_of_runs(run, runs),
        })?;
        serde_json::from_str(&text).map_err(|error| Failure::at(&path, format!("is no lock file: {error}")))
    }

    /// Writes the lock into a run's folder.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, run: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(format!("the lock cannot be written: {error}")))?;
        write_atomic(run.join(NAME), |out| writeln!(out, "{text}"))
    }

    /// Whether what a run is resumed with is what it was made of.
    ///
    /// # Errors
    /// What has changed, a line each.
    pub fn unchanged(&self, now: &Lock, run: &Path) -> Result<()> {
        let mut changed = Vec::new();
        let mut hold = |what: &str, then: &str, now: &str| {
            if then != now {
                changed.push(format!("{what} was {}, and is {}", short(then), short(now)));
            }
        };
        hold("the spec", &self.spec, &now.spec);
        for path in self.imports.keys().chain(now.imports.keys().filter(|path| !self.imports.contains_key(*path))) {
            let of = |lock: &Lock| lock.imports.get(path).map_or("not there", String::as_str).to_owned();
            hold(&format!("the imported file {path}"), &of(self), &of(now));
        }
        hold("the library of lmvc", &self.library, &now.library);
        hold("the listing of the data", &self.data, &now.data);
        for (name, then) in &self.weights {
            hold(&format!("the weights `{name}`"), then, now.weights.get(name).map_or("gone", String::as_str));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::at(run.join(NAME), "the run cannot go on as it was: what it is made of has changed");
        for line in changed {
            failure = failure.note(line);
        }
        Err(failure.help("put back what changed, or begin a new run"))
    }
}

/// The names of the runs in a folder, sorted.
fn runs_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let runs = entries.filter(|entry| entry.path().join(NAME).is_file());
    let mut names: Vec<String> = runs.map(|run| run.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What to say of a folder that holds runs where one of them is wanted: `runs`, or that of an ablation.
fn folder_of_runs(folder: &Path, runs: &[String]) -> Failure {
    let what = match runs.len() {
        1 => "this is a folder with a run in it, and no run itself".to_owned(),
        count => format!("this is a folder with {count} runs in it, and no run itself"),
    };
    let table = folder.join("ablation.md");
    let failure = match table.is_file() {
        true => Failure::at(folder, what).note(format!("what its ablation came to is in {}", table.display())),
        false => Failure::at(folder, what),
    };
    let shown: Vec<String> = runs.iter().take(3).map(|run| folder.join(run).display().to_string()).collect();
    let more = if runs.len() > 3 { format!(" or one of {} more", runs.len() - 3) } else { String::new() };
    failure.help(format!("give a run: {}{more}", shown.join(", ")))
}

/// The seed of the run that a checkpoint comes from: what starts at random starts by it, a random block that is frozen and
/// so not in the checkpoint above all. `None` for a file that is of no run.
pub fn seed_of(checkpoint: &Path) -> Option<u64> {
    let run = Lock::read(checkpoint).ok().map(|lock| lock.seed);
    run.or_else(|| read_checkpoint(checkpoint).ok().map(|loaded| loaded.state.seed))
}

/// BLAKE3 as the lock writes it.
pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// As much of a hash as a person compares.
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
