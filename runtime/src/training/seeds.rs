//! The one source of randomness of a run.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Says what the keys are for, so that no other use of BLAKE3 on the same bytes can give the same key. Changing it
/// changes every run.
const CONTEXT: &str = "lmv: random streams of a run, version 1";

/// The seed of a run, split by purpose, epoch and step.
///
/// Nothing in a run draws from anything else: not from the clock, not from the system, not from a generator that is
/// carried along. A stream depends on its four numbers alone, so the order in which threads ask for them, and how many
/// steps ran before a kill, change nothing, and a checkpoint need not store a generator's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeds {
    seed: u64,
}

impl Seeds {
    /// The streams of the run with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed that the run was started with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A fresh generator for one purpose (`"mixup"`, `"shuffle"`, `"init:blocks.0.mlp"`) at one place of the run.
    ///
    /// `step` counts whatever the purpose is drawn for: steps of the epoch for a batch, samples for an augmentation
    /// that parallel workers apply, 0 for what is drawn once an epoch. The same four numbers give the same stream;
    /// streams of different numbers are independent. Draw from one stream in a fixed order.
    pub fn stream(&self, purpose: &str, epoch: u64, step: u64) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.seed.to_le_bytes());
        // The length keeps a purpose from running into the numbers behind it.
        hasher.update(&(purpose.len() as u64).to_le_bytes());
        hasher.update(purpose.as_bytes());
        hasher.update(&epoch.to_le_bytes());
        hasher.update(&step.to_le_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::Rng;

    use super::*;

    /// Python's `blake3(struct.pack("<QQ5sQQ", 42, 5, b"mixup", 3, 7),
    /// derive_key_context="lmv: random streams of a run, version 1").hexdigest()`.
    #[test]
    fn the_key_is_as_documented() {
        let seed = Seeds::new(42).stream("mixup", 3, 7).get_seed();
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "9be8c41c49333c43085c6dabba697e17ab66bb2c4913e2462adfaaa084a3e2f3");
    }

    #[test]
    fn streams_differ_in_every_number() {
        let first = |seed, purpose, epoch, step| Seeds::new(seed).stream(purpose, epoch, step).random::<u64>();
        let drawn = BTreeSet::from([
            first(1, "mixup", 0, 0),
            first(2, "mixup", 0, 0),
            first(1, "shuffle", 0, 0),
            first(1, "mixup", 1, 0),
            first(1, "mixup", 0, 1),
            first(1, "", 0, 0),
        ]);
        assert_eq!(drawn.len(), 6);
    }

    proptest! {
        #[test]
        fn a_stream_depends_on_its_numbers_alone(seed: u64, purpose in ".{0,12}", epoch: u64, step: u64) {
            let draw = || Seeds::new(seed).stream(&purpose, epoch, step).random::<[u32; 4]>();
            let before = draw();
            Seeds::new(seed).stream("another", epoch, step).random::<u64>();
            prop_assert_eq!(before, draw());
        }
    }
}
