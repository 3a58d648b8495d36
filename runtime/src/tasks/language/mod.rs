//! Language models: a window of tokens in, for each a score for every token that could be next.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lmv_compiler::Experiment;
use lmv_compiler::config::{Call, Config};
use rand::Rng;

use super::{Batches, Opening, Task};
use crate::data::order;
use crate::error::{Failure, Result};
use crate::events::Observer;
use crate::examples::{Batch, Examples};
use crate::training::seeds::Seeds;

/// The names of all datasets that this task opens.
pub const DATASETS: [&str; 1] = ["text_folder"];

/// Samples in an evaluation batch of a spec that has no recipe.
const EVALUATION_BATCH: usize = 64;
/// The texts of a split are held in memory; more than this is refused.
const MOST_BYTES: u64 = 2 << 30;

/// The task with both splits opened.
pub struct Language {
    train: Option<Texts>,
    val: Texts,
    window: usize,
    batch: usize,
    seeds: Seeds,
}

/// The texts of a split.
struct Texts {
    texts: Vec<Vec<u8>>,
    hash: String,
}

impl Texts {
    /// `ROOT/SPLIT/*.txt`, by their sorted names.
    fn open(root: &Path, split: &str, window: usize) -> Result<Self> {
        let folder = root.join(split);
        let unreadable = |path: &Path, error: std::io::Error| Failure::at(path, format!("cannot be read: {error}"));
        let entries = fs::read_dir(&folder).map_err(|error| {
            unreadable(&folder, error)
                .help("texts are looked for as ROOT/train/*.txt and ROOT/val/*.txt; give ROOT with `--path NAME=ROOT`")
        })?;
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&folder, error))?.path();
            if path.extension().is_some_and(|ending| ending == "txt") {
                paths.push(path);
            }
        }
        paths.sort();
        let (mut texts, mut hasher, mut total) = (Vec::new(), blake3::Hasher::new(), 0);
        for path in &paths {
            total += fs::metadata(path).map_err(|error| unreadable(path, error))?.len();
            if total > MOST_BYTES {
                return Err(Failure::at(&folder, format!("holds more than {} GiB of text", MOST_BYTES >> 30))
                    .help("a split is held in memory; give it fewer texts"));
            }
            let text = fs::read(path).map_err(|error| unreadable(path, error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            hasher.update(name.as_bytes()).update(b"\0").update(&(text.len() as u64).to_le_bytes()).update(&text);
            texts.push(text);
        }
        let found = Self { texts, hash: hasher.finalize().to_hex().to_string() };
        if found.windows(window, None).is_empty() {
            let what = match paths.len() {
                0 => "holds no `*.txt`".to_owned(),
                n => format!("holds {n} texts, none of them as long as a window of {window} bytes and one more"),
            };
            return Err(Failure::at(&folder, what).help("give longer texts, or a smaller `window`"));
        }
        Ok(found)
    }

    /// Where windows begin: text and byte. With `shift`, each text begins as many bytes later as it says for it, and has
    /// one window less, so that the number of windows stays the same.
    fn windows(&self, window: usize, shift: Option<&[usize]>) -> Vec<(usize, usize)> {
        let mut windows = Vec::new();
        for (text, bytes) in self.texts.iter().enumerate() {
            let whole = bytes.len().saturating_sub(1) / window;
            let (count, from) = match shift {
                Some(shift) if whole > 1 => (whole - 1, shift[text]),
                _ => (whole, 0),
            };
            windows.extend((0..count).map(|number| (text, from + number * window)));
        }
        windows
    }

    fn examples(&self, windows: &[(usize, usize)], window: usize) -> Examples {
        let from = |ahead: usize| {
            let bytes = |&(text, at): &(usize, usize)| self.texts[text][at + ahead..][..window].iter();
            windows.iter().flat_map(bytes).map(|&byte| i32::from(byte)).collect()
        };
        let dims = vec![windows.len(), window];
        Examples {
            samples: windows.len(),
            fields: BTreeMap::from([
                ("tokens".to_owned(), Batch::classes(dims.clone(), from(0))),
                ("next".to_owned(), Batch::classes(dims, from(1))),
            ]),
        }
    }
}

