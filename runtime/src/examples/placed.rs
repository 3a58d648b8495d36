//! Samples on their way to a device, a batch ahead of who takes them.

use std::sync::mpsc::sync_channel;

use lmv_compiler::graph::Port;

use super::Examples;
use crate::error::Result;
use crate::kernels::Kernels;
use crate::stream::Stream;
use crate::tasks::Batches;

/// The samples of a step, with the model's inputs on a device.
pub struct Placed<B: Kernels> {
    /// How many in all.
    pub samples: usize,
    /// In the parts in which they go through the device.
    pub parts: Vec<Part<B>>,
}

/// Some of the samples of a step.
pub struct Part<B: Kernels> {
    /// All fields, in memory.
    pub examples: Examples,
    /// The model's inputs, in the order of its ports.
    pub inputs: Vec<Stream<B>>,
}

/// Where samples go.
pub struct Destination<'a, B: Kernels> {
    /// The inputs of the model.
    pub ports: &'a [Port],
    /// The device.
    pub device: &'a B::Device,
    /// The most samples at a time, if not all of them.
    pub most: Option<usize>,
}

impl<B: Kernels> Destination<'_, B> {
    /// Puts the samples of a step on the device.
    ///
    /// # Errors
    /// An input that the data does not give.
    pub fn place(&self, examples: Examples) -> Result<Placed<B>> {
        let samples = examples.samples;
        let parts = examples.parts(self.most.unwrap_or(samples)).into_iter();
        let placed = parts.map(|examples| {
            let inputs = examples.inputs::<B>(self.ports, self.device)?;
            Ok(Part { examples, inputs })
        });
        Ok(Placed { samples, parts: placed.collect::<Result<_>>()? })
    }

    /// Gives `take` the batches, each put on the device while the one before it is computed with. That happens on a thread of
    /// its own, which on a GPU has a queue of its own: the copy then runs beside the kernels. Nothing random is in it, so what a
    /// run draws does not hang on how far ahead it is.
    pub fn ahead<R>(
        &self,
        batches: Batches<'_>,
        take: impl FnOnce(&mut dyn Iterator<Item = Result<Placed<B>>>) -> R,
    ) -> R {
        std::thread::scope(|scope| {
            // No place to wait in: one batch is ready, and the next is begun when it is taken.
            let (give, taken) = sync_channel(0);
            scope.spawn(move || {
                for examples in batches {
                    let placed = examples.and_then(|examples| self.place(examples));
                    if give.send(placed).is_err() {
                        // Nobody wants more.
                        break;
                    }
                }
            });
            take(&mut taken.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use burn_flex::Flex;

    use super::*;
    use crate::error::Failure;
    use crate::examples::Batch;
    use crate::network::values;

    fn batch(number: usize) -> Examples {
        let words = Batch::classes(vec![3, 2], vec![number as i32; 6]);
        Examples { samples: 3, fields: BTreeMap::from([("words".to_owned(), words)]) }
    }

    fn destination(most: Option<usize>) -> Destination<'static, Flex> {
        static DEVICE: std::sync::LazyLock<<Flex as burn::tensor::backend::BackendTypes>::Device> =
            std::sync::LazyLock::new(Default::default);
        Destination { ports: &[], device: &DEVICE, most }
    }

    #[test]
    fn batches_come_in_their_order_one_ahead_and_no_more_than_are_wanted() {
        let made = AtomicUsize::new(0);
        let batches: Batches<'_> = Box::new((0..100).map(|number| {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(batch(number))
        }));
        let found: Vec<i32> = destination(Some(2)).ahead(batches, |batches| {
            let of = |placed: Placed<Flex>| {
                assert_eq!((placed.samples, placed.parts.len()), (3, 2));
                match &placed.parts[1].examples.fields["words"].values {
                    crate::examples::Values::Classes(words) => words[0],
                    _ => panic!("words are classes"),
                }
            };
            batches.take(5).map(|placed| of(placed.expect("a batch"))).collect()
        });
        assert_eq!(found, [0, 1, 2, 3, 4]);
        assert!(made.load(Ordering::SeqCst) <= 7, "one is ready and one is begun: {made:?}");
    }

    #[test]
    fn what_goes_wrong_comes_in_its_place() {
        let wrong: Vec<Result<Examples>> = vec![Ok(batch(0)), Err(Failure::new("no more"))];
        let found: Vec<Result<usize>> = destination(None)
            .ahead(Box::new(wrong.into_iter()), |batches| batches.map(|batch| Ok(batch?.samples)).collect());
        assert_eq!(found[0], Ok(3));
        assert!(found[1].is_err());
        // An input that the data does not give is told where it is put on the device.
        let port = lmv_compiler::compile("a.lmv", "model(x : [2]) { x >> gelu }", &[]).experiment.expect("a model");
        let port = lmv_compiler::passes::Passes::NONE.plan(&port.graph).inputs;
        let lacking = Destination { ports: &port, ..destination(None) };
        assert!(lacking.place(batch(0)).err().expect("no `x`").what.contains("gives no `x`"));
        let numbers = Examples {
            samples: 1,
            fields: BTreeMap::from([("x".to_owned(), Batch::numbers(vec![1, 2], vec![3.0, 4.0]))]),
        };
        let mut placed = lacking.place(numbers).expect("`x` is there");
        assert_eq!(values::<Flex>(placed.parts.remove(0).inputs.remove(0).into_numbers()), [3.0, 4.0]);
    }
}
