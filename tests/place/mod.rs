//! A folder of its own with a spec in it, for tests from outside.

use std::path::PathBuf;

use tempfile::TempDir;

pub struct Place {
    pub folder: TempDir,
}

impl Place {
    /// With this text as `a.lmv`.
    pub fn new(spec: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("a.lmv"), spec).expect("a spec");
        Self { folder }
    }

    /// Something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
