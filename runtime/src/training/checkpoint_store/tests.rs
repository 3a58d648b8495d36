use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A checkpoint of which every number tells the step.
struct Made {
    state: TrainState,
    model: Vec<Tensor<'static>>,
    optimizer: Vec<Tensor<'static>>,
    ema: Vec<Tensor<'static>>,
}

fn made(step: u64) -> Made {
    let value = step as f32;
    let tensor = |name: &'static str| Tensor::new(name, vec![2, 3], vec![value; 6]);
    Made {
        state: TrainState {
            epoch: step / 10,
            step_in_epoch: step % 10,
            global_step: step,
            seed: u64::MAX,
            best: Some(Best { metric: 0.1 + 0.2, epoch: 1, loss: Some(0.7) }),
            spec_hash: "c0ffee".into(),
            extra: json!({"seal": "no", "text": "a \"seal\": \"b\""}),
        },
        model: vec![tensor("bias"), tensor("weight")],
        optimizer: vec![tensor("bias.m"), tensor("bias.v"), tensor("weight.m"), tensor("weight.v")],
        ema: vec![tensor("bias"), tensor("weight")],
    }
}

impl Made {
    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { state: &self.state, model: &self.model, optimizer: &self.optimizer, ema: Some(&self.ema) }
    }
}

fn store() -> (TempDir, CheckpointStore) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = CheckpointStore::new(folder.path().join("checkpoints"));
    (folder, store)
}

fn save(store: &CheckpointStore, slot: Slot, step: u64) {
    store.save(slot, made(step).checkpoint()).expect("a writable folder");
}

#[track_caller]
fn assert_holds(store: &CheckpointStore, slot: Slot, step: u64) {
    let loaded = store.load(slot).expect("a whole checkpoint");
    let Made { state, model, optimizer, ema } = made(step);
    assert_eq!((loaded.state, loaded.model, loaded.optimizer, loaded.ema), (state, model, optimizer, Some(ema)));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).expect("writable");
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).expect("writable");
    }
}

#[test]
fn what_is_saved_is_loaded() {
    let (_folder, store) = store();
    assert!(!store.exists(Slot::Last));
    for step in [7, 8, 9] {
        save(&store, Slot::Last, step);
        assert_holds(&store, Slot::Last, step);
    }
    save(&store, Slot::Best, 8);
    assert_holds(&store, Slot::Best, 8);
    assert_holds(&store, Slot::Last, 9);
    assert_eq!(store.load_state(Slot::Last).expect("whole").global_step, 9);
    assert_eq!(names(&store.folder), ["best", "last"]);
    assert_eq!(names(&store.path(Slot::Last)), [EMA, MODEL, OPTIMIZER, STATE]);
}

#[test]
fn a_checkpoint_without_an_average_has_none() {
    let (_folder, store) = store();
    save(&store, Slot::Last, 1);
    let made = made(2);
    store.save(Slot::Last, Checkpoint { ema: None, ..made.checkpoint() }).expect("writable");
    assert_eq!(store.load(Slot::Last).expect("whole").ema, None);
    assert_eq!(names(&store.path(Slot::Last)), [MODEL, OPTIMIZER, STATE]);
}

#[test]
fn every_float_of_the_best_metric_comes_back() {
    for metric in [0.1 + 0.2, f64::MIN_POSITIVE, -f64::MAX, f64::INFINITY, 5e-324, 1.0 / 3.0, 80.712_345_678_9] {
        let text = serde_json::to_string(&Best { metric, epoch: 0, loss: None }).expect("a plain struct");
        let back: Best = serde_json::from_str(&text).expect("what was written");
        assert_eq!(back.metric.to_bits(), metric.to_bits());
    }
}

