//! ModelNet's clouds as text files with lists of them, or in the cache beside these (paper.md §4.4).

use std::path::Path;

use rayon::prelude::*;

use super::{Cloud, CloudSet, into_unit_ball, size_of, unreadable};
use crate::error::{Failure, Result};
use crate::weights::lists_of_arrays;

/// The clouds that `ROOT/NAME_SPLIT.txt` lists, as `class_number`: from `ROOT/NAME_SPLIT_8192pts_fps.dat` where that is
/// there, and from `ROOT/<class>/<class_number>.txt` otherwise. Classes are those of `ROOT/NAME_shape_names.txt`, in that
/// order, and there must be `classes` of them. Each cloud is brought into the unit ball, and its normals are left out.
///
/// # Errors
/// A list that is not there, names a class that is none, or a file that is not there; a class that is named twice; lines that
/// are no points; a cache that
/// is damaged, holds code, or has more or fewer clouds than the list; clouds as in [`CloudSet::new`].
pub fn listed(root: &Path, name: &str, split: &str, classes: usize) -> Result<CloudSet> {
    let shapes = root.join(format!("{name}_shape_names.txt"));
    let named = lines(&shapes)?;
    for (index, (line, name)) in named.iter().enumerate() {
        if let Some((first, _)) = named[..index].iter().find(|(_, earlier)| earlier == name) {
            return Err(Failure::at(&shapes, format!("line {line} names the class `{name}` again"))
                .note(format!("line {first} has it already"))
                .help("name each class once: its line says which label it has"));
        }
    }
    let names: Vec<String> = named.into_iter().map(|(_, line)| line).collect();
    if names.len() != classes {
        return Err(Failure::at(&shapes, format!("names {} classes, and the spec says {classes}", names.len()))
            .help("set `classes` in the spec's `data`, or give it the other folder"));
    }
    let list = root.join(format!("{name}_{split}.txt"));
    let ids = lines(&list)?;
    let cache = root.join(format!("{name}_{split}_8192pts_fps.dat"));
    let (place, files, mut clouds) = match cache.is_file() {
        true => {
            let file = (file_name(&cache), size_of(&cache)?);
            (cache.clone(), vec![file], cached(&cache, &names, &ids, &list)?)
        }
        false => {
            let clouds: Vec<Cloud> =
                ids.par_iter().map(|id| text_file(root, &list, id, &names)).collect::<Result<_>>()?;
            let files = clouds.iter().filter_map(|cloud| cloud.file.as_deref());
            let sizes = files.map(|path| Ok((file_name(path), size_of(path)?))).collect::<Result<Vec<_>>>()?;
            (list, sizes, clouds)
        }
    };
    // Looked at before it is scaled, so that what is told of is what the file has.
    clouds.iter().try_for_each(|cloud| super::check(&place, cloud))?;
    clouds.par_iter_mut().for_each(|cloud| into_unit_ball(&mut cloud.points));
    CloudSet::new(&place, names, &files, clouds)
}

/// What to do about a cache that does not go with its list.
const REMAKE: &str = "take the cache away, and the text files are read; or make it anew";

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The lines of a list that are not empty, with their numbers from 1.
fn lines(path: &Path) -> Result<Vec<(usize, String)>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        unreadable(path, &error).help(
            "ModelNet is looked for as ROOT/NAME_shape_names.txt, ROOT/NAME_train.txt and ROOT/NAME_test.txt with the \
             clouds in ROOT/<class>/; give ROOT with `--path NAME=ROOT`",
        )
    })?;
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim().to_owned()));
    Ok(lines.filter(|(_, line)| !line.is_empty()).collect())
}

/// The class that a name such as `night_stand_0012` says: what stands before the last `_`.
fn class_of<'n>(list: &Path, (line, id): &'n (usize, String), names: &[String]) -> Result<(&'n str, usize)> {
    let class = id.rsplit_once('_').map_or(id.as_str(), |(class, _)| class);
    let number = names.iter().position(|name| name == class);
    let number = number.ok_or_else(|| {
        let failure =
            Failure::at(list, format!("line {line} names `{id}`, whose class `{class}` is none of the data's"));
        let near = |name: &&String| strsim::jaro_winkler(class, name);
        match names.iter().max_by(|a, b| near(a).total_cmp(&near(b))) {
            Some(nearest) => failure.note(format!("the nearest of its {} classes is `{nearest}`", names.len())),
            None => failure,
        }
    })?;
    Ok((class, number))
}

