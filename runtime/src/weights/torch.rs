//! The containers of `torch.save` (paper.md §2.1): a zip with `<root>/data.pkl`, the table of contents, and a file
//! `<root>/data/<key>` for each storage; TorchScript's archive, which is such a zip with programs beside it; and from
//! before PyTorch 1.6 one file with the table in front and the storages behind it. Storages are usually stored as they
//! are, so that a tensor is a range of the file.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use super::dtype::TensorInfo;
use super::file::{Cursor, WeightFile, shown};
use super::lying::{Lying, Store};
use super::pickle::{self, Found, RESAVE, View};
use crate::error::{Failure, Result};

/// The longest table of contents: one of ten thousand tensors has about 2 MB.
const LONGEST_PICKLE: u64 = 64 << 20;
/// The end of a zip: its last record has 22 bytes and a comment of at most 65,535.
const LONGEST_END: usize = 22 + 65_535;

/// How much of a file without a zip is read for its table of contents at first; four times as much until it is whole.
const FIRST_BEGINNING: usize = 1 << 18;

/// An open checkpoint of `torch.save`: its table of contents, and the way to its storages.
#[derive(Debug)]
pub struct TorchFile {
    file: Arc<WeightFile>,
    storages: Storages,
    tensors: BTreeMap<String, (TensorInfo, View)>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Storages {
    /// Entries of a zip.
    Zip {
        archive: ZipArchive<Cursor>,
        /// The folder of everything in it, with its slash.
        root: String,
    },
    /// Places in the file: where each begins, and how many bytes it has.
    Places(HashMap<String, (u64, u64)>),
}

impl TorchFile {
    /// Whether a file with this beginning is one: a zip, or of the format before that.
    pub(super) fn is_torch(beginning: &[u8]) -> bool {
        beginning.starts_with(b"PK\x03\x04") || pickle::is_legacy(beginning)
    }

    pub(super) fn file(&self) -> &WeightFile {
        &self.file
    }

    pub(super) fn open(file: Arc<WeightFile>) -> Result<Self> {
        match pickle::is_legacy(&file.beginning(64)?) {
            true => Self::open_legacy(file),
            false => Self::open_zip(file),
        }
    }

    fn open_legacy(file: Arc<WeightFile>) -> Result<Self> {
        let len = usize::try_from(file.len()).unwrap_or(usize::MAX);
        let again = "download or copy the file again";
        let mut tried = FIRST_BEGINNING;
        let table = loop {
            if let Some(table) = pickle::legacy(&file.beginning(tried)?, file.path())? {
                break table;
            }
            if tried >= len {
                return Err(Failure::at(
                    file.path(),
                    format!("is cut short: its table of contents goes on after {len} bytes"),
                )
                .help(again));
            }
            if tried as u64 > LONGEST_PICKLE {
                return Err(long_pickle(&file));
            }
            tried *= 4;
        };
        let mut at = table.end as u64;
        let mut places = HashMap::new();
        for (key, numbers, width) in table.storages {
            let mut counted = [0; 8];
            file.holds(at, 8)?;
            file.fill(at, &mut counted)?;
            let counted = u64::from_le_bytes(counted);
            if counted != numbers as u64 {
                return Err(Failure::at(
                    file.path(),
                    format!(
                        "is damaged: its storage `{}` has {counted} numbers, and its table says {numbers}",
                        shown(&key)
                    ),
                )
                .help(again));
            }
            let bytes = counted.saturating_mul(width as u64);
            file.holds(at + 8, bytes)?;
            places.insert(key, (at + 8, bytes));
            at += 8 + bytes;
        }
        if at != file.len() {
            return Err(Failure::at(
                file.path(),
                format!("is damaged: {} bytes follow its last storage", file.len() - at),
            )
            .help(again));
        }
        Ok(Self::with(file, Storages::Places(places), table.found))
    }

