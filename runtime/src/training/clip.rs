//! The limit on the norm of the gradient.

use crate::error::{Failure, Result};

/// Added to the norm before dividing, as in PyTorch's `clip_grad_norm_`.
const EPSILON: f64 = 1e-6;

/// What a gradient is multiplied by so that its norm stays within a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// L2 norm over all values of all parameters, before clipping.
    pub norm: f64,
    /// The factor for every gradient, above 0 and at most 1.
    pub factor: f32,
}

/// PyTorch's `clip_grad_norm_` of gradients with this norm: `max_norm / (norm + 1e-6)`, at most 1. The paper's only limit is
/// 10 (paper.md §4.3).
///
/// # Errors
/// A norm that is not finite, since its factor would carry it into every weight (PyTorch's `error_if_nonfinite=True`);
/// a limit that is not above 0.
pub fn clip(norm: f64, max_norm: f64) -> Result<Clip> {
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Err(Failure::new(format!("the limit on the gradient's norm is {max_norm}, expected a number above 0")));
    }
    if !norm.is_finite() {
        return Err(Failure::new(format!("the norm of the gradient is {norm}, expected a finite number"))
            .help("lower the learning rate, or lengthen the warmup"));
    }
    Ok(Clip { norm, factor: (max_norm / (norm + EPSILON)).min(1.0) as f32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::global_norm;

    const GRADIENTS: [&[f32]; 2] = [&[3.0, 4.0], &[12.0]];

    /// torch 2.15: `clip_grad_norm_` on gradients [3, 4] and [12] returns 13 for every limit, and leaves
    /// [2.307692050933838, 3.07692289352417], [9.230768203735352] for a limit of 10.
    #[test]
    fn a_long_gradient_is_shortened() {
        let clip = clip(global_norm(&GRADIENTS), 10.0).expect("finite");
        assert_eq!(clip.norm, 13.0);
        assert_eq!(clip.factor, 0.769_230_7);
        let clipped: Vec<f32> = GRADIENTS.concat().iter().map(|value| value * clip.factor).collect();
        for (found, expected) in clipped.iter().zip([2.307_692_f32, 3.076_923, 9.230_768]) {
            assert!((found - expected).abs() <= f32::EPSILON * expected, "{found} {expected}");
        }
    }

    /// torch 2.15: a limit of 20 leaves [3, 4], [12]; a limit of 13 gives [2.999999761581421, …], by the 1e-6.
    #[test]
    fn a_short_gradient_is_left_alone() {
        assert_eq!(clip(global_norm(&GRADIENTS), 20.0).expect("finite").factor, 1.0);
        assert_eq!(3.0 * clip(global_norm(&GRADIENTS), 13.0).expect("finite").factor, 2.999_999_8);
        assert_eq!(clip(global_norm(&[]), 1.0).expect("finite"), Clip { norm: 0.0, factor: 1.0 });
    }

    #[test]
    fn the_norm_is_the_same_on_any_number_of_threads() {
        let values: Vec<f32> = (0..300_001_u64).map(|i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.3).collect();
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a small pool");
            pool.install(|| global_norm(&[&values, &values[5..]])).to_bits()
        };
        assert_eq!(on(1), on(7));
    }

    /// f32 would overflow at 1e20 squared.
    #[test]
    fn large_values_do_not_overflow() {
        assert_eq!(global_norm(&[&[3e30, 4e30]]), (f64::from(3e30_f32).powi(2) + f64::from(4e30_f32).powi(2)).sqrt());
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_a_failure() {
        let failure = clip(global_norm(&[&[1.0], &[0.0, f32::NAN]]), 1.0).expect_err("NaN");
        assert_eq!(
            failure.to_string(),
            "the norm of the gradient is NaN, expected a finite number\nhelp: lower the learning rate, or lengthen the warmup"
        );
        assert!(clip(1.0, 0.0).is_err());
        assert!(clip(1.0, f64::NAN).is_err());
    }
}
