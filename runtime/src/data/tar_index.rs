//! Where the members of an uncompressed tar lie, so that many threads can read them without unpacking.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::error::{Failure, Result};

/// A regular file in a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name, without a leading `./`.
    pub name: String,
    /// Where its bytes begin in the tar.
    pub offset: u64,
    /// How many there are.
    pub size: u64,
}

/// What a tar holds.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Regular files, in the order of the tar.
    pub files: Vec<Member>,
    /// Folders, without a slash at the end.
    pub folders: Vec<String>,
    /// Members that are neither, and names that are not UTF-8.
    pub others: Vec<String>,
}

/// Reads the headers of the tar at `path` once, skipping over the contents.
pub(super) fn index(path: &Path) -> Result<Index> {
    let file = File::open(path).map_err(|error| Failure::at(path, format!("cannot be opened: {error}")))?;
    let length =
        file.metadata().map_err(|error| Failure::at(path, format!("its length cannot be read: {error}")))?.len();
    let mut magic = [0; 6];
    let begin = read_at(&file, &mut magic[..(length.min(6)) as usize], 0);
    begin.map_err(|error| Failure::at(path, format!("cannot be read: {error}")))?;
    for (start, name, tool) in [
        (&[0x1f, 0x8b][..], "gzip", "gunzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd][..], "zstd", "unzstd"),
        (&[0xfd, b'7', b'z', b'X', b'Z'][..], "xz", "unxz"),
        (b"BZh", "bzip2", "bunzip2"),
    ] {
        if magic.starts_with(start) {
            return Err(Failure::at(path, format!("is compressed with {name}, expected a plain tar"))
                .note("images are read from the middle of the tar, which a compressed one does not allow")
                .help(format!("uncompress it once with `{tool}`")));
        }
    }
    if length == 0 {
        return Err(Failure::at(path, "is empty (0 bytes), expected a tar").help("copy or download it again"));
    }

    let mut index = Index::default();
    let broken = |error: std::io::Error, index: &Index| {
        let mut failure = Failure::at(path, format!("is no tar, or is damaged: {error}"));
        if let Some(last) = index.files.last() {
            failure = failure.note(format!("the last member that could be read is {}", last.name));
        }
        failure.help("copy or download it again")
    };
    let mut archive = tar::Archive::new(BufReader::new(file));
    let entries = archive.entries_with_seek().map_err(|error| broken(error, &index))?;
    for entry in entries {
        let entry = entry.map_err(|error| broken(error, &index))?;
        let name = match std::str::from_utf8(&entry.path_bytes()) {
            Ok(name) => name.trim_start_matches("./").to_string(),
            Err(_) => {
                index.others.push(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
                continue;
            }
        };
        let (offset, size) = (entry.raw_file_position(), entry.size());
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(Failure::at(
                        path,
                        format!(
                            "is cut short: {name} should end at byte {}, the file at {length}",
                            offset.saturating_add(size)
                        ),
                    )
                    .help("copy or download it again"));
                }
                index.files.push(Member { name, offset, size });
            }
            tar::EntryType::Directory => index.folders.push(name.trim_end_matches('/').to_string()),
            _ => index.others.push(name),
        }
    }
    Ok(index)
}

/// Fills `buffer` from `offset` on, without moving a position that threads share.
#[cfg(unix)]
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from `offset` on. Moves the position, which nothing else here relies on.
#[cfg(windows)]
pub(super) fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        offset += read as u64;
    }
    Ok(())
}
