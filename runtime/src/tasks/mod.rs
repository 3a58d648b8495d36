//! What models are trained for: one folder a task. A task turns a spec's data into batches and a model's outputs into
//! metrics; the loop around it (`training::engine`) is the same for all.

pub mod classification;
pub mod language;
pub mod points;

use std::path::PathBuf;
use std::sync::Arc;

use lmv_compiler::Experiment;
use lmv_compiler::config::Call;

use crate::data::{Damage, Normalize, Pixels};
use crate::error::{Failure, Result};
use crate::events::{LeftOut, Observer};
use crate::examples::Examples;
use crate::metrics::corruptions::Folder;
use crate::places::Places;

/// Batches in their order.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Examples>> + Send + 'a>;

/// A task with its data opened.
pub trait Task: Sync {
    /// The samples that an epoch of training goes through in its order, those of a last batch that is too small among them.
    fn training_len(&self) -> usize;
    /// Samples in a batch of training.
    fn batch(&self) -> usize;
    /// Training batches in an epoch. A last batch of fewer samples is left out, as the references do (`drop_last`); a set
    /// that is smaller than one batch is one small batch rather than nothing.
    fn steps_per_epoch(&self) -> u64 {
        match self.training_len() {
            0 => 0,
            samples => (samples / self.batch()).max(1) as u64,
        }
    }
    /// What an epoch of training leaves out.
    fn left_out(&self) -> LeftOut {
        let (of, batch) = (self.training_len(), self.batch());
        let count = if of < batch { 0 } else { of % batch };
        LeftOut { count, of, batch, noun: self.labelled().map_or("samples", Labelled::noun) }
    }
    /// The batches of an epoch, after the first `skip`.
    fn training(&self, epoch: u64, skip: u64) -> Result<Batches<'_>>;
    /// The samples to evaluate, in order; those that cannot be read are left out.
    fn evaluation(&self) -> Result<Batches<'_>>;
    /// How many samples those are, with the ones that cannot be read.
    fn evaluation_len(&self) -> usize;
    /// A hash of the names and sizes of the data's files, for the lock file.
    fn listing_hash(&self) -> String;
    /// Files that turned out damaged and have not been told of, a line each.
    fn damage(&self) -> Vec<String>;
    /// How many training samples turned out damaged so far; others stand in for them.
    fn damaged_in_training(&self) -> usize {
        0
    }
    /// How many rows in a row of [`Task::evaluation`] are looks at one sample: what the model gives for them is averaged
    /// before it is measured.
    fn views(&self) -> usize {
        1
    }
    /// What there is to ask of a task whose samples have one label each, and can be shown.
    fn labelled(&self) -> Option<&dyn Labelled> {
        None
    }
    /// What there is to ask of one whose samples are images besides.
    fn images(&self) -> Option<&dyn LabelledImages> {
        None
    }
}

/// The samples of the evaluation split one by one.
pub trait Labelled {
    /// What a sample is called, in the plural: `images`.
    fn noun(&self) -> &'static str;
    /// The names of the classes; a label is an index into this.
    fn classes(&self) -> &[String];
    /// The samples of the evaluation split that could be read so far, in the order of [`Task::evaluation`].
    fn readable(&self) -> Vec<usize>;
    /// `class/file` of a sample of the evaluation split.
    fn name(&self, sample: usize) -> &str;
    /// A sample of the evaluation split as it is on disk, for the eye.
    ///
    /// # Errors
    /// It cannot be read.
    fn picture(&self, sample: usize) -> Result<Pixels>;
}

/// Images beside the evaluation split.
pub trait LabelledImages: Labelled {
    /// What makes the model's numbers of pixels.
    fn normalize(&self) -> &Normalize;
    /// Looks whether a folder is there and has no class that the data has not, without listing its images.
    ///
    /// # Errors
    /// It is not there; a class that is none of the data's, with the one that is nearest to it.
    fn look_at(&self, folder: &Folder) -> Result<()>;
    /// Opens a folder of images.
    ///
    /// # Errors
    /// As [`LabelledImages::look_at`], and no image in it.
    fn beside(&self, folder: &Folder) -> Result<Beside<'_>>;
}

/// Images that are not the evaluation split, to be measured on as it is.
pub struct Beside<'a> {
    /// Batches of them; those that cannot be read are left out.
    pub batches: Batches<'a>,
    /// How many there are, with those that cannot be read.
    pub len: usize,
    /// For each class of the data whether it has a folder there.
    pub present: Vec<bool>,
    /// What could not be read.
    pub damage: Arc<Damage>,
}

/// What opening a task takes besides the spec.
pub struct Opening<'a> {
    /// Where names of paths and weights lead.
    pub places: &'a Places,
    /// Where data that the program draws itself is kept.
    pub drawn: PathBuf,
    /// The run's seed.
    pub seed: u64,
    /// Decoding threads; 0 for one a core.
    pub threads: usize,
}

/// Opens the data of a spec as the task that its fields make it.
///
/// # Errors
/// No data in the spec, no folder where it should be, or nothing in it.
pub fn open(experiment: &Experiment, opening: &Opening<'_>, observer: &mut dyn Observer) -> Result<Box<dyn Task>> {
    let Some(data) = &experiment.data else {
        return Err(Failure::new("this spec has no data")
            .help("add for example `data = shapes()`, a small set that lmvc draws itself"));
    };
    let (_, open) = OPENERS
        .iter()
        .find(|(datasets, _)| datasets.contains(&data.name.as_str()))
        .ok_or_else(|| Failure::new(format!("this lmvc cannot open the dataset `{}`", data.name)))?;
    open(experiment, data, opening, observer)
}

type Opener = fn(&Experiment, &Call, &Opening<'_>, &mut dyn Observer) -> Result<Box<dyn Task>>;

/// Every task by the datasets that it opens.
const OPENERS: &[(&[&str], Opener)] = &[
    (&classification::DATASETS, |experiment, data, opening, observer| {
        Ok(Box::new(classification::Classification::open(experiment, data, opening, observer)?))
    }),
    (&points::DATASETS, |experiment, data, opening, _observer| {
        Ok(Box::new(points::PointClouds::open(experiment, data, opening)?))
    }),
    (&language::DATASETS, |experiment, data, opening, observer| {
        Ok(Box::new(language::Language::open(experiment, data, opening, observer)?))
    }),
];

/// The names of all datasets that Rust opens.
pub fn datasets() -> Vec<&'static str> {
    OPENERS.iter().flat_map(|(datasets, _)| datasets.iter().copied()).collect()
}
