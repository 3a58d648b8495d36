//! Checkpoints that survive a kill, a full disk and a damaged file.
//!
//! A checkpoint is a folder, `last` or `best`, with `model.safetensors` (trained tensors by name), `optimizer.safetensors`
//! (`NAME.m` and `NAME.v` for Adam), where there is an average `ema.safetensors`, and `state.json`, which holds the
//! [`TrainState`] and the BLAKE3 of every file, its own included.
//!
//! Saving goes through these states; after a kill in any of them a whole checkpoint is found:
//!
//! | | `last` | `.last.old` | `.last.tmp-PID` | found |
//! |---|---|---|---|---|
//! | 1. writing | old | | part of the new | old |
//! | 2. old moved away | | old | new | old |
//! | 3. new in place | new | old | | new |
//! | 4. old deleted | new | part of the old | | new |

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Failure, Result};
use crate::metrics::Reading;
use crate::training::atomic_file::{folder_of, is_full, read_failure, sync_folder};
use crate::training::tensor_file::{self, Tensor};

/// The version of the format that this program writes. Raised whenever an older program could not read it rightly.
const VERSION: u32 = 1;

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const EMA: &str = "ema.safetensors";
const STATE: &str = "state.json";

/// What precedes the seal in `state.json`, whose last field it is.
const SEAL_KEY: &str = "\"seal\": \"";

/// The seal while the text is being hashed: as long as a BLAKE3 in hex.
const BLANK_SEAL: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Bytes that are gathered before a write.
const BUFFER: usize = 1 << 20;

/// How often a checkpoint is read again that another process replaced meanwhile.
const RETRIES: usize = 20;

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The newest, which a resumed run goes on from.
    Last,
    /// The one with the best metric.
    Best,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Last => "last",
            Self::Best => "best",
        })
    }
}

/// Where a run stands. With the weights and the optimizer it is all that going on takes: random numbers depend on the
/// seed and the step alone ([`super::seeds`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// The epoch that the next step belongs to, from 0.
    pub epoch: u64,
    /// Steps of that epoch already taken.
    pub step_in_epoch: u64,
    /// Steps taken since the run began.
    pub global_step: u64,
    /// The seed of the run.
    pub seed: u64,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// BLAKE3 of the spec in hex, to refuse going on with another model.
    pub spec_hash: String,
    /// Whatever else the trainer keeps: meters in the middle of an epoch, the schedule. Numbers with a fraction come
    /// back bit by bit only if `serde_json` is built with `float_roundtrip`.
    #[serde(default)]
    pub extra: Value,
}

/// The best evaluation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The metric's value, in its own unit. A string in the file: every bit of it comes back, NaN too.
    #[serde(with = "exact")]
    pub metric: f64,
    /// The epoch after which it was measured, from 0.
    pub epoch: u64,
    /// The loss on the evaluation split then: of equal values the one with the lower loss is the best.
    #[serde(default)]
    pub loss: Option<f64>,
}

impl Best {
    /// Whether an evaluation with this value of the metric and this loss is better.
    pub fn is_beaten(&self, reading: Reading, metric: f64, loss: Option<f64>) -> bool {
        let lower = loss.zip(self.loss).is_some_and(|(now, then)| now < then);
        reading.better(metric, self.metric) || metric == self.metric && lower
    }
}

/// What a checkpoint is made of, borrowed from the trainer.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'a> {
    /// Where the run stands.
    pub state: &'a TrainState,
    /// The trained tensors.
    pub model: &'a [Tensor<'a>],
    /// The optimizer's tensors: `NAME.m` and `NAME.v` for a parameter NAME under Adam.
    pub optimizer: &'a [Tensor<'a>],
    /// The averaged weights, if they are kept.
    pub ema: Option<&'a [Tensor<'a>]>,
}

/// A checkpoint that was read; each list is sorted by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The folder it was read from.
    pub folder: PathBuf,
    /// Where the run stood.
    pub state: TrainState,
    /// The trained tensors.
    pub model: Vec<Tensor<'static>>,
    /// The optimizer's tensors.
    pub optimizer: Vec<Tensor<'static>>,
    /// The averaged weights, if they were kept.
    pub ema: Option<Vec<Tensor<'static>>>,
}

/// `state.json` as it is in the file.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    state: TrainState,
    files: BTreeMap<String, Content>,
    /// BLAKE3 of the text of this file with [`BLANK_SEAL`] in this place.
    seal: String,
}