/// Every state of the table at the top of the module, and those around it.
#[test]
fn a_kill_in_any_state_of_the_swap_leaves_a_whole_checkpoint() {
    let leave = |state: &str| -> (TempDir, CheckpointStore, Option<u64>) {
        let (folder, store) = store();
        let (current, old) = (store.path(Slot::Last), store.old(Slot::Last));
        let temporary = store.folder.join(".last.tmp-1");
        // The new checkpoint, 2, complete in the temporary folder; the old one, 1, in place.
        save(&store, Slot::Last, 2);
        fs::rename(&current, &temporary).expect("writable");
        copy_folder(&temporary, &store.folder.join("kept"));
        fs::rename(&temporary, store.folder.join("new")).expect("writable");
        save(&store, Slot::Last, 1);
        fs::rename(store.folder.join("new"), &temporary).expect("writable");
        fs::remove_dir_all(store.folder.join("kept")).expect("writable");
        let found = match state {
            "writing" => {
                fs::remove_file(temporary.join(STATE)).expect("writable");
                fs::write(temporary.join(OPTIMIZER), "half").expect("writable");
                Some(1)
            }
            "written" => Some(1),
            "old moved away" => {
                fs::rename(&current, &old).expect("writable");
                Some(1)
            }
            "new in place" => {
                fs::rename(&current, &old).expect("writable");
                fs::rename(&temporary, &current).expect("writable");
                Some(2)
            }
            "old half deleted" => {
                fs::rename(&current, &old).expect("writable");
                fs::rename(&temporary, &current).expect("writable");
                fs::remove_file(old.join(STATE)).expect("writable");
                fs::remove_file(old.join(MODEL)).expect("writable");
                Some(2)
            }
            "the first, being written" => {
                fs::remove_dir_all(&current).expect("writable");
                None
            }
            _ => unreachable!("one of the above"),
        };
        (folder, store, found)
    };
    for state in
        ["writing", "written", "old moved away", "new in place", "old half deleted", "the first, being written"]
    {
        let (_folder, store, found) = leave(state);
        let before = names(&store.folder);
        match found {
            Some(step) => assert_holds(&store, Slot::Last, step),
            None => assert!(!store.exists(Slot::Last), "{state}"),
        }
        assert_eq!(names(&store.folder), before, "loading changes nothing: {state}");
        // A full disk right after the kill does no harm either.
        let full = CheckpointStore::with_files(&store.folder, |_| Err(ErrorKind::StorageFull.into()));
        full.save(Slot::Last, made(3).checkpoint()).expect_err("the disk is full");
        if let Some(step) = found {
            assert_holds(&store, Slot::Last, step);
        }
        let (_folder, store, _) = leave(state);
        save(&store, Slot::Last, 3);
        assert_holds(&store, Slot::Last, 3);
        assert_eq!(names(&store.folder), ["last"], "{state}");
    }
}

