//! A folder of corrupted images from a set of good ones.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use super::jpeg_compression::jpeg;
use super::prepare::prepare;
use super::{CORRUPTIONS, Corruption, Severity};
use crate::data::{Damage, ImageSet, draws};
use crate::error::{Failure, Result};

/// The quality of the JPEGs that corrupted images are kept in (make_imagenet_c.py).
const QUALITY: u8 = 85;

/// What to make.
#[derive(Clone, Debug)]
pub struct CorruptImages {
    /// Which corruptions.
    pub corruptions: Vec<Corruption>,
    /// At which severities.
    pub severities: Vec<Severity>,
    /// Pixels on each side of the result, 32 to 1024; ImageNet-C has 224.
    pub side: usize,
    /// Another seed, other noise.
    pub seed: u64,
    /// Threads that work; 0 for one for each core.
    pub threads: usize,
}

impl Default for CorruptImages {
    /// All of ImageNet-C.
    fn default() -> Self {
        Self { corruptions: CORRUPTIONS.to_vec(), severities: Severity::ALL.to_vec(), side: 224, seed: 0, threads: 0 }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Corrupted {
    /// Images that were written.
    pub written: usize,
    /// Images that were there, whole, from before.
    pub kept: usize,
    /// False if it was stopped before the end.
    pub finished: bool,
}

/// The file that says what a folder's images were made with, so that no others come among them.
pub const MARKER: &str = ".lmv-corrupt.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// Goes up when the same options give other images.
    making: u32,
    seed: u64,
    image: usize,
}

/// Writes `out/<corruption>/<severity>/<class>/<file>` for every image of `set` (paper.md §3.5), and a folder for every
/// class, those without images too.
///
/// An image is the middle `side` × `side` of the original, as ImageNet's evaluation cuts it, then corrupted. JPEGs stay JPEGs, of
/// quality 85 and under their name; other files become PNG, with `.png` behind their name where it is not there.
/// What is there whole is kept, so that a call that was stopped goes on. Each file is written under a hidden name first; it
/// is not synced, because files that a power cut shortens are found and made anew.
///
/// `told` hears, from any thread, of each original that is through: how many images have come of it. Files that cannot be
/// read are noted in `damage` and left out. Where `stop` is set, it ends after the images under way.
///
/// # Errors
/// A side out of range; `out` holds images of another seed or size, or cannot be written to.
pub fn corrupt_images(
    set: &ImageSet,
    out: &Path,
    options: &CorruptImages,
    damage: &Damage,
    stop: &AtomicBool,
    told: &(dyn Fn(usize) + Sync),
) -> Result<Corrupted> {
    if !(32..=1024).contains(&options.side) {
        return Err(Failure::new(format!(
            "corrupted images of {0} × {0} pixels, expected 32 to 1024 on a side",
            options.side
        )));
    }
    claim(out, options)?;
    let folders: Vec<(&Corruption, Severity, PathBuf)> = options
        .corruptions
        .iter()
        .flat_map(|corruption| options.severities.iter().map(move |severity| (corruption, *severity)))
        .map(|(corruption, severity)| {
            (corruption, severity, out.join(corruption.name).join(severity.number().to_string()))
        })
        .collect();
    for (_, _, folder) in &folders {
        for class in set.classes() {
            let folder = folder.join(class);
            fs::create_dir_all(&folder).map_err(|error| refused(&folder, &error))?;
        }
    }
    let work = Work {
        set,
        folders,
        options,
        damage,
        stop,
        told,
        next: AtomicUsize::new(0),
        written: AtomicUsize::new(0),
        kept: AtomicUsize::new(0),
        failure: Mutex::new(None),
    };
    let threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(set.len()) {
            // Fewer threads do the same work; this one works in any case.
            let _ = thread::Builder::new().name("corrupt".to_string()).spawn_scoped(scope, || work.run());
        }
        work.run();
    });
    let Work { next, written, kept, failure, .. } = work;
    if let Some(failure) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let finished = next.into_inner() >= set.len();
    Ok(Corrupted { written: written.into_inner(), kept: kept.into_inner(), finished })
}

/// What the threads share.
struct Work<'a> {
    set: &'a ImageSet,
    /// The folder of each corruption at each severity.
    folders: Vec<(&'a Corruption, Severity, PathBuf)>,
    options: &'a CorruptImages,
    damage: &'a Damage,
    stop: &'a AtomicBool,
    told: &'a (dyn Fn(usize) + Sync),
    /// The next image that a thread takes.
    next: AtomicUsize,
    written: AtomicUsize,
    kept: AtomicUsize,
    /// What ended it.
    failure: Mutex<Option<Failure>>,
}

