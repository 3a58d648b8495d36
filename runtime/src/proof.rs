//! `NAME.lock` beside a spec: what its model is made of besides its text. Two people with the same spec and the same
//! lock have the same model.
//!
//! A run's own `lmv.lock` ([`crate::training::lock`]) says what one run was made of; this one is kept with the spec.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lmv_compiler::library;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};
use crate::parameters::used::{Use, UsedTensor};
use crate::training::atomic_file::write_atomic;
use crate::training::lock::{hash, short};
use crate::weights::Checkpoint;

/// What a spec's model is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The version of lmvc.
    pub lmvc: String,
    /// BLAKE3 of its library.
    pub library: String,
    /// BLAKE3 over the names and sizes of the data's files; `None` where the spec reads none, or they were not at hand.
    pub data: Option<String>,
    /// What the configurations beside the weights said and the spec left to them: `vicuna.eps`, and its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// By the name of the weights and our name of the tensor: its type, its shape, and BLAKE3 over these and its bytes.
    pub weights: BTreeMap<String, BTreeMap<String, String>>,
}

/// Something that is not as the lock has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is: `lmvc`, `the library of lmvc`, `the listing of the data`, or a tensor.
    pub what: String,
    /// The name of its weights, for a tensor.
    pub weights: Option<String>,
    /// What the lock has; `None` for something that it does not have.
    pub locked: Option<String>,
    /// What was found; `None` for something that the spec no longer reads.
    pub found: Option<String>,
}

impl Change {
    /// In a line: `llama7b: layer.31.attention.wq.weight was F16 [4096, 4096] 1f0c…, and is …`.
    pub fn line(&self) -> String {
        let shown = |value: &str| match value.rsplit_once(' ') {
            Some((tensor, hash)) => format!("{tensor} {}", short(hash)),
            None => short(value).to_owned(),
        };
        let what = match &self.weights {
            Some(weights) => format!("{weights}: {}", self.what),
            None => self.what.clone(),
        };
        match (&self.locked, &self.found) {
            (Some(locked), Some(found)) => format!("{what} was {}, and is {}", shown(locked), shown(found)),
            (None, Some(found)) => format!("{what} is {}, and is not in the lock", shown(found)),
            (Some(locked), None) => format!("{what} was {}, and is not read", shown(locked)),
            (None, None) => what,
        }
    }
}

impl Proof {
    /// Where the lock of a spec is: `vit.lock` beside `vit.lmv`, `table1-mlp.lock` for its variant `mlp`.
    pub fn path(spec: &Path, variant: Option<&str>) -> PathBuf {
        let stem = spec.file_stem().map_or_else(|| "spec".into(), |stem| stem.to_string_lossy());
        spec.with_file_name(match variant {
            Some(variant) => format!("{stem}-{variant}.lock"),
            None => format!("{stem}.lock"),
        })
    }

    /// Of this lmvc, and of nothing that a spec reads yet.
    pub fn of_lmvc(version: &str) -> Self {
        Self {
            lmvc: version.to_owned(),
            library: hash(library::fingerprint_text().as_bytes()),
            data: None,
            settings: BTreeMap::new(),
            weights: BTreeMap::new(),
        }
    }

    /// Adds the tensors that a spec takes of a checkpoint: their bytes are read for it.
    ///
    /// # Errors
    /// A checkpoint that does not fit or cannot be read.
    pub fn add_weights(&mut self, used: &Use<'_>, checkpoint: &Checkpoint) -> Result<()> {
        let tensors = used.tensors(checkpoint)?;
        let lines: Vec<(String, String)> = tensors
            .par_iter()
            .map(|tensor| Ok((tensor.ours.clone(), line(tensor, checkpoint)?)))
            .collect::<Result<_>>()?;
        self.weights.entry(used.weights.to_owned()).or_default().extend(lines);
        Ok(())
    }

