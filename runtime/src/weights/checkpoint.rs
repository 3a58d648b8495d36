//! A checkpoint of any layout: its names, dtypes and shapes, and the bytes of the tensors that are asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::built_in;
use super::dtype::{Dtype, TensorBytes, TensorInfo};
use super::file::{WeightFile, shown};
use super::layout::{Kind, Layout, file_name, is_consolidated, params_beside};
use super::lying::Lying;
use super::names::nearest;
use super::numbers::Numbers;
use super::pickle::RESAVE;
use super::safetensors::SafetensorsFile;
use super::torch::TorchFile;
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

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// A shard that is missing or damaged matters only to those who want a tensor of it.
    file: Result<Container>,
}

#[derive(Debug)]
enum Container {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

#[derive(Debug)]
struct Entry {
    place: Place,
    /// `Err` where the shard cannot say.
    info: Result<TensorInfo>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In this shard.
    In(usize),
    /// Split over all shards along this axis.
    Split(usize),
}

impl Container {
    /// By what the file is, not by what it is called.
    fn open(path: &Path) -> Result<Self> {
        let file = WeightFile::open(path)?;
        let beginning = file.beginning(64)?;
        let text = String::from_utf8_lossy(&beginning).trim_start().to_lowercase();
        if beginning.is_empty() {
            return Err(Failure::at(path, "is empty, and a file of weights was expected")
                .help("download or copy the file again"));
        }
        if text.starts_with("version https://git-lfs") {
            return Err(Failure::at(path, "is a pointer of Git LFS, not the weights themselves")
                .help("run `git lfs pull` in its repository"));
        }
        if text.starts_with("<!doctype") || text.starts_with("<html") {
            return Err(Failure::at(path, "is a web page, not a file of weights")
                .help("open it in a browser: it says why the download did not work, often that one must log in"));
        }
        if TorchFile::is_torch(&beginning) {
            return TorchFile::open(file).map(Self::Torch);
        }
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        let torch = matches!(extension.as_str(), "pth" | "pt" | "bin" | "ckpt" | "tar");
        // PROTO, and no magic number behind it.
        if extension != "safetensors" && beginning.first() == Some(&0x80) && beginning.get(8) != Some(&b'{') {
            return Err(Failure::at(path, "is a pickle by itself, and none that `torch.save` wrote").help(RESAVE));
        }
        if torch && beginning.get(8) != Some(&b'{') {
            return Err(Failure::at(path, "is neither a checkpoint of `torch.save` nor safetensors").help(RESAVE));
        }
        SafetensorsFile::open(file).map(Self::Safetensors)
    }

    fn tensors(&self) -> Vec<(&str, &TensorInfo)> {
        match self {
            Self::Safetensors(file) => file.tensors().collect(),
            Self::Torch(file) => file.tensors().collect(),
        }
    }

    fn lying(&self, name: &str) -> Result<Lying> {
        match self {
            Self::Safetensors(file) => file.lying(name),
            Self::Torch(file) => file.lying(name),
        }
    }
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