/// Takes a number of bytes, over all files, and is full then.
struct Limited {
    file: File,
    left: Arc<AtomicUsize>,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        let taken = bytes.len().min(left);
        if taken == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.left.store(left - taken, Ordering::Relaxed);
        self.file.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for Limited {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

#[test]
fn a_disk_that_fills_up_at_any_byte_leaves_the_earlier_checkpoint() {
    let (_folder, store) = store();
    save(&store, Slot::Last, 1);
    let last = store.path(Slot::Last);
    let size: u64 = names(&last).iter().map(|name| fs::metadata(last.join(name)).expect("a file").len()).sum();
    for limit in (0..size as usize).step_by(97) {
        let left = Arc::new(AtomicUsize::new(limit));
        let full = CheckpointStore::with_files(&store.folder, move |path| {
            Ok(Box::new(Limited { file: File::create_new(path)?, left: Arc::clone(&left) }))
        });
        let failure = full.save(Slot::Last, made(2).checkpoint()).expect_err("the disk is full");
        assert!(failure.what.starts_with("no room for the checkpoint"), "{failure}");
        assert_eq!(
            failure.notes,
            [
                "it takes about 2 MiB beside the earlier one".to_owned(),
                format!("the earlier one at {} is unharmed", last.display())
            ]
        );
        assert_eq!(names(&store.folder), ["last"]);
        assert_holds(&store, Slot::Last, 1);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_s_own_full_device_is_recognised() {
    let (folder, store) = store();
    let full =
        CheckpointStore::with_files(&store.folder, |_| Ok(Box::new(File::options().write(true).open("/dev/full")?)));
    let failure = full.save(Slot::Best, made(2).checkpoint()).expect_err("the device is always full");
    assert_eq!(
        failure.to_string(),
        format!(
            "{}: no room for the checkpoint: No space left on device (os error 28)\n  = it takes about 2 MiB beside the \
             earlier one\nhelp: free 2 MiB, then go on with `lmvc train --resume {}`",
            store.path(Slot::Best).display(),
            folder.path().display()
        )
    );
}

#[test]
fn any_damaged_byte_is_found_and_another_checkpoint_named() {
    let (_folder, store) = store();
    save(&store, Slot::Best, 12);
    save(&store, Slot::Last, 25);
    let last = store.path(Slot::Last);
    for name in names(&last) {
        let path = last.join(&name);
        let whole = fs::read(&path).expect("a file");
        for place in (0..whole.len()).step_by(13) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            fs::write(&path, bytes).expect("writable");
            let failure = store.load(Slot::Last).expect_err("damaged");
            assert_eq!(failure.path.as_deref(), Some(path.as_path()));
            if failure.what.contains("format") {
                // The digit of the version is the byte that was changed.
                continue;
            }
            assert!(failure.what.starts_with("the checkpoint is damaged"), "{failure}");
            assert_eq!(
                failure.notes,
                [format!("the checkpoint at {} is whole: epoch 1, step 12", store.path(Slot::Best).display())]
            );
        }
        fs::write(&path, &whole[..whole.len() - 1]).expect("writable");
        store.load(Slot::Last).expect_err("cut short");
        fs::remove_file(&path).expect("writable");
        let failure = store.load(Slot::Last).expect_err("missing");
        assert_eq!(failure.what, "this file of the checkpoint is missing");
        fs::write(&path, whole).expect("writable");
    }
    assert_holds(&store, Slot::Last, 25);
}

#[test]
fn a_damaged_checkpoint_names_its_predecessor_too() {
    let (_folder, store) = store();
    save(&store, Slot::Last, 1);
    copy_folder(&store.path(Slot::Last), &store.old(Slot::Last));
    save_over_without_settling(&store);
    let failure = store.load(Slot::Last).expect_err("damaged");
    let (last, old) = (store.path(Slot::Last), store.old(Slot::Last));
    assert_eq!(failure.notes, [format!("the checkpoint at {} is whole: epoch 0, step 1", old.display())]);
    assert_eq!(
        failure.help,
        Some(format!(
            "to go on from the whole one, delete {} and copy {} to {}",
            last.display(),
            old.display(),
            last.display()
        ))
    );
}

fn save_over_without_settling(store: &CheckpointStore) {
    fs::write(store.path(Slot::Last).join(MODEL), "damaged").expect("writable");
}

#[test]
fn what_is_not_there_is_said() {
    let (_folder, store) = store();
    let failure = store.load(Slot::Last).expect_err("nothing saved");
    assert_eq!(failure.what, "there is no checkpoint `last` in this folder");
    assert_eq!(failure.help.as_deref(), Some("nothing has been saved yet; start the run again"));
    save(&store, Slot::Best, 1);
    let failure = store.load(Slot::Last).expect_err("only the best was saved");
    assert_eq!(failure.help, Some(format!("there is one in {}", store.path(Slot::Best).display())));
}

#[test]
fn a_newer_format_is_not_called_damaged() {
    let (_folder, store) = store();
    save(&store, Slot::Last, 1);
    let path = store.path(Slot::Last).join(STATE);
    let text = fs::read_to_string(&path).expect("text").replace("\"version\": 1", "\"version\": 2");
    fs::write(&path, text).expect("writable");
    let failure = store.load(Slot::Last).expect_err("a newer format");
    assert_eq!(failure.what, "this checkpoint has format 2, and this lmv reads up to 1");
    assert_eq!(failure.help.as_deref(), Some("use the version of lmv that wrote it, or a newer one"));
}

#[test]
fn tensors_that_do_not_fit_are_refused_before_anything_is_written() {
    let (_folder, store) = store();
    let made = made(1);
    let wrong = [Tensor::new("w", vec![4], vec![0.0; 3])];
    let failure = store.save(Slot::Last, Checkpoint { model: &wrong, ..made.checkpoint() }).expect_err("3 is not 4");
    assert_eq!(failure.what, "`w` has 3 values, and its shape is [4]");
    assert!(!store.folder.exists());
}

/// Loading never sees half of one checkpoint and half of the next.
#[test]
fn loading_while_another_thread_saves_gives_whole_checkpoints() {
    let (_folder, store) = store();
    save(&store, Slot::Last, 0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..60).for_each(|step| save(&store, Slot::Last, step));
            done.store(true, Ordering::Relaxed);
        });
        let mut newest = 0;
        while !done.load(Ordering::Relaxed) {
            match store.load(Slot::Last) {
                Ok(loaded) => {
                    let step = loaded.state.global_step;
                    assert!(step >= newest, "{step} after {newest}");
                    newest = step;
                    assert_eq!((loaded.model, loaded.optimizer), (made(step).model, made(step).optimizer));
                }
                Err(failure) => panic!("{failure}"),
            }
        }
    });
}