/// What a file has to contain.
#[derive(Serialize, Deserialize)]
struct Content {
    bytes: u64,
    blake3: String,
}

/// A file being written. Tests put full disks in its place.
trait Sink: Write {
    /// Flushes to the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

type Create = Box<dyn Fn(&Path) -> io::Result<Box<dyn Sink>> + Send + Sync>;

/// The `checkpoints` folder of a run.
///
/// One process saves at a time, which the lock of [`super::run_folder::RunFolder`] sees to; any number may load
/// meanwhile.
pub struct CheckpointStore {
    folder: PathBuf,
    create: Create,
}

impl fmt::Debug for CheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl CheckpointStore {
    /// The checkpoints in `folder`, which the first save makes.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), create: Box::new(|path| Ok(Box::new(File::create_new(path)?))) }
    }

    /// Where a checkpoint is once it is saved.
    pub fn path(&self, slot: Slot) -> PathBuf {
        self.folder.join(slot.to_string())
    }

    /// Whether there is a checkpoint to load.
    pub fn exists(&self, slot: Slot) -> bool {
        self.find(slot).is_ok()
    }

    /// Saves a checkpoint in place of the earlier one. When this returns it is on the disk; until then, and if this
    /// fails, the earlier one is the one that [`CheckpointStore::load`] finds.
    ///
    /// # Errors
    /// What the disk reports, a full one above all; two tensors of one name; a tensor that is not as long as its shape.
    pub fn save(&self, slot: Slot, checkpoint: Checkpoint<'_>) -> Result<()> {
        let mut files = vec![(MODEL, checkpoint.model), (OPTIMIZER, checkpoint.optimizer)];
        files.extend(checkpoint.ema.map(|ema| (EMA, ema)));
        for (name, tensors) in &files {
            tensor_file::check(&self.path(slot).join(name), tensors)?;
        }
        let temporary = self.folder.join(format!(".{slot}.tmp-{}", std::process::id()));
        let saved = fs::create_dir_all(&self.folder)
            .and_then(|()| sync_folder(folder_of(&self.folder)))
            .and_then(|()| self.settle(slot))
            .and_then(|()| fs::create_dir(&temporary))
            .and_then(|()| self.write(&temporary, checkpoint.state, &files))
            .and_then(|()| self.swap(slot, &temporary));
        saved.map_err(|error| {
            // The first error is the one to tell. What stays behind is cleared by the next save.
            let _ = fs::remove_dir_all(&temporary);
            let values: usize = files.iter().flat_map(|(_, tensors)| *tensors).map(|tensor| tensor.values.len()).sum();
            self.save_failure(slot, &error, values * size_of::<f32>())
        })
    }

    /// Reads a checkpoint and verifies every byte of it.
    ///
    /// # Errors
    /// None is there, or it is damaged (the message names one that is whole, if there is one), or a newer lmv wrote it.
    pub fn load(&self, slot: Slot) -> Result<Loaded> {
        self.read(slot, read_checkpoint)
    }

    /// Reads where the run stood, without the tensors.
    ///
    /// # Errors
    /// As [`CheckpointStore::load`], but only `state.json` is looked at.
    pub fn load_state(&self, slot: Slot) -> Result<TrainState> {
        self.read(slot, |folder| Ok(read_document(folder)?.state))
    }

