//! In which order an epoch visits the samples.

use rand::seq::SliceRandom;

use super::draws;

/// `0..n` as it is: for evaluation.
pub fn sequential(n: usize) -> Vec<usize> {
    (0..n).collect()
}

/// A permutation of `0..n` that depends on `seed` and `epoch` alone.
pub fn shuffled(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order = sequential(n);
    order.shuffle(&mut draws::stream(seed, "order", epoch, 0));
    order
}

/// Repeated augmentation (paper.md §3.3, the reference's `RASampler` on one process): a permutation in which each index
/// comes `repeats` times in a row, cut to `n / 256 * 256` so that an epoch stays as long as without repeats. It holds
/// about `n / repeats` distinct samples.
///
/// The reference leaves nothing of a set of fewer than 256; here such a set keeps `n` positions.
pub fn repeated(n: usize, repeats: usize, seed: u64, epoch: u64) -> Vec<usize> {
    in_a_row(&shuffled(n, seed, epoch), repeats)
}

/// [`repeated`] of a permutation.
fn in_a_row(permutation: &[usize], repeats: usize) -> Vec<usize> {
    let n = permutation.len();
    let length = if n < 256 { n } else { n / 256 * 256 };
    permutation.iter().flat_map(|&index| std::iter::repeat_n(index, repeats.max(1))).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_that_seed_and_epoch_decide() {
        let order = shuffled(1000, 7, 0);
        assert_eq!(order, shuffled(1000, 7, 0));
        assert_ne!(order, shuffled(1000, 7, 1));
        assert_ne!(order, shuffled(1000, 8, 0));
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, sequential(1000));
        assert!(shuffled(0, 1, 1).is_empty());
    }

    #[test]
    fn the_first_shuffle_stays_what_it_was() {
        // A resumed run must see the order it began with, also after an update of the crates underneath.
        assert_eq!(shuffled(8, 0, 0), [3, 1, 2, 6, 4, 7, 0, 5]);
    }

    #[test]
    fn the_order_of_a_permutation_is_timms() {
        #[derive(serde::Deserialize)]
        struct Case {
            repeats: usize,
            permutation: Vec<usize>,
            order: Vec<usize>,
        }
        // Written by runtime/tests/golden/sampler.py.
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/golden/sampler.json")).expect("the script's file");
        assert_eq!(cases.len(), 5);
        for Case { repeats, permutation, order } in cases {
            assert_eq!(in_a_row(&permutation, repeats), order, "{} times {repeats}", permutation.len());
        }
    }

    #[test]
    fn repeats_stand_in_a_row_and_the_epoch_keeps_its_length() {
        let order = repeated(1000, 3, 7, 2);
        assert_eq!(order.len(), 768);
        let plain = shuffled(1000, 7, 2);
        for (position, index) in order.iter().enumerate() {
            assert_eq!(*index, plain[position / 3]);
        }
        assert_eq!(repeated(100, 3, 7, 2).len(), 100);
        assert_eq!(repeated(512, 1, 7, 2), shuffled(512, 7, 2));
    }
}
