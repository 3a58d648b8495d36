//! `metrics.jsonl`: what was measured in a run, one JSON object a line.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Failure, Result};
use crate::training::atomic_file::{read_failure, write_atomic, write_failure};

/// The key under which every line says how many steps the run had taken when it was written.
const STEP: &str = "step";

/// The file, open for lines to be added. Only one process at a time may hold it: [`super::run_folder`] has the lock.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens the file, or makes it. A last line that a kill or a full disk cut short is dropped.
    ///
    /// # Errors
    /// What the disk reports, and a line before the last that is not a JSON object.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        match fs::read(&path) {
            Ok(bytes) => {
                let whole: usize = lines(&path, &bytes)?.iter().map(|line| line.text.len()).sum();
                if whole < bytes.len() {
                    let file = OpenOptions::new().write(true).open(&path);
                    file.and_then(|file| file.set_len(whole as u64)).map_err(|error| write_failure(&path, &error))?;
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(read_failure(&path, &error)),
        }
        let file = append_to(&path)?;
        Ok(Self { path, file })
    }

    /// Adds a line: `step`, then the fields of `record`, which must serialise to an object. JSON has no NaN and no
    /// infinity; they become `null`.
    ///
    /// The line survives a kill as soon as this returns, and a power failure after [`Metrics::sync`].
    ///
    /// # Errors
    /// What the disk reports (the file is left with whole lines), and a record that is no object or has a `step`.
    pub fn append(&mut self, step: u64, record: &impl Serialize) -> Result<()> {
        let wrong = |what: String| Failure::at(&self.path, what);
        let text = serde_json::to_string(record)
            .map_err(|error| wrong(format!("these metrics cannot be written as JSON: {error}")))?;
        let fields: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|_| wrong(format!("metrics have to be a JSON object, and these are {text}")))?;
        if fields.contains_key(STEP) {
            return Err(wrong(format!("metrics have a field `{STEP}` already: {text}")));
        }
        let comma = if fields.is_empty() { "" } else { "," };
        // The text of an object begins with a brace.
        let line = format!("{{\"{STEP}\":{step}{comma}{}\n", &text[1..]);
        let before = self.file.metadata().map_err(|error| write_failure(&self.path, &error))?.len();
        self.file.write_all(line.as_bytes()).map_err(|error| {
            // Half a line would make the next one unreadable. If this fails as well, opening the file drops it.
            let _ = self.file.set_len(before);
            write_failure(&self.path, &error)
        })
    }

    /// Flushes the lines to the disk. Call it before a checkpoint is saved: then the metrics on the disk always reach
    /// at least as far as the checkpoint.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|error| write_failure(&self.path, &error))
    }

    /// Cuts off the lines that were written after `step`, so that a resumed run writes them again, once. A line without
    /// a `step` stays.
    ///
    /// # Errors
    /// As [`Metrics::open`]; the file is then as it was.
    pub fn truncate_after(&mut self, step: u64) -> Result<()> {
        let bytes = fs::read(&self.path).map_err(|error| read_failure(&self.path, &error))?;
        let all = lines(&self.path, &bytes)?;
        write_atomic(&self.path, |writer| {
            all.iter().filter(|line| line.step().is_none_or(|at| at <= step)).try_for_each(|l| writer.write_all(l.text))
        })?;
        // The old handle belongs to the file that was replaced.
        self.file = append_to(&self.path)?;
        Ok(())
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The objects of a `metrics.jsonl`, in order, without a last line that was cut short. Changes nothing, so it can be
/// called while a run is writing.
///
/// # Errors
/// What the disk reports, and a line before the last that is not a JSON object.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Map<String, Value>>> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|error| read_failure(path, &error))?;
    Ok(lines(path, &bytes)?.into_iter().map(|line| line.fields).collect())
}

struct Line<'a> {
    /// With the line feed.
    text: &'a [u8],
    fields: Map<String, Value>,
}

impl Line<'_> {
    fn step(&self) -> Option<u64> {
        self.fields.get(STEP)?.as_u64()
    }
}

fn lines<'a>(path: &Path, bytes: &'a [u8]) -> Result<Vec<Line<'a>>> {
    let mut lines = Vec::new();
    let mut texts = bytes.split_inclusive(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((number, text)) = texts.next() {
        let last = texts.peek().is_none();
        match serde_json::from_slice(text) {
            // A line without its line feed may have been cut short as well, and is dropped even where it parses.
            Ok(fields) if text.ends_with(b"\n") => lines.push(Line { text, fields }),
            _ if last => break,
            Ok(_) => unreachable!("only the last text of `split_inclusive` has no line feed"),
            Err(error) => {
                return Err(Failure::at(path, format!("line {} is not a JSON object: {error}", number + 1))
                    .help("remove the line, or restore the file from a copy"));
            }
        }
    }
    Ok(lines)
}

