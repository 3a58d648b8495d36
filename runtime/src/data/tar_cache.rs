//! Where the members of a tar lie, kept from one run to the next. Without it every start goes through all headers of the tar,
//! which lie scattered over it.
//!
//! A file for each tar, named after the hash of its path:
//!
//! ```text
//! "lmv tar index 1\n"
//! length of the tar (u64), its last change (i64 seconds, u32 nanoseconds)
//! its path (u32 bytes, then these)
//! members (u64), then each of them:
//!     what it is (u8: 0 a file, 1 a folder, 2 neither)
//!     how many bytes of its name are those of the name before it (u32), how many more there are (u32), these
//!     for a file where its bytes begin (u64) and how many there are (u64)
//! BLAKE3 of all that (32 bytes)
//! ```
//!
//! Numbers are little-endian. Whatever does not hold makes the file one that is not there: the tar is gone through, and the
//! file made anew. What cannot be written is not written, and nobody is told.

use std::fs::{self, File, Metadata};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::tar_index::{self, Index, Member, read_at};
use crate::caches;
use crate::error::Result;

const MAGIC: &[u8] = b"lmv tar index 1\n";
const HASH: usize = blake3::OUT_LEN;

/// A tar that was changed less than this before its index was made may be changed again without its time telling: clocks of
/// file systems are that coarse (FAT: 2 s).
const SETTLED: Duration = Duration::from_secs(2);

/// Of how many members the headers are held against what was kept.
const LOOKED_AT: usize = 8;

/// The folder in which indices of tars are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarCache {
    folder: PathBuf,
}

/// What tells one state of a tar from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    length: u64,
    seconds: i64,
    nanoseconds: u32,
}

impl TarCache {
    /// The cache in this folder, which need not be there.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the environment says ([`caches::folder`]).
    pub fn by(environment: impl Fn(&str) -> Option<String>) -> Option<Self> {
        caches::folder(environment).map(Self::at)
    }

    /// The index of the tar at `path`: the one that is kept, or else a new one, which is kept from then on.
    pub(super) fn index(&self, path: &Path) -> Result<Index> {
        let tar = File::open(path).ok();
        if let Some(index) = tar.as_ref().and_then(|tar| self.find(path, tar)) {
            return Ok(index);
        }
        let before = tar.and_then(|tar| tar.metadata().ok());
        let index = tar_index::index(path)?;
        before.iter().for_each(|before| self.keep(path, before, &index));
        Ok(index)
    }

    /// What is kept of the tar at `path`, which is open as `tar`, as far as it is still true.
    fn find(&self, path: &Path, tar: &File) -> Option<Index> {
        let path = fs::canonicalize(path).ok()?;
        let state = State::of(&tar.metadata().ok()?)?;
        let kept = File::open(self.file_of(&path)).ok()?;
        // A member takes half a kilobyte of the tar at least, and less of its index unless it is none.
        let most = state.length.saturating_add(1 << 16);
        if kept.metadata().ok()?.len() > most {
            return None;
        }
        let bytes = fs::read(self.file_of(&path)).ok()?;
        let index = read(&bytes, &path, state)?;
        is_true_of(&index, tar).then_some(index)
    }

    /// Keeps what was found in the tar at `path`, if its state is the one from before.
    fn keep(&self, path: &Path, before: &Metadata, index: &Index) {
        let Ok(path) = fs::canonicalize(path) else { return };
        let (Some(before), Ok(now)) = (State::of(before), fs::metadata(&path)) else { return };
        let settled = now.modified().ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
        if State::of(&now) != Some(before) || settled.is_none_or(|settled| settled < SETTLED) {
            return;
        }
        let Some(bytes) = written(index, &path, before) else { return };
        // Nobody misses it where it cannot be written.
        let _ = self.put(&self.file_of(&path), &bytes);
    }

    fn put(&self, file: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let folder = file.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        temporary.persist(file)?;
        Ok(())
    }

    fn file_of(&self, tar: &Path) -> PathBuf {
        let hash = blake3::hash(tar.as_os_str().as_encoded_bytes()).to_hex();
        self.folder.join("tars").join(&hash.as_str()[..32])
    }
}

