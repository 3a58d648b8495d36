//! `mean_class_accuracy`.

use std::collections::BTreeMap;

use super::{Metric, Output, real_rows};
use crate::error::Result;
use crate::examples::Batch;
use crate::training::meters::correct_in_top;

/// The mean over the classes that occur of the share of their samples with the largest logit on them.
#[derive(Default)]
pub struct MeanClassAccuracy {
    /// Of each class how many samples there were, and how many of them were right.
    counts: BTreeMap<usize, (u64, u64)>,
}

impl Metric for MeanClassAccuracy {
    fn add(&mut self, outputs: &[&Output], fields: &[&Batch]) -> Result<()> {
        let (logits, classes, labels) = real_rows(outputs[0], fields[0])?;
        let right = correct_in_top(&logits, classes, &labels, 1)?;
        for (label, right) in labels.into_iter().zip(right) {
            let (all, correct) = self.counts.entry(label).or_default();
            *all += 1;
            *correct += u64::from(right);
        }
        Ok(())
    }

    fn value(&self) -> Option<f64> {
        let shares = self.counts.values().map(|(all, correct)| *correct as f64 / *all as f64);
        (!self.counts.is_empty()).then(|| 100.0 * shares.sum::<f64>() / self.counts.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_class_counts_as_much_as_a_common_one() {
        let mut mean = MeanClassAccuracy::default();
        assert_eq!(mean.value(), None);
        // Four of class 0, three of them right; one of class 2, which is wrong. Class 1 does not occur.
        let output = Output { dims: vec![4, 3], values: [[1.0, 0.0, 0.0]; 4].concat() };
        mean.add(&[&output], &[&Batch::labels(&[0, 0, 0, 2])]).expect("classes");
        let output = Output { dims: vec![1, 3], values: vec![0.0, 0.0, 1.0] };
        mean.add(&[&output], &[&Batch::labels(&[0])]).expect("a class");
        assert_eq!(mean.value(), Some((75.0 + 0.0) / 2.0));
    }
}
