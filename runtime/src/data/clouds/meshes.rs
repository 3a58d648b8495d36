//! ModelNet's meshes, sampled on their surfaces.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Cloud, CloudSet, Mesh, hash_of, into_unit_ball, size_of, unreadable};
use crate::data::draws;
use crate::error::{Failure, Result};

/// Clouds of `points` points from the surfaces of `ROOT/<class>/SPLIT/*.off`, brought into the unit ball. A class's number is
/// its rank among the sorted names, and there must be `classes` of them. Which points are drawn depends on a file's name
/// alone, so that a set is the same in every run.
///
/// # Errors
/// A folder that is not there or has another number of classes, a mesh that is damaged or has no surface.
pub fn meshes(root: &Path, split: &str, classes: usize, points: usize) -> Result<CloudSet> {
    let names: Vec<String> = entries(root)?
        .into_iter()
        .filter(|path| path.join("train").is_dir() || path.join("test").is_dir())
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    if names.len() != classes {
        return Err(Failure::at(root, format!("holds {} classes, and the spec says {classes}", names.len()))
            .note("a class is a folder ROOT/<class> with `train` and `test` in it")
            .help("set `classes` in the spec's `data`, or give it the other folder"));
    }
    let mut files: Vec<(usize, PathBuf)> = Vec::new();
    for (label, class) in names.iter().enumerate() {
        let folder = root.join(class).join(split);
        let of_class = if folder.is_dir() { entries(&folder)? } else { Vec::new() };
        let of_class = of_class.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "off"));
        files.extend(of_class.map(|path| (label, path)));
    }
    let cloud = |(label, path): &(usize, PathBuf)| {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let mesh =
            Mesh::parse(&text).map_err(|what| Failure::at(path, what).help("a mesh in the OFF format is expected"))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut random = draws::stream(0, &format!("surface of {stem}"), 0, 0);
        let mut sampled = mesh
            .sample(points, &mut random)
            .ok_or_else(|| Failure::at(path, "has no surface that points could lie on"))?;
        into_unit_ball(&mut sampled);
        let listing = (path.display().to_string(), size_of(path)?);
        Ok((listing, Cloud { name: format!("{}/{stem}", names[*label]), points: sampled, label: *label as i64 }))
    };
    let (listing, clouds): (Vec<_>, Vec<_>) =
        files.par_iter().map(cloud).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    // Where the folder lies on this machine is no part of what is in it.
    let root_shown = root.display().to_string();
    let listing: Vec<(String, u64)> = listing
        .into_iter()
        .map(|(name, size): (String, u64)| (name.strip_prefix(&root_shown).map_or(name.clone(), str::to_owned), size))
        .collect();
    CloudSet::new(root, names.clone(), hash_of(&listing), clouds)
}

/// What is in a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let missing = |error: std::io::Error| {
        unreadable(folder, &error)
            .help("meshes are looked for as ROOT/<class>/train/*.off and ROOT/<class>/test/*.off; give ROOT with `--path NAME=ROOT`")
    };
    let found = std::fs::read_dir(folder).map_err(missing)?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in found {
        paths.push(entry.map_err(|error| unreadable(folder, &error))?.path());
    }
    paths.sort();
    Ok(paths)
}
