//! The learning rate of each step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// How the learning rate moves over a run. Rates are absolute (not multiples of the base rate) unless said otherwise.
///
/// The base rate, the peak of every schedule, is given to [`Schedule::lr`], so that parameter groups with rates of their
/// own (paper.md §5.3, §7.4) share one schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The base rate throughout.
    Constant,
    /// timm's cosine, one value an epoch (paper.md §3.3 and §4.3).
    ///
    /// With f(t) = `from` + t·(lr − `from`)/`warmup` for t < `warmup`, else `to` + ½(lr − `to`)(1 + cos(π·t/`epochs`)),
    /// and `to` from t = `epochs` on: epoch 0 runs at f(0) and epoch e ≥ 1 at f(e − 1), because the reference steps the
    /// schedule after an epoch with that epoch's own number. The cosine is not shifted by the warmup, so it begins a
    /// little below the peak.
    Cosine {
        /// Length of the cosine, in epochs, warmup included.
        epochs: u64,
        /// Epochs of linear warmup; 0 for none.
        warmup: u64,
        /// Rate at the start of the warmup.
        from: f64,
        /// Lowest rate.
        to: f64,
    },
    /// PyTorch's `OneCycleLR`, one value a step, cosine annealing in two phases; momentum is left alone
    /// (`cycle_momentum=False`).
    OneCycle {
        /// Length of the run, in epochs.
        epochs: u64,
        /// Share of the steps in which the rate rises, 0 to 1.
        #[serde(default = "one_cycle_pct_start")]
        pct_start: f64,
        /// The rate starts at base / `div_factor`.
        #[serde(default = "one_cycle_div_factor")]
        div_factor: f64,
        /// The rate ends at base / `div_factor` / `final_div_factor`.
        #[serde(default = "one_cycle_final_div_factor")]
        final_div_factor: f64,
    },
    /// VideoMAE's `cosine_scheduler`, one value a step (paper.md §5.3): linear from `from` to the base rate, which the
    /// last warmup step reaches, then a cosine to `to` over the steps that remain.
    LinearWarmupCosine {
        /// Length of the run, in epochs, warmup included.
        epochs: u64,
        /// Epochs of warmup.
        warmup: u64,
        /// Rate of the first step; 0 in the paper's code.
        from: f64,
        /// Rate that the cosine goes to.
        to: f64,
    },
    /// Linear up from 0, then linear down to 0, one value a step: METER's schedule with power 1 (paper.md §7.4).
    LinearWarmupLinear {
        /// Length of the run, in epochs.
        epochs: u64,
        /// Share of the steps in which the rate rises, 0 to 1; 0.1 in METER.
        warmup_share: f64,
    },
    /// The base rate times `factor` for each entry of `at` that has been reached, one value an epoch (paper.md §6.4:
    /// 20, 24, 28; §8.5: 10, 15, 20).
    Steps {
        /// Epochs, counted from 0, at whose beginning the rate changes.
        at: Vec<u64>,
        /// What the rate is multiplied by.
        factor: f64,
    },
}

/// PyTorch's default of `pct_start`.
fn one_cycle_pct_start() -> f64 {
    0.3
}

/// PyTorch's default of `div_factor`.
fn one_cycle_div_factor() -> f64 {
    25.0
}

/// PyTorch's default of `final_div_factor`.
fn one_cycle_final_div_factor() -> f64 {
    1e4
}

