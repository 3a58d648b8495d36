//! `top1` and `top5`.

use super::{Metric, Output, real_rows};
use crate::error::Result;
use crate::examples::Batch;
use crate::training::meters::Accuracy;

/// The share of samples, or of tokens, whose class is among the `k` largest logits.
pub struct Top {
    k: usize,
    accuracy: Accuracy,
}

impl Top {
    pub fn new(k: usize) -> Self {
        Self { k, accuracy: Accuracy::new(&[k]) }
    }
}

impl Metric for Top {
    fn add(&mut self, outputs: &[&Output], fields: &[&Batch]) -> Result<()> {
        let (logits, classes, labels) = real_rows(outputs[0], fields[0])?;
        self.accuracy.add(&logits, classes, &labels)
    }

    fn value(&self) -> Option<f64> {
        self.accuracy.top(self.k).map(|share| 100.0 * share)
    }
}
