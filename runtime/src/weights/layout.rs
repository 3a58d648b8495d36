//! Which files a path to a checkpoint means: Hugging Face's folder, Meta's folder, or one file (paper.md §2).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::shown;
use crate::error::{Failure, Result};

/// What is wanted wherever a path does not lead to a checkpoint.
const LAYOUTS: &str = "a checkpoint is a folder with `model.safetensors`, `model.safetensors.index.json`, \
    `pytorch_model.bin`, \
    `pytorch_model.bin.index.json` or `consolidated.00.pth`, or one file `.safetensors`, `.pth`, `.pt`, `.ckpt` or `.bin`";

/// The files of a checkpoint, as far as names and small JSON files tell.
pub(super) struct Layout {
    /// The files that hold tensors.
    pub shards: Vec<PathBuf>,
    /// Which tensor is in which of them.
    pub kind: Kind,
    /// `config.json` or `params.json`, and what it says.
    pub config: Option<(PathBuf, Value)>,
    /// Whether that is Meta's `params.json`.
    pub meta: bool,
}

pub(super) enum Kind {
    /// One file with everything.
    One,
    /// By `weight_map`: name → place in `shards`.
    Indexed(BTreeMap<String, usize>),
    /// Every file holds a part of every tensor.
    Split,
}

impl Layout {
    pub(super) fn of(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path)
            .map_err(|e| Failure::at(path, format!("cannot be opened as a checkpoint: {e}")).help(LAYOUTS))?;
        if meta.is_dir() { Self::of_folder(path) } else { Self::of_file(path) }
    }

    fn of_file(path: &Path) -> Result<Self> {
        let name = file_name(path);
        let folder = path.parent().unwrap_or(Path::new(""));
        if name.ends_with(".index.json") {
            return Self::indexed(folder, path);
        }
        // A file named out of one of the known folders brings its configuration along.
        let meta = is_consolidated(&name) && folder.join("params.json").is_file();
        let known = name == "model.safetensors" || name == "pytorch_model.bin";
        let config = match (meta, known) {
            (true, _) => config(&folder.join("params.json"))?,
            (_, true) => config(&folder.join("config.json"))?,
            _ => None,
        };
        Ok(Self { shards: vec![path.to_path_buf()], kind: Kind::One, config, meta })
    }

    fn of_folder(folder: &Path) -> Result<Self> {
        let has = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        // In the order in which Hugging Face's own loader looks.
        for base in ["model.safetensors", "pytorch_model.bin"] {
            if let Some(one) = has(base) {
                return Ok(Self {
                    shards: vec![one],
                    kind: Kind::One,
                    config: config(&folder.join("config.json"))?,
                    meta: false,
                });
            }
            if let Some(index) = has(&format!("{base}.index.json")) {
                return Self::indexed(folder, &index);
            }
        }
        let names = listing(folder)?;
        let consolidated: Vec<&String> = names.iter().filter(|name| is_consolidated(name)).collect();
        if !consolidated.is_empty() {
            for (i, name) in consolidated.iter().enumerate() {
                let expected = format!("consolidated.{i:02}.pth");
                if **name != expected {
                    return Err(Failure::at(folder, format!("misses `{expected}`: `{name}` stands in its place"))
                        .help("Meta splits every tensor over all of its files, so all of them are needed"));
                }
            }
            let shards: Vec<PathBuf> = consolidated.iter().map(|name| folder.join(name)).collect();
            let kind = if shards.len() == 1 { Kind::One } else { Kind::Split };
            let params = folder.join("params.json");
            return Ok(Self { shards, kind, config: config(&params)?, meta: params.is_file() });
        }
        let lone: Vec<&String> = names
            .iter()
            .filter(|name| [".safetensors", ".pth", ".pt", ".bin", ".ckpt"].iter().any(|end| name.ends_with(end)))
            .collect();
        if let Some((shard, base)) = lone.iter().find_map(|name| Some((*name, sharded(name)?))) {
            return Err(Failure::at(folder, "holds shards, and not the index that says which tensor is in which")
                .note(format!("`{}` is one of them", shown(shard)))
                .help(format!("download `{}.index.json` into it, from where the shards are from", shown(&base))));
        }
        match lone[..] {
            [name] => Ok(Self {
                shards: vec![folder.join(name)],
                kind: Kind::One,
                config: config(&folder.join("config.json"))?,
                meta: false,
            }),
            [] => {
                let shown: Vec<String> = names.iter().take(8).map(|name| format!("`{}`", shown(name))).collect();
                let there = if shown.is_empty() { "nothing".into() } else { shown.join(", ") };
                Err(Failure::at(folder, "is a folder without a checkpoint")
                    .note(format!("it holds {there}"))
                    .help(LAYOUTS))
            }
            _ => {
                let shown: Vec<String> = lone.iter().take(8).map(|name| format!("`{}`", shown(name))).collect();
                Err(Failure::at(
                    folder,
                    format!("holds {} files that could be the checkpoint: {}", lone.len(), shown.join(", ")),
                )
                .help("name the file itself"))
            }
        }
    }

    /// The shards that `index` names, whether or not they are there.
    fn indexed(folder: &Path, index: &Path) -> Result<Self> {
        let json = json(index)?;
        let map = json.get("weight_map").and_then(Value::as_object).ok_or_else(|| {
            Failure::at(index, "is no index of shards: it has no object `weight_map` from tensors to files")
                .help("download the file again, from where the shards are from")
        })?;
        let mut places = BTreeMap::new();
        let mut shards = Vec::new();
        let mut seen = BTreeMap::new();
        for (tensor, shard) in map {
            let name = shard.as_str().filter(|name| {
                // A shard lies beside its index, and an index does not get to name other files of the machine.
                !name.is_empty() && *name != "." && *name != ".." && !name.contains(['/', '\\', '\0'])
            });
            let Some(name) = name else {
                return Err(Failure::at(
                    index,
                    format!(
                        "gives tensor `{}` the shard {}, and the name of a file beside it was expected",
                        shown(tensor),
                        shown(&shard.to_string())
                    ),
                )
                .help("download the file again, from where the shards are from"));
            };
            let place = *seen.entry(name.to_string()).or_insert_with(|| {
                shards.push(folder.join(name));
                shards.len() - 1
            });
            places.insert(tensor.clone(), place);
        }
        Ok(Self { shards, kind: Kind::Indexed(places), config: config(&folder.join("config.json"))?, meta: false })
    }
}