impl Schedule {
    /// `OneCycle` with PyTorch's defaults: `pct_start` 0.3, `div_factor` 25, `final_div_factor` 1e4.
    pub fn one_cycle(epochs: u64) -> Self {
        Self::OneCycle {
            epochs,
            pct_start: one_cycle_pct_start(),
            div_factor: one_cycle_div_factor(),
            final_div_factor: one_cycle_final_div_factor(),
        }
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// A length of 0 epochs, a rate or factor that is negative or not finite, a share outside 0 to 1, a warmup that is
    /// longer than a run which is counted in steps.
    pub fn check(&self) -> Result<()> {
        let rate = |name: &str, value: f64| {
            if value.is_finite() && value >= 0.0 {
                return Ok(());
            }
            Err(Failure::new(format!("`{name}` of the schedule is {value}, expected a finite number of at least 0")))
        };
        let length = |epochs: u64| {
            if epochs > 0 {
                return Ok(());
            }
            Err(Failure::new("`epochs` of the schedule is 0, expected at least 1"))
        };
        let share = |name: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                return Ok(());
            }
            Err(Failure::new(format!("`{name}` of the schedule is {value}, expected a share of the steps from 0 to 1")))
        };
        let divisor = |name: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            Err(Failure::new(format!("`{name}` of the schedule is {value}, expected a finite number above 0")))
        };
        match self {
            Self::Constant => Ok(()),
            Self::Cosine { epochs, from, to, .. } => {
                length(*epochs)?;
                rate("from", *from)?;
                rate("to", *to)
            }
            Self::OneCycle { epochs, pct_start, div_factor, final_div_factor } => {
                length(*epochs)?;
                share("pct_start", *pct_start)?;
                divisor("div_factor", *div_factor)?;
                divisor("final_div_factor", *final_div_factor)
            }
            Self::LinearWarmupCosine { epochs, warmup, from, to } => {
                length(*epochs)?;
                if warmup > epochs {
                    return Err(Failure::new(format!("the schedule warms up for {warmup} of {epochs} epochs"))
                        .help("make `warmup` at most `epochs`"));
                }
                rate("from", *from)?;
                rate("to", *to)
            }
            Self::LinearWarmupLinear { epochs, warmup_share } => {
                length(*epochs)?;
                share("warmup_share", *warmup_share)
            }
            Self::Steps { factor, .. } => rate("factor", *factor),
        }
    }

    /// The learning rate of one step. Epochs and steps count from 0; past the end of the schedule its last value holds.
    pub fn lr(&self, base_lr: f64, epoch: u64, step_in_epoch: u64, steps_per_epoch: u64) -> f64 {
        let steps_per_epoch = steps_per_epoch.max(1);
        let step = epoch.saturating_mul(steps_per_epoch).saturating_add(step_in_epoch);
        match *self {
            Self::Constant => base_lr,
            Self::Cosine { epochs, warmup, from, to } => {
                timm_cosine(epoch.saturating_sub(1), base_lr, epochs, warmup, from, to)
            }
            Self::OneCycle { epochs, pct_start, div_factor, final_div_factor } => {
                let total = epochs.saturating_mul(steps_per_epoch);
                one_cycle(step, total, base_lr, pct_start, div_factor, final_div_factor)
            }
            Self::LinearWarmupCosine { epochs, warmup, from, to } => {
                let warm = warmup.saturating_mul(steps_per_epoch);
                let total = epochs.saturating_mul(steps_per_epoch);
                warmup_cosine(step, warm, total, base_lr, from, to)
            }
            Self::LinearWarmupLinear { epochs, warmup_share } => {
                let total = epochs.saturating_mul(steps_per_epoch);
                warmup_linear(step, (total as f64 * warmup_share) as u64, total, base_lr)
            }
            Self::Steps { ref at, factor } => {
                let passed = at.iter().filter(|&&boundary| epoch >= boundary).count();
                // Repeated products and not a power, as PyTorch's MultiStepLR has it.
                (0..passed).fold(base_lr, |lr, _| lr * factor)
            }
        }
    }
}

fn timm_cosine(t: u64, base: f64, epochs: u64, warmup: u64, from: f64, to: f64) -> f64 {
    if t < warmup {
        from + t as f64 * ((base - from) / warmup as f64)
    } else if t < epochs {
        to + 0.5 * (base - to) * (1.0 + (PI * t as f64 / epochs as f64).cos())
    } else {
        to
    }
}

fn one_cycle(step: u64, total: u64, base: f64, pct_start: f64, div_factor: f64, final_div_factor: f64) -> f64 {
    let start = base / div_factor;
    let end = start / final_div_factor;
    let last = total.saturating_sub(1) as f64;
    let peak = pct_start * total as f64 - 1.0;
    let step = (step as f64).min(last);
    // A phase without length (a run of one step, or `pct_start` = 1) would divide by 0 in PyTorch; here it is over.
    let share = |from: f64, to: f64| if to > from { (step - from) / (to - from) } else { 1.0 };
    let anneal = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * ((PI * share).cos() + 1.0);
    if step <= peak { anneal(start, base, share(0.0, peak)) } else { anneal(base, end, share(peak, last)) }
}

fn warmup_cosine(step: u64, warm: u64, total: u64, base: f64, from: f64, to: f64) -> f64 {
    if step < warm {
        // numpy's `linspace(from, base, warm)`: both ends are reached, and a single point is `from`.
        return from + step as f64 * ((base - from) / (warm - 1).max(1) as f64);
    }
    let rest = total.saturating_sub(warm);
    let i = step - warm;
    if i >= rest { to } else { to + 0.5 * (base - to) * (1.0 + (PI * i as f64 / rest as f64).cos()) }
}

