//! Batches for the model, decoded ahead of it on threads of their own.
//!
//! Worker threads take positions of the epoch one after the other; the one that finishes the last sample of a batch also
//! puts the batch together. The model's thread only takes finished batches, in order. The threads are the loader's own, so
//! that the pool that computes the model keeps its cores' queues to itself.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rand_chacha::ChaCha8Rng;

use super::transforms::{PlaneTransform, Transform};
use super::{Damage, ImageSet, Normalize, Pixels, draws};
use crate::error::{Failure, Result};

/// What happens to each image before the model sees it.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// In the order in which they are applied; the last must give all images one size.
    pub transforms: Vec<Box<dyn Transform>>,
    /// From pixels to numbers.
    pub normalize: Normalize,
    /// What is done to the numbers, in the order in which it is applied.
    pub after: Vec<Box<dyn PlaneTransform>>,
}

/// What becomes of a sample whose file is damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damaged {
    /// The next good one of the order takes its place, so that every batch has its size: for training.
    #[default]
    Replaced,
    /// It is left out, and its batch is smaller: for measuring, where no sample may count twice.
    LeftOut,
}

/// How a [`Loader`] goes through an epoch.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Samples in a batch, at least 1.
    pub batch: usize,
    /// Whether a last batch of fewer samples is left out.
    pub drop_last: bool,
    /// The run's seed.
    pub seed: u64,
    /// What the random numbers are for ("train"): loaders of different purposes share none.
    pub purpose: String,
    /// The epoch, counted from 0: each has its own random numbers.
    pub epoch: u64,
    /// Batches at the beginning that a resumed run has seen already.
    pub skip_batches: usize,
    /// Worker threads; 0 for one for each core.
    pub threads: usize,
    /// What becomes of damaged files.
    pub damaged: Damaged,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch: 64,
            drop_last: false,
            seed: 0,
            purpose: "train".to_string(),
            epoch: 0,
            skip_batches: 0,
            threads: 0,
            damaged: Damaged::Replaced,
        }
    }
}

/// Samples for one step.
#[derive(Clone, PartialEq)]
pub struct Batch {
    /// `[batch, 3, height, width]`, row-major, normalized.
    pub images: Vec<f32>,
    /// Height and width of each image.
    pub size: (usize, usize),
    /// Class of each sample, `[batch]`.
    pub labels: Vec<i64>,
    /// Index in the set of each sample, `[batch]`: that of its replacement where a file was damaged.
    pub indices: Vec<usize>,
}

impl Batch {
    /// How many samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none; a loader never gives such a batch.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the numbers of the images.
        let (height, width) = self.size;
        write!(
            f,
            "Batch of {} × 3 × {height} × {width}: samples {:?}, labels {:?}",
            self.len(),
            self.indices,
            self.labels
        )
    }
}

/// An iterator over the batches of one epoch, in order. The same order, seed, purpose and epoch give the same batches
/// whatever the number of threads, and after `skip_batches` the same as without.
///
/// A sample whose file is damaged is replaced by the next good one of the order, or left out, and noted in the [`Damage`].
/// A batch of which nothing is left is passed over. An `Err` ends the iteration: no sample of the order is good, or the
/// images of a batch differ in size.
///
/// Dropping it stops the threads.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The batch that `next` gives.
    next: usize,
    batches: usize,
    /// Whether anything was given, or need not be.
    given: bool,
}

#[derive(Debug)]
struct Shared {
    set: Arc<ImageSet>,
    order: Vec<usize>,
    pipeline: Arc<Pipeline>,
    damage: Arc<Damage>,
    options: LoaderOptions,
    /// Positions of the order that are used: all, or whole batches of them.
    positions: usize,
    /// How many batches may be begun and not yet taken.
    ahead: usize,
    state: Mutex<State>,
    /// There is a position to work on, or nothing more to do.
    work: Condvar,
    /// A batch is finished.
    finished: Condvar,
}

#[derive(Debug)]
struct State {
    /// The next position that a worker takes.
    position: usize,
    /// The batch at the front of `begun`.
    first: usize,
    begun: VecDeque<Begun>,
    stop: bool,
}

