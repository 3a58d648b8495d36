//! The folder of a run: all that is needed to repeat it, and all that it gave (design.md §5).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};
use crate::training::atomic_file::{folder_of, sync_folder, write_failure};
use crate::training::checkpoint_store::CheckpointStore;
use crate::training::metrics::Metrics;

/// Held by the process that trains in the folder. The system lets go of it when the process ends, however it ends.
const LOCK: &str = ".lock";

/// What a run can go on from.
const CHECKPOINTS: &str = "checkpoints";

/// Longest name of a run, in bytes; file systems take 255 with the number behind it.
const LONGEST_NAME: usize = 200;

/// A run folder: `metrics.jsonl`, `checkpoints/{last,best}/` and what others put beside them.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Itself and the folders above it that were made for it, the innermost first; none of a run that was there before.
    made: Vec<PathBuf>,
    /// Locked while this lives; none for a folder that is only read, or on a file system without locks.
    _lock: Option<File>,
}

impl RunFolder {
    /// Makes `root/name-n` with the first n ≥ 1 that is free, and the folders above it. Two processes never get the
    /// same one.
    ///
    /// # Errors
    /// A name that is no file name, and what the disk reports.
    pub fn create(root: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        let above = root.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists());
        let above: Vec<PathBuf> = above.map(Path::to_path_buf).collect();
        fs::create_dir_all(root).map_err(|error| folder_failure(root, &error))?;
        let path = (1_u64..)
            .map(|number| root.join(format!("{name}-{number}")))
            .find_map(|path| match fs::create_dir(&path) {
                Ok(()) => Some(Ok(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
                Err(error) => Some(Err(folder_failure(&path, &error))),
            })
            .ok_or_else(|| Failure::at(root, format!("every number for a run named `{name}` is taken")))??;
        sync_folder(root).map_err(|error| folder_failure(root, &error))?;
        let lock = lock(&path)?;
        let made = std::iter::once(path.clone()).chain(above).collect();
        Ok(Self { path, made, _lock: lock })
    }

    /// Takes the folder away again if it was made by [`create`](Self::create) and holds nothing of a run that is worth
    /// keeping: no step was taken, and nothing measured. Folders above it that were made for it go where nothing else has
    /// come into them. What cannot be removed stays.
    pub fn discard_unused(self) {
        let steps = fs::metadata(self.metrics_path()).is_ok_and(|metrics| metrics.len() > 0);
        let Self { path, made, _lock: lock } = self;
        let Some((run, above)) = made.split_first() else { return };
        if steps || path.join(CHECKPOINTS).exists() {
            return;
        }
        // Some systems remove no file that is open.
        drop(lock);
        if fs::remove_dir_all(run).is_ok() {
            // Up to the first that holds something else.
            let _ = above.iter().try_for_each(fs::remove_dir);
        }
    }

    /// The run at `path`, to be read: nothing is changed, and another process may be training in it.
    ///
    /// # Errors
    /// No such folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { path: existing(path.as_ref())?, made: Vec::new(), _lock: None })
    }

