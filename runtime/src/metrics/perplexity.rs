//! `perplexity`.

use super::{Metric, Output, real_rows};
use crate::error::{Failure, Result};
use crate::examples::Batch;
use crate::training::meters::RunningMean;

/// e to the mean cross entropy of the next token.
#[derive(Default)]
pub struct Perplexity {
    mean: RunningMean,
}

impl Metric for Perplexity {
    fn add(&mut self, outputs: &[&Output], fields: &[&Batch]) -> Result<()> {
        let (logits, classes, labels) = real_rows(outputs[0], fields[0])?;
        for (row, &label) in logits.chunks_exact(classes.max(1)).zip(&labels) {
            let Some(&own) = row.get(label) else {
                return Err(Failure::new(format!("label {label} of {classes} classes")));
            };
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&x| f64::from(x - largest).exp()).sum();
            self.mean.add(sum.ln() - f64::from(own - largest), 1);
        }
        Ok(())
    }

    fn value(&self) -> Option<f64> {
        self.mean.mean().map(f64::exp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_logits_leave_all_classes_open() {
        let mut perplexity = Perplexity::default();
        assert_eq!(perplexity.value(), None);
        let output = Output { dims: vec![1, 2, 4], values: vec![0.5; 8] };
        perplexity.add(&[&output], &[&Batch::classes(vec![1, 2], vec![3, 0])]).expect("classes");
        assert!((perplexity.value().expect("two tokens") - 4.0).abs() < 1e-9);
        // ln 3 more for the right one of four: 3 of 6 parts, so half of the doubt between two.
        let sure = Output { dims: vec![1, 4], values: vec![3f32.ln(), 0.0, 0.0, 0.0] };
        let mut perplexity = Perplexity::default();
        perplexity.add(&[&sure], &[&Batch::labels(&[0])]).expect("a class");
        assert!((perplexity.value().expect("one") - 2.0).abs() < 1e-6);
    }
}