    fn with(file: Arc<WeightFile>, storages: Storages, found: Found) -> Self {
        let tensors = found
            .views
            .into_iter()
            .map(|(name, view)| (name, (TensorInfo { dtype: view.dtype, shape: view.shape.clone() }, view)))
            .collect();
        Self { file, storages, tensors, notes: found.notes }
    }

    fn open_zip(file: Arc<WeightFile>) -> Result<Self> {
        let path = file.path();
        // A zip's directory stands at its end, so a download that broke off has none. Looked for here, because the zip
        // reader would go through the whole of a large file for it.
        let end = usize::try_from(file.len()).unwrap_or(usize::MAX).min(LONGEST_END);
        let tail = file.bytes(file.len() - end as u64, end)?;
        let cut = |what: &str| {
            Failure::at(
                path,
                format!("is cut short: {what} at the end of a zip is missing, after {} bytes", file.len()),
            )
            .help("download or copy the file again")
        };
        let last = tail.windows(4).rposition(|w| w == b"PK\x05\x06").ok_or_else(|| cut("the directory"))?;
        // The last record has 22 bytes, the two last of which count those of a comment behind it.
        let comment = tail[last..].get(20..22).map(|count| usize::from(u16::from_le_bytes([count[0], count[1]])));
        if comment.is_none_or(|comment| tail.len() - last - 22 < comment) {
            return Err(cut("a part of the directory"));
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
        let found = pickle::tensors(&pickle, path)?;
        Ok(Self::with(file.clone(), Storages::Zip { archive, root }, found))
    }

    /// The name of the folder of everything in its zip, which is the name that it was saved by.
    pub(super) fn root(&self) -> Option<&str> {
        match &self.storages {
            Storages::Zip { root, .. } => root.strip_suffix('/'),
            Storages::Places(_) => None,
        }
    }

    /// What a user may want to know of how its tensors were chosen.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, (info, _))| (name.as_str(), info))
    }

    /// Where tensor `name` lies, whatever its strides are. It must be one of [`Self::tensors`].
    pub(super) fn lying(&self, name: &str) -> Result<Lying> {
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
            return Lying::whole(Store::File(self.file.clone()), 0, 0);
        }
        if !view.is_plain() {
            // Expanded axes repeat one number, and a header can claim any length for them; others overlap only where
            // somebody wrote a stride by hand, or a byte of the file is wrong.
            return Err(Failure::at(
                path,
                format!(
                    "holds tensor `{}` as {:?} of {} numbers, which stand in it more than once",
                    shown(name),
                    info.shape,
                    reach / width
                ),
            )
            .help("save it with `.contiguous()`"));
        }
        let (store, start) = self.storage(name, &view.key, start, reach)?;
        let axes: Vec<(usize, u64)> =
            view.shape.iter().zip(&view.stride).map(|(&count, &step)| (count, step as u64 * width as u64)).collect();
        Lying::view(store, start, &axes, width, reach as u64)
    }

