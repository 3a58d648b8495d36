//! What a run's predictions say of its classes.

use std::collections::BTreeMap;

use lmv_runtime::evaluation::Prediction;

/// A class: how many of its images were right.
#[derive(Debug, PartialEq)]
pub struct Class {
    /// Its number.
    pub class: usize,
    /// Images of it that the model gets right.
    pub right: usize,
    /// All of them.
    pub all: usize,
}

impl Class {
    /// In percent.
    pub fn accuracy(&self) -> f64 {
        100.0 * self.right as f64 / self.all.max(1) as f64
    }
}

/// The classes that have images, the worst first.
pub fn by_class(predictions: &[Prediction]) -> Vec<Class> {
    let mut found: BTreeMap<usize, Class> = BTreeMap::new();
    for prediction in predictions {
        let class = prediction.label;
        let counted = found.entry(class).or_insert(Class { class, right: 0, all: 0 });
        counted.all += 1;
        counted.right += usize::from(prediction.predicted == class);
    }
    let mut classes: Vec<Class> = found.into_values().collect();
    classes.sort_by(|a, b| a.accuracy().total_cmp(&b.accuracy()).then(a.class.cmp(&b.class)));
    classes
}

/// Pairs of a class and what its images are taken for, with how many, the most first.
pub fn confused(predictions: &[Prediction]) -> Vec<(usize, usize, usize)> {
    let mut found: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for prediction in predictions.iter().filter(|prediction| prediction.label != prediction.predicted) {
        *found.entry((prediction.label, prediction.predicted)).or_default() += 1;
    }
    let mut pairs: Vec<_> = found.into_iter().map(|((label, predicted), count)| (label, predicted, count)).collect();
    pairs.sort_by_key(|(label, predicted, count)| (std::cmp::Reverse(*count), *label, *predicted));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_pairs_are_counted() {
        let of =
            |label, predicted| Prediction { image: String::new(), label, predicted, probability: 0.5, of_label: 0.5 };
        let all = [of(0, 0), of(0, 0), of(1, 0), of(1, 0), of(1, 1), of(2, 1)];
        let classes: Vec<_> = by_class(&all).into_iter().map(|class| (class.class, class.right, class.all)).collect();
        assert_eq!(classes, [(2, 0, 1), (1, 1, 3), (0, 2, 2)]);
        assert_eq!(confused(&all), [(1, 0, 2), (2, 1, 1)]);
    }
}
