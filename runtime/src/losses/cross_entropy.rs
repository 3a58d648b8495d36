//! `cross_entropy`: of the classes of samples, or of their tokens.

use burn::tensor::ops::FloatTensor;
use lmv_compiler::config::Call;

use super::{Loss, Maker};
use crate::error::{Failure, Result};
use crate::examples::{Batch, Values};
use crate::kernels::Kernels;
use crate::network::tensor;
use crate::stream::{Stream, reshape};

struct CrossEntropy {
    smoothing: f64,
}

pub(super) fn losses<B: Kernels>() -> &'static [(&'static str, Maker<B>)] {
    &[("cross_entropy", |call: &Call| Ok(Box::new(CrossEntropy { smoothing: call.float("smoothing").unwrap_or(0.0) })))]
}

/// For each row its share of every class, `[rows, classes]`, and how many rows are real. What is not real has no share of
/// any.
///
/// # Errors
/// A class that there is not.
fn shares(field: &Batch, classes: usize, smoothing: f64) -> Result<(Vec<f32>, usize)> {
    let (keep, other) = (1.0 - smoothing, smoothing / classes as f64);
    match &field.values {
        Values::Shares { shares, .. } => {
            let smooth = |&share: &f32| (keep * f64::from(share) + other) as f32;
            Ok((if smoothing == 0.0 { shares.clone() } else { shares.iter().map(smooth).collect() }, field.dims[0]))
        }
        Values::Classes(labels) => {
            let real = field.real();
            let mut shares = vec![0.0; labels.len() * classes];
            for ((row, &label), &real) in shares.chunks_exact_mut(classes).zip(labels).zip(&real) {
                let Some(label) = usize::try_from(label).ok().filter(|&label| label < classes) else {
                    return Err(Failure::new(format!(
                        "label {label} of {classes} classes, expected 0 to {}",
                        classes - 1
                    ))
                    .help("check that the model's head has as many classes as the dataset"));
                };
                if real {
                    row.fill(other as f32);
                    row[label] = (keep + other) as f32;
                }
            }
            Ok((shares, real.into_iter().filter(|real| *real).count()))
        }
        Values::Numbers(_) => Err(Failure::new("cross entropy takes classes, and the data gives numbers")),
    }
}

impl<B: Kernels> Loss<B> for CrossEntropy {
    fn of(&self, outputs: &[Stream<B>], fields: &[&Batch]) -> Result<FloatTensor<B>> {
        // The checker saw to it that there is one of each.
        let (logits, field) = (&outputs[0], fields[0]);
        let dims = logits.dims();
        let classes = dims[dims.len() - 1];
        let rows: usize = dims[..dims.len() - 1].iter().product();
        let (shares, real) = shares(field, classes, self.smoothing)?;
        if shares.len() != rows * classes {
            return Err(Failure::new(format!(
                "the model gives {rows} rows of {classes} numbers, and the data has {:?} classes",
                field.dims
            )));
        }
        let logits = reshape::<B>(logits.numbers(), &[rows, classes]);
        let targets = tensor::<B>(shares, &[rows, classes], &B::float_device(&logits));
        let mean = B::fused_softmax_cross_entropy(logits, targets);
        // The mean is over all rows, and those that only fill a sample up added nothing.
        Ok(if real == rows { mean } else { B::float_mul_scalar(mean, (rows as f64 / real.max(1) as f64).into()) })
    }

    fn count(&self, fields: &[&Batch]) -> f64 {
        let field = fields[0];
        match field.values {
            Values::Classes(_) => field.real().into_iter().filter(|real| *real).count() as f64,
            _ => field.dims[0] as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_not_real_have_no_share() {
        let field = Batch {
            dims: vec![1, 3],
            values: Values::Classes(vec![1, 0, 2]),
            masks: vec![(0, vec![true, false, true])],
        };
        let (shares, real) = shares(&field, 3, 0.3).expect("classes");
        assert_eq!(real, 2);
        let expected = [0.1, 0.8, 0.1, 0.0, 0.0, 0.0, 0.1, 0.1, 0.8];
        assert!(shares.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{shares:?}");
    }

    #[test]
    fn smoothing_a_blend_is_blending_what_is_smoothed() {
        let blend = Batch {
            dims: vec![1],
            values: Values::Shares { classes: 4, shares: vec![0.25, 0.0, 0.75, 0.0] },
            masks: Vec::new(),
        };
        let (shares, _) = shares(&blend, 4, 0.2).expect("shares");
        let expected = [0.25, 0.05, 0.65, 0.05];
        assert!(shares.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{shares:?}");
    }

    #[test]
    fn a_label_that_is_no_class_is_told() {
        let failure = shares(&Batch::labels(&[3]), 3, 0.0).expect_err("three classes");
        assert!(failure.to_string().contains("label 3 of 3 classes"), "{failure}");
    }
}
