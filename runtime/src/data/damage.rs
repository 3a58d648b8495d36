//! The files that could not be read as images during a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Failure;

/// What the loaders of a run found damaged, each file once. Shared between epochs, so that a damaged file is told of
/// once.
#[derive(Debug, Default)]
pub struct Damage {
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// By index in the set.
    failures: BTreeMap<usize, Failure>,
    /// The indices of `failures` that nobody was told of, in the order they were found.
    untold: Vec<usize>,
}

impl Damage {
    /// Nothing found so far. Belongs to one `ImageSet`: it remembers files by their index.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many files are damaged.
    pub fn count(&self) -> usize {
        self.lock().failures.len()
    }

    /// The failures of the first `n` damaged files, by index in the set.
    pub fn first(&self, n: usize) -> Vec<Failure> {
        self.lock().failures.values().take(n).cloned().collect()
    }

    /// The failures found since the last call: each is handed out once, for a warning.
    pub fn untold(&self) -> Vec<Failure> {
        let mut found = self.lock();
        let untold = std::mem::take(&mut found.untold);
        untold.iter().filter_map(|index| found.failures.get(index).cloned()).collect()
    }

    /// Whether sample `index` is known to be damaged.
    pub fn contains(&self, index: usize) -> bool {
        self.lock().failures.contains_key(&index)
    }

    /// Remembers that sample `index` is damaged; what was known of it before stays.
    pub fn add(&self, index: usize, failure: Failure) {
        let mut found = self.lock();
        if let std::collections::btree_map::Entry::Vacant(free) = found.failures.entry(index) {
            free.insert(failure);
            found.untold.push(index);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        // Every change is a single insertion, so that a thread that panicked left nothing half done.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_told_of_once() {
        let damage = Damage::new();
        damage.add(4, Failure::new("four"));
        damage.add(4, Failure::new("four again"));
        damage.add(1, Failure::new("one"));
        assert_eq!(damage.count(), 2);
        assert_eq!(damage.untold(), [Failure::new("four"), Failure::new("one")]);
        assert!(damage.untold().is_empty());
        assert_eq!(damage.first(1), [Failure::new("one")]);
        assert!(damage.contains(4) && !damage.contains(2));
    }
}
