//! Samples as a task reads them: for each field of the data a batch, in memory.

pub mod placed;

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::TensorData;
use lmv_compiler::graph::Port;

use crate::error::{Failure, Result};
use crate::kernels::{Kernels, booleans};
use crate::network::tensor;
use crate::stream::Stream;

/// The samples of one step.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    /// How many.
    pub samples: usize,
    /// By the names of the data's fields.
    pub fields: BTreeMap<String, Batch>,
}

/// One field of several samples.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[batch, ..]`
    pub dims: Vec<usize>,
    /// What is in it, row-major.
    pub values: Values,
    /// For each dim that varies from sample to sample (counted without the batch) which of its places are real:
    /// `[batch, length]`.
    pub masks: Vec<(usize, Vec<bool>)>,
}

/// The content of a batch.
#[derive(Clone, Debug)]
pub enum Values {
    /// Numbers.
    Numbers(Vec<f32>),
    /// Numbers of classes.
    Classes(Vec<i32>),
    /// Labels that a mix blended: for each sample its share of every class, `[batch, classes]`.
    Shares {
        /// How many classes.
        classes: usize,
        /// The shares of each sample, which sum to one.
        shares: Vec<f32>,
    },
}

impl Batch {
    /// Numbers, all of them real.
    pub fn numbers(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self { dims, values: Values::Numbers(values), masks: Vec::new() }
    }

    /// Classes, all of them real.
    pub fn classes(dims: Vec<usize>, values: Vec<i32>) -> Self {
        Self { dims, values: Values::Classes(values), masks: Vec::new() }
    }

    /// One label a sample.
    pub fn labels(labels: &[usize]) -> Self {
        // A class number beyond 2^31 does not come out of any set that fits a machine.
        let values = labels.iter().map(|&label| i32::try_from(label).unwrap_or(i32::MAX)).collect();
        Self::classes(vec![labels.len()], values)
    }

    /// Some of the samples.
    fn part(&self, samples: Range<usize>) -> Self {
        fn rows<T: Clone>(all: &[T], batch: usize, samples: &Range<usize>) -> Vec<T> {
            let each = all.len() / batch.max(1);
            all[samples.start * each..samples.end * each].to_vec()
        }
        let batch = self.dims[0];
        let mut dims = self.dims.clone();
        dims[0] = samples.len();
        let values = match &self.values {
            Values::Numbers(values) => Values::Numbers(rows(values, batch, &samples)),
            Values::Classes(values) => Values::Classes(rows(values, batch, &samples)),
            Values::Shares { classes, shares } => {
                Values::Shares { classes: *classes, shares: rows(shares, batch, &samples) }
            }
        };
        let masks = self.masks.iter().map(|(dim, mask)| (*dim, rows(mask, batch, &samples))).collect();
        Self { dims, values, masks }
    }

    /// Puts samples of the same field behind these.
    fn join(&mut self, other: Self) {
        self.dims[0] += other.dims[0];
        match (&mut self.values, other.values) {
            (Values::Numbers(mine), Values::Numbers(theirs)) => mine.extend(theirs),
            (Values::Classes(mine), Values::Classes(theirs)) => mine.extend(theirs),
            (Values::Shares { shares: mine, .. }, Values::Shares { shares: theirs, .. }) => mine.extend(theirs),
            _ => unreachable!("parts of one field are of one kind"),
        }
        self.masks.iter_mut().zip(other.masks).for_each(|((_, mine), (_, theirs))| mine.extend(theirs));
    }

    /// The batch as a stream on a device.
    pub fn stream<B: Kernels>(&self, device: &B::Device) -> Stream<B> {
        let stream = match &self.values {
            Values::Numbers(values) => Stream::new(tensor::<B>(values.clone(), &self.dims, device)),
            Values::Classes(values) => {
                Stream::of_classes(B::int_from_data(TensorData::new(values.clone(), self.dims.clone()), device))
            }
            Values::Shares { classes, shares } => {
                Stream::new(tensor::<B>(shares.clone(), &[self.dims[0], *classes], device))
            }
        };
        self.masks.iter().fold(stream, |stream, (dim, mask)| {
            let mask = booleans::<B>(mask.clone(), [self.dims[0], self.dims[dim + 1]], device);
            stream.masked(*dim, Some(mask))
        })
    }

