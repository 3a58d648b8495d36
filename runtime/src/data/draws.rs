//! Where randomness comes from: one stream of numbers for each use of it, named and not shared.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The random stream for one `purpose` ("train crop", "shuffle"), one `epoch` and one `position` in it.
///
/// Streams do not depend on each other, so it does not matter which thread uses which, in what order, or whether the
/// run was resumed in between.
pub fn stream(seed: u64, purpose: &str, epoch: u64, position: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("lmv 2025 random streams of the data");
    for number in [seed, epoch, position] {
        hasher.update(&number.to_le_bytes());
    }
    // Last, because it is the only part of no fixed length.
    hasher.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn every_part_of_the_name_changes_the_stream() {
        let first = |seed, purpose, epoch, position| stream(seed, purpose, epoch, position).random::<u64>();
        let base = first(1, "train", 2, 3);
        assert_eq!(base, first(1, "train", 2, 3));
        for other in [first(2, "train", 2, 3), first(1, "val", 2, 3), first(1, "train", 3, 3), first(1, "train", 2, 4)]
        {
            assert_ne!(base, other);
        }
    }
}