impl State {
    fn of(tar: &Metadata) -> Option<Self> {
        let changed = tar.modified().ok()?;
        let (seconds, nanoseconds) = match changed.duration_since(UNIX_EPOCH) {
            Ok(since) => (i64::try_from(since.as_secs()).ok()?, since.subsec_nanos()),
            Err(before) => (-i64::try_from(before.duration().as_secs()).ok()?, before.duration().subsec_nanos()),
        };
        Some(Self { length: tar.len(), seconds, nanoseconds })
    }
}

/// The file of an index; none where a name is too long for it.
fn written(index: &Index, path: &Path, state: State) -> Option<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    let short = |length: usize| u32::try_from(length).ok().map(u32::to_le_bytes);
    bytes.extend(state.length.to_le_bytes());
    bytes.extend(state.seconds.to_le_bytes());
    bytes.extend(state.nanoseconds.to_le_bytes());
    let path = path.as_os_str().as_encoded_bytes();
    bytes.extend(short(path.len())?);
    bytes.extend(path);
    bytes.extend(((index.files.len() + index.folders.len() + index.others.len()) as u64).to_le_bytes());
    let files = index.files.iter().map(|file| (0, &file.name, Some((file.offset, file.size))));
    let folders = index.folders.iter().map(|name| (1, name, None));
    let others = index.others.iter().map(|name| (2, name, None));
    let mut before: &[u8] = &[];
    for (kind, name, extent) in files.chain(folders).chain(others) {
        let name = name.as_bytes();
        let shared = before.iter().zip(name).take_while(|(a, b)| a == b).count();
        bytes.push(kind);
        bytes.extend(short(shared)?);
        bytes.extend(short(name.len() - shared)?);
        bytes.extend(&name[shared..]);
        for number in extent.into_iter().flat_map(|(offset, size): (u64, u64)| [offset, size]) {
            bytes.extend(number.to_le_bytes());
        }
        before = name;
    }
    let hash = blake3::hash(&bytes);
    bytes.extend(hash.as_bytes());
    Some(bytes)
}

/// The index in the bytes of a file, if that is whole and of this tar in this state.
fn read(bytes: &[u8], path: &Path, state: State) -> Option<Index> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    let mut rest = Rest(body.strip_prefix(MAGIC)?);
    let found = State { length: rest.long()?, seconds: rest.long()? as i64, nanoseconds: rest.short()? };
    let length = rest.short()? as usize;
    if found != state || rest.take(length)? != path.as_os_str().as_encoded_bytes() {
        return None;
    }
    if blake3::hash(body).as_bytes() != hash {
        return None;
    }
    let mut index = Index::default();
    let mut before: Vec<u8> = Vec::new();
    for _ in 0..rest.long()? {
        let [kind] = *rest.take(1)? else { return None };
        let (shared, more) = (rest.short()? as usize, rest.short()? as usize);
        if shared > before.len() {
            return None;
        }
        before.truncate(shared);
        before.extend(rest.take(more)?);
        let name = std::str::from_utf8(&before).ok()?.to_owned();
        match kind {
            0 => {
                let (offset, size) = (rest.long()?, rest.long()?);
                if offset.checked_add(size)? > state.length {
                    return None;
                }
                index.files.push(Member { name, offset, size });
            }
            1 => index.folders.push(name),
            2 => index.others.push(name),
            _ => return None,
        }
    }
    rest.0.is_empty().then_some(index)
}

/// What is left to read.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// Whether a header stands in front of some of the members, and says what is kept of them: a tar may be put in another's
/// place with its length and its time.
fn is_true_of(index: &Index, tar: &File) -> bool {
    let files = &index.files;
    let step = files.len().div_ceil(LOOKED_AT).max(1);
    files.iter().step_by(step).chain(files.last()).all(|member| {
        let mut header = tar::Header::new_old();
        let Some(at) = member.offset.checked_sub(header.as_bytes().len() as u64) else { return false };
        if read_at(tar, header.as_mut_bytes(), at).is_err() {
            return false;
        }
        // The field of the checksum itself counts as blanks.
        let (bytes, field) = (header.as_bytes(), 148..156);
        let sum: u32 = bytes.iter().enumerate().map(|(i, b)| if field.contains(&i) { 32 } else { u32::from(*b) }).sum();
        header.entry_size().is_ok_and(|size| size == member.size) && header.cksum().is_ok_and(|told| told == sum)
    })
}

#[cfg(test)]
mod tests;
