//! A file of weights, read at places.
//!
//! Reads by position: a read of a file that another program cuts short gives an error that can be said, and any number of
//! threads can read at once. Numbers that a run computes with as they are stored are taken from a [map](super::mapped)
//! after that.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::mapped::{MappedBytes, MappedFile};
use crate::error::{Failure, Result};

/// An open file with the length it had when it was opened, or one that is part of the program.
#[derive(Debug)]
pub(super) struct WeightFile {
    place: Place,
    path: PathBuf,
    len: u64,
    /// Made when somebody asks for it; none where it cannot be mapped.
    map: OnceLock<Option<Arc<MappedFile>>>,
}

#[derive(Debug)]
enum Place {
    Disk(File),
    Program(&'static [u8]),
}

impl WeightFile {
    /// Bytes that are part of the program, under the name that messages have for them.
    pub(super) fn built_in(name: &str, bytes: &'static [u8]) -> Arc<Self> {
        Arc::new(Self::new(Place::Program(bytes), PathBuf::from(name), bytes.len() as u64))
    }

    pub(super) fn open(path: &Path) -> Result<Arc<Self>> {
        let cannot = |e: io::Error| Failure::at(path, format!("cannot be opened: {e}"));
        let file = File::open(path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        if !meta.is_file() {
            return Err(Failure::at(path, "is not a file, and a file of weights was expected"));
        }
        Ok(Arc::new(Self::new(Place::Disk(file), path.to_path_buf(), meta.len())))
    }

    fn new(place: Place, path: PathBuf, len: u64) -> Self {
        Self { place, path, len, map: OnceLock::new() }
    }

    /// The `len` bytes from `start` on without a copy of them, if the file can be mapped.
    pub(super) fn mapped(&self, start: u64, len: usize) -> Option<MappedBytes> {
        let Place::Disk(file) = &self.place else { return None };
        let map = self.map.get_or_init(|| MappedFile::new(file, &self.path));
        MappedBytes::new(map.clone()?, start, len)
    }

    /// The file's map, if anything was taken from it.
    pub(super) fn map(&self) -> Option<Arc<MappedFile>> {
        self.map.get()?.clone()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The `len` bytes from `offset` on. The range is held against the file before anything is allocated.
    pub(super) fn bytes(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.holds(offset, len as u64)?;
        let mut bytes = zeroed::<u8>(&self.path, len)?;
        self.fill(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether the file has `len` bytes from `offset` on.
    ///
    /// # Errors
    /// When it has not.
    pub(super) fn holds(&self, offset: u64, len: u64) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(Failure::at(
                &self.path,
                format!("is cut short: bytes {offset} to {offset} + {len} were expected, and it has {}", self.len),
            )
            .help("download or copy the file again")),
        }
    }

    /// Fills `to` with the bytes from `offset` on.
    pub(super) fn fill(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < to.len() {
            match self.read_at(offset + done as u64, &mut to[done..]) {
                Ok(0) => {
                    return Err(Failure::at(
                        &self.path,
                        format!("became shorter while it was read: {} bytes were there", self.len),
                    )
                    .help("make sure that nothing writes to the file, and start again"));
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Failure::at(&self.path, format!("cannot be read: {e}"))),
            }
        }
        Ok(())
    }

    /// Up to `len` bytes from the beginning.
    pub(super) fn beginning(&self, len: usize) -> Result<Vec<u8>> {
        self.bytes(0, usize::try_from(self.len).unwrap_or(usize::MAX).min(len))
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        match &self.place {
            Place::Disk(file) => read_at(file, offset, to),
            Place::Program(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let len = to.len().min(bytes.len() - from);
                to[..len].copy_from_slice(&bytes[from..][..len]);
                Ok(len)
            }
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, to: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, to, offset)
}

#[cfg(windows)]
fn read_at(file: &File, offset: u64, to: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, to, offset)
}

/// `len` zeros, or a failure where the machine has no room for them. They take no memory before they are written to, so
/// that whoever fills them, on several cores, also waits for the memory on several cores.
pub(super) fn zeroed<T: Copy + Default>(path: &Path, len: usize) -> Result<Vec<T>> {
    // The only way to ask without aborting; what it asks for is given back at once.
    Vec::<T>::new().try_reserve_exact(len).map_err(|_| {
        let bytes = len.saturating_mul(size_of::<T>());
        Failure::at(path, format!("holds a tensor that takes {bytes} bytes, and there is no memory for it"))
    })?;
    Ok(vec![T::default(); len])
}

/// A place in a file, for readers that want [`Read`] and [`Seek`]. Clones are independent of one another.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    file: Arc<WeightFile>,
    at: u64,
}

impl Cursor {
    pub(super) fn new(file: Arc<WeightFile>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Cursor {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(self.at, to)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.file.len.checked_add_signed(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
        };
        self.at =
            at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the file's beginning"))?;
        Ok(self.at)
    }
}

/// Text of a file as a message shows it: control characters written out, and no longer than a line.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut out = String::new();
    for c in text.chars().take(LONGEST) {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}
