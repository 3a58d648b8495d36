//! What a run tells whoever watches it. The command line draws bars of it; a test counts.

use crate::metrics::Score;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A line of information.
    Note(String),
    /// Something that goes on, and that the user should know of.
    Warning(String),
    /// Training begins, perhaps in the middle.
    Started {
        /// Epochs in all.
        epochs: u64,
        /// Steps in an epoch.
        steps_per_epoch: u64,
        /// What an epoch leaves out.
        left_out: LeftOut,
        /// Where this run takes up: epoch and step in it.
        at: (u64, u64),
    },
    /// A step of training is done.
    Step {
        /// The epoch, from 0.
        epoch: u64,
        /// The step in the epoch, from 1.
        step: u64,
        /// The loss of this step.
        loss: f64,
        /// Its learning rate.
        lr: f64,
        /// Samples in it.
        samples: usize,
    },
    /// Samples that are evaluated from here on are not those of the evaluation split.
    Folder {
        /// What they are: `fog/3`, or the metric that they are for.
        name: String,
        /// Which of them, from 1.
        number: usize,
        /// In all.
        count: usize,
    },
    /// So many of the samples that are to be evaluated are done.
    Evaluated {
        /// Done.
        done: usize,
        /// In all.
        total: usize,
    },
    /// So many runs of a part are done, in a benchmark.
    Repeated {
        /// The part: `train`.
        what: &'static str,
        /// Done, with those that do not count.
        done: usize,
        /// In all.
        total: usize,
    },
    /// An epoch is done.
    Epoch {
        /// The epoch, from 0.
        epoch: u64,
        /// The mean loss over its steps.
        loss: f64,
        /// Its metrics.
        metrics: Vec<Score>,
        /// Whether it is the best so far.
        best: bool,
        /// Evaluation samples that could not be read and count for nothing.
        left_out: usize,
        /// Training samples that could not be read since the run began or went on, for which others stood in.
        replaced: usize,
    },
}

/// Samples at the end of an epoch's order that no batch holds: the last batch would be too small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub count: usize,
    /// Of so many samples in an epoch.
    pub of: usize,
    /// Samples that a batch has.
    pub batch: usize,
    /// What they are called, in the plural: `images`.
    pub noun: &'static str,
}

/// Whoever watches a run.
pub trait Observer {
    /// Called for every event, on the thread that runs.
    fn event(&mut self, event: Event);
}

impl<F: FnMut(Event)> Observer for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}