impl Work<'_> {
    /// What a thread does until there is nothing left.
    fn run(&self) {
        loop {
            if self.stop.load(Ordering::Relaxed) || self.failed().is_some() {
                return;
            }
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.set.len() {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| self.image(index))) {
                Ok(Ok(images)) => (self.told)(images),
                Ok(Err(failure)) => *self.failed() = Some(failure),
                Err(_) => {
                    let what = "a corruption broke down on this image; this is a fault of lmv";
                    *self.failed() = Some(Failure::at(self.set.place(index), what));
                }
            }
        }
    }

    /// Makes what is missing of the image, and says how many images it has now.
    fn image(&self, index: usize) -> Result<usize> {
        let name = self.set.name(index);
        let file = stored_as(name);
        let (kept, missing): (Vec<_>, Vec<_>) =
            self.folders.iter().partition(|(.., folder)| is_whole(&folder.join(&file)));
        self.kept.fetch_add(kept.len(), Ordering::Relaxed);
        if missing.is_empty() {
            return Ok(kept.len());
        }
        let image = match self.set.load(index) {
            Ok(image) => prepare(&image, self.options.side),
            Err(failure) => {
                self.damage.add(index, failure);
                return Ok(kept.len());
            }
        };
        for (corruption, severity, folder) in &missing {
            let purpose = format!("corrupt {} {} {name}", corruption.name, severity.number());
            let mut rng = draws::stream(self.options.seed, &purpose, 0, 0);
            let corrupted = corruption.apply(&image, *severity, &mut rng);
            let path = folder.join(&file);
            let bytes = if is_jpeg(&file) { jpeg(&corrupted, QUALITY) } else { corrupted.png() };
            write(&path, &bytes).map_err(|error| refused(&path, &error))?;
            self.written.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.folders.len())
    }

    fn failed(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sure that `out` holds images of these options or nothing, and says in it what it holds.
fn claim(out: &Path, options: &CorruptImages) -> Result<()> {
    let wanted = Marker { making: 1, seed: options.seed, image: options.side };
    let other = |what: String| {
        Failure::at(out, what).help("give another folder, or remove this one if nothing in it is needed")
    };
    fs::create_dir_all(out).map_err(|error| refused(out, &error))?;
    let marker = out.join(MARKER);
    let text = match fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut entries = fs::read_dir(out).map_err(|error| refused(out, &error))?;
            if entries.next().is_some() {
                return Err(other(
                    "holds other files, expected a new or empty folder for corrupted images".to_string(),
                ));
            }
            // A struct of numbers has nothing that JSON cannot hold.
            let json = serde_json::to_vec_pretty(&wanted).expect("a struct of numbers");
            return write(&marker, &json).map_err(|error| refused(out, &error));
        }
        Err(error) => return Err(refused(&marker, &error)),
    };
    match serde_json::from_str::<Marker>(&text) {
        Ok(found) if found == wanted => Ok(()),
        Ok(found) if found.making != wanted.making => {
            Err(other("holds corrupted images that another version of lmv made, in another way".to_string()))
        }
        Ok(found) => Err(other(format!(
            "holds corrupted images of other options: found seed {} and {1} × {1} pixels, asked for seed {2} and {3} × {3}",
            found.seed, found.image, wanted.seed, wanted.image
        ))),
        Err(error) => Err(other(format!("holds a {MARKER} that cannot be understood: {error}"))),
    }
}

/// The name of the result of `class/file`.
fn stored_as(name: &str) -> String {
    if is_jpeg(name) || has_ending(name, &["png"]) { name.to_string() } else { format!("{name}.png") }
}

fn is_jpeg(name: &str) -> bool {
    has_ending(name, &["jpg", "jpeg"])
}

fn has_ending(name: &str, endings: &[&str]) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or("");
    endings.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// The last bytes of a JPEG: its end marker.
const JPEG_END: &[u8] = &[0xff, 0xd9];
/// The last bytes of a PNG: the name and the checksum of its end chunk.
const PNG_END: &[u8] = &[b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

/// Whether the file is there and ends as its format ends.
fn is_whole(path: &Path) -> bool {
    let end = if is_jpeg(&path.to_string_lossy()) { JPEG_END } else { PNG_END };
    let ending = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-(end.len() as i64)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    ending().is_ok_and(|bytes| bytes == end)
}

/// Under a hidden name first, so that what has the file's name is whole.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.partial"));
    let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // There may be nothing to remove, and the first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    Failure::at(path, format!("corrupted images cannot be written there: {error}"))
        .help("check the free space and your rights; the same command goes on where it stopped")
}