fn append_to(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).create(true).open(path).map_err(|error| write_failure(path, &error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn started() -> (tempfile::TempDir, Metrics) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut metrics = Metrics::open(folder.path().join("metrics.jsonl")).expect("a writable folder");
        for step in [10, 20, 30] {
            metrics.append(step, &json!({"loss": 1.0 / step as f64})).expect("an object");
        }
        (folder, metrics)
    }

    fn steps(metrics: &Metrics) -> Vec<u64> {
        let lines = read(metrics.path()).expect("a readable file");
        lines.iter().map(|line| line["step"].as_u64().expect("a number")).collect()
    }

    #[test]
    fn lines_are_objects_with_their_step() {
        #[derive(Serialize)]
        struct Record {
            lr: f64,
            epoch: u64,
            loss: f64,
        }
        let (_folder, mut metrics) = started();
        metrics.append(40, &Record { lr: 0.5, epoch: 3, loss: f64::NAN }).expect("an object");
        metrics.append(41, &json!({})).expect("an object");
        metrics.sync().expect("a disk");
        let text = fs::read_to_string(metrics.path()).expect("text");
        assert!(text.starts_with("{\"step\":10,\"loss\":0.1}\n"), "{text}");
        assert!(text.ends_with("\n{\"step\":40,\"lr\":0.5,\"epoch\":3,\"loss\":null}\n{\"step\":41}\n"), "{text}");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let (_folder, mut metrics) = started();
        let failure = metrics.append(4, &json!([1])).expect_err("an array");
        assert_eq!(failure.what, "metrics have to be a JSON object, and these are [1]");
        assert!(metrics.append(4, &json!({"step": 1})).is_err());
        assert_eq!(steps(&metrics), [10, 20, 30]);
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_is_torn() {
        let (_folder, metrics) = started();
        let whole = fs::read(metrics.path()).expect("readable");
        let second = whole.iter().position(|&byte| byte == b'\n').expect("three lines") + 1;
        let third = second + whole[second..].iter().position(|&byte| byte == b'\n').expect("three lines") + 1;
        for length in third..whole.len() {
            fs::write(metrics.path(), &whole[..length]).expect("writable");
            assert_eq!(steps(&metrics), [10, 20]);
            let mut resumed = Metrics::open(metrics.path()).expect("only the last line is torn");
            resumed.append(25, &json!({})).expect("an object");
            assert_eq!(steps(&metrics), [10, 20, 25]);
        }
        // A power failure may leave a length without the bytes.
        fs::write(metrics.path(), [&whole[..], &[0; 100]].concat()).expect("writable");
        assert_eq!(steps(&metrics), [10, 20, 30]);
    }

    #[test]
    fn a_resumed_run_cuts_off_what_came_after_its_checkpoint() {
        let (_folder, mut metrics) = started();
        metrics.truncate_after(25).expect("whole lines");
        assert_eq!(steps(&metrics), [10, 20]);
        metrics.append(30, &json!({"again": true})).expect("an object");
        assert_eq!(steps(&metrics), [10, 20, 30]);
        metrics.truncate_after(30).expect("whole lines");
        assert_eq!(steps(&metrics), [10, 20, 30]);
        metrics.truncate_after(0).expect("whole lines");
        assert_eq!(steps(&metrics), [0_u64; 0]);
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named() {
        let (_folder, metrics) = started();
        let text = fs::read_to_string(metrics.path()).expect("text").replace("{\"step\":20", "{\"step:20");
        fs::write(metrics.path(), &text).expect("writable");
        let failure = read(metrics.path()).expect_err("line 2");
        assert!(failure.what.starts_with("line 2 is not a JSON object"), "{failure}");
        assert!(Metrics::open(metrics.path()).is_err());
        assert_eq!(fs::read_to_string(metrics.path()).expect("text"), text, "nothing was changed");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said() {
        let mut metrics =
            Metrics { path: "metrics.jsonl".into(), file: append_to(Path::new("/dev/full")).expect("a device") };
        let failure = metrics.append(1, &json!({})).expect_err("the device is always full");
        assert!(failure.what.starts_with("no room on the disk"), "{failure}");
    }
}
