//! What an evaluation leaves in a run's folder, `RUN/evaluation/`: `scores.json`, and for images of one label each
//! `predictions.jsonl`, a line an image, and the most wrong ones as small pictures. A report is made of that alone.

use std::path::Path;

use lmv_compiler::Experiment;
use lmv_compiler::graph::Port;
use serde::{Deserialize, Serialize};

use super::Measured;
use crate::error::{Failure, Result};
use crate::examples::Examples;
use crate::metrics::{Output, Reading, real_rows};
use crate::tasks::{Labelled, Task};
use crate::training::atomic_file::{read_failure, write_atomic};

/// The folder in the run's.
pub const FOLDER: &str = "evaluation";

/// How many of the most wrong images are kept, in rows of six.
const MOST_WRONG: usize = 24;

/// The larger side of a kept picture, in pixels.
const PICTURE: u32 = 128;

/// What the model gave for an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// `class/file`.
    pub image: String,
    /// Its class.
    pub label: usize,
    /// The class that the model finds likeliest.
    pub predicted: usize,
    /// How likely it finds that, 0 to 1.
    pub probability: f32,
    /// How likely it finds the right one.
    pub of_label: f32,
}

/// A metric with its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptScore {
    /// What it is called.
    pub name: String,
    /// The number.
    pub value: f64,
    /// `"percent"`, or `""` for a number without a unit.
    pub unit: String,
    /// Whether more is better.
    pub more_is_better: bool,
    /// The number that was published.
    pub reported: Option<f64>,
    /// What it is made of, by name.
    pub parts: Vec<(String, f64)>,
    /// The samples, if they are not those of the evaluation split.
    pub samples: Option<usize>,
    /// Those of them that could not be read.
    pub left_out: Option<usize>,
}

/// One of the most wrong images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wrong {
    /// The picture, `wrong/01.png`, in the same folder.
    pub picture: String,
    /// What the model gave.
    #[serde(flatten)]
    pub prediction: Prediction,
}

/// What samples were called before there were others.
fn images() -> String {
    "images".into()
}

/// `scores.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The epoch after which it was measured, from 1; none for the checkpoint that `lmvc eval` was given.
    pub epoch: Option<u64>,
    /// Whether it is of the averaged weights.
    #[serde(default)]
    pub average: bool,
    /// The metrics, in the order of `eval`, then the loss.
    pub scores: Vec<KeptScore>,
    /// The samples of the evaluation split.
    pub samples: usize,
    /// Those that could not be read.
    pub left_out: usize,
    /// What a sample is called, in the plural.
    #[serde(default = "images")]
    pub noun: String,
    /// The names of the classes; a label is an index into this.
    pub classes: Vec<String>,
    /// The images whose right class the model finds least likely, the worst first.
    #[serde(default)]
    pub wrong: Vec<Wrong>,
    /// What the model gave for each image.
    #[serde(skip)]
    pub predictions: Vec<Prediction>,
}

impl Kept {
    /// What is to be kept of an evaluation.
    pub fn new(measured: &Measured, experiment: &Experiment, task: &dyn Task, epoch: Option<u64>) -> Self {
        let reported = |name: &str| {
            let metric = experiment.eval.iter().find(|metric| metric.label == name);
            metric.and_then(|metric| metric.reported)
        };
        let scores = measured.scores.iter().map(|score| KeptScore {
            name: score.name.clone(),
            value: score.value,
            unit: if score.reading == Reading::Less { "" } else { "percent" }.into(),
            more_is_better: score.reading == Reading::Percent,
            reported: reported(&score.name),
            parts: score.parts.clone(),
            samples: score.samples.map(|(samples, _)| samples),
            left_out: score.samples.map(|(_, left_out)| left_out),
        });
        Self {
            epoch,
            average: false,
            scores: scores.collect(),
            samples: measured.samples,
            left_out: measured.left_out,
            noun: task.labelled().map_or_else(images, |labelled| labelled.noun().into()),
            classes: task.labelled().map(|images| images.classes().to_vec()).unwrap_or_default(),
            wrong: Vec::new(),
            predictions: measured.predictions.clone(),
        }
    }

    /// Writes it into a run's folder, `scores.json` last: where that is, the rest is there too.
    ///
    /// # Errors
    /// The disk.
    pub fn write(mut self, run: &Path, task: &dyn Task) -> Result<()> {
        let folder = run.join(FOLDER);
        let made = |folder: &Path| {
            std::fs::create_dir_all(folder)
                .map_err(|error| Failure::at(folder, format!("this folder cannot be made: {error}")))
        };
        made(&folder)?;
        let scores = folder.join("scores.json");
        if let (Some(images), false) = (task.labelled(), self.predictions.is_empty()) {
            made(&folder.join("wrong"))?;
            // What is about to be replaced must not be taken for what belongs to the new pictures.
            let _ = std::fs::remove_file(&scores);
            write_atomic(folder.join("predictions.jsonl"), |out| {
                self.predictions.iter().try_for_each(|prediction| {
                    serde_json::to_writer(&mut *out, prediction).map_err(std::io::Error::from)?;
                    out.write_all(b"\n")
                })
            })?;
            self.wrong = most_wrong(&self.predictions, &images.readable(), images, &folder)?;
        }
        let text = serde_json::to_string_pretty(&self)
            .map_err(|error| Failure::at(&scores, format!("the scores cannot be written: {error}")))?;
        write_atomic(&scores, |out| writeln!(out, "{text}"))
    }