impl Language {
    /// Opens the texts of a spec.
    ///
    /// # Errors
    /// A folder that is not there, or without a text that is long enough.
    pub fn open(
        experiment: &Experiment,
        data: &Call,
        opening: &Opening<'_>,
        _observer: &mut dyn Observer,
    ) -> Result<Self> {
        let root = match data.arguments.get("root") {
            Some(Config::Path(name)) => opening.places.paths.resolve(name)?,
            _ => return Err(Failure::new(format!("the dataset `{}` has no root", data.name))),
        };
        // The declaration asks for at least one byte.
        let window = data.size("window").unwrap_or(1).max(1);
        let recipe = experiment.train.as_ref();
        Ok(Self {
            train: recipe.map(|_| Texts::open(&root, "train", window)).transpose()?,
            val: Texts::open(&root, "val", window)?,
            window,
            batch: recipe.map_or(EVALUATION_BATCH, |recipe| recipe.batch),
            seeds: Seeds::new(opening.seed),
        })
    }

    /// The windows of an epoch in its order.
    fn order(&self, texts: &Texts, epoch: u64) -> Vec<(usize, usize)> {
        let mut rng = self.seeds.stream("windows", epoch, 0);
        let shift: Vec<usize> = texts.texts.iter().map(|_| rng.random_range(0..self.window)).collect();
        let windows = texts.windows(self.window, Some(&shift));
        order::shuffled(windows.len(), self.seeds.seed(), epoch).into_iter().map(|index| windows[index]).collect()
    }
}

impl Task for Language {
    fn training_len(&self) -> usize {
        self.train.as_ref().map_or(0, |texts| self.order(texts, 0).len())
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn training(&self, epoch: u64, skip: u64) -> Result<Batches<'_>> {
        let Some(texts) = &self.train else {
            return Err(Failure::new("this spec has no recipe to train by"));
        };
        let order = self.order(texts, epoch);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let steps = (order.len() / self.batch).max(1);
        Ok(Box::new((skip..steps).map(move |step| {
            let end = ((step + 1) * self.batch).min(order.len());
            Ok(texts.examples(&order[step * self.batch..end], self.window))
        })))
    }

    fn evaluation(&self) -> Result<Batches<'_>> {
        let windows = self.val.windows(self.window, None);
        let batch = self.batch.min(256);
        let starts: Vec<usize> = (0..windows.len()).step_by(batch).collect();
        Ok(Box::new(starts.into_iter().map(move |start| {
            let end = (start + batch).min(windows.len());
            Ok(self.val.examples(&windows[start..end], self.window))
        })))
    }

    fn evaluation_len(&self) -> usize {
        self.val.windows(self.window, None).len()
    }

    fn listing_hash(&self) -> String {
        let train = self.train.as_ref().map(|texts| texts.hash.as_str()).unwrap_or_default();
        blake3::hash(format!("{train}\n{}", self.val.hash).as_bytes()).to_hex().to_string()
    }

    fn damage(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lengths: &[usize]) -> Texts {
        Texts { texts: lengths.iter().map(|&n| (0..n).map(|i| i as u8).collect()).collect(), hash: String::new() }
    }

    #[test]
    fn a_window_needs_one_byte_more_than_it_shows() {
        assert_eq!(texts(&[8]).windows(8, None), []);
        assert_eq!(texts(&[9, 17, 3]).windows(8, None), [(0, 0), (1, 0), (1, 8)]);
    }

    #[test]
    fn shifted_windows_stay_inside_and_are_as_many_for_every_shift() {
        let texts = texts(&[40, 9, 17]);
        for shift in 0..8 {
            let windows = texts.windows(8, Some(&[shift; 3]));
            assert_eq!(windows.len(), 3 + 1 + 1, "{windows:?}");
            assert!(windows.iter().all(|&(text, at)| at + 8 < texts.texts[text].len()), "{shift}: {windows:?}");
        }
    }

    #[test]
    fn what_is_next_is_one_byte_behind() {
        let examples = texts(&[40]).examples(&[(0, 3), (0, 11)], 4);
        let of = |name: &str| match &examples.fields[name].values {
            crate::examples::Values::Classes(values) => values.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(of("tokens"), [3, 4, 5, 6, 11, 12, 13, 14]);
        assert_eq!(of("next"), [4, 5, 6, 7, 12, 13, 14, 15]);
    }
}