/// Set for the process that the next test starts and kills.
const CHILD: &str = "LMV_TEST_CHECKPOINT_FOLDER";

/// Not a test by itself: saves until it is killed.
#[test]
fn child_that_saves_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = CheckpointStore::new(PathBuf::from(folder));
    let first = if store.exists(Slot::Last) { store.load_state(Slot::Last).expect("whole").global_step } else { 0 };
    for step in first + 1.. {
        save(&store, Slot::Last, step);
    }
}

#[test]
fn a_process_that_is_killed_at_any_moment_leaves_a_whole_checkpoint() {
    let (_folder, store) = store();
    let test = "child_that_saves_until_it_is_killed";
    // The name of a test is its path without the crate.
    let module = module_path!().split_once("::").expect("a module of a crate").1;
    let mut newest = 0;
    for round in 0..20_u64 {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args([&format!("{module}::{test}"), "--exact", "--nocapture"])
            .env(CHILD, &store.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program starts");
        // Wait until it saves, then for a time that differs from round to round.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !store.load_state(Slot::Last).is_ok_and(|state| state.global_step > newest) {
            assert!(Instant::now() < deadline, "the child saves nothing");
            assert_eq!(child.try_wait().expect("a child"), None, "the child ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(round * 1_777 % 20_000));
        child.kill().expect("a child");
        child.wait().expect("a child");
        let loaded = store.load(Slot::Last).expect("a whole checkpoint");
        let step = loaded.state.global_step;
        assert!(step > newest, "{step} after {newest}");
        newest = step;
        assert_eq!((loaded.model, loaded.optimizer), (made(step).model, made(step).optimizer));
    }
}

#[test]
fn of_equal_values_the_lower_loss_is_the_best() {
    let best = Best { metric: 80.0, epoch: 3, loss: Some(0.5) };
    for (metric, loss, beaten) in [
        (81.0, Some(0.9), true),
        (79.0, Some(0.1), false),
        (80.0, Some(0.4), true),
        (80.0, Some(0.5), false),
        (80.0, None, false),
    ] {
        assert_eq!(best.is_beaten(Reading::Percent, metric, loss), beaten, "{metric} {loss:?}");
    }
    // A checkpoint from before there was a loss in it.
    let old: Best = serde_json::from_str("{\"metric\":\"80\",\"epoch\":3}").expect("an old one");
    assert!(!old.is_beaten(Reading::Percent, 80.0, Some(0.1)));
}
