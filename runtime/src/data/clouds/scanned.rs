//! ScanObjectNN's HDF5 files (paper.md §4.4).

use std::path::Path;

use hdf5_reader::error;
use hdf5_reader::messages::datatype::Datatype;
use hdf5_reader::{Dataset, Hdf5File, OpenOptions};

use super::{Cloud, CloudSet, MOST_BYTES, size_of, unreadable};
use crate::error::{Failure, Result};

/// The kinds of objects in the order of their labels, as the dataset's page lists them.
pub const SCANNED_CLASSES: [&str; 15] = [
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed", "pillow", "sink",
    "sofa", "toilet",
];

/// What the files are to hold.
const LAYOUT: &str = "ScanObjectNN's files have `data` [clouds, points, 3] and `label` [clouds]";

/// The clouds of an HDF5 file with `data` [clouds, points, 3] of floats and `label` [clouds] of whole numbers. What else it
/// holds is left alone. With more than 15 `classes`, those behind [`SCANNED_CLASSES`] go by their numbers, and no cloud is of
/// them.
///
/// # Errors
/// A file that is not there, is no HDF5 or is cut short; tables of another shape or type, or compressed in a way that is not
/// read; a label that is none of the kinds; clouds as in [`CloudSet::new`].
pub fn scanned(path: &Path, classes: usize) -> Result<CloudSet> {
    // Asked for first, so that a missing file is told of as such.
    std::fs::File::open(path).map_err(|error| {
        unreadable(path, &error).help(
            "ScanObjectNN is looked for as ROOT/main_split/training_….h5 and ROOT/main_split/test_….h5, and without \
             background in ROOT/main_split_nobg; give ROOT with `--path NAME=ROOT`",
        )
    })?;
    let damaged = |error: error::Error| match cause(&error) {
        error::Error::UnsupportedFilter(filter) => compressed_otherwise(path, filter),
        _ => Failure::at(path, format!("is damaged, or no HDF5 file: {error}")).help("download or copy the file again"),
    };
    let options = OpenOptions::default().with_max_read_bytes(MOST_BYTES);
    let file = Hdf5File::open_with_options(path, options).map_err(damaged)?;
    // What is missing may lie in a table that nobody reads here: the file would be taken for whole.
    let (size, end) = (size_of(path)?, file.superblock().eof_address);
    if size < end {
        return Err(Failure::at(path, format!("is cut short: it has {size} bytes, and says that it has {end}"))
            .help("download or copy the file again"));
    }
    let table = |name: &str| {
        file.dataset(&format!("/{name}")).map_err(|error| match cause(&error) {
            error::Error::DatasetNotFound(_) => without(path, name, &file),
            _ => damaged(error),
        })
    };
    let (data, label) = (table("data")?, table("label")?);
    let shape = data.shape().to_vec();
    let [count, points, 3] = shape[..] else {
        return Err(otherwise_laid_out(path, &shape));
    };
    // One label a cloud, also where they stand in a column.
    if label.shape().iter().product::<u64>() != count || label.shape().first() != Some(&count) {
        return Err(Failure::at(
            path,
            format!("has `label` of shape {:?} for {count} clouds, expected [{count}]", label.shape()),
        )
        .help(LAYOUT));
    }
    let labels = whole_numbers(&label).ok_or_else(|| of_type(path, "label", label.dtype(), "whole numbers"))?;
    let labels = labels.map_err(damaged)?;
    // Classes beyond the kinds are there for the model's sake alone.
    let kinds = SCANNED_CLASSES.len() as i64;
    let beyond = labels.iter().position(|label| *label >= kinds).filter(|_| classes > SCANNED_CLASSES.len());
    if let Some(index) = beyond {
        return Err(Failure::at(path, format!("the cloud `?/{index}` has the label {}", labels[index]))
            .note(format!("ScanObjectNN has {kinds} kinds of objects, with labels from 0 to {}", kinds - 1))
            .help(
                "mend the file; a spec's `classes` are how many kinds the model tells apart, not what the data has",
            ));
    }
    let values = floats(&data).ok_or_else(|| of_type(path, "data", data.dtype(), "floats"))?.map_err(damaged)?;
    let each = usize::try_from(points).unwrap_or(usize::MAX).saturating_mul(3);
    let names = (0..classes).map(|class| SCANNED_CLASSES.get(class).map_or_else(|| class.to_string(), |&n| n.into()));
    let names: Vec<String> = names.collect();
    let cloud = |(index, label): (usize, i64)| {
        let class = usize::try_from(label).ok().and_then(|label| names.get(label)).map_or("?", String::as_str);
        let from = index.saturating_mul(each).min(values.len());
        let to = from.saturating_add(each).min(values.len());
        Cloud { name: format!("{class}/{index}"), points: values[from..to].to_vec(), label, file: None }
    };
    let clouds = labels.into_iter().enumerate().map(cloud).collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    CloudSet::new(path, names.clone(), &[(name, size)], clouds)
}

