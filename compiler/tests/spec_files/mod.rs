//! The specs of `specs/`, for what is done with all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The text of every spec by its path, `specs/imagenet/table1.lmv`.
pub fn spec_files() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs"), "specs", &mut all);
    all
}

fn collect(folder: &Path, name: &str, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("specs/ is part of the repository") {
        let entry = entry.expect("specs/ can be listed");
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &name, into);
        } else if name.ends_with(".lmv") {
            into.insert(name, fs::read_to_string(entry.path()).expect("a spec is text"));
        }
    }
}