    /// The run at `path`, to be trained further.
    ///
    /// # Errors
    /// No such folder, one that may not be written to, and one in which another process is training.
    pub fn resume(path: impl AsRef<Path>) -> Result<Self> {
        let path = existing(path.as_ref())?;
        let lock = lock(&path)?;
        Ok(Self { path, made: Vec::new(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its `metrics.jsonl` is, for [`super::metrics::read`].
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Its `metrics.jsonl`, to add lines to. A resumed run then calls [`Metrics::truncate_after`] with the checkpoint's
    /// step.
    ///
    /// # Errors
    /// As [`Metrics::open`].
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::open(self.metrics_path())
    }

    /// Its checkpoints.
    pub fn checkpoints(&self) -> CheckpointStore {
        CheckpointStore::new(self.path.join(CHECKPOINTS))
    }
}

fn check_name(name: &str) -> Result<()> {
    let wrong = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > LONGEST_NAME {
        format!("has {} bytes, expected at most {LONGEST_NAME}", name.len())
    } else if name.starts_with('.') {
        "begins with a dot".to_owned()
    } else if let Some(character) = name.chars().find(|c| r#"/\:*?"<>|"#.contains(*c) || c.is_control()) {
        format!("has the character {character:?} in it")
    } else {
        return Ok(());
    };
    Err(Failure::new(format!("the name of the run, {name:?}, {wrong}"))
        .help("choose a name that can be the name of a folder"))
}

fn existing(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let failure =
        Failure::at(path, if path.exists() { "this is a file, expected a run folder" } else { "no such run" });
    let root = folder_of(path);
    let mut runs: Vec<String> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    runs.sort();
    // Enough to recognise a slip of the finger; a folder may hold thousands.
    let shown = runs.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    let more = if runs.len() > 10 { format!(" and {} more", runs.len() - 10) } else { String::new() };
    Err(if runs.is_empty() {
        failure.help("give the folder that `lmvc train` named, such as runs/vit-1")
    } else {
        failure.help(format!("{} has {shown}{more}", root.display()))
    })
}

fn lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| write_failure(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Failure::at(folder, "another process is training in this run folder")
            .help("wait for it, or stop it; to train beside it, start a run of its own")),
        // Some network file systems have no locks; training there is better than not training.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn folder_failure(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            Failure::at(path, "expected a folder, and there is a file in the way")
                .help("choose another folder for the runs")
        }
        _ => Failure::at(path, format!("this folder cannot be made: {error}"))
            .help("choose a folder that you may write to, on a disk with room"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn runs_are_numbered() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let runs = root.path().join("deep/runs");
        let first = RunFolder::create(&runs, "vit").expect("a writable folder");
        let second = RunFolder::create(&runs, "vit").expect("a writable folder");
        let other = RunFolder::create(&runs, "vit-small").expect("a writable folder");
        assert_eq!(first.path(), runs.join("vit-1"));
        assert_eq!(second.path(), runs.join("vit-2"));
        assert_eq!(other.path(), runs.join("vit-small-1"));
    }

    #[test]
    fn many_at_once_get_folders_of_their_own() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let paths: BTreeSet<PathBuf> = std::thread::scope(|scope| {
            let create = || RunFolder::create(root.path(), "race").expect("a writable folder").path().to_path_buf();
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let expected: BTreeSet<PathBuf> = (1..=16).map(|n| root.path().join(format!("race-{n}"))).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (name, wrong) in [
            ("", "is empty"),
            ("../x", "begins with a dot"),
            ("a/b", "has the character '/' in it"),
            ("a\0", "has the character '\\0' in it"),
            (&"x".repeat(201), "has 201 bytes, expected at most 200"),
        ] {
            let failure = RunFolder::create(root.path(), name).expect_err("no file name");
            assert!(failure.what.ends_with(wrong), "{failure}");
        }
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 0);
    }

    #[test]
    fn a_folder_in_which_nothing_came_to_be_is_taken_away() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let runs = root.path().join("deep/runs");
        let create = || RunFolder::create(&runs, "vit").expect("a writable folder");
        let write = |run: &RunFolder| fs::write(run.path().join("spec.lmv"), "model = vit").expect("writable");
        let run = create();
        write(&run);
        drop(run.metrics().expect("writable"));
        run.discard_unused();
        assert!(!root.path().join("deep").exists() && root.path().exists(), "with the folders that were made for it");

        // What came between stays, and so does a run with a step, one with a checkpoint, and one that was there.
        let (stepped, saved) = (create(), create());
        stepped.metrics().and_then(|mut m| m.append(1, &serde_json::json!({ "loss": 2.0 }))).expect("writable");
        fs::create_dir(saved.path().join(CHECKPOINTS)).expect("writable");
        let (first, second) = (stepped.path().to_path_buf(), saved.path().to_path_buf());
        stepped.discard_unused();
        saved.discard_unused();
        assert!(first.exists() && second.exists());
        let third = create();
        let path = third.path().to_path_buf();
        drop(third);
        RunFolder::resume(&path).expect("it is there").discard_unused();
        assert!(path.exists());
    }

    #[test]
    fn only_one_process_trains_and_anyone_reads() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::create(root.path(), "vit").expect("a writable folder");
        let path = run.path().to_path_buf();
        let failure = RunFolder::resume(&path).expect_err("locked");
        assert_eq!(failure.what, "another process is training in this run folder");
        RunFolder::open(&path).expect("readable");
        drop(run);
        let resumed = RunFolder::resume(&path).expect("free again");
        let mut metrics = resumed.metrics().expect("writable");
        metrics.append(1, &serde_json::json!({"loss": 2.0})).expect("an object");
        assert_eq!(super::super::metrics::read(resumed.metrics_path()).expect("readable").len(), 1);
    }

    #[test]
    fn a_run_that_is_not_there_is_told_from_those_that_are() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let missing = root.path().join("vit-3");
        let help = RunFolder::open(&missing).expect_err("nothing there").help;
        assert_eq!(help.as_deref(), Some("give the folder that `lmvc train` named, such as runs/vit-1"));
        RunFolder::create(root.path(), "vit").expect("a writable folder");
        let failure = RunFolder::resume(&missing).expect_err("another is there");
        assert_eq!(failure.help, Some(format!("{} has vit-1", root.path().display())));
        fs::write(&missing, "").expect("writable");
        assert_eq!(RunFolder::open(&missing).expect_err("a file").what, "this is a file, expected a run folder");
        let failure = RunFolder::create(&missing, "vit").expect_err("a file in the way");
        assert_eq!(failure.what, "expected a folder, and there is a file in the way");
    }
}
