//! A checkpoint of any layout: its names, dtypes and shapes, and the bytes of the tensors that are asked for.

mod shards;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use self::shards::{Container, Entry, Place, Shard, has_meta_names, indexed, query, split, whole, whole_query};
use super::built_in;
use super::dtype::{Dtype, TensorBytes, TensorInfo};
use super::file::{WeightFile, shown};
use super::layout::{Kind, Layout, params_beside};
use super::lying::Lying;
use super::mapped::MappedFile;
use super::names::nearest;
use super::numbers::Numbers;
use super::safetensors::SafetensorsFile;
use crate::error::{Failure, Result};

/// An open checkpoint. Only headers have been read; reading tensors needs no `&mut`, and any number of threads may.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    config: Option<(PathBuf, Value)>,
    meta: bool,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
}

impl Checkpoint {
    /// Opens the checkpoint at `path`, reading headers and no tensor:
    ///
    /// - a folder as Hugging Face has it: `model.safetensors` or `pytorch_model.bin`, whole or in shards by their
    ///   `.index.json`, with `config.json`;
    /// - a folder as Meta has it: `consolidated.00.pth` and so on, with `params.json`;
    /// - a folder with one file of weights in it;
    /// - one file: safetensors; a checkpoint of `torch.save`, old or new, with a dict of tensors at its top or under
    ///   `model`, `state_dict` and their like; an archive of TorchScript, of which only the tensors are read; or an
    ///   `.index.json` of shards.
    ///
    /// # Errors
    /// When there is none of these at `path`, or its file is damaged. Shards that are missing or damaged are an error
    /// only when one of their tensors is asked for.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let layout = Layout::of(path)?;
        let shards: Vec<Shard> =
            layout.shards.into_iter().map(|path| Shard { file: Container::open(&path), path }).collect();
        let tensors = match layout.kind {
            Kind::One => whole(&shards[0])?,
            Kind::Indexed(places) => indexed(places, &shards),
            Kind::Split => split(&shards, layout.config.as_ref())?,
        };
        let meta = layout.meta || has_meta_names(&tensors);
        if let (1, Some((name, info))) = (shards.len(), tensors.iter().find_map(query)) {
            whole_query(&shards[0].path, name, info)?;
        }
        let config = match layout.config {
            // Whatever Meta's file is called now, its configuration has one name.
            None if meta => params_beside(&shards[0].path)?,
            config => config,
        };
        Ok(Self { path: path.to_path_buf(), config, meta, shards, tensors })
    }

    /// The checkpoint of this name that is part of the program, if there is one.
    ///
    /// # Errors
    /// It is damaged, which a test rules out.
    pub fn built_in(name: &str) -> Option<Result<Self>> {
        let bytes = built_in::file(name)?;
        let path = PathBuf::from(format!("{name} (part of lmvc)"));
        let file = SafetensorsFile::open(WeightFile::built_in(&path.to_string_lossy(), bytes));
        let opened = file.and_then(|file| {
            let shards = vec![Shard { file: Ok(Container::Safetensors(file)), path: path.clone() }];
            let tensors = whole(&shards[0])?;
            Ok(Self { path, config: None, meta: false, shards, tensors })
        });
        Some(opened)
    }

    /// The path it was opened at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files of tensors, those that are not there among them.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.path.as_path())
    }

    /// The file that tensor `name` lies in: a shard of several, else the whole; where it is split over all of them, what
    /// was opened.
    pub fn file_of(&self, name: &str) -> &Path {
        match self.tensors.get(name).map(|entry| entry.place) {
            Some(Place::In(shard)) => &self.shards[shard].path,
            _ => &self.path,
        }
    }

    /// [`Self::file_of`] where there is more than one.
    pub(super) fn shard_of(&self, name: &str) -> Option<&Path> {
        let one = matches!(self.tensors.get(name)?.place, Place::In(_)) && self.shards.len() > 1;
        one.then(|| self.file_of(name))
    }

    /// Opens every file of it that is there.
    ///
    /// # Errors
    /// The first that is damaged.
    pub fn check_files(&self) -> Result<()> {
        let there = self.shards.iter().filter(|shard| shard.path.exists());
        there.filter_map(|shard| shard.file.as_ref().err()).next().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// What `config.json` or `params.json` beside the weights says.
    pub fn config(&self) -> Option<&Value> {
        self.config.as_ref().map(|(_, value)| value)
    }

    /// Where [`Self::config`] is from.
    pub fn config_path(&self) -> Option<&Path> {
        self.config.as_ref().map(|(path, _)| path.as_path())
    }

    /// Whether it is Meta's: with its `params.json`, or with its names, `layers.N.attention.wq.weight`, whatever the file
    /// is called. Rotary pairs of its q and k then lie side by side.
    pub fn is_meta(&self) -> bool {
        self.meta
    }

    /// The names of all tensors, in order; those of shards that cannot be opened among them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The dtype and shape of tensor `name`; `None` where there is no such tensor, or its shard cannot be opened.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)?.info.as_ref().ok()
    }

    /// Like [`Self::info`], with the reason where there is none.
    ///
    /// # Errors
    /// When there is no such tensor, or the shard it is in is missing or damaged.
    pub fn require(&self, name: &str) -> Result<&TensorInfo> {
        match self.tensors.get(name) {
            Some(entry) => entry.info.as_ref().map_err(Clone::clone),
            None => {
                let failure = Failure::at(&self.path, format!("holds no tensor `{}`", shown(name)));
                Err(match nearest(name, self.names()) {
                    Some(near) => failure.note(format!("the nearest name in it is `{}`", shown(near))),
                    None => failure.note(format!("it holds {} tensors", self.tensors.len())),
                })
            }
        }
    }

    /// What a user may want to know of how its tensors were chosen, such as the key of a `.pth` that they are under
    /// where others have tensors as well.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let notes = self.shards.iter().filter_map(|shard| match &shard.file {
            Ok(Container::Torch(file)) => Some(file.notes()),
            _ => None,
        });
        notes.flatten().map(String::as_str)
    }

    /// Tensor `name` as it is stored, in one piece, row-major, little-endian.
    ///
    /// # Errors
    /// As [`Self::require`], and when its bytes cannot be read.
    pub fn read(&self, name: &str) -> Result<TensorBytes> {
        let info = self.require(name)?.clone();
        let bytes = self.lying(name)?.bytes(&self.path)?;
        Ok(TensorBytes { dtype: info.dtype, shape: info.shape, bytes })
    }

    /// Tensor `name` as `f32`, row-major.
    ///
    /// # Errors
    /// As [`Self::read`], and when its type is one that nothing here computes with.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.read_hashed(name)?.0)
    }

    /// [`Self::read_f32`] and [`Self::hash_tensor`] in one, each byte being read once.
    ///
    /// # Errors
    /// As [`Self::read_f32`].
    pub fn read_hashed(&self, name: &str) -> Result<(Vec<f32>, blake3::Hash)> {
        self.read_numbers(name, false).map(|(numbers, hash)| (numbers.into_f32(), hash))
    }

    /// [`Self::read_hashed`]; with `halves`, numbers in half precision are left so, and in their file where it can be mapped.
    ///
    /// # Errors
    /// As [`Self::read_f32`].
    pub fn read_numbers(&self, name: &str, halves: bool) -> Result<(Numbers, blake3::Hash)> {
        let info = self.computable(name)?;
        let lying = self.lying(name)?;
        let (numbers, pieces) = match info.dtype {
            Dtype::F16 | Dtype::BF16 if halves && let Some(bytes) = lying.mapped() => {
                let mapped = if info.dtype == Dtype::F16 { Numbers::MappedF16 } else { Numbers::MappedBF16 };
                (mapped(bytes), lying.hashes()?)
            }
            Dtype::F16 if halves => lying.halves(&self.path).map(|(bits, pieces)| (Numbers::f16(bits), pieces))?,
            Dtype::BF16 if halves => lying.halves(&self.path).map(|(bits, pieces)| (Numbers::bf16(bits), pieces))?,
            dtype => lying.numbers(dtype, &self.path).map(|(numbers, pieces)| (Numbers::F32(numbers), pieces))?,
        };
        Ok((numbers, hash(info, &pieces)))
    }

    /// Its files that [`Self::read_numbers`] has given numbers of without a copy.
    pub fn mapped(&self) -> impl Iterator<Item = Arc<MappedFile>> {
        self.shards.iter().filter_map(|shard| shard.file.as_ref().ok()?.file().map())
    }

    /// [`Self::require`] of a tensor that something here computes with.
    fn computable(&self, name: &str) -> Result<&TensorInfo> {
        let info = self.require(name)?;
        if !info.dtype.is_number() {
            return Err(Failure::at(
                &self.path,
                format!("holds tensor `{}` as {}, which cannot be computed with", shown(name), info.dtype),
            )
            .help("convert it to F16, BF16 or F32"));
        }
        Ok(info)
    }

    /// A hash of tensor `name`: its type, its shape and its bytes, however they are stored. The bytes are hashed in
    /// pieces of 256 KiB, on all cores, and the hash is over the pieces' hashes.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn hash_tensor(&self, name: &str) -> Result<blake3::Hash> {
        let info = self.require(name)?;
        Ok(hash(info, &self.lying(name)?.hashes()?))
    }

    /// Where tensor `name` lies, which must be there.
    fn lying(&self, name: &str) -> Result<Lying> {
        match self.tensors[name].place {
            Place::In(shard) => self.container(shard)?.lying(name),
            Place::Split(axis) => {
                let rows = self.require(name)?.shape[..axis].iter().product();
                let parts = (0..self.shards.len()).map(|i| self.container(i)?.lying(name)).collect::<Result<_>>()?;
                Lying::joined(parts, rows, &self.path)
            }
        }
    }

    fn container(&self, shard: usize) -> Result<&Container> {
        self.shards[shard].file.as_ref().map_err(Clone::clone)
    }
}

fn hash(info: &TensorInfo, pieces: &[blake3::Hash]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(info.dtype.name().as_bytes());
    // The rank ends the name and fixes how many sizes follow, so no two tensors give the same bytes here.
    hasher.update(&[0]);
    hasher.update(&(info.shape.len() as u64).to_le_bytes());
    for size in &info.shape {
        hasher.update(&(*size as u64).to_le_bytes());
    }
    pieces.iter().for_each(|piece| {
        hasher.update(piece.as_bytes());
    });
    hasher.finalize()
}

#[cfg(test)]
mod tests;