    /// For each place of the dims in front of the last `behind` ones, whether it is real in every dim that varies.
    pub fn real(&self) -> Vec<bool> {
        let mut real = vec![true; self.dims.iter().product()];
        for (dim, mask) in &self.masks {
            let (length, inner) = (self.dims[dim + 1], self.dims[dim + 2..].iter().product::<usize>());
            let outer = self.dims[1..=*dim].iter().product::<usize>();
            for (index, real) in real.iter_mut().enumerate() {
                let (sample, place) = (index / (outer * length * inner), index / inner % length);
                *real &= mask[sample * length + place];
            }
        }
        real
    }
}

impl Examples {
    /// A field by its name.
    ///
    /// # Errors
    /// None of that name.
    pub fn field(&self, name: &str) -> Result<&Batch> {
        self.fields.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
            Failure::new(format!("the data gives no `{name}`")).note(format!("it gives `{}`", names.join("`, `")))
        })
    }

    /// The samples in parts of at most `most`, as even as they come out, in their order.
    pub fn parts(self, most: usize) -> Vec<Examples> {
        let count = self.samples.div_ceil(most.max(1)).max(1);
        if count == 1 {
            return vec![self];
        }
        let at = |part: usize| part * self.samples / count;
        let part = |part: usize| {
            let range = at(part)..at(part + 1);
            let fields = self.fields.iter().map(|(name, batch)| (name.clone(), batch.part(range.clone())));
            Examples { samples: range.len(), fields: fields.collect() }
        };
        (0..count).map(part).collect()
    }

    /// The first of each `views` samples in a row.
    pub fn every(&self, views: usize) -> Examples {
        let one = |batch: &Batch, sample: usize| batch.part(sample * views..sample * views + 1);
        let samples = self.samples / views.max(1);
        let fields = self.fields.iter().map(|(name, batch)| {
            let mut all = one(batch, 0);
            (1..samples).for_each(|sample| all.join(one(batch, sample)));
            (name.clone(), all)
        });
        Examples { samples, fields: fields.collect() }
    }

    /// The model's inputs as streams on a device.
    ///
    /// # Errors
    /// An input that the data does not give.
    pub fn inputs<B: Kernels>(&self, ports: &[Port], device: &B::Device) -> Result<Vec<Stream<B>>> {
        ports.iter().map(|port| Ok(self.field(&port.name)?.stream(device))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_and_keep_order_and_masks() {
        let text = Batch {
            dims: vec![5, 2],
            values: Values::Classes((0..10).collect()),
            masks: vec![(0, vec![true, true, true, false, true, true, true, false, false, false])],
        };
        let share = Values::Shares { classes: 1, shares: vec![0.0, 1.0, 2.0, 3.0, 4.0] };
        let share = Batch { dims: vec![5], values: share, masks: Vec::new() };
        let fields = BTreeMap::from([("share".to_owned(), share), ("text".to_owned(), text)]);
        let parts = Examples { samples: 5, fields }.parts(3);
        assert_eq!(parts.iter().map(|part| part.samples).collect::<Vec<_>>(), [2, 3]);
        let Values::Classes(words) = &parts[1].fields["text"].values else { panic!("classes") };
        assert_eq!(words[..], [4, 5, 6, 7, 8, 9]);
        assert_eq!(parts[1].fields["text"].dims, [3, 2]);
        assert_eq!(parts[1].fields["text"].masks, [(0, vec![true, true, true, false, false, false])]);
        let Values::Shares { shares, .. } = &parts[0].fields["share"].values else { panic!("shares") };
        assert_eq!(shares[..], [0.0, 1.0]);
        assert_eq!(parts[0].clone().parts(2).len(), 1);
    }

    #[test]
    fn a_place_is_real_where_all_its_masks_say_so() {
        let batch = Batch {
            dims: vec![2, 2, 3],
            values: Values::Classes(vec![0; 12]),
            masks: vec![(0, vec![true, false, true, true]), (1, vec![true, true, false, true, false, false])],
        };
        let real: Vec<u8> = batch.real().into_iter().map(u8::from).collect();
        assert_eq!(real, [1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]);
    }
}