/// The cloud of a line of the list.
fn text_file(root: &Path, list: &Path, id: &(usize, String), names: &[String]) -> Result<Cloud> {
    let (class, number) = class_of(list, id, names)?;
    let path = root.join(class).join(format!("{}.txt", id.1));
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::at(list, format!("line {} names `{}`, and `{}` cannot be read: {error}", id.0, id.1, path.display()))
            .help("copy the file there, or take the line out of the list")
    })?;
    let mut points = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut numbers = line.split([',', ' ', '\t']).filter(|word| !word.is_empty()).map(str::parse::<f32>);
        let mut next = || numbers.next().and_then(std::result::Result::ok);
        let point = match (next(), next(), next()) {
            (Some(x), Some(y), Some(z)) => Ok([x, y, z]),
            _ => Err("is no point"),
        };
        // A number beyond what an f32 holds reads as infinity; the line is shown as it is written.
        let finite = |point: [f32; 3]| match point.iter().all(|x| x.is_finite()) {
            true => Ok(point),
            false => Err("is a point that is nowhere"),
        };
        points.extend(point.and_then(finite).map_err(|what| {
            let shown: String = line.chars().flat_map(char::escape_debug).take(40).collect();
            Failure::at(&path, format!("line {} {what}: `{shown}`", index + 1))
                .help("a line is x,y,z, three finite numbers, and what stands behind is left alone")
        })?);
    }
    Ok(Cloud { name: format!("{class}/{}", id.1), points, label: number as i64, file: Some(path) })
}

/// The clouds of a cache: a pickle of two lists, arrays [points, 3 or more] of floats and arrays of one label each.
fn cached(path: &Path, names: &[String], ids: &[(usize, String)], list: &Path) -> Result<Vec<Cloud>> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    let expected = "expected two lists of as many arrays: clouds [points, 3 or more], and their labels";
    let lists = lists_of_arrays(&bytes, path)?;
    let [clouds, labels] = &lists[..] else {
        return Err(Failure::at(path, format!("holds {} lists, {expected}", lists.len())));
    };
    if clouds.len() != labels.len() {
        return Err(Failure::at(
            path,
            format!("holds {} clouds and {} labels, {expected}", clouds.len(), labels.len()),
        ));
    }
    if clouds.len() != ids.len() {
        return Err(Failure::at(
            path,
            format!("holds {} clouds, and `{}` lists {}", clouds.len(), list.display(), ids.len()),
        )
        .help(REMAKE));
    }
    let one = |index: usize| {
        let (points, label, id) = (&clouds[index], &labels[index], &ids[index]);
        let (class, number) = class_of(list, id, names)?;
        let label = match label.numbers() {
            Some(numbers) if numbers.len() == 1 && numbers[0].fract() == 0.0 => numbers[0] as i64,
            Some(numbers) if numbers.len() == 1 => {
                return Err(Failure::at(
                    path,
                    format!("cloud {index} has the label {}, expected a whole number", numbers[0]),
                )
                .help(REMAKE));
            }
            _ => {
                return Err(Failure::at(path, format!("the label of cloud {index} is not one number")).help(REMAKE));
            }
        };
        if label != number as i64 {
            return Err(Failure::at(
                path,
                format!("cloud {index} has the label {label}, and `{}` is of class {number}", id.1),
            )
            .note(format!("`{}` names it in line {}", list.display(), id.0))
            .help(REMAKE));
        }
        let width = match points.shape[..] {
            [_, width] if width >= 3 => Some(width),
            _ => None,
        };
        let (Some(numbers), Some(width)) = (points.numbers(), width) else {
            return Err(Failure::at(
                path,
                format!("cloud {index} is an array of shape {:?}, expected [points, 3 or more]", points.shape),
            ));
        };
        let points = numbers.chunks_exact(width).flat_map(|point| &point[..3]).map(|&x| x as f32).collect();
        Ok(Cloud { name: format!("{class}/{}", id.1), points, label, file: None })
    };
    (0..clouds.len()).into_par_iter().map(one).collect()
}
