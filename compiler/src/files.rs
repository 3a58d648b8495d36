//! How the texts of imported files reach the compiler, which opens none itself, and what a path in a `use` leads to.

use std::collections::{BTreeMap, HashMap};

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq)]
pub enum Unreadable {
    /// There is none.
    Missing,
    /// There is something, and it is no text of a spec: what is wrong with it, as in `is a folder`.
    Wrong(String),
}

/// The files that `use "./mine.lmv"` can lead to.
pub trait Files {
    /// The text of a file. The path begins where that of the spec begins, has `/` between its parts, and `..` only at
    /// its start.
    ///
    /// # Errors
    /// A file that is not there, or is no text.
    fn read(&self, path: &str) -> Result<String, Unreadable>;

    /// The names of the `.lmv` files in the folder of a path, for saying which one may have been meant.
    fn beside(&self, path: &str) -> Vec<String>;
}

/// No files at all: for a spec that stands by itself.
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<String, Unreadable> {
        Err(Unreadable::Missing)
    }

    fn beside(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

/// Files in memory, by path.
impl Files for BTreeMap<String, String> {
    fn read(&self, path: &str) -> Result<String, Unreadable> {
        self.get(path).cloned().ok_or(Unreadable::Missing)
    }

    fn beside(&self, path: &str) -> Vec<String> {
        let names = self.keys().filter(|known| folder(known) == folder(path));
        names.map(|known| known[folder(known).len()..].to_owned()).collect()
    }
}

/// The part of a path up to its file name, with its `/`; empty for a name alone.
pub(crate) fn folder(path: &str) -> &str {
    path.rfind(['/', std::path::MAIN_SEPARATOR]).map_or("", |slash| &path[..=slash])
}

/// The path that `used` leads to from the file `from`, without `.` and without `..` behind a name.
pub(crate) fn resolved(from: &str, used: &str) -> String {
    normal(&format!("{}{used}", folder(from)))
}

/// A path without the parts that say nothing: `specs/../a.lmv` is `a.lmv`.
pub(crate) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', std::path::MAIN_SEPARATOR]) {
        match part {
            "." => {}
            // The first part of a path that begins with a slash.
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !["..", ""].contains(last)) => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The path that leads from the file `from` to the file `to`, as a `use` has it: `./parts/wide.lmv`.
pub(crate) fn between(from: &str, to: &str) -> String {
    let (from, to) = (normal(from), normal(to));
    let folders: Vec<&str> = from.split('/').collect();
    let parts: Vec<&str> = to.split('/').collect();
    let most = folders.len().min(parts.len()) - 1;
    let common = folders.iter().zip(&parts).take(most).take_while(|(a, b)| a == b).count();
    let up = folders.len() - 1 - common;
    let begin = if up == 0 { "./".to_owned() } else { "../".repeat(up) };
    format!("{begin}{}", parts[common..].join("/"))
}

/// Names for copies of files in one folder: each its own file name, with a number where two are alike.
pub(crate) fn names_apart<'p>(paths: impl IntoIterator<Item = &'p str>) -> Vec<String> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::new();
    for path in paths {
        let stem = path[folder(path).len()..].trim_end_matches(".lmv");
        let mut name = format!("{stem}.lmv");
        loop {
            // Some disks take names for the same whose letters differ in case alone.
            let count = taken.entry(name.to_lowercase()).or_insert(0);
            *count += 1;
            if *count == 1 {
                break;
            }
            name = format!("{stem}-{count}.lmv");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_file_that_names_it() {
        assert_eq!(resolved("specs/a/table.lmv", "./base.lmv"), "specs/a/base.lmv");
        assert_eq!(resolved("specs/a/table.lmv", "../b/./base.lmv"), "specs/b/base.lmv");
        assert_eq!(resolved("table.lmv", "../base.lmv"), "../base.lmv");
        assert_eq!(resolved("../table.lmv", "../base.lmv"), "../../base.lmv");
        assert_eq!(resolved("/specs/table.lmv", "../../base.lmv"), "/../base.lmv");
        assert_eq!(resolved("./table.lmv", "./base.lmv"), "base.lmv");
    }

    #[test]
    fn a_path_between_two_files_leads_from_one_to_the_other() {
        for (from, to, path) in [
            ("a/table.lmv", "a/b/parts.lmv", "./b/parts.lmv"),
            ("table.lmv", "parts.lmv", "./parts.lmv"),
            ("a/b/table.lmv", "a/c/parts.lmv", "../c/parts.lmv"),
            ("a/table.lmv", "parts.lmv", "../parts.lmv"),
        ] {
            assert_eq!(between(from, to), path);
            assert_eq!(resolved(from, path), to);
        }
    }

    #[test]
    fn copies_in_one_folder_have_names_of_their_own() {
        assert_eq!(
            names_apart(["a/x.lmv", "b/x.lmv", "x-2.lmv", "X.lmv"]),
            ["x.lmv", "x-2.lmv", "x-2-2.lmv", "X-3.lmv"]
        );
    }
}