/// A batch that is being made.
#[derive(Debug)]
struct Begun {
    /// In their order; one that is done and left out is a `None` inside.
    samples: Vec<Option<Result<Option<Sample>>>>,
    missing: usize,
    batch: Option<Result<Batch>>,
}

#[derive(Debug)]
struct Sample {
    image: Pixels,
    /// What is left of its random numbers, for the steps after normalisation.
    rng: ChaCha8Rng,
    label: i64,
    index: usize,
}

impl Loader {
    /// Starts loading the samples of `set` in this `order`.
    ///
    /// # Errors
    /// A batch of 0, an order that names a sample the set has not, no thread can be started.
    pub fn new(
        set: Arc<ImageSet>,
        order: Vec<usize>,
        pipeline: Arc<Pipeline>,
        damage: Arc<Damage>,
        options: LoaderOptions,
    ) -> Result<Self> {
        let size = options.batch;
        if size == 0 {
            return Err(Failure::new("a batch of 0 samples, expected at least 1"));
        }
        if let Some(index) = order.iter().find(|index| **index >= set.len()) {
            return Err(Failure::new(format!("sample {index} of a set of {}, expected one below that", set.len())));
        }
        let batches = if options.drop_last { order.len() / size } else { order.len().div_ceil(size) };
        let positions = (batches * size).min(order.len());
        let skip = options.skip_batches.min(batches);
        let wanted = match options.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let shared = Arc::new(Shared {
            set,
            order,
            pipeline,
            damage,
            positions,
            // One that the model takes, one behind it, and enough that every thread has two samples to do.
            ahead: 2 + (2 * wanted).div_ceil(size),
            state: Mutex::new(State { position: skip * size, first: skip, begun: VecDeque::new(), stop: false }),
            work: Condvar::new(),
            finished: Condvar::new(),
            options,
        });
        let mut loader = Self { shared, threads: Vec::new(), next: skip, batches, given: skip > 0 || positions == 0 };
        for number in 0..wanted.min(positions.saturating_sub(skip * size)) {
            let shared = Arc::clone(&loader.shared);
            let thread = thread::Builder::new().name(format!("data {number}")).spawn(move || shared.work());
            match thread {
                Ok(thread) => loader.threads.push(thread),
                // Fewer threads do the same work.
                Err(_) if number > 0 => break,
                Err(error) => return Err(Failure::new(format!("no thread can be started to load data: {error}"))),
            }
        }
        Ok(loader)
    }

    /// Batches in the whole epoch, those that were skipped included.
    pub fn batches(&self) -> usize {
        self.batches
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next >= self.batches {
                // Where damaged files are left out, nothing may be left at all.
                let nothing = !std::mem::replace(&mut self.given, true);
                return nothing.then(|| Err(self.shared.nothing_good()));
            }
            let batch = self.take();
            if batch.as_ref().is_ok_and(Batch::is_empty) {
                continue;
            }
            self.given = true;
            return Some(batch);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A failure ends it early, and batches may be empty.
        (0, Some(self.batches - self.next))
    }
}

impl std::iter::FusedIterator for Loader {}