    /// What holds the `len` bytes of storage `key` from `start` on, and where in it they begin.
    fn storage(&self, tensor: &str, key: &str, start: u64, len: usize) -> Result<(Store, u64)> {
        let path = self.file.path();
        let again = "download or copy the file again";
        let missing = |entry: &str| {
            Failure::at(
                path,
                format!("is damaged: `{}`, the storage of tensor `{}`, is missing in it", shown(entry), shown(tensor)),
            )
            .help(again)
        };
        let short = |size: u64| {
            Failure::at(
                path,
                format!(
                    "is damaged: tensor `{}` needs bytes {start} to {} of its storage, which has {size}",
                    shown(tensor),
                    start.saturating_add(len as u64),
                ),
            )
            .help(again)
        };
        let (archive, root) = match &self.storages {
            Storages::Places(places) => {
                let (at, size) = *places.get(key).ok_or_else(|| missing(key))?;
                return match start.saturating_add(len as u64) > size {
                    true => Err(short(size)),
                    false => Ok((Store::File(self.file.clone()), at + start)),
                };
            }
            Storages::Zip { archive, root } => (archive, root),
        };
        let entry = format!("{root}data/{key}");
        let index = archive.index_for_name(&entry).ok_or_else(|| missing(&entry))?;
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
        let mut archive = archive.clone();
        let mut stored = archive.by_index(index).map_err(|e| unreadable(&e))?;
        if start.saturating_add(len as u64) > stored.size() {
            return Err(short(stored.size()));
        }
        if stored.compression() == CompressionMethod::Stored {
            let begin = self
                .data_start(stored.header_start(), &entry)?
                .ok_or_else(|| unreadable(&"its own header is another than the directory's"))?;
            let (header, size) = (stored.header_start(), stored.size());
            drop(stored);
            // Entries follow one another as in the directory, which stands behind the last of them.
            let next = archive.by_index_raw(index + 1).map_or(u64::MAX, |next| next.header_start());
            let next = if next > header { next } else { u64::MAX };
            if begin.saturating_add(size) > next.min(archive.central_directory_start()) {
                return Err(unreadable(&"it reaches into the next entry"));
            }
            return Ok((Store::File(self.file.clone()), begin + start));
        }
        io::copy(&mut stored.by_ref().take(start), &mut io::sink()).map_err(|e| unreadable(&e))?;
        // Grows with what is really there: a directory can claim any size for a deflated entry.
        let mut bytes = Vec::new();
        stored.take(len as u64).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
        if bytes.len() != len {
            return Err(unreadable(&format!("it ends after {} of {len} bytes", bytes.len())));
        }
        Ok((Store::Memory(Arc::new(bytes)), 0))
    }

    /// Where the bytes of the entry begin whose own header is at `header`; `None` where that is no header of it. A zip's
    /// directory says all of an entry but this, and a wrong length here would give the numbers beside the right ones.
    fn data_start(&self, header: u64, entry: &str) -> Result<Option<u64>> {
        self.file.holds(header, 30)?;
        let mut fixed = [0; 30];
        self.file.fill(header, &mut fixed)?;
        let length = |at: usize| usize::from(u16::from_le_bytes([fixed[at], fixed[at + 1]]));
        let (name, extra) = (length(26), length(28));
        let rest = self.file.bytes(header + 30, name + extra)?;
        let fits = fixed.starts_with(b"PK\x03\x04") && rest.get(..name) == Some(entry.as_bytes());
        // Fields of a kind, a length and that many bytes; or zeros, where only a place was to be filled.
        let mut fields = &rest[name..];
        while let [_, _, low, high, more @ ..] = fields {
            match more.get(usize::from(u16::from_le_bytes([*low, *high]))..) {
                Some(after) => fields = after,
                None => break,
            }
        }
        let fits = fits && fields.iter().all(|byte| *byte == 0);
        Ok(fits.then_some(header + 30 + (name + extra) as u64))
    }
}

fn long_pickle(file: &WeightFile) -> Failure {
    Failure::at(file.path(), format!("has a pickle of more than {LONGEST_PICKLE} bytes, which no checkpoint needs"))
        .help(RESAVE)
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
        return Err(long_pickle(file));
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

    fn read(file: &TorchFile, name: &str) -> Result<Vec<u8>> {
        file.lying(name)?.bytes(file.file.path())
    }

    fn numbers(file: &TorchFile, name: &str) -> Vec<f32> {
        Dtype::F32.to_f32(&read(file, name).unwrap()).unwrap()
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
                read(&file, "gone")
                    .unwrap_err()
                    .what
                    .contains("`archive/data/1`, the storage of tensor `gone`, is missing")
            );
            assert!(read(&file, "short").unwrap_err().what.contains("needs bytes 0 to 8 of its storage, which has 4"));
            assert!(
                read(&file, "repeated").unwrap_err().what.contains("of 1 numbers, which stand in it more than once")
            );
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
            assert!(failure.what.contains("cut short"), "{len}: {failure}");
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
    }
}
