//! What is counted while training and evaluating.

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// Whether the label of each row is among the `k` largest logits. `logits` is [batch, classes].
///
/// As `torch.topk` has it: of equal logits the lower class comes first, NaN comes before every number, and a `k` above
/// the number of classes means all of them. A label whose own logit is NaN is never correct.
///
/// # Errors
/// Logits that are not labels × classes, and a label that is no class.
pub fn correct_in_top(logits: &[f32], classes: usize, labels: &[usize], k: usize) -> Result<Vec<bool>> {
    check(logits, classes, labels)?;
    Ok(ranks(logits, classes, labels).map(|rank| rank.is_some_and(|rank| rank < k)).collect())
}

fn check(logits: &[f32], classes: usize, labels: &[usize]) -> Result<()> {
    if classes == 0 || logits.len() != classes * labels.len() {
        return Err(Failure::new(format!(
            "accuracy of {} logits: expected {} labels × {classes} classes = {}",
            logits.len(),
            labels.len(),
            classes * labels.len()
        )));
    }
    match labels.iter().find(|&&label| label >= classes) {
        Some(label) => Err(Failure::new(format!("label {label} of {classes} classes, expected 0 to {}", classes - 1))
            .help("check that the model's head has as many classes as the dataset")),
        None => Ok(()),
    }
}

/// How many logits come before the label's own, for each row; none where that one is NaN.
fn ranks<'a>(logits: &'a [f32], classes: usize, labels: &'a [usize]) -> impl Iterator<Item = Option<usize>> + 'a {
    logits.chunks_exact(classes).zip(labels).map(|(row, &label)| {
        let own = row[label];
        let before = |(class, &other): (usize, &f32)| other.is_nan() || other > own || (other == own && class < label);
        (!own.is_nan()).then(|| row.iter().enumerate().filter(|&pair| before(pair)).count())
    })
}

/// Top-k accuracy over many batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The values of k, and how many samples were correct at each.
    correct: Vec<(usize, u64)>,
    seen: u64,
}

impl Accuracy {
    /// Counts for each of `ks`: `&[1, 5]` in the paper (paper.md §3.4).
    pub fn new(ks: &[usize]) -> Self {
        Self { correct: ks.iter().map(|&k| (k, 0)).collect(), seen: 0 }
    }

    /// Adds a batch. `logits` is [batch, classes].
    ///
    /// # Errors
    /// As [`correct_in_top`]; nothing is counted then.
    pub fn add(&mut self, logits: &[f32], classes: usize, labels: &[usize]) -> Result<()> {
        check(logits, classes, labels)?;
        for rank in ranks(logits, classes, labels) {
            for (k, correct) in &mut self.correct {
                *correct += u64::from(rank.is_some_and(|rank| rank < *k));
            }
        }
        self.seen += labels.len() as u64;
        Ok(())
    }

    /// The share of samples that were correct at `k`, 0 to 1; none before the first sample, or if `k` is not counted.
    pub fn top(&self, k: usize) -> Option<f64> {
        let (_, correct) = self.correct.iter().find(|(counted, _)| *counted == k)?;
        (self.seen > 0).then(|| *correct as f64 / self.seen as f64)
    }

    /// Samples counted.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

/// A mean of values with weights, in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningMean {
    sum: f64,
    weight: f64,
}

impl RunningMean {
    /// Adds the mean `value` of `weight` samples. A value that is not finite stays visible in the mean.
    pub fn add(&mut self, value: f64, weight: u64) {
        // No samples, no value: 0 × NaN would be NaN.
        if weight > 0 {
            self.sum += value * weight as f64;
            self.weight += weight as f64;
        }
    }

    /// The mean so far; none before the first sample.
    pub fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const LOGITS: [f32; 20] = [
        0.1, 0.9, 0.3, 0.2,
        0.8, 0.1, 0.7, 0.6,
        0.0, 1.0, 2.0, 3.0,
        5.0, 4.0, 3.0, 2.0,
        0.2, 0.1, 0.4, 0.3,
    ];
    const LABELS: [usize; 5] = [1, 2, 0, 3, 3];

    /// timm 1.0.31: `accuracy(logits, [1, 2, 0, 3, 3], topk=(1, 2, 3))` gives [20.0, 60.0, 60.0].
    #[test]
    fn accuracy_is_timm_s() {
        let mut accuracy = Accuracy::new(&[1, 2, 3, 5]);
        accuracy.add(&LOGITS[..8], 4, &LABELS[..2]).expect("2 × 4");
        accuracy.add(&LOGITS[8..], 4, &LABELS[2..]).expect("3 × 4");
        assert_eq!(accuracy.top(1), Some(0.2));
        assert_eq!(accuracy.top(2), Some(0.6));
        assert_eq!(accuracy.top(3), Some(0.6));
        assert_eq!(accuracy.top(5), Some(1.0), "more than there are classes");
        assert_eq!(accuracy.top(4), None, "not counted");
        assert_eq!(accuracy.seen(), 5);
        assert_eq!(correct_in_top(&LOGITS, 4, &LABELS, 1).expect("5 × 4"), [true, false, false, false, false]);
        assert_eq!(Accuracy::new(&[1]).top(1), None);
    }

    #[test]
    fn of_equal_logits_the_lower_class_comes_first() {
        let of = |label, k| correct_in_top(&[1.0, 1.0, 1.0], 3, &[label], k).expect("1 × 3")[0];
        assert_eq!([of(0, 1), of(1, 1), of(1, 2), of(2, 2)], [true, false, true, false]);
        assert!(correct_in_top(&[-0.0, 0.0], 2, &[0], 1).expect("1 × 2")[0]);
    }

    /// torch 2.15: `topk(tensor([1, nan, 2]), 1)` gives the NaN.
    #[test]
    fn nan_is_never_correct_and_hides_others() {
        let row = [1.0, f32::NAN, 2.0];
        let of = |label, k| correct_in_top(&row, 3, &[label], k).expect("1 × 3")[0];
        assert_eq!([of(1, 1), of(1, 3), of(2, 1), of(2, 2), of(0, 2)], [false, false, false, true, false]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_failures() {
        let failure = correct_in_top(&[0.0; 7], 4, &[0, 1], 1).expect_err("7 is not 2 × 4");
        assert_eq!(failure.to_string(), "accuracy of 7 logits: expected 2 labels × 4 classes = 8");
        let failure = correct_in_top(&[0.0; 4], 4, &[4], 1).expect_err("there are classes 0 to 3");
        assert_eq!(failure.what, "label 4 of 4 classes, expected 0 to 3");
        assert!(correct_in_top(&[], 0, &[], 1).is_err());
    }

    #[test]
    fn a_mean_is_weighed_by_samples() {
        let mut mean = RunningMean::default();
        assert_eq!(mean.mean(), None);
        mean.add(f64::NAN, 0);
        mean.add(2.0, 3);
        mean.add(6.0, 1);
        assert_eq!(mean.mean(), Some(3.0));
        mean.add(f64::NAN, 1);
        assert!(mean.mean().expect("samples were added").is_nan());
    }
}
