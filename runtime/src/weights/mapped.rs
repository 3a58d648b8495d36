//! Files of weights in the address space: what a run reads of them all the time need not be copied into memory of its own,
//! is shared with every other run of the same file, and can be dropped by the kernel and read again.
//!
//! Only Linux maps; elsewhere numbers are read into memory.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::{Failure, Result};

/// A file that is mapped, and what it was like then.
#[derive(Debug)]
pub struct MappedFile {
    map: memmap2::Mmap,
    file: File,
    path: PathBuf,
    stamp: Stamp,
}

/// What changes when somebody writes to a file.
type Stamp = (u64, Option<SystemTime>);

fn stamp(file: &File) -> std::io::Result<Stamp> {
    let meta = file.metadata()?;
    Ok((meta.len(), meta.modified().ok()))
}

impl MappedFile {
    /// Maps the whole of a file; none where that cannot be done, and reading must do.
    pub(super) fn new(file: &File, path: &Path) -> Option<Arc<Self>> {
        if !cfg!(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")) {
            return None;
        }
        let file = file.try_clone().ok()?;
        let stamp = stamp(&file).ok()?;
        // SAFETY: the map is read only, so nothing here writes to what others read. What the type cannot rule out is that
        // another process writes to the file or cuts it short. Cut short, a read beyond its end raises SIGBUS, which ends
        // the process: lmvc turns it into a message (`src/cut_short.rs`). Written to, numbers change under their readers:
        // any bits are valid numbers, so no value is ever one that its type does not have, and `unchanged` tells of it where
        // the file's length or time says so. Only numbers are read through a map; headers, tables and hashes are read by
        // position, into memory.
        let map = unsafe { memmap2::Mmap::map(&file) }.ok()?;
        ranges::add(map.as_ptr_range(), path);
        Some(Arc::new(Self { map, file, path: path.to_path_buf(), stamp }))
    }

    /// Whether the file is as it was when it was mapped, as far as its length and the time of its last change say.
    ///
    /// # Errors
    /// It is not: what was computed since with its numbers is worth nothing.
    pub fn unchanged(&self) -> Result<()> {
        match stamp(&self.file) {
            Ok(now) if now != self.stamp => Err(Failure::at(
                &self.path,
                "was written to while its weights were in use, and they may not be what they were",
            )
            .help("start again from the last checkpoint; put a new file in the place of an old one by renaming it")),
            _ => Ok(()),
        }
    }
}

/// [`MappedFile::unchanged`] of all.
///
/// # Errors
/// The first that is not.
pub fn unchanged(files: &[Arc<MappedFile>]) -> Result<()> {
    files.iter().try_for_each(|file| file.unchanged())
}

/// Bytes of a mapped file. Clones share them.
#[derive(Clone, Debug)]
pub struct MappedBytes {
    file: Arc<MappedFile>,
    range: Range<usize>,
}

impl MappedBytes {
    /// `len` bytes from `start` on; none where the file has not as many, or they do not begin where a number of two bytes
    /// can.
    pub(super) fn new(file: Arc<MappedFile>, start: u64, len: usize) -> Option<Self> {
        let start = usize::try_from(start).ok()?;
        let range = start..start.checked_add(len)?;
        let bytes = file.map.get(range.clone())?;
        bytes.as_ptr().cast::<u16>().is_aligned().then_some(())?;
        Some(Self { file, range })
    }
}

impl AsRef<[u8]> for MappedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.file.map[self.range.clone()]
    }
}

impl PartialEq for MappedBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

/// Which file lies where, for a handler of signals: it may neither lock nor allocate, and finds a path by an address.
pub mod ranges {
    use std::ops::Range;
    use std::path::Path;
    use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

    /// A file's place. `start` is written last and read first; a place of zero is free.
    struct Slot {
        start: AtomicUsize,
        end: AtomicUsize,
        path: AtomicPtr<u8>,
        len: AtomicUsize,
    }

    /// As many files as have a name; those beyond are mapped without one.
    static SLOTS: [Slot; 256] = [const {
        Slot {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            path: AtomicPtr::new(std::ptr::null_mut()),
            len: AtomicUsize::new(0),
        }
    }; 256];
    static USED: AtomicUsize = AtomicUsize::new(0);

