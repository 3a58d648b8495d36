//! An averaged copy of the weights.

use crate::error::{Failure, Result};
use crate::training::tensor_file::Tensor;

/// The exponential moving average of named tensors: `ema = d·ema + (1 − d)·w` in f32, as timm's `ModelEmaV2`. `d` is
/// 0.99996 in the paper, whose numbers come from the raw weights all the same (paper.md §3.3).
///
/// Its whole state is [`Ema::decay`] and [`Ema::tensors`]; a checkpoint keeps the latter in `ema.safetensors`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ema {
    decay: f64,
    /// Sorted by name.
    tensors: Vec<Tensor<'static>>,
}

impl Ema {
    /// An average that begins at `tensors`: the initial weights, or what an earlier [`Ema::tensors`] gave.
    ///
    /// # Errors
    /// A decay outside 0 to 1, and a name that is given twice.
    pub fn new(decay: f64, tensors: &[Tensor<'_>]) -> Result<Self> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(Failure::new(format!("the decay of the weight average is {decay}, expected 0 to 1"))
                .help("0.99996 is the paper's; closer to 1 averages over more steps"));
        }
        let mut tensors: Vec<Tensor<'static>> = tensors.iter().map(Tensor::to_static).collect();
        tensors.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some(pair) = tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Failure::new(format!("two tensors named `{}` in the weight average", pair[0].name)));
        }
        Ok(Self { decay, tensors })
    }

    /// Takes the weights after a step into the average. In any order, but all of them.
    ///
    /// # Errors
    /// Weights that are not the ones the average began with, by name and shape. Nothing is changed then.
    pub fn update(&mut self, weights: &[Tensor<'_>]) -> Result<()> {
        let mut places = Vec::with_capacity(weights.len());
        for weight in weights {
            let place = self
                .tensors
                .binary_search_by(|tensor| tensor.name.as_ref().cmp(&weight.name))
                .map_err(|_| Failure::new(format!("the weight average has no tensor `{}`", weight.name)))?;
            let average = &self.tensors[place];
            if average.shape != weight.shape || average.values.len() != weight.values.len() {
                return Err(Failure::new(format!(
                    "`{}` is {:?} in the weight average, and {:?} in the model",
                    weight.name, average.shape, weight.shape
                ))
                .help("resume with the spec that the checkpoint was written with"));
            }
            places.push(place);
        }
        let mut met = vec![false; self.tensors.len()];
        for &place in &places {
            if std::mem::replace(&mut met[place], true) {
                return Err(Failure::new(format!("two weights named `{}`", self.tensors[place].name)));
            }
        }
        if let Some(missing) = met.iter().position(|met| !met) {
            return Err(Failure::new(format!("no weight `{}` for the average", self.tensors[missing].name)));
        }
        // 1 − d is taken in f64 and then rounded, as Python does: 1 − 0.99996_f32 is 0.3 % off.
        let (kept, taken) = (self.decay as f32, (1.0 - self.decay) as f32);
        for (weight, place) in weights.iter().zip(places) {
            let average = self.tensors[place].values.to_mut();
            for (average, weight) in average.iter_mut().zip(weight.values.iter()) {
                *average = kept * *average + taken * *weight;
            }
        }
        Ok(())
    }

    /// The share of the average that a step keeps.
    pub fn decay(&self) -> f64 {
        self.decay
    }

    /// The averaged tensors, sorted by name.
    pub fn tensors(&self) -> &[Tensor<'static>] {
        &self.tensors
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn tensor<'a>(name: &'a str, values: &'a [f32]) -> Tensor<'a> {
        Tensor { name: Cow::Borrowed(name), shape: Cow::Owned(vec![values.len()]), values: Cow::Borrowed(values) }
    }

    /// timm 1.0.31: `ModelEmaV2(decay=0.9)` of a weight [1, -2], updated with [2, 0] and then [3, 5].
    #[test]
    fn the_average_is_timm_s() {
        let mut ema = Ema::new(0.9, &[tensor("w", &[1.0, -2.0])]).expect("a decay of 0.9");
        ema.update(&[tensor("w", &[2.0, 0.0])]).expect("the same tensor");
        assert_eq!(ema.tensors()[0].values.as_ref(), [1.1, -1.8]);
        ema.update(&[tensor("w", &[3.0, 5.0])]).expect("the same tensor");
        assert_eq!(ema.tensors()[0].values.as_ref(), [1.29, -1.119_999_9]);
    }

    #[test]
    fn an_average_goes_on_from_its_tensors() {
        let mut through = Ema::new(0.7, &[tensor("b", &[1.0]), tensor("a", &[2.0, 3.0])]).expect("fine");
        through.update(&[tensor("a", &[0.1, 0.2]), tensor("b", &[0.3])]).expect("the same tensors");
        let mut resumed = Ema::new(through.decay(), through.tensors()).expect("fine");
        for ema in [&mut through, &mut resumed] {
            ema.update(&[tensor("b", &[0.4]), tensor("a", &[0.5, 0.6])]).expect("the same tensors");
        }
        assert_eq!(through, resumed);
        let names: Vec<&str> = through.tensors().iter().map(|tensor| tensor.name.as_ref()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn other_weights_are_refused_and_change_nothing() {
        let mut ema = Ema::new(0.5, &[tensor("a", &[1.0]), tensor("b", &[1.0])]).expect("fine");
        let before = ema.clone();
        let mut refused = |weights: &[Tensor<'_>]| ema.update(weights).expect_err("other weights").what;
        let (a, b) = (tensor("a", &[9.0]), tensor("b", &[9.0]));
        assert_eq!(refused(&[a.clone(), tensor("c", &[9.0])]), "the weight average has no tensor `c`");
        assert_eq!(refused(std::slice::from_ref(&a)), "no weight `b` for the average");
        assert_eq!(refused(&[a.clone(), b, a.clone()]), "two weights named `a`");
        let wide = [a, tensor("b", &[9.0, 9.0])];
        assert_eq!(refused(&wide), "`b` is [1] in the weight average, and [2] in the model");
        assert_eq!(ema, before);
        assert!(Ema::new(1.5, &[]).is_err());
        assert!(Ema::new(0.5, &[tensor("a", &[]), tensor("a", &[])]).is_err());
    }
}
