//! Where the names of a spec lead on this machine.

use crate::weights::{LocationKind, Locations};

/// Both kinds of names.
#[derive(Debug)]
pub struct Places {
    /// `path("imagenet")`.
    pub paths: Locations,
    /// `llama7b`, `pretrained("deit_small", …)`.
    pub weights: Locations,
}

impl Places {
    /// What the environment says, and nothing else.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        Self {
            paths: Locations::new(LocationKind::Path, variable),
            weights: Locations::new(LocationKind::Weights, variable),
        }
    }
}
