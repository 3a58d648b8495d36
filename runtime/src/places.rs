//! Where the names of a spec lead on this machine.

use lmv_compiler::library;

use crate::data::TarCache;
use crate::error::Result;
use crate::weights::{Checkpoint, HubCache, LocationKind, Locations, Repository};

/// Both kinds of names, and what is known of places from earlier runs.
#[derive(Debug)]
pub struct Places {
    /// `path("imagenet")`.
    pub paths: Locations,
    /// `llama7b`, `pretrained("deit_small", …)`.
    pub weights: Locations,
    /// Where it is kept what tars hold, if anywhere.
    pub tars: Option<TarCache>,
}

impl Places {
    /// Opens the weights of a name. What the user says of a name goes before what the program has.
    ///
    /// # Errors
    /// Weights that are not found, or are damaged.
    pub fn open_weights(&self, name: &str) -> Result<Checkpoint> {
        let built_in = self.weights.is_built_in(name).then(|| Checkpoint::built_in(name)).flatten();
        built_in.unwrap_or_else(|| Checkpoint::open(self.weights.resolve(name)?))
    }

    /// What the environment says, the cache of tars, and what the Hugging Face cache has.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let weights = Locations::new(LocationKind::Weights, variable);
        let known = library::repositories().into_iter();
        // A table of the library has only names that parse; its test says so.
        let known = known.filter_map(|(name, id)| Some((name, Repository::parse(&id).ok()?))).collect();
        Self {
            paths: Locations::new(LocationKind::Path, variable),
            tars: TarCache::by(variable),
            weights: match HubCache::by(variable) {
                Some(cache) => weights.with_hub(cache, known),
                None => weights,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_s_repositories_have_names_that_can_be() {
        for (name, id) in library::repositories() {
            assert!(Repository::parse(&id).is_ok(), "{name} = {id}");
        }
    }
}