/// What an error is about, without the places that it was passed through.
fn cause(error: &error::Error) -> &error::Error {
    match error {
        error::Error::Context { source, .. } => cause(source),
        error => error,
    }
}

/// A file without a table, and what it has in its place.
fn without(path: &Path, name: &str, file: &Hdf5File) -> Failure {
    let mut tables = file.root_group().and_then(|root| root.member_names()).map_or(Vec::new(), |(_, tables)| tables);
    tables.sort();
    let listed: Vec<String> =
        tables.iter().take(MOST_LISTED).map(|name| format!("`{}`", name.escape_debug())).collect();
    let more = if tables.len() > MOST_LISTED { ", and others" } else { "" };
    let holds = match listed.is_empty() {
        true => "it has no tables at its top".to_owned(),
        false => format!("its tables are {}{more}", listed.join(", ")),
    };
    Failure::at(path, format!("has no table `{name}`")).note(holds).help(LAYOUT)
}

/// How many tables a message names.
const MOST_LISTED: usize = 12;

/// A table that is packed in a way that is not read here. Numbers of filters are those that The HDF Group has registered.
fn compressed_otherwise(path: &Path, filter: &str) -> Failure {
    let known = [
        ("4", "szip"),
        ("307", "bzip2"),
        ("32000", "LZF"),
        ("32001", "Blosc"),
        ("32004", "LZ4"),
        ("32015", "Zstandard"),
    ];
    let number = filter.strip_prefix("filter id ").unwrap_or(filter);
    let called =
        known.iter().find(|(id, _)| *id == number).map_or_else(|| filter.to_owned(), |(_, name)| (*name).into());
    Failure::at(path, format!("has tables compressed by {called}, which this lmvc does not read"))
        .note("it reads tables as they are, and gzip, with or without shuffled bytes and checksums")
        .help("write it anew with gzip or without compression: `h5repack -f GZIP=4 OLD.h5 NEW.h5`")
}

/// Clouds in a table of another form.
fn otherwise_laid_out(path: &Path, shape: &[u64]) -> Failure {
    let failure = Failure::at(path, format!("has `data` of shape {shape:?}, expected [clouds, points, 3]"));
    failure.help(match shape {
        [_, 3, _] => "write it anew with the coordinates last: in Python, `data.transpose(0, 2, 1)`",
        [_, _, width] if *width > 3 => {
            "write it anew with x, y and z alone, in Python `data[:, :, :3]`; normals and colours are not read"
        }
        _ => LAYOUT,
    })
}

fn of_type(path: &Path, name: &str, found: &Datatype, expected: &str) -> Failure {
    let found = match found {
        Datatype::FixedPoint { size, .. } => format!("whole numbers of {size} bytes"),
        Datatype::FloatingPoint { size, .. } => format!("floats of {size} bytes"),
        Datatype::String { .. } => "texts".to_owned(),
        _ => "neither".to_owned(),
    };
    Failure::at(path, format!("has `{name}` of {found}, expected {expected}"))
}

/// A table of floats; none where it is of another type.
fn floats(table: &Dataset) -> Option<error::Result<Vec<f32>>> {
    let Datatype::FloatingPoint { size, .. } = table.dtype() else { return None };
    Some(match size {
        4 => table.read_array::<f32>().map(|values| values.into_iter().collect()),
        8 => table.read_array::<f64>().map(|values| values.iter().map(|&x| x as f32).collect()),
        _ => return None,
    })
}

/// A table of whole numbers; none where it is of another type.
fn whole_numbers(table: &Dataset) -> Option<error::Result<Vec<i64>>> {
    macro_rules! read {
        ($type:ty) => {
            table.read_array::<$type>().map(|values| values.iter().map(|&n| n as i64).collect())
        };
    }
    let Datatype::FixedPoint { size, signed, .. } = table.dtype() else { return None };
    Some(match (size, signed) {
        (1, true) => read!(i8),
        (1, false) => read!(u8),
        (2, true) => read!(i16),
        (2, false) => read!(u16),
        (4, true) => read!(i32),
        (4, false) => read!(u32),
        (8, true) => read!(i64),
        // What is beyond an i64 turns negative, and is no class either way.
        (8, false) => read!(u64),
        _ => return None,
    })
}
