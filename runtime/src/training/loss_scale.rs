//! The scale of the loss while matrix products are computed in `f16`, whose smallest number is so large that many gradients
//! would be zero: the loss is multiplied by it, and the gradients are divided.

use serde::{Deserialize, Serialize};

use crate::precision::Precision;

/// Torch's `GradScaler` with its defaults, as the reference trains with it (paper.md §3.3, "AMP"): halved whenever a gradient
/// is not finite, when the step is left out, and doubled after so many steps in a row that were.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// What the loss is multiplied by, a power of two.
    pub scale: f64,
    /// Steps since it was changed.
    pub steady: u32,
    /// Steps that were left out.
    pub left_out: u64,
}

/// Steps after which it is doubled.
const INTERVAL: u32 = 2000;

impl Default for LossScale {
    fn default() -> Self {
        Self { scale: 65536.0, steady: 0, left_out: 0 }
    }
}

impl LossScale {
    /// What a run begins with whose matrix products are computed in this type: no scale but for `f16`.
    pub fn of(precision: Precision) -> Option<Self> {
        (precision == Precision::F16).then(Self::default)
    }

    /// After a step whose gradients were all `finite`, or not.
    pub fn update(&mut self, finite: bool) {
        if !finite {
            self.scale *= 0.5;
            self.steady = 0;
            self.left_out += 1;
            return;
        }
        self.steady += 1;
        if self.steady == INTERVAL {
            self.scale *= 2.0;
            self.steady = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_halved_at_once_and_doubled_after_two_thousand() {
        let mut scale = LossScale::default();
        (0..1999).for_each(|_| scale.update(true));
        assert_eq!(scale.scale, 65536.0);
        scale.update(true);
        assert_eq!((scale.scale, scale.steady), (131072.0, 0));
        scale.update(true);
        scale.update(false);
        assert_eq!(scale, LossScale { scale: 65536.0, steady: 0, left_out: 1 });
        (0..1999).for_each(|_| scale.update(true));
        assert_eq!(scale.scale, 65536.0, "the count began anew");
    }
}
