//! Clouds of points with one label each (paper.md §4.4): from files on disk to `[N, 3]` in memory.
//!
//! A [`CloudSet`] is a split: [`scanned`] reads those in HDF5 files, [`listed`] ModelNet's text files or the cache that
//! stands beside them, [`meshes`] samples the surfaces of ModelNet's meshes. [`Augment`] is what a recipe does to a cloud,
//! and [`picture`] draws one.

mod augment;
mod listed;
mod meshes;
mod off;
pub mod picture;
mod scanned;

use std::path::{Path, PathBuf};

pub use augment::{Augment, far_from_origin};
pub use listed::listed;
pub use meshes::meshes;
pub use off::Mesh;
pub use scanned::{SCANNED_CLASSES, scanned};

use crate::error::{Failure, Result};

/// A split of a dataset is held in memory; more bytes than these are refused.
pub const MOST_BYTES: usize = 8 << 30;

/// One cloud as it was read.
pub struct Cloud {
    /// `class/file`, or `class/number`.
    pub name: String,
    /// `[N, 3]`
    pub points: Vec<f32>,
    /// What it says of its class.
    pub label: i64,
    /// The file of this cloud alone, where it has one.
    pub file: Option<PathBuf>,
}

/// Clouds of any number of points, with the number of a class each.
#[derive(Debug)]
pub struct CloudSet {
    clouds: Vec<Vec<f32>>,
    labels: Vec<usize>,
    names: Vec<String>,
    classes: Vec<String>,
    /// What it was read from, and the files of clouds that have their own.
    place: PathBuf,
    files: Vec<Option<PathBuf>>,
    hash: String,
}

impl CloudSet {
    /// Puts clouds together that were read from `place`. `files` are the names and sizes of all that they come from.
    ///
    /// # Errors
    /// No cloud at all, one without points, a coordinate that is no number, a label that is no class.
    pub fn new(place: &Path, classes: Vec<String>, files: &[(String, u64)], clouds: Vec<Cloud>) -> Result<Self> {
        if clouds.is_empty() {
            return Err(Failure::at(place, "holds no cloud").help("a split needs one at least: was it cut short?"));
        }
        let bytes = clouds.iter().map(|cloud| 4 * cloud.points.len()).sum::<usize>();
        if bytes > MOST_BYTES {
            return Err(Failure::at(place, format!("holds more than {} GiB of points", MOST_BYTES >> 30))
                .help("a split is held in memory; give it fewer clouds, or clouds of fewer points"));
        }
        let mut set = Self {
            clouds: Vec::with_capacity(clouds.len()),
            labels: Vec::with_capacity(clouds.len()),
            names: Vec::with_capacity(clouds.len()),
            files: Vec::with_capacity(clouds.len()),
            hash: hash_of(&classes, files),
            place: place.to_owned(),
            classes,
        };
        for cloud in clouds {
            check(place, &cloud)?;
            set.labels.push(class(place, &cloud.name, cloud.label, set.classes.len())?);
            set.clouds.push(cloud.points);
            set.names.push(cloud.name);
            set.files.push(cloud.file);
        }
        Ok(set)
    }

    /// How many clouds.
    pub fn len(&self) -> usize {
        self.clouds.len()
    }

    /// Whether there is none; there always is one.
    pub fn is_empty(&self) -> bool {
        self.clouds.is_empty()
    }

    /// The points of a cloud, `[N, 3]`.
    pub fn cloud(&self, index: usize) -> &[f32] {
        &self.clouds[index]
    }

    /// The class of a cloud.
    pub fn label(&self, index: usize) -> usize {
        self.labels[index]
    }

    /// `class/file` of a cloud.
    pub fn name(&self, index: usize) -> &str {
        &self.names[index]
    }

    /// The file that a cloud was read from: its own, or the one that holds all of them.
    pub fn file(&self, index: usize) -> &Path {
        self.files[index].as_deref().unwrap_or(&self.place)
    }

    /// The names of the classes; a label is an index into this.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// A hash of the names of the classes in their order, and of the names and sizes of its files.
    pub fn listing_hash(&self) -> &str {
        &self.hash
    }
}

fn class(place: &Path, name: &str, label: i64, classes: usize) -> Result<usize> {
    usize::try_from(label).ok().filter(|label| *label < classes).ok_or_else(|| {
        Failure::at(place, format!("the cloud `{name}` has the label {label}, and there are {classes} classes"))
            .note(format!("labels go from 0 to {}", classes.saturating_sub(1)))
            .help("give the spec's data as many `classes` as there are, or mend the file")
    })
}

/// That a cloud has points, and that each of them is somewhere. It is told of at its own file, or else at `place`.
fn check(place: &Path, Cloud { name, points, file, .. }: &Cloud) -> Result<()> {
    let place = file.as_deref().unwrap_or(place);
    if points.is_empty() {
        return Err(Failure::at(place, format!("the cloud `{name}` has no points"))
            .help("take it out of the data, or mend it: a model has to see something"));
    }
    match points.chunks(3).position(|point| point.iter().any(|x| !x.is_finite())) {
        None => Ok(()),
        Some(index) => {
            let shown: Vec<String> = points[3 * index..].iter().take(3).map(f32::to_string).collect();
            Err(Failure::at(place, format!("the cloud `{name}` has a point that is nowhere: {}", shown.join(", ")))
                .note(format!("it is point {index} of {}, counted from 0", points.len() / 3))
                .help("take the cloud out of the data, or mend it: every coordinate must be a finite number"))
        }
    }
}

/// Moves a cloud's mean to the origin and scales it so that its farthest point lies at distance 1 (paper.md §4.4).
fn into_unit_ball(points: &mut [f32]) {
    let count = (points.len() / 3).max(1) as f64;
    let mut sum = [0.0f64; 3];
    for point in points.chunks_exact(3) {
        sum.iter_mut().zip(point).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    // Divided at the end: the mean of equal numbers is that number, and nothing of rounding is left to be scaled up.
    let mean = sum.map(|sum| sum / count);
    let mut farthest = 0.0f64;
    for point in points.chunks_exact_mut(3) {
        point.iter_mut().zip(mean).for_each(|(x, mean)| *x = (f64::from(*x) - mean) as f32);
        farthest = farthest.max(point.iter().map(|x| f64::from(*x) * f64::from(*x)).sum());
    }
    // All points in one place have no size to bring to 1.
    if farthest > 0.0 && farthest.is_finite() {
        let factor = 1.0 / farthest.sqrt();
        points.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
    }
}

/// A hash of the classes in their order and of files' names with their sizes, for the lock of a run: with two classes in each
/// other's place the same files have other labels.
fn hash_of(classes: &[String], files: &[(String, u64)]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(classes.len() as u64).to_le_bytes());
    for class in classes {
        hasher.update(class.as_bytes()).update(b"\0");
    }
    for (name, size) in files {
        hasher.update(name.as_bytes()).update(b"\0").update(&size.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The size of a file.
fn size_of(path: &Path) -> Result<u64> {
    std::fs::metadata(path).map(|about| about.len()).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::at(path, format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