/// The whole that one of Hugging Face's shards is of, by its name: `model.safetensors` of
/// `model-00001-of-00002.safetensors`.
fn sharded(name: &str) -> Option<String> {
    let (stem, extension) = name.rsplit_once('.')?;
    let (before, of) = stem.rsplit_once("-of-")?;
    let (base, number) = before.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(of) && is_number(number) && of != "00001").then(|| format!("{base}.{extension}"))
}

/// Whether a file has the name of one of Meta's shards.
pub(super) fn is_consolidated(name: &str) -> bool {
    name.strip_prefix("consolidated.")
        .and_then(|rest| rest.strip_suffix(".pth"))
        .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn listing(folder: &Path) -> Result<Vec<String>> {
    let cannot = |e: std::io::Error| Failure::at(folder, format!("cannot be listed: {e}"));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        names.push(entry.map_err(cannot)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Meta's configuration in the folder of `file`, if it is there.
pub(super) fn params_beside(file: &Path) -> Result<Option<(PathBuf, Value)>> {
    config(&file.parent().unwrap_or(Path::new("")).join("params.json"))
}

/// What the configuration at `path` says, if it is there.
fn config(path: &Path) -> Result<Option<(PathBuf, Value)>> {
    if !path.is_file() {
        return Ok(None);
    }
    let value = json(path)?;
    if !value.is_object() {
        return Err(
            Failure::at(path, "is no JSON object").help("download the file again, from where the weights are from")
        );
    }
    Ok(Some((path.to_path_buf(), value)))
}

fn json(path: &Path) -> Result<Value> {
    /// Indices of the largest models have a few MB.
    const LONGEST: u64 = 256 << 20;
    let cannot = |e: std::io::Error| Failure::at(path, format!("cannot be read: {e}"));
    let len = std::fs::metadata(path).map_err(cannot)?.len();
    if len > LONGEST {
        return Err(Failure::at(
            path,
            format!("has {len} bytes, and a JSON file beside weights has at most {LONGEST}"),
        ));
    }
    let text = std::fs::read(path).map_err(cannot)?;
    serde_json::from_slice(&text).map_err(|e| {
        Failure::at(path, format!("is not JSON: {e}")).help("download the file again, from where the weights are from")
    })
}