    /// What a run's folder keeps; none where nothing was measured at the end of it yet.
    ///
    /// # Errors
    /// Files that are none of ours.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let folder = run.join(FOLDER);
        let path = folder.join("scores.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read_failure(&path, &error)),
        };
        let mut kept: Self = serde_json::from_str(&text)
            .map_err(|error| Failure::at(&path, format!("holds no scores of an evaluation: {error}")))?;
        let path = folder.join("predictions.jsonl");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
                kept.predictions =
                    lines.map_err(|error| Failure::at(&path, format!("holds no predictions: {error}")))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(read_failure(&path, &error)),
        }
        let classes = kept.classes.len();
        let shown = kept.wrong.iter().map(|wrong| &wrong.prediction);
        match kept.predictions.iter().chain(shown).find(|found| found.label.max(found.predicted) >= classes) {
            Some(found) => Err(Failure::at(&path, format!("has a class that there is not, of `{}`", found.image))),
            None => Ok(Some(kept)),
        }
    }
}

/// Keeps small pictures of the images whose right class is the least likely to the model.
fn most_wrong(
    predictions: &[Prediction],
    indices: &[usize],
    images: &dyn Labelled,
    folder: &Path,
) -> Result<Vec<Wrong>> {
    let mut wrong: Vec<(&Prediction, usize)> = predictions
        .iter()
        .zip(indices.iter().copied())
        .filter(|(prediction, _)| prediction.predicted != prediction.label)
        .collect();
    // By name where two are as wrong, so that the same run gives the same pictures.
    wrong.sort_by(|(a, _), (b, _)| a.of_label.total_cmp(&b.of_label).then_with(|| a.image.cmp(&b.image)));
    let mut kept = Vec::new();
    for (prediction, index) in wrong {
        if kept.len() == MOST_WRONG {
            break;
        }
        // It was read a moment ago; what is gone by now is left out.
        let Ok(pixels) = images.picture(index) else { continue };
        let (width, height) = (pixels.width as u32, pixels.height as u32);
        let Some(image) = image::RgbImage::from_raw(width, height, pixels.data) else { continue };
        let image = match width.max(height) > PICTURE {
            true => {
                let scaled = |side: u32| (side * PICTURE / width.max(height)).max(1);
                image::imageops::thumbnail(&image, scaled(width), scaled(height))
            }
            false => image,
        };
        let picture = format!("wrong/{:02}.png", kept.len() + 1);
        let path = folder.join(&picture);
        let mut bytes = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut bytes, image::ImageFormat::Png)
            .map_err(|error| Failure::at(&path, format!("the picture cannot be written: {error}")))?;
        write_atomic(&path, |out| out.write_all(bytes.get_ref()))?;
        kept.push(Wrong { picture, prediction: prediction.clone() });
    }
    Ok(kept)
}

/// Takes down what the model gives for each image while it is evaluated.
pub(super) struct Noted {
    /// The output and the field; none where there are no labels to be wrong about.
    of: Option<(usize, String)>,
    /// Without the names of the images, which are known at the end.
    found: Vec<Prediction>,
}

impl Noted {
    /// By the first metric that is of one output and one label.
    pub fn of(experiment: &Experiment, outputs: &[Port], images: Option<&dyn Labelled>) -> Self {
        let on = experiment.eval.iter().filter_map(|metric| metric.call.on.as_ref());
        let of = images.and_then(|_| {
            on.filter_map(|on| match (on.outputs.as_slice(), on.fields.as_slice()) {
                ([output], [field]) => Some((outputs.iter().position(|port| port.name == *output)?, field.clone())),
                _ => None,
            })
            .next()
        });
        Self { of, found: Vec::new() }
    }

    pub fn add(&mut self, outputs: &[Output], examples: &Examples) -> Result<()> {
        let Some((output, field)) = &self.of else { return Ok(()) };
        let (logits, classes, labels) = real_rows(&outputs[*output], examples.field(field)?)?;
        for (row, label) in logits.chunks_exact(classes.max(1)).zip(labels) {
            let shares = softmax(row);
            let predicted = (0..classes).max_by(|&a, &b| shares[a].total_cmp(&shares[b]).then(b.cmp(&a)));
            let predicted = predicted.unwrap_or(0);
            let of_label = shares.get(label).copied().unwrap_or(0.0);
            let probability = shares[predicted];
            self.found.push(Prediction { image: String::new(), label, predicted, probability, of_label });
        }
        Ok(())
    }

    /// What was taken down, each with the name of its image.
    pub fn finish(mut self, images: Option<&dyn Labelled>) -> Vec<Prediction> {
        let Some(images) = images else { return Vec::new() };
        let indices = images.readable();
        if indices.len() != self.found.len() {
            // A file that could be read for one batch and not for another: what is whose cannot be told.
            return Vec::new();
        }
        for (prediction, index) in self.found.iter_mut().zip(indices) {
            prediction.image = images.name(index).to_owned();
        }
        self.found
    }
}

/// Shares of a row of logits, which sum to one; zero for what is no number.
fn softmax(row: &[f32]) -> Vec<f32> {
    let most = row.iter().copied().filter(|x| !x.is_nan()).fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = row.iter().map(|x| if x.is_nan() { 0.0 } else { (x - most).exp() }).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| if sum > 0.0 { power / sum } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one() {
        let shares = softmax(&[0.0, std::f32::consts::LN_2, f32::NAN, f32::NEG_INFINITY]);
        let expected = [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0];
        assert!(shares.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{shares:?}");
        assert_eq!(softmax(&[f32::NAN]), [0.0]);
    }
}
