//! Files that are, at any moment, either whole or not there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Failure, Result};

/// Bytes that are gathered before a write; large enough that tensors of a few KiB share one.
const BUFFER: usize = 1 << 20;

/// Replaces the file at `path` by what `fill` writes: a kill or a full disk leaves the earlier file as it was.
///
/// Written under a temporary name in the same folder, flushed to the disk, renamed, and the folder flushed as well.
///
/// # Errors
/// Whatever the disk or `fill` reports; the temporary file is gone then.
pub fn write_atomic(path: impl AsRef<Path>, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    let (temporary, file) = create_beside(path).map_err(|error| write_failure(path, &error))?;
    let replaced = fill_file(file, fill).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = replaced {
        // The first error is the one to tell; a leftover with this name harms nobody.
        let _ = fs::remove_file(&temporary);
        return Err(write_failure(path, &error));
    }
    sync_folder(folder_of(path)).map_err(|error| write_failure(path, &error))
}

/// A fresh file in the folder of `path`, with a name that no other process or thread uses.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the path has no file name"))?;
    loop {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".tmp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let temporary = folder_of(path).join(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // Left by a process that was killed and had the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
    }
}

fn fill_file(file: File, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(BUFFER, file);
    fill(&mut writer)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Flushes a folder to the disk, so that a rename in it outlasts a power failure.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only Unix opens folders as files; elsewhere the file system keeps the order of renames by itself.
    if cfg!(unix) {
        match File::open(folder)?.sync_all() {
            // Some network file systems have no such call.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            done => done,
        }
    } else {
        Ok(())
    }
}

/// Whether the disk, or the user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// What to say when `path` could not be written.
pub(crate) fn write_failure(path: &Path, error: &io::Error) -> Failure {
    if is_full(error) {
        let failure = Failure::at(path, format!("no room on the disk to write this file: {error}"));
        let failure = if path.exists() { failure.note("the earlier file is unharmed") } else { failure };
        return failure.help("free some space and run the command again");
    }
    let failure = Failure::at(path, format!("this file cannot be written: {error}"));
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            failure.help("choose a folder that you may write to")
        }
        ErrorKind::NotFound => failure.help(format!("create the folder {}", folder_of(path).display())),
        _ => failure,
    }
}

/// What to say when `path` could not be read.
pub(crate) fn read_failure(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::at(path, "no such file").help("check the path"),
        _ => Failure::at(path, format!("this file cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_and_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("report.html");
        for text in ["first", "second, and longer"] {
            write_atomic(&path, |writer| writer.write_all(text.as_bytes())).expect("a writable folder");
            assert_eq!(fs::read_to_string(&path).expect("written"), text);
        }
        assert_eq!(names(folder.path()), ["report.html"]);
    }

    #[test]
    fn a_full_disk_leaves_the_earlier_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lmv.lock");
        write_atomic(&path, |writer| writer.write_all(b"whole")).expect("a writable folder");
        let failure = write_atomic(&path, |writer| {
            writer.write_all(b"hal")?;
            Err(ErrorKind::StorageFull.into())
        })
        .expect_err("the disk is full");
        assert!(failure.what.starts_with("no room on the disk to write this file"), "{failure}");
        assert_eq!(failure.notes, ["the earlier file is unharmed"]);
        assert_eq!(failure.path.as_deref(), Some(path.as_path()));
        assert_eq!(fs::read(&path).expect("unharmed"), b"whole");
        assert_eq!(names(folder.path()), ["lmv.lock"]);
    }

    #[test]
    fn a_leftover_of_a_killed_process_is_in_nobody_s_way() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for count in 0..64 {
            fs::write(folder.path().join(format!(".a.tmp-{}-{count}", std::process::id())), "").expect("writable");
        }
        write_atomic(folder.path().join("a"), |writer| writer.write_all(b"x")).expect("another name is found");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failure = write_atomic(folder.path().join("no/file"), |_| Ok(())).expect_err("no such folder");
        assert_eq!(failure.help, Some(format!("create the folder {}", folder.path().join("no").display())));
    }
}
