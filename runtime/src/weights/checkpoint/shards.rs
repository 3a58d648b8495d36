//! Files that hold a checkpoint together: which of its tensors are in which, or split over all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Failure, Result};
use crate::weights::dtype::TensorInfo;
use crate::weights::file::{WeightFile, shown};
use crate::weights::layout::{file_name, is_consolidated};
use crate::weights::lying::Lying;
use crate::weights::pickle::RESAVE;
use crate::weights::safetensors::SafetensorsFile;
use crate::weights::torch::TorchFile;

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    /// A shard that is missing or damaged matters only to those who want a tensor of it.
    pub(super) file: Result<Container>,
}

#[derive(Debug)]
pub(super) enum Container {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// `Err` where the shard cannot say.
    pub(super) info: Result<TensorInfo>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// In this shard.
    In(usize),
    /// Split over all shards along this axis.
    Split(usize),
}

impl Container {
    /// The file it is.
    pub(super) fn file(&self) -> &WeightFile {
        match self {
            Self::Safetensors(file) => file.file(),
            Self::Torch(file) => file.file(),
        }
    }

    /// By what the file is, not by what it is called.
    pub(super) fn open(path: &Path) -> Result<Self> {
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

    pub(super) fn tensors(&self) -> Vec<(&str, &TensorInfo)> {
        match self {
            Self::Safetensors(file) => file.tensors().collect(),
            Self::Torch(file) => file.tensors().collect(),
        }
    }

    pub(super) fn lying(&self, name: &str) -> Result<Lying> {
        match self {
            Self::Safetensors(file) => file.lying(name),
            Self::Torch(file) => file.lying(name),
        }
    }
}

pub(super) fn whole(shard: &Shard) -> Result<BTreeMap<String, Entry>> {
    let file = shard.file.as_ref().map_err(Clone::clone)?;
    let entry = |info: &TensorInfo| Entry { place: Place::In(0), info: Ok(info.clone()) };
    Ok(file.tensors().into_iter().map(|(name, info)| (name.to_string(), entry(info))).collect())
}

pub(super) fn indexed(places: BTreeMap<String, usize>, shards: &[Shard]) -> BTreeMap<String, Entry> {
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
pub(super) fn split(shards: &[Shard], config: Option<&(PathBuf, Value)>) -> Result<BTreeMap<String, Entry>> {
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
pub(super) fn has_meta_names(tensors: &BTreeMap<String, Entry>) -> bool {
    tensors.keys().any(|name| is_query(name))
}

fn is_query(name: &str) -> bool {
    let layer = name.strip_prefix("layers.").and_then(|rest| rest.strip_suffix(".attention.wq.weight"));
    layer.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn query<'t>((name, entry): (&'t String, &'t Entry)) -> Option<(&'t str, &'t TensorInfo)> {
    is_query(name).then_some((name.as_str(), entry.info.as_ref().ok()?))
}

/// The queries of Meta's models are as many as the width. Fewer rows are those of one shard of several.
pub(super) fn whole_query(path: &Path, name: &str, info: &TensorInfo) -> Result<()> {
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