impl Loader {
    /// The next batch, once it is finished; there is one.
    fn take(&mut self) -> Result<Batch> {
        let mut state = self.shared.lock();
        let batch = loop {
            if let Some(batch) = state.begun.front_mut().and_then(|begun| begun.batch.take()) {
                break batch;
            }
            state = self.shared.finished.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.begun.pop_front();
        state.first += 1;
        self.next += 1;
        if batch.is_err() {
            state.stop = true;
            self.next = self.batches;
        }
        drop(state);
        self.shared.work.notify_all();
        batch
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches what its work panics with, so there is nothing to hear from it here.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a worker thread does until there is nothing left.
    fn work(&self) {
        while let Some(position) = self.take() {
            let sample = catch_unwind(AssertUnwindSafe(|| self.sample(position))).unwrap_or_else(|_| {
                let place = self.set.place(self.order[position]);
                Err(Failure::at(place, "a transform broke down on this image; this is a fault of lmv"))
            });
            self.give(position, sample);
        }
    }

    /// The next position to work on; `None` when the epoch is done or the loader is dropped.
    fn take(&self) -> Option<usize> {
        let size = self.options.batch;
        let mut state = self.lock();
        loop {
            if state.stop || state.position >= self.positions {
                return None;
            }
            let batch = state.position / size;
            if batch < state.first + self.ahead {
                break;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let position = state.position;
        state.position += 1;
        if position.is_multiple_of(size) {
            let samples = size.min(self.positions - position);
            let empty = std::iter::repeat_with(|| None).take(samples).collect();
            state.begun.push_back(Begun { samples: empty, missing: samples, batch: None });
        }
        Some(position)
    }

    /// Puts a sample into its batch, and makes the batch if it was the last.
    fn give(&self, position: usize, sample: Result<Option<Sample>>) {
        let (batch, slot) = (position / self.options.batch, position % self.options.batch);
        let mut state = self.lock();
        let first = state.first;
        // A batch leaves the queue only when it is finished, and this one lacks a sample.
        let begun = &mut state.begun[batch - first];
        begun.samples[slot] = Some(sample);
        begun.missing -= 1;
        if begun.missing > 0 {
            return;
        }
        let samples = std::mem::take(&mut begun.samples);
        drop(state);
        let made = self.assemble(samples);
        let mut state = self.lock();
        let first = state.first;
        state.begun[batch - first].batch = Some(made);
        drop(state);
        self.finished.notify_all();
    }

    /// The sample at `position`; where it is damaged the next good one of the order, or none. What is known of damage already
    /// is not asked: damage may lie below one crop and within another, and what a step sees must not depend on the steps
    /// before it, which a resumed run has not done.
    fn sample(&self, position: usize) -> Result<Option<Sample>> {
        let n = self.order.len();
        let candidates = match self.options.damaged {
            Damaged::Replaced => n,
            Damaged::LeftOut => 1,
        };
        for step in 0..candidates {
            let index = self.order[(position + step) % n];
            let LoaderOptions { seed, purpose, epoch, .. } = &self.options;
            let mut rng = draws::stream(*seed, purpose, *epoch, position as u64);
            // A crop is drawn as soon as the header of the image tells its size: what lies below it is not decoded.
            let first = self.pipeline.transforms.first();
            let rows = |width, height| first.map_or(height, |first| first.rows(width, height, &rng));
            match self.set.load_top(index, rows) {
                Ok(mut image) => {
                    for transform in &self.pipeline.transforms {
                        image = transform.apply(image, &mut rng);
                    }
                    return Ok(Some(Sample { image, rng, label: self.set.label(index) as i64, index }));
                }
                Err(failure) => self.damage.add(index, failure),
            }
        }
        match self.options.damaged {
            Damaged::Replaced => Err(self.nothing_good()),
            Damaged::LeftOut => Ok(None),
        }
    }

    /// No sample of the set can be read.
    fn nothing_good(&self) -> Failure {
        let first = self.damage.first(3);
        let mut failure = Failure::new(format!("none of the {} images can be read", self.set.len()));
        for found in first {
            failure = failure.note(found.to_string().lines().next().unwrap_or_default());
        }
        failure.help("check that the folder holds real images and was copied whole")
    }

    fn assemble(&self, samples: Vec<Option<Result<Option<Sample>>>>) -> Result<Batch> {
        let mut batch = Batch { images: Vec::new(), size: (0, 0), labels: Vec::new(), indices: Vec::new() };
        let n = samples.len();
        for sample in samples.into_iter().flatten() {
            let Some(Sample { image, mut rng, label, index }) = sample? else { continue };
            let size = (image.height, image.width);
            if batch.labels.is_empty() {
                batch.size = size;
                batch.images.reserve_exact(n * image.data.len());
            } else if batch.size != size {
                let (height, width) = batch.size;
                return Err(Failure::at(
                    self.set.place(index),
                    format!(
                        "after the transforms this image has {} × {} pixels and another one of its batch {width} × {height}, \
                         expected one size",
                        image.width, image.height
                    ),
                )
                .help("end the transforms with a crop or a resize to a fixed size"));
            }
            let before = batch.images.len();
            self.pipeline.normalize.append(&image, &mut batch.images);
            for step in &self.pipeline.after {
                step.apply(&mut batch.images[before..], image.height, image.width, &mut rng);
            }
            batch.labels.push(label);
            batch.indices.push(index);
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests;
