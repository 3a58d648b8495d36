//! The container of `torch.save`: a zip with `<root>/data.pkl`, the table of contents, and a file `<root>/data/<key>`
//! for each storage (paper.md §2.1). Storages are usually stored as they are, so that a tensor is a range of the file.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use super::dtype::TensorInfo;
use super::file::{Cursor, WeightFile, shown, zeroed};
use super::pickle::{self, RESAVE, View};
use crate::error::{Failure, Result};

/// The longest table of contents: one of ten thousand tensors has about 2 MB.
const LONGEST_PICKLE: u64 = 64 << 20;
/// The end of a zip: its last record has 22 bytes and a comment of at most 65,535.
const LONGEST_END: usize = 22 + 65_535;

/// An open checkpoint of `torch.save`: its table of contents, and the way to its storages.
#[derive(Debug)]
pub struct TorchFile {
    file: Arc<WeightFile>,
    archive: ZipArchive<Cursor>,
    /// The folder of everything in it, with its slash.
    root: String,
    tensors: BTreeMap<String, (TensorInfo, View)>,
}

impl TorchFile {
    pub(super) fn open(file: Arc<WeightFile>) -> Result<Self> {
        let path = file.path();
        // A zip's directory stands at its end, so a download that broke off has none. Looked for here, because the zip
        // reader would go through the whole of a large file for it.
        let end = usize::try_from(file.len()).unwrap_or(usize::MAX).min(LONGEST_END);
        let tail = file.bytes(file.len() - end as u64, end)?;
        if !tail.windows(4).any(|w| w == b"PK\x05\x06") {
            return Err(Failure::at(
                path,
                format!("is cut short: the directory at the end of a zip is missing, after {} bytes", file.len()),
            )
            .help("download or copy the file again"));
        }
        let mut archive = ZipArchive::new(Cursor::new(file.clone())).map_err(|e| {
            Failure::at(path, format!("is damaged: its zip cannot be read: {e}"))
                .help("download or copy the file again")
        })?;
        let root = archive
            .file_names()
            .filter_map(|name| name.strip_suffix("data.pkl"))
            .filter(|root| root.ends_with('/') && root.matches('/').count() == 1)
            .min()
            .map(str::to_string)
            .ok_or_else(|| {
                Failure::at(path, "is a zip, but none of `torch.save`: it holds no `data.pkl`")
                    .help("give the checkpoint itself; an archive of files must be unpacked first")
            })?;
        if archive.file_names().any(|name| name.strip_prefix(&root).is_some_and(|rest| rest.starts_with("code/"))) {
            return Err(Failure::at(path, "is a TorchScript program, which lmvc never runs").help(
                "save its tensors as safetensors, in Python and only if you trust where the file is from: \
                    `from safetensors.torch import save_file; m = torch.jit.load(FILE, map_location=\"cpu\"); \
                    save_file({k: v.contiguous() for k, v in m.state_dict().items()}, \"weights.safetensors\")`",
            ));
        }
        if let Some(order) = small_entry(&mut archive, &format!("{root}byteorder"))
            && order != b"little"
        {
            return Err(Failure::at(
                path,
                format!(
                    "was saved with byte order `{}`, and only `little` is read",
                    shown(&String::from_utf8_lossy(&order))
                ),
            )
            .help("save it again on a machine that most people have"));
        }
        let pickle = whole_pickle(&mut archive, &format!("{root}data.pkl"), &file)?;
        let tensors = pickle::tensors(&pickle, path)?
            .into_iter()
            .map(|(name, view)| (name, (TensorInfo { dtype: view.dtype, shape: view.shape.clone() }, view)))
            .collect();
        Ok(Self { archive, root, tensors, file: file.clone() })
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, (info, _))| (name.as_str(), info))
    }

    /// The bytes of tensor `name`, in one piece, whatever its strides are. It must be one of [`Self::tensors`].
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.file.path();
        let Some((info, view)) = self.tensors.get(name) else {
            return Err(Failure::at(path, format!("holds no tensor `{}`", shown(name))));
        };
        let width = view.dtype.bits() / 8;
        // The pickle's reader held the reach against the storage's claim, so none of these can overflow; the claim
        // itself is held against the storage below.
        let too_large =
            || Failure::at(path, format!("is damaged: its tensor `{}` has no size that can be", shown(name)));
        let size = info.bytes().ok_or_else(too_large)?;
        let reach = view.reach().and_then(|n| n.checked_mul(width)).ok_or_else(too_large)?;
        let start = view.offset.checked_mul(width).ok_or_else(too_large)? as u64;
        if size == 0 {
            return Ok(Vec::new());
        }
        if size > reach {
            // Expanded axes repeat one number. A header can claim any length for them, so they are not unfolded.
            return Err(Failure::at(
                path,
                format!("holds tensor `{}` as {:?} of {} numbers repeated", shown(name), info.shape, reach / width),
            )
            .help("save it with `.contiguous()`"));
        }
        let storage = self.storage(name, &view.key, start, reach)?;
        if view.is_contiguous() {
            return Ok(storage);
        }
        let mut out = zeroed(path, size)?;
        gather(&storage, view, width, &mut out);
        Ok(out)
    }

    /// `len` bytes of storage `key` from `start` on.
    fn storage(&self, tensor: &str, key: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let path = self.file.path();
        let entry = format!("{}data/{key}", self.root);
        let again = "download or copy the file again";
        let index = self.archive.index_for_name(&entry).ok_or_else(|| {
            Failure::at(
                path,
                format!("is damaged: `{}`, the storage of tensor `{}`, is missing in it", shown(&entry), shown(tensor)),
            )
            .help(again)
        })?;
        let unreadable = |e: &dyn std::fmt::Display| {
            Failure::at(
                path,
                format!(
                    "is damaged: `{}`, the storage of tensor `{}`, cannot be read: {e}",
                    shown(&entry),
                    shown(tensor)
                ),
            )
            .help(again)
        };
        // A clone shares the directory and has a place of its own in the file.
        let mut archive = self.archive.clone();
        let mut stored = archive.by_index(index).map_err(|e| unreadable(&e))?;
        if start.saturating_add(len as u64) > stored.size() {
            return Err(Failure::at(
                path,
                format!(
                    "is damaged: tensor `{}` needs bytes {start} to {} of its storage, which has {}",
                    shown(tensor),
                    start.saturating_add(len as u64),
                    stored.size()
                ),
            )
            .help(again));
        }
        if stored.compression() == CompressionMethod::Stored {
            return self.file.bytes(stored.data_start().saturating_add(start), len);
        }
        io::copy(&mut stored.by_ref().take(start), &mut io::sink()).map_err(|e| unreadable(&e))?;
        // Grows with what is really there: a directory can claim any size for a deflated entry.
        let mut bytes = Vec::new();
        stored.take(len as u64).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
        if bytes.len() != len {
            return Err(unreadable(&format!("it ends after {} of {len} bytes", bytes.len())));
        }
        Ok(bytes)
    }
}