    /// [`Self::read_hashed`]; with `halves`, numbers in half precision are left so.
    ///
    /// # Errors
    /// As [`Self::read_f32`].
    pub fn read_numbers(&self, name: &str, halves: bool) -> Result<(Numbers, blake3::Hash)> {
        let info = self.computable(name)?;
        let lying = self.lying(name)?;
        let (numbers, pieces) = match info.dtype {
            Dtype::F16 if halves => lying.halves(&self.path).map(|(bits, pieces)| (Numbers::f16(bits), pieces))?,
            Dtype::BF16 if halves => lying.halves(&self.path).map(|(bits, pieces)| (Numbers::bf16(bits), pieces))?,
            dtype => lying.numbers(dtype, &self.path).map(|(numbers, pieces)| (Numbers::F32(numbers), pieces))?,
        };
        Ok((numbers, hash(info, &pieces)))
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

fn whole(shard: &Shard) -> Result<BTreeMap<String, Entry>> {
    let file = shard.file.as_ref().map_err(Clone::clone)?;
    let entry = |info: &TensorInfo| Entry { place: Place::In(0), info: Ok(info.clone()) };
    Ok(file.tensors().into_iter().map(|(name, info)| (name.to_string(), entry(info))).collect())
}

fn indexed(places: BTreeMap<String, usize>, shards: &[Shard]) -> BTreeMap<String, Entry> {
    let tables: Vec<Result<BTreeMap<&str, &TensorInfo>>> = shards
        .iter()
        .map(|shard| shard.file.as_ref().map(|file| file.tensors().into_iter().collect()).map_err(Clone::clone))
        .collect();
    let info = |name: &str, place: usize| match &tables[place] {
        Ok(table) => table.get(name).map(|info| (*info).clone()).ok_or_else(|| {
            Failure::at(
                &shards[place].path,
                format!("holds no tensor `{}`, and the index says that it does", shown(name)),
            )
            .help("download the index and the shards again, all from the same place")
        }),
        Err(failure) => {
            let shard = &shards[place].path;
            let failure = failure.clone().note(format!("tensor `{}` is in this shard", shown(name)));
            Err(match shard.exists() {
                true => failure,
                false => Failure { what: "is missing, and the index names it as a shard".into(), ..failure }
                    .help(format!("download `{}` into the folder of the others", file_name(shard))),
            })
        }
    };
    places
        .into_iter()
        .map(|(name, place)| (name.clone(), Entry { info: info(&name, place), place: Place::In(place) }))
        .collect()
}

/// Meta's shards: each holds a part of every tensor (paper.md §2.1).
fn split(shards: &[Shard], config: Option<&(PathBuf, Value)>) -> Result<BTreeMap<String, Entry>> {
    let files: Vec<BTreeMap<&str, &TensorInfo>> = shards
        .iter()
        .map(|shard| Ok(shard.file.as_ref().map_err(Clone::clone)?.tensors().into_iter().collect()))
        .collect::<Result<_>>()?;
    for shard in shards {
        // A zip of `torch.save` has its first name inside it.
        let name = file_name(&shard.path);
        if let Ok(Container::Torch(file)) = &shard.file
            && let Some(root) = file.root().filter(|root| is_consolidated(&format!("{root}.pth")))
            && name != format!("{root}.pth")
        {
            return Err(Failure::at(&shard.path, format!("was saved as `{root}.pth`, and every shard has its place"))
                .help("give each file the name that it came with, or download them again"));
        }
    }
    let dim = config.and_then(|(_, value)| value.get("dim")?.as_u64());
    let mut tensors = BTreeMap::new();
    for (name, first) in &files[0] {
        let parts: Result<Vec<&TensorInfo>> = files
            .iter()
            .zip(shards)
            .map(|(file, shard)| {
                file.get(name).copied().ok_or_else(|| {
                    Failure::at(
                        &shard.path,
                        format!("holds no tensor `{}`, and `{}` does", shown(name), file_name(&shards[0].path)),
                    )
                    .help("download the files again, all from the same place")
                })
            })
            .collect();
        let axis = split_axis(name, first, dim);
        let entry = match (parts, axis) {
            (Ok(parts), Some(axis)) => Entry { place: Place::Split(axis), info: joined(name, &parts, axis, shards) },
            (Ok(_), None) => Entry { place: Place::In(0), info: Ok((*first).clone()) },
            (Err(failure), _) => Entry { place: Place::In(0), info: Err(failure) },
        };
        tensors.insert(name.to_string(), entry);
    }
    Ok(tensors)
}

/// The axis along which Meta splits tensor `name`; `None` for those that every shard holds whole.
fn split_axis(name: &str, part: &TensorInfo, dim: Option<u64>) -> Option<usize> {
    let module = name.strip_suffix(".weight")?.rsplit('.').next()?;
    match module {
        "wq" | "wk" | "wv" | "w1" | "w3" | "output" => Some(0),
        "wo" | "w2" => Some(1),
        // From LLaMA 3 on, the vocabulary is split and each part has the whole width.
        "tok_embeddings" => Some(usize::from(part.shape.get(1).map(|d| *d as u64) != dim)),
        _ => None,
    }
}

fn joined(name: &str, parts: &[&TensorInfo], axis: usize, shards: &[Shard]) -> Result<TensorInfo> {
    let mut whole = parts[0].clone();
    let same_but_axis = |part: &TensorInfo| {
        part.dtype == whole.dtype
            && part.shape.len() == whole.shape.len()
            && part.shape.iter().zip(&whole.shape).enumerate().all(|(i, (a, b))| i == axis || a == b)
    };
    if axis >= whole.shape.len() {
        return Err(Failure::at(
            &shards[0].path,
            format!("holds tensor `{}` as {:?}, which cannot be a part of it", shown(name), whole.shape),
        ));
    }
    if let Some(i) = parts.iter().position(|part| !same_but_axis(part)) {
        return Err(Failure::at(
            &shards[i].path,
            format!(
                "holds tensor `{}` as {} {:?}, and `{}` as {} {:?}: these are no parts of one tensor",
                shown(name),
                parts[i].dtype,
                parts[i].shape,
                file_name(&shards[0].path),
                whole.dtype,
                whole.shape
            ),
        )
        .help("download the files again, all from the same place"));
    }
    let sum = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.shape[axis]));
    whole.shape[axis] = sum.unwrap_or(usize::MAX);
    if whole.bytes().is_none() {
        return Err(Failure::at(&shards[0].path, format!("holds tensor `{}` with a size that cannot be", shown(name))));
    }
    Ok(whole)
}

/// Whether these are the names of Meta's LLaMA: `layers.N.attention.wq.weight`. Nobody else's are so: Hugging Face's
/// converter, which changes the order of the rows, changes the names too.
fn has_meta_names(tensors: &BTreeMap<String, Entry>) -> bool {
    tensors.keys().any(|name| is_query(name))
}

fn is_query(name: &str) -> bool {
    let layer = name.strip_prefix("layers.").and_then(|rest| rest.strip_suffix(".attention.wq.weight"));
    layer.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn query<'t>((name, entry): (&'t String, &'t Entry)) -> Option<(&'t str, &'t TensorInfo)> {
    is_query(name).then_some((name.as_str(), entry.info.as_ref().ok()?))
}

/// The queries of Meta's models are as many as the width. Fewer rows are those of one shard of several.
fn whole_query(path: &Path, name: &str, info: &TensorInfo) -> Result<()> {
    match info.shape[..] {
        [rows, width] if 0 < rows && rows < width && width.is_multiple_of(rows) => Err(Failure::at(
            path,
            format!("is one of {} shards, and every tensor is split over all of them", width / rows),
        )
        .note(format!("tensor `{}` has {rows} of its {width} rows in it", shown(name)))
        .help(format!(
            "give a folder with all of them, `consolidated.00.pth` to `consolidated.{:02}.pth`, and their `params.json`",
            width / rows - 1
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    fn index(dir: &Path, map: &str) {
        std::fs::write(dir.join("model.safetensors.index.json"), format!("{{\"metadata\":{{}},\"weight_map\":{map}}}"))
            .unwrap();
    }

    fn open_bytes(name: &str, bytes: &[u8]) -> Failure {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), bytes).unwrap();
        Checkpoint::open(dir.path().join(name)).unwrap_err()
    }

    #[test]
    fn one_file_by_itself_and_in_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.safetensors");
        made::safetensors(&file, &[("a", &[2], &[1.0, 2.0]), ("b", &[], &[3.0])]);
        std::fs::write(dir.path().join("config.json"), r#"{"hidden_size": 2}"#).unwrap();
        for path in [dir.path(), &file] {
            let checkpoint = Checkpoint::open(path).unwrap();
            assert_eq!(checkpoint.path(), path);
            assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
            assert_eq!(checkpoint.info("a").unwrap().shape, [2]);
            assert_eq!(checkpoint.read_f32("a").unwrap(), [1.0, 2.0]);
            assert_eq!(checkpoint.read("b").unwrap().bytes, 3.0f32.to_le_bytes());
            assert_eq!(checkpoint.config().unwrap()["hidden_size"], 2);
            assert!(!checkpoint.is_meta());
            assert!(checkpoint.info("c").is_none());
        }
    }

    #[test]
    fn the_hash_is_of_type_shape_and_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.safetensors"), dir.path().join("b.pth"));
        made::safetensors(&a, &[("x", &[2], &[1.0, 2.0]), ("y", &[2, 1], &[1.0, 2.0]), ("z", &[2], &[1.0, 2.5])]);
        made::torch_dict(&b, &[("x", &[2], &[1.0, 2.0])]);
        let (a, b) = (Checkpoint::open(a).unwrap(), Checkpoint::open(b).unwrap());
        let x = a.hash_tensor("x").unwrap();
        assert_eq!(x, b.hash_tensor("x").unwrap());
        assert_ne!(x, a.hash_tensor("y").unwrap());
        assert_ne!(x, a.hash_tensor("z").unwrap());
    }

    #[test]
    fn a_missing_shard_matters_to_its_own_tensors() {
        let dir = tempfile::tempdir().unwrap();
        made::safetensors(&dir.path().join("one.safetensors"), &[("a", &[1], &[1.0])]);
        std::fs::write(dir.path().join("three.safetensors"), b"").unwrap();
        index(
            dir.path(),
            r#"{"a":"one.safetensors","b":"two.safetensors","c":"three.safetensors","d":"one.safetensors"}"#,
        );
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(checkpoint.read_f32("a").unwrap(), [1.0]);
        assert!(checkpoint.info("b").is_none());
        let missing = checkpoint.read_f32("b").unwrap_err();
        assert_eq!(missing.path, Some(dir.path().join("two.safetensors")));
        assert_eq!(missing.what, "is missing, and the index names it as a shard");
        assert_eq!(missing.notes, ["tensor `b` is in this shard"]);
        assert!(missing.help.unwrap().contains("download `two.safetensors`"));
        assert!(checkpoint.read("c").unwrap_err().what.contains("is empty"));
        assert!(
            checkpoint.read("d").unwrap_err().what.contains("holds no tensor `d`, and the index says that it does")
        );
        let by_index = Checkpoint::open(dir.path().join("model.safetensors.index.json")).unwrap();
        assert_eq!(by_index.read_f32("a").unwrap(), [1.0]);
    }

    #[test]
    fn shards_without_their_index_say_so() {
        let dir = tempfile::tempdir().unwrap();
        for i in 1..=2 {
            made::safetensors(&dir.path().join(format!("model-0000{i}-of-00002.safetensors")), &[("a", &[1], &[0.0])]);
            let failure = Checkpoint::open(dir.path()).unwrap_err();
            assert_eq!(failure.what, "holds shards, and not the index that says which tensor is in which");
            assert_eq!(
                failure.help.unwrap(),
                "download `model.safetensors.index.json` into it, from where the shards are from"
            );
        }
    }

    #[test]
    fn an_index_names_files_beside_it_only() {
        for (map, found) in [
            (r#"{"a":"../other.safetensors"}"#, "other.safetensors"),
            (r#"{"a":"/etc/passwd"}"#, "/etc/passwd"),
            (r#"{"a":".."}"#, "the shard"),
            (r#"{"a":3}"#, "the shard 3"),
            ("[]", "no object `weight_map`"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            index(dir.path(), map);
            let failure = Checkpoint::open(dir.path()).unwrap_err();
            assert!(failure.what.contains(found), "{failure}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_comes_with_its_neighbour() {
        let dir = tempfile::tempdir().unwrap();
        made::torch_dict(&dir.path().join("w.pth"), &[("blocks.0.norm1.weight", &[1], &[1.0])]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let failure = checkpoint.read_f32("blocks.0.norm.weight").unwrap_err();
        assert_eq!(failure.what, "holds no tensor `blocks.0.norm.weight`");
        assert_eq!(failure.notes, ["the nearest name in it is `blocks.0.norm1.weight`"]);
    }

    #[test]
    fn files_that_are_something_else() {
        assert!(open_bytes("w.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").what.contains("cut short"));
        assert!(open_bytes("w.bin", b"\x80\x04}.").what.contains("a pickle by itself"));
        assert!(
            open_bytes("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
                .what
                .contains("Git LFS")
        );
        assert!(open_bytes("w.bin", b"<!DOCTYPE html>").what.contains("a web page"));
        assert!(open_bytes("w.pth", b"").what.contains("is empty"));
        assert!(open_bytes("w.pth", b"something else").what.contains("neither"));
        assert!(open_bytes("w.safetensors", b"PK\x03\x04").what.contains("cut short"));
    }

    #[test]
    fn paths_without_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Checkpoint::open(dir.path().join("no")).unwrap_err().what.contains("cannot be opened as a checkpoint"));
        std::fs::write(dir.path().join("readme.md"), "").unwrap();
        let none = Checkpoint::open(dir.path()).unwrap_err();
        assert_eq!(none.what, "is a folder without a checkpoint");
        assert_eq!(none.notes, ["it holds `readme.md`"]);
        made::torch_dict(&dir.path().join("a.pth"), &[("x", &[1], &[1.0])]);
        made::torch_dict(&dir.path().join("b.pth"), &[("x", &[1], &[1.0])]);
        assert!(
            Checkpoint::open(dir.path())
                .unwrap_err()
                .what
                .contains("2 files that could be the checkpoint: `a.pth`, `b.pth`")
        );
        std::fs::write(dir.path().join("config.json"), "{").unwrap();
        std::fs::rename(dir.path().join("a.pth"), dir.path().join("pytorch_model.bin")).unwrap();
        assert!(Checkpoint::open(dir.path()).unwrap_err().what.contains("is not JSON"));
    }

    #[test]
    fn meta_shards_are_put_together() {
        let dir = tempfile::tempdir().unwrap();
        let shard = |i: usize, k: f32| {
            made::torch_dict(
                &dir.path().join(format!("consolidated.{i:02}.pth")),
                &[
                    ("layers.0.attention.wq.weight", &[1, 2], &[k, k + 1.0]),
                    ("layers.0.attention.wo.weight", &[2, 1], &[k, k + 1.0]),
                    ("layers.0.attention_norm.weight", &[2], &[7.0, 8.0]),
                    (
                        "layers.0.feed_forward.w1.weight",
                        &[1, if i == 2 { 3 } else { 2 }],
                        &[0.0; 3][..if i == 2 { 3 } else { 2 }],
                    ),
                    ("tok_embeddings.weight", &[3, 1], &[k, k, k]),
                    ("rope.freqs", &[1], &[0.0]),
                ],
            )
        };
        shard(0, 0.0);
        shard(1, 10.0);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert!(checkpoint.is_meta());
        assert_eq!(checkpoint.info("layers.0.attention.wq.weight").unwrap().shape, [2, 2]);
        assert_eq!(checkpoint.read_f32("layers.0.attention.wq.weight").unwrap(), [0.0, 1.0, 10.0, 11.0]);
        assert_eq!(checkpoint.info("layers.0.attention.wo.weight").unwrap().shape, [2, 2]);
        assert_eq!(checkpoint.read_f32("layers.0.attention.wo.weight").unwrap(), [0.0, 10.0, 1.0, 11.0]);
        assert_eq!(checkpoint.read_f32("layers.0.attention_norm.weight").unwrap(), [7.0, 8.0]);
        assert_eq!(checkpoint.info("tok_embeddings.weight").unwrap().shape, [3, 2]);
        shard(2, 20.0);
        let odd = Checkpoint::open(dir.path()).unwrap();
        let failure = odd.read("layers.0.feed_forward.w1.weight").unwrap_err();
        assert!(failure.what.contains("no parts of one tensor"), "{failure}");
        std::fs::remove_file(dir.path().join("consolidated.01.pth")).unwrap();
        assert!(Checkpoint::open(dir.path()).unwrap_err().what.contains("misses `consolidated.01.pth`"));
        // One by itself, whatever it is called and whether or not the others are there.
        std::fs::remove_file(dir.path().join("consolidated.02.pth")).unwrap();
        let failure = Checkpoint::open(dir.path()).unwrap_err();
        assert_eq!(failure.what, "is one of 2 shards, and every tensor is split over all of them");
        assert_eq!(failure.notes, ["tensor `layers.0.attention.wq.weight` has 1 of its 2 rows in it"]);
        std::fs::rename(dir.path().join("consolidated.00.pth"), dir.path().join("llama.pth")).unwrap();
        assert!(
            Checkpoint::open(dir.path().join("llama.pth")).unwrap_err().help.unwrap().contains("`consolidated.01.pth`")
        );
    }

    #[test]
    fn a_split_tensor_with_nothing_in_it() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..2 {
            made::torch_dict(
                &dir.path().join(format!("consolidated.{i:02}.pth")),
                &[("layers.0.attention.wo.weight", &[0, 1], &[])],
            );
        }
        assert!(Checkpoint::open(dir.path()).unwrap().read_f32("layers.0.attention.wo.weight").unwrap().is_empty());
    }

    #[test]
    fn shards_of_pytorch_by_their_index() {
        let dir = tempfile::tempdir().unwrap();
        made::torch_dict(&dir.path().join("pytorch_model-00001-of-00002.bin"), &[("a", &[2], &[1.0, 2.0])]);
        made::torch_dict(&dir.path().join("pytorch_model-00002-of-00002.bin"), &[("b", &[1], &[3.0])]);
        let map = r#"{"weight_map":{"a":"pytorch_model-00001-of-00002.bin","b":"pytorch_model-00002-of-00002.bin"}}"#;
        std::fs::write(dir.path().join("pytorch_model.bin.index.json"), map).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.read_f32("a").unwrap(), [1.0, 2.0]);
        assert_eq!(checkpoint.read_f32("b").unwrap(), [3.0]);
        // One shard in the place of the other.
        let (one, two) = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin");
        std::fs::copy(dir.path().join(two), dir.path().join(one)).unwrap();
        let failure = Checkpoint::open(dir.path()).unwrap().read_f32("a").unwrap_err();
        assert_eq!(failure.path, Some(dir.path().join(one)));
        assert_eq!(failure.what, "holds no tensor `a`, and the index says that it does");
    }

    #[test]
    fn metas_shards_keep_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let shard = |file: &str, root: &str| {
            let pickle = made::Pickle::new().open_dict().text("layers.0.attention.wq.weight");
            let pickle = pickle.tensor("FloatStorage", "0", 1, 0, &[1, 1], &[1, 1]).close_dict().stop();
            made::torch_zip_in(root, &dir.path().join(file), &pickle, &[("0", &made::floats(&[1.0]))], false);
        };
        shard("consolidated.00.pth", "consolidated.00");
        shard("consolidated.01.pth", "consolidated.01");
        assert!(Checkpoint::open(dir.path()).is_ok());
        shard("consolidated.01.pth", "consolidated.00");
        let failure = Checkpoint::open(dir.path()).unwrap_err();
        assert_eq!(failure.path, Some(dir.path().join("consolidated.01.pth")));
        assert_eq!(failure.what, "was saved as `consolidated.00.pth`, and every shard has its place");
        // Older ones have a name that tells nothing.
        shard("consolidated.01.pth", "archive");
        assert!(Checkpoint::open(dir.path()).is_ok());
    }
}