    fn read<T>(&self, slot: Slot, read: impl Fn(&Path) -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            let folder = self.find(slot)?;
            let stamp = |folder: &PathBuf| fs::read(folder.join(STATE)).ok();
            let before = stamp(&folder);
            let failure = match read(&folder) {
                Ok(read) => return Ok(read),
                Err(failure) => failure,
            };
            tries += 1;
            // Where another process saved meanwhile, the files belong to two checkpoints, or the folder has another
            // name by now, and nothing is damaged.
            let now = self.find(slot).ok();
            let settled = now.as_ref() == Some(&folder) && now.as_ref().and_then(stamp) == before;
            if settled || tries > RETRIES {
                return Err(self.with_others(slot, &folder, failure));
            }
        }
    }

    /// The folder that holds the checkpoint, wherever the last save stopped.
    fn find(&self, slot: Slot) -> Result<PathBuf> {
        // Twice: another process may put the new one in place between a look at `last` and a look at `.last.old`.
        for folder in [self.path(slot), self.old(slot), self.path(slot)] {
            if folder.is_dir() {
                return Ok(folder);
            }
        }
        let failure = Failure::at(&self.folder, format!("there is no checkpoint `{slot}` in this folder"));
        let other = if slot == Slot::Last { Slot::Best } else { Slot::Last };
        Err(if self.path(other).is_dir() {
            failure.help(format!("there is one in {}", self.path(other).display()))
        } else {
            failure.help("nothing has been saved yet; start the run again")
        })
    }

    fn old(&self, slot: Slot) -> PathBuf {
        self.folder.join(format!(".{slot}.old"))
    }

    /// Clears away what a killed save left, keeping what [`CheckpointStore::find`] finds.
    fn settle(&self, slot: Slot) -> io::Result<()> {
        let (current, old) = (self.path(slot), self.old(slot));
        if old.is_dir() {
            if current.is_dir() {
                fs::remove_dir_all(&old)?;
            } else {
                fs::rename(&old, &current)?;
                sync_folder(&self.folder)?;
            }
        }
        let leftover = format!(".{slot}.tmp-");
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&leftover) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes all files of a checkpoint into `folder` and flushes them and it to the disk.
    fn write(&self, folder: &Path, state: &TrainState, files: &[(&str, &[Tensor<'_>])]) -> io::Result<()> {
        let mut contents = BTreeMap::new();
        for (name, tensors) in files {
            let content = self.write_file(&folder.join(name), |writer| tensor_file::write(tensors, writer))?;
            contents.insert((*name).to_owned(), content);
        }
        let seal = BLANK_SEAL.to_owned();
        let document = Document { version: VERSION, state: state.clone(), files: contents, seal };
        let text = sealed(&(serde_json::to_string_pretty(&document)? + "\n"));
        self.write_file(&folder.join(STATE), |writer| writer.write_all(text.as_bytes()))?;
        sync_folder(folder)
    }

    fn write_file(&self, path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Content> {
        let mut writer = Hashed {
            writer: BufWriter::with_capacity(BUFFER, (self.create)(path)?),
            hasher: blake3::Hasher::new(),
            bytes: 0,
        };
        fill(&mut writer)?;
        writer.flush()?;
        writer.writer.get_mut().sync()?;
        Ok(Content { bytes: writer.bytes, blake3: writer.hasher.finalize().to_hex().to_string() })
    }

    /// Puts the whole checkpoint in `temporary` in the place of the earlier one.
    fn swap(&self, slot: Slot, temporary: &Path) -> io::Result<()> {
        let (current, old) = (self.path(slot), self.old(slot));
        let replaces = current.is_dir();
        if replaces {
            fs::rename(&current, &old)?;
            // The disk must not learn of the second rename before the first.
            sync_folder(&self.folder)?;
        }
        if let Err(error) = fs::rename(temporary, &current) {
            if replaces {
                // If this fails too, the earlier one is still found under its other name.
                let _ = fs::rename(&old, &current);
            }
            return Err(error);
        }
        sync_folder(&self.folder)?;
        // The new one is in place and on the disk; the next save tries again to delete the old one.
        let _ = fs::remove_dir_all(&old);
        Ok(())
    }

    fn save_failure(&self, slot: Slot, error: &io::Error, bytes: usize) -> Failure {
        let path = self.path(slot);
        // Rounded up, so that what is said to be enough is enough.
        let mebibytes = bytes.div_ceil(1 << 20) + 1;
        let failure = if is_full(error) {
            Failure::at(&path, format!("no room for the checkpoint: {error}"))
                .note(format!("it takes about {mebibytes} MiB beside the earlier one"))
        } else {
            Failure::at(&path, format!("the checkpoint cannot be written: {error}"))
        };
        let failure = match self.find(slot) {
            Ok(earlier) => failure.note(format!("the earlier one at {} is unharmed", earlier.display())),
            Err(_) => failure,
        };
        let run = folder_of(&self.folder).display();
        failure.help(if is_full(error) {
            format!("free {mebibytes} MiB, then go on with `lmvc train --resume {run}`")
        } else {
            format!("make the folder writable, then go on with `lmvc train --resume {run}`")
        })
    }

    /// The failure with the whole checkpoints that there are beside the damaged one.
    fn with_others(&self, slot: Slot, damaged: &Path, mut failure: Failure) -> Failure {
        let other = if slot == Slot::Last { Slot::Best } else { Slot::Last };
        let mut whole = None;
        for folder in [self.old(slot), self.path(slot), self.path(other), self.old(other)] {
            if folder == damaged || !folder.is_dir() {
                continue;
            }
            if let Ok(loaded) = read_checkpoint(&folder) {
                let TrainState { epoch, global_step, .. } = loaded.state;
                failure = failure.note(format!(
                    "the checkpoint at {} is whole: epoch {epoch}, step {global_step}",
                    folder.display()
                ));
                whole.get_or_insert(folder);
            }
        }
        match whole {
            _ if failure.help.is_some() => failure,
            Some(whole) => failure.help(format!(
                "to go on from the whole one, delete {} and copy {} to {}",
                damaged.display(),
                whole.display(),
                self.path(slot).display()
            )),
            None => failure.help("restore the folder from a copy, or start the run again"),
        }
    }

    #[cfg(test)]
    fn with_files(folder: &Path, create: impl Fn(&Path) -> io::Result<Box<dyn Sink>> + Send + Sync + 'static) -> Self {
        Self { folder: folder.to_path_buf(), create: Box::new(create) }
    }
}

/// Reads the checkpoint in one folder, wherever it lies, and verifies every byte of it.
///
/// # Errors
/// It is not there, damaged, or a newer lmv wrote it.
pub fn read_checkpoint(folder: &Path) -> Result<Loaded> {
    let document = read_document(folder)?;
    let tensors = |name: &str| -> Result<Vec<Tensor<'static>>> {
        let path = folder.join(name);
        let content = document.files.get(name).ok_or_else(|| {
            Failure::at(folder.join(STATE), format!("this checkpoint lists no `{name}`, expected it among its files"))
        })?;
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::at(&path, "this file of the checkpoint is missing"),
            _ => read_failure(&path, &error),
        })?;
        if bytes.len() as u64 != content.bytes {
            return Err(Failure::at(
                &path,
                format!("the checkpoint is damaged: {} bytes, expected {}", bytes.len(), content.bytes),
            ));
        }
        let found = blake3::hash(&bytes).to_hex();
        if found.as_str() != content.blake3 {
            return Err(Failure::at(
                &path,
                format!("the checkpoint is damaged: BLAKE3 {found}, expected {}", content.blake3),
            ));
        }
        tensor_file::parse(&path, &bytes)
    };
    Ok(Loaded {
        folder: folder.to_path_buf(),
        model: tensors(MODEL)?,
        optimizer: tensors(OPTIMIZER)?,
        ema: document.files.contains_key(EMA).then(|| tensors(EMA)).transpose()?,
        state: document.state,
    })
}