    /// Remembers a file's place, for as long as the process lives.
    pub(super) fn add(range: Range<*const u8>, path: &Path) {
        let Some(slot) = SLOTS.get(USED.fetch_add(1, Ordering::Relaxed)) else { return };
        let name: &'static mut [u8] = Box::leak(path.display().to_string().into_bytes().into_boxed_slice());
        slot.len.store(name.len(), Ordering::Relaxed);
        slot.path.store(name.as_mut_ptr(), Ordering::Relaxed);
        slot.end.store(range.end.addr(), Ordering::Relaxed);
        slot.start.store(range.start.addr(), Ordering::Release);
    }

    /// The path of the file at an address, the one that was mapped there last. Takes no lock and no memory.
    pub fn file_at(address: usize) -> Option<&'static [u8]> {
        SLOTS.iter().rev().find_map(|slot| {
            let start = slot.start.load(Ordering::Acquire);
            let within = start != 0 && (start..slot.end.load(Ordering::Relaxed)).contains(&address);
            // SAFETY: `add` wrote pointer and length of a leaked slice before `start`, and never writes them again.
            within.then(|| unsafe {
                std::slice::from_raw_parts(slot.path.load(Ordering::Relaxed), slot.len.load(Ordering::Relaxed))
            })
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    fn mapped(bytes: &[u8]) -> (File, Option<Arc<MappedFile>>) {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("its bytes");
        let map = MappedFile::new(&file, Path::new("w"));
        (file, map)
    }

    #[test]
    fn only_what_is_there_and_lies_right_is_given() {
        let (_file, map) = mapped(&[1, 2, 3, 4, 5, 6]);
        let map = map.expect("a map");
        let bytes = |start, len| MappedBytes::new(map.clone(), start, len).map(|bytes| bytes.as_ref().to_vec());
        assert_eq!(bytes(0, 6), Some(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(bytes(2, 2), Some(vec![3, 4]));
        assert_eq!(bytes(6, 0), Some(vec![]));
        // Half of a number off; beyond the end; no place at all.
        for (start, len) in [(1, 2), (0, 7), (6, 1), (8, 0), (u64::MAX, 2), (2, usize::MAX)] {
            assert_eq!(bytes(start, len), None, "{start} {len}");
        }
        // The bytes outlive the file's other handles, and are shared.
        let (one, two) = (MappedBytes::new(map.clone(), 0, 4), MappedBytes::new(map, 0, 4));
        assert_eq!(one, two);
        assert_eq!(one.map(|bytes| bytes.as_ref().as_ptr()), two.map(|bytes| bytes.as_ref().as_ptr()));
    }

    #[test]
    fn an_address_is_of_the_file_that_lies_there() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(8192).expect("two pages");
        let map = MappedFile::new(&file, Path::new("some/w.pth")).expect("a map");
        let range = map.map.as_ptr_range();
        assert_eq!(ranges::file_at(range.start.addr()), Some(&b"some/w.pth"[..]));
        assert_eq!(ranges::file_at(range.end.addr() - 1), Some(&b"some/w.pth"[..]));
        assert_eq!(ranges::file_at(0), None);
        assert_eq!(ranges::file_at(std::ptr::from_ref(&file).addr()), None);
    }

    #[test]
    fn an_empty_file_has_nothing_to_map() {
        let (_file, map) = mapped(&[]);
        assert!(map.is_none_or(|map| MappedBytes::new(map, 0, 1).is_none()));
    }

    #[test]
    fn a_file_that_is_written_to_is_told() {
        let (mut file, map) = mapped(&[7; 64]);
        let map = map.expect("a map");
        assert_eq!(map.unchanged(), Ok(()));
        file.seek(SeekFrom::End(0)).expect("its end");
        file.write_all(&[8]).expect("one more byte");
        let failure = map.unchanged().expect_err("it has grown");
        assert!(failure.what.starts_with("was written to while its weights were in use"), "{failure}");
        // Of the same length, later.
        let (mut file, map) = mapped(&[7; 64]);
        file.rewind().expect("its beginning");
        file.write_all(&[9]).expect("another byte");
        file.set_modified(SystemTime::now() + std::time::Duration::from_secs(5)).expect("a time");
        assert!(map.expect("a map").unchanged().is_err());
    }
}