fn warmup_linear(step: u64, warm: u64, total: u64, base: f64) -> f64 {
    if step < warm {
        return base * (step as f64 / warm as f64);
    }
    base * (total.saturating_sub(step) as f64 / total.saturating_sub(warm).max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1e-9), "found {found:e}, expected {expected:e}");
    }

    /// timm 1.0.31: `CosineLRScheduler(AdamW(lr=1e-3), t_initial=300, lr_min=1e-5, warmup_t=20, warmup_lr_init=1e-6)`,
    /// the optimizer's rate read before each epoch and `step(epoch)` called after it.
    #[test]
    fn cosine_is_the_recipe_of_imagenet() {
        let schedule = Schedule::Cosine { epochs: 300, warmup: 20, from: 1e-6, to: 1e-5 };
        for (epoch, expected) in [
            (0, 1e-06),
            (1, 1e-06),
            (2, 5.0950000000000005e-05),
            (3, 0.00010090000000000001),
            (20, 0.0009500500000000001),
            (21, 0.0009891830623632338),
            (22, 0.00098807879715968),
            (100, 0.0007569755007964338),
            (150, 0.0005101835331375417),
            (151, 0.000505),
            (299, 1.0108561679951479e-05),
            (300, 1.002714116407149e-05),
            (301, 1e-05),
            (302, 1e-05),
        ] {
            close(schedule.lr(1e-3, epoch, 7, 1251), expected);
        }
    }

    /// timm 1.0.31: the same with `lr=5e-4, t_initial=300, lr_min=1e-6, warmup_t=10, warmup_lr_init=1e-6`
    /// (paper.md §4.3).
    #[test]
    fn cosine_is_the_recipe_of_point_clouds() {
        let schedule = Schedule::Cosine { epochs: 300, warmup: 10, from: 1e-6, to: 1e-6 };
        for (epoch, expected) in [
            (0, 1e-06),
            (1, 1e-06),
            (2, 5.09e-05),
            (10, 0.00045010000000000004),
            (11, 0.0004986332128943842),
            (12, 0.0004983465050172989),
            (151, 0.0002505),
            (300, 1.0136802433047203e-06),
            (301, 1e-06),
        ] {
            close(schedule.lr(5e-4, epoch, 0, 10), expected);
        }
    }

    /// timm 1.0.31: the same with `lr=1e-3, t_initial=5, lr_min=1e-5, warmup_t=1, warmup_lr_init=1e-6`; without a
    /// warmup the first epoch runs at the peak.
    #[test]
    fn cosine_of_a_short_run() {
        let schedule = Schedule::Cosine { epochs: 5, warmup: 1, from: 1e-6, to: 1e-5 };
        let expected = [1e-6, 1e-6, 0.000905463412215599, 0.000657963412215599, 0.0003520365877844011];
        for (epoch, expected) in expected.into_iter().enumerate() {
            close(schedule.lr(1e-3, epoch as u64, 0, 1), expected);
        }
        let cold = Schedule::Cosine { epochs: 5, warmup: 0, from: 1e-6, to: 1e-5 };
        close(cold.lr(1e-3, 0, 0, 1), 1e-3);
    }

    /// torch 2.15: `OneCycleLR(AdamW, max_lr=1e-3, total_steps=100)`.
    #[test]
    fn one_cycle_with_the_defaults() {
        let schedule = Schedule::one_cycle(10);
        for (step, expected) in [
            (0, 3.9999999999999996e-05),
            (1, 4.281378056590743e-05),
            (5, 0.0001087085554395572),
            (15, 0.0005459866761210004),
            (28, 0.0009971862194340926),
            (29, 0.001),
            (30, 0.0009994965352845243),
            (31, 0.0009979871550490316),
            (64, 0.0005000019999999999),
            (98, 5.074647154757879e-07),
            (99, 4e-09),
            (100, 4e-09),
        ] {
            close(schedule.lr(1e-3, step / 10, step % 10, 10), expected);
        }
    }

    /// torch 2.15: `OneCycleLR(max_lr=5e-4, total_steps=10, pct_start=0.4, div_factor=10, final_div_factor=100)`.
    #[test]
    fn one_cycle_with_other_numbers() {
        let schedule = Schedule::OneCycle { epochs: 2, pct_start: 0.4, div_factor: 10.0, final_div_factor: 100.0 };
        for (step, expected) in
            [(0, 5e-05), (1, 0.0001625), (2, 0.0003875), (3, 0.0005), (4, 0.00046653984459516364), (9, 5e-07)]
        {
            close(schedule.lr(5e-4, step / 5, step % 5, 5), expected);
        }
    }

    /// VideoMAE's `cosine_scheduler(9.375e-5, 1e-6, epochs=8, niter_per_ep=5, warmup_epochs=2)` run in numpy.
    #[test]
    fn linear_warmup_then_cosine() {
        let schedule = Schedule::LinearWarmupCosine { epochs: 8, warmup: 2, from: 0.0, to: 1e-6 };
        for (step, expected) in [
            (0, 0.0),
            (1, 1.0416666666666666e-05),
            (5, 5.208333333333333e-05),
            (9, 9.375e-05),
            (10, 9.375e-05),
            (11, 9.349595289770368e-05),
            (25, 4.737500000000001e-05),
            (39, 1.254047102296321e-06),
            (40, 1e-6),
        ] {
            close(schedule.lr(9.375e-5, step / 5, step % 5, 5), expected);
        }
    }

    /// transformers: `get_linear_schedule_with_warmup(AdamW(lr=5e-6), 10, 100)`.
    #[test]
    fn linear_warmup_then_linear_decay() {
        let schedule = Schedule::LinearWarmupLinear { epochs: 10, warmup_share: 0.1 };
        for (step, expected) in [
            (0, 0.0),
            (1, 5.000000000000001e-07),
            (5, 2.5e-06),
            (10, 5e-06),
            (11, 4.944444444444445e-06),
            (55, 2.5e-06),
            (99, 5.555555555555556e-08),
            (100, 0.0),
            (101, 0.0),
        ] {
            close(schedule.lr(5e-6, step / 10, step % 10, 10), expected);
        }
    }

    /// torch 2.15: `MultiStepLR(AdamW(lr=5e-4), [10, 15, 20], 0.1)`, stepped once an epoch.
    #[test]
    fn steps_divide_at_their_epochs() {
        let schedule = Schedule::Steps { at: vec![10, 15, 20], factor: 0.1 };
        for (epoch, expected) in [(0, 5e-4), (9, 5e-4), (10, 5e-5), (14, 5e-5), (15, 5e-6), (20, 5e-7), (29, 5e-7)] {
            close(schedule.lr(5e-4, epoch, 3, 8), expected);
        }
        close(Schedule::Constant.lr(5e-4, 99, 3, 8), 5e-4);
    }

    #[test]
    fn degenerate_lengths_give_finite_rates() {
        for schedule in [
            Schedule::Cosine { epochs: 0, warmup: 0, from: 0.0, to: 0.0 },
            Schedule::one_cycle(0),
            Schedule::one_cycle(1),
            Schedule::OneCycle { epochs: 3, pct_start: 1.0, div_factor: 25.0, final_div_factor: 1e4 },
            Schedule::OneCycle { epochs: 3, pct_start: 0.0, div_factor: 25.0, final_div_factor: 1e4 },
            Schedule::LinearWarmupCosine { epochs: 1, warmup: 1, from: 0.0, to: 0.0 },
            Schedule::LinearWarmupLinear { epochs: 0, warmup_share: 0.0 },
            Schedule::LinearWarmupLinear { epochs: 1, warmup_share: 1.0 },
        ] {
            for (epoch, step, steps) in [(0, 0, 0), (0, 0, 1), (1, 0, 1), (0, 2, 3), (u64::MAX, u64::MAX, u64::MAX)] {
                assert!(schedule.lr(1.0, epoch, step, steps).is_finite(), "{schedule:?} {epoch} {step} {steps}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        let found = |schedule: Schedule| schedule.check().map_err(|failure| failure.to_string());
        assert_eq!(
            found(Schedule::Cosine { epochs: 0, warmup: 0, from: 0.0, to: 0.0 }),
            Err("`epochs` of the schedule is 0, expected at least 1".into())
        );
        assert_eq!(
            found(Schedule::Cosine { epochs: 9, warmup: 0, from: f64::NAN, to: 0.0 }),
            Err("`from` of the schedule is NaN, expected a finite number of at least 0".into())
        );
        assert_eq!(
            found(Schedule::LinearWarmupCosine { epochs: 3, warmup: 5, from: 0.0, to: 0.0 }),
            Err("the schedule warms up for 5 of 3 epochs\nhelp: make `warmup` at most `epochs`".into())
        );
        assert!(found(Schedule::LinearWarmupLinear { epochs: 3, warmup_share: 1.5 }).is_err());
        assert!(found(Schedule::one_cycle(3)).is_ok());
    }

    #[test]
    fn json_names_the_kind_and_fills_the_defaults() {
        let schedule: Schedule =
            serde_json::from_str(r#"{"kind": "one_cycle", "epochs": 4}"#).expect("the three others have defaults");
        assert_eq!(schedule, Schedule::one_cycle(4));
        assert!(serde_json::from_str::<Schedule>(r#"{"kind": "cosine", "epochs": 4}"#).is_err());
    }
}