/// Copies a strided view into one piece. `storage` begins at the view's first number; nothing in it is empty.
fn gather(storage: &[u8], view: &View, width: usize, out: &mut [u8]) {
    let rank = view.shape.len();
    let mut index = vec![0usize; rank];
    let mut from = 0;
    for to in out.chunks_exact_mut(width) {
        to.copy_from_slice(&storage[from * width..][..width]);
        for axis in (0..rank).rev() {
            index[axis] += 1;
            from += view.stride[axis];
            if index[axis] < view.shape[axis] {
                break;
            }
            from -= view.stride[axis] * view.shape[axis];
            index[axis] = 0;
        }
    }
}

fn small_entry(archive: &mut ZipArchive<Cursor>, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    archive.by_name(name).ok()?.take(32).read_to_end(&mut bytes).ok()?;
    Some(bytes.trim_ascii().to_vec())
}

fn whole_pickle(archive: &mut ZipArchive<Cursor>, name: &str, file: &WeightFile) -> Result<Vec<u8>> {
    let damaged = |e: &dyn std::fmt::Display| {
        Failure::at(file.path(), format!("is damaged: its table of contents `{}` cannot be read: {e}", shown(name)))
            .help("download or copy the file again")
    };
    let entry = archive.by_name(name).map_err(|e| damaged(&e))?;
    let mut bytes = Vec::new();
    entry.take(LONGEST_PICKLE + 1).read_to_end(&mut bytes).map_err(|e| damaged(&e))?;
    if bytes.len() as u64 > LONGEST_PICKLE {
        return Err(Failure::at(
            file.path(),
            format!("has a pickle of more than {LONGEST_PICKLE} bytes, which no checkpoint needs"),
        )
        .help(RESAVE));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::dtype::Dtype;
    use super::super::made::{self, Pickle};
    use super::*;

    fn open(dir: &tempfile::TempDir, pickle: &[u8], storages: &[(&str, &[u8])], deflated: bool) -> Result<TorchFile> {
        let path = dir.path().join("w.pth");
        made::torch_zip(&path, pickle, storages, deflated);
        TorchFile::open(WeightFile::open(&path)?)
    }

    fn numbers(file: &TorchFile, name: &str) -> Vec<f32> {
        Dtype::F32.to_f32(&file.read(name).unwrap()).unwrap()
    }

    #[test]
    fn views_of_one_storage() {
        let pickle = Pickle::new()
            .open_dict()
            .text("whole")
            .tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1])
            .text("transposed")
            .tensor("FloatStorage", "0", 6, 0, &[3, 2], &[1, 3])
            .text("row")
            .tensor("FloatStorage", "0", 6, 3, &[3], &[1])
            .text("column")
            .tensor("FloatStorage", "0", 6, 1, &[2], &[3])
            .text("one")
            .tensor("FloatStorage", "0", 6, 5, &[], &[])
            .text("none")
            .tensor("FloatStorage", "0", 6, 6, &[0, 3], &[3, 1])
            .close_dict()
            .stop();
        let data = made::floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        for deflated in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let file = open(&dir, &pickle, &[("0", &data)], deflated).unwrap();
            assert_eq!(numbers(&file, "whole"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            assert_eq!(numbers(&file, "transposed"), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
            assert_eq!(numbers(&file, "row"), [4.0, 5.0, 6.0]);
            assert_eq!(numbers(&file, "column"), [2.0, 5.0]);
            assert_eq!(numbers(&file, "one"), [6.0]);
            assert!(numbers(&file, "none").is_empty());
        }
    }

    #[test]
    fn a_storage_that_is_missing_or_short_fails_only_its_own_tensor() {
        let pickle = Pickle::new()
            .open_dict()
            .text("good")
            .tensor("FloatStorage", "0", 1, 0, &[1], &[1])
            .text("gone")
            .tensor("FloatStorage", "1", 1, 0, &[1], &[1])
            .text("short")
            .tensor("FloatStorage", "0", 2, 0, &[2], &[1])
            .text("repeated")
            .tensor("FloatStorage", "0", 1, 0, &[1 << 40], &[0])
            .close_dict()
            .stop();
        for deflated in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let file = open(&dir, &pickle, &[("0", &made::floats(&[7.0]))], deflated).unwrap();
            assert_eq!(numbers(&file, "good"), [7.0]);
            assert!(
                file.read("gone")
                    .unwrap_err()
                    .what
                    .contains("`archive/data/1`, the storage of tensor `gone`, is missing")
            );
            assert!(file.read("short").unwrap_err().what.contains("needs bytes 0 to 8 of its storage, which has 4"));
            assert!(file.read("repeated").unwrap_err().what.contains("of 1 numbers repeated"));
        }
    }

    #[test]
    fn code_is_refused_in_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let pickle = Pickle::new().global("os", "system").raw(b"(").text("true").raw(b"tR").stop();
        let failure = open(&dir, &pickle, &[], false).unwrap_err();
        assert!(failure.to_string().contains("w.pth: holds code (`os.system`) in its pickle, which lmvc never runs"));
    }

    #[test]
    fn a_cut_zip_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.pth");
        made::torch_dict(&path, &[("a", &[2], &[1.0, 2.0])]);
        let bytes = std::fs::read(&path).unwrap();
        for len in 0..bytes.len() {
            std::fs::write(&path, &bytes[..len]).unwrap();
            let failure = TorchFile::open(WeightFile::open(&path).unwrap()).unwrap_err();
            assert!(failure.what.contains("cut short") || failure.what.contains("damaged"), "{len}: {failure}");
        }
    }

    #[test]
    fn a_pickle_that_inflates_without_end_stops() {
        let dir = tempfile::tempdir().unwrap();
        let mut pickle = b"\x80\x02".to_vec();
        pickle.resize(LONGEST_PICKLE as usize + 100, b'N');
        let failure = open(&dir, &pickle, &[], true).unwrap_err();
        assert!(failure.what.contains("which no checkpoint needs"), "{failure}");
    }

    #[test]
    fn zips_of_other_things() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.zip");
        let write = |names: &[&str]| {
            let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
            for name in names {
                zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            }
            zip.finish().unwrap();
            TorchFile::open(WeightFile::open(&path).unwrap()).unwrap_err()
        };
        assert!(write(&["readme.txt"]).what.contains("holds no `data.pkl`"));
        assert!(write(&["clip/data.pkl", "clip/code/a.py"]).what.contains("TorchScript"));
    }
}