    /// Reads a lock; `None` where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or is no lock.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::at(path, format!("cannot be read: {error}"))),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::at(path, format!("is no lock of a spec: {error}"))
                .help("put back the file as it was, or delete it: `lmvc weights lock SPEC` writes it anew")
        })
    }

    /// Writes the lock: JSON, a line for each tensor, in the order of the names.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(format!("the lock cannot be written: {error}")))?;
        write_atomic(path, |out| writeln!(out, "{text}"))
    }

    /// What is not as this lock has it. `whole` says that `now` is all that the spec reads: what is not in it is then a
    /// change, too.
    pub fn changes(&self, now: &Self, whole: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut hold = |what: &str, weights: Option<&str>, locked: Option<&String>, found: Option<&String>| {
            if locked != found && (whole || found.is_some()) {
                changes.push(Change {
                    what: what.to_owned(),
                    weights: weights.map(str::to_owned),
                    locked: locked.cloned(),
                    found: found.cloned(),
                });
            }
        };
        hold("lmvc", None, Some(&self.lmvc), Some(&now.lmvc));
        hold("the library of lmvc", None, Some(&self.library), Some(&now.library));
        hold("the listing of the data", None, self.data.as_ref(), now.data.as_ref());
        for setting in self.settings.keys().chain(now.settings.keys()).collect::<BTreeSet<_>>() {
            let (weights, what) = setting.split_once('.').unwrap_or((setting, ""));
            hold(what, Some(weights), self.settings.get(setting), now.settings.get(setting));
        }
        let none = BTreeMap::new();
        let names: BTreeSet<&String> = self.weights.keys().chain(now.weights.keys()).collect();
        for name in names {
            let locked = self.weights.get(name).unwrap_or(&none);
            let found = now.weights.get(name).unwrap_or(&none);
            let tensors: BTreeSet<&String> = locked.keys().chain(found.keys()).collect();
            for tensor in tensors {
                hold(tensor, Some(name), locked.get(tensor), found.get(tensor));
            }
        }
        changes
    }
}

fn line(tensor: &UsedTensor, checkpoint: &Checkpoint) -> Result<String> {
    let hash = checkpoint.hash_tensor(&tensor.theirs)?;
    Ok(format!("{} {:?} {}", tensor.info.dtype, tensor.info.shape, hash.to_hex()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(tensors: &[(&str, &str)]) -> Proof {
        let tensors = tensors.iter().map(|(name, line)| (name.to_string(), line.to_string())).collect();
        Proof {
            lmvc: "0.1.0".into(),
            library: "1".repeat(64),
            data: Some("2".repeat(64)),
            settings: BTreeMap::from([("stories.eps".to_owned(), "1e-5".to_owned())]),
            weights: BTreeMap::from([("stories".to_owned(), tensors)]),
        }
    }

    #[test]
    fn a_lock_lies_beside_its_spec() {
        assert_eq!(Proof::path(Path::new("a/vit.lmv"), None), Path::new("a/vit.lock"));
        assert_eq!(Proof::path(Path::new("table1.lmv"), Some("layer.31")), Path::new("table1-layer.31.lock"));
    }

    #[test]
    fn what_is_written_is_read_again_and_no_other_file_is_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        assert_eq!(Proof::read(&path), Ok(None));
        let lock = proof(&[("layer.0.b", "F32 [2] aa"), ("layer.0.a", "F32 [2] bb")]);
        lock.write(&path).unwrap();
        assert_eq!(Proof::read(&path), Ok(Some(lock)));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.find("layer.0.a").unwrap() < text.find("layer.0.b").unwrap(), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("layer.0.")).count(), 2, "a line a tensor: {text}");
        for wrong in ["", "{}", "{\"seed\": 0}", "[]", "\u{0}"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(Proof::read(&path).unwrap_err().what.starts_with("is no lock of a spec: "), "{wrong}");
        }
    }

    #[test]
    fn every_change_is_told_once() {
        let lock = proof(&[("a", "F32 [2] aaaaaaaaaaaaaaaaaaaa"), ("b", "F32 [2] bb"), ("c", "F32 [2] cc")]);
        assert_eq!(lock.changes(&lock, true), []);
        let mut now = proof(&[("a", "F16 [2] dddddddddddddddddddd"), ("b", "F32 [2] bb"), ("d", "F32 [2] dd")]);
        now.data = None;
        now.settings.insert("stories.eps".into(), "1e-6".into());
        now.library = "3".repeat(64);
        let lines = |whole| lock.changes(&now, whole).iter().map(Change::line).collect::<Vec<_>>();
        assert_eq!(
            lines(true),
            [
                "the library of lmvc was 111111111111, and is 333333333333",
                "the listing of the data was 222222222222, and is not read",
                "stories: eps was 1e-5, and is 1e-6",
                "stories: a was F32 [2] aaaaaaaaaaaa, and is F16 [2] dddddddddddd",
                "stories: c was F32 [2] cc, and is not read",
                "stories: d is F32 [2] dd, and is not in the lock",
            ]
        );
        // Of a part of the spec, only what was looked at is held against it.
        assert_eq!(lines(false).len(), 4);
    }
}
