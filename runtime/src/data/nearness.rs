//! What is there instead of a folder or file that is missing.

use std::path::Path;

/// The names in `folder` that are not hidden, those most like `wanted` first, at most eight.
pub(super) fn names_like(folder: &Path, wanted: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<(usize, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let mut name = entry.file_name().into_string().ok()?;
            let distance = edits(&name.to_lowercase(), &wanted.to_lowercase());
            if entry.path().is_dir() {
                name.push('/');
            }
            (!name.starts_with('.')).then_some((distance, name))
        })
        .collect();
    names.sort();
    names.into_iter().take(8).map(|(_, name)| name).collect()
}

/// The number of letters to put in, take out or change to get from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1).min(row[j] + 1).min(diagonal + usize::from(left != *right));
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_comes_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["validation", "vals", "test", ".hidden"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        assert_eq!(names_like(folder.path(), "val"), ["vals/", "test/", "validation/"]);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
