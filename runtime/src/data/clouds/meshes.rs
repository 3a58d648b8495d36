//! ModelNet's meshes, sampled on their surfaces.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Cloud, CloudSet, Mesh, into_unit_ball, size_of, unreadable};
use crate::data::draws;
use crate::error::{Failure, Result};

/// Clouds of `points` points from the surfaces of `ROOT/<class>/SPLIT/*.off`, the ending in any case, brought into the unit ball. A class's number is
/// its rank among the sorted names, and there must be `classes` of them. Which points are drawn depends on a file's name
/// alone, so that a set is the same in every run.
///
/// # Errors
/// A folder that is not there or has another number of classes, a class without meshes in this split, a mesh that is damaged
/// or has no surface.
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
        if !folder.is_dir() {
            return Err(Failure::at(&folder, format!("is not there: the class `{class}` has no meshes in `{split}`")).help(
                "every class needs meshes in `train` and in `test`; take the class's folder away if it is none of the data",
            ));
        }
        let before = files.len();
        let is_mesh = |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("off"));
        files.extend(entries(&folder)?.into_iter().filter(is_mesh).map(|path| (label, path)));
        if files.len() == before {
            return Err(Failure::at(&folder, format!("holds no mesh of the class `{class}`"))
                .note("a mesh is a file that ends in `.off`")
                .help("put its meshes there, or take the class's folder away if it is none of the data"));
        }
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
        let name = format!("{}/{stem}", names[*label]);
        Ok((listing, Cloud { name, points: sampled, label: *label as i64, file: Some(path.clone()) }))
    };
    let (listing, clouds): (Vec<_>, Vec<_>) =
        files.par_iter().map(cloud).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    // Where the folder lies on this machine is no part of what is in it.
    let root_shown = root.display().to_string();
    let listing: Vec<(String, u64)> = listing
        .into_iter()
        .map(|(name, size): (String, u64)| (name.strip_prefix(&root_shown).map_or(name.clone(), str::to_owned), size))
        .collect();
    CloudSet::new(root, names.clone(), &listing, clouds)
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