fn read_document(folder: &Path) -> Result<Document> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let path = folder.join(STATE);
    let text = fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::at(&path, "this file of the checkpoint is missing"),
        _ => read_failure(&path, &error),
    })?;
    let damaged =
        || Failure::at(&path, "the checkpoint is damaged: its text does not have the BLAKE3 that it ends with");
    let text = String::from_utf8(text).map_err(|_| damaged())?;
    // Asked first: a newer format may be sealed otherwise.
    if let Ok(Versioned { version }) = serde_json::from_str(&text)
        && version > VERSION
    {
        return Err(Failure::at(
            &path,
            format!("this checkpoint has format {version}, and this lmv reads up to {VERSION}"),
        )
        .help("use the version of lmv that wrote it, or a newer one"));
    }
    if !is_sealed(&text) {
        return Err(damaged());
    }
    serde_json::from_str(&text).map_err(|error| Failure::at(&path, format!("not the state of a run: {error}")))
}

/// Where the seal is in the text of a `state.json`.
fn seal_of(text: &str) -> Option<std::ops::Range<usize>> {
    // The last one: a field of `extra` may have the same name.
    let start = text.rfind(SEAL_KEY)? + SEAL_KEY.len();
    let range = start..start + BLANK_SEAL.len();
    text.get(range.clone()).map(|_| range)
}

/// The text with its BLAKE3 in place of the blank seal.
fn sealed(text: &str) -> String {
    let mut sealed = text.to_owned();
    if let Some(range) = seal_of(text) {
        sealed.replace_range(range, blake3::hash(text.as_bytes()).to_hex().as_str());
    }
    sealed
}

fn is_sealed(text: &str) -> bool {
    seal_of(text).is_some_and(|range| {
        let mut blank = text.to_owned();
        blank.replace_range(range, BLANK_SEAL);
        sealed(&blank) == text
    })
}

/// Counts and hashes what goes through.
struct Hashed {
    writer: BufWriter<Box<dyn Sink>>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A float as the shortest text that reads back as the same float.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{value:?}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("{text:?} is not a number")))
    }
}

#[cfg(test)]
mod tests;
