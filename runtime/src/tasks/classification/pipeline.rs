//! The recipe's list of augmentations as transforms.

mod operations;

use lmv_compiler::config::{Call, Config};

use crate::data::transforms::{
    CenterCrop, HorizontalFlip, RandomCrop, RandomErasing, RandomResizedCrop, Resize, Transform,
};
use crate::data::{Normalize, Pipeline};
use crate::error::{Failure, Result};

pub use operations::NAMES as OPERATIONS;

/// The names of those that change pixels or numbers as a whole.
pub const WHOLE: [&str; 8] = [
    "random_resized_crop",
    "random_crop",
    "horizontal_flip",
    "resize",
    "center_crop",
    "rand_augment",
    "normalize",
    "random_erasing",
];

/// The pipeline of a list of augmentations, none for no list.
///
/// # Errors
/// An augmentation that Rust does not run, one with an argument out of range, and one of pixels behind those that work on
/// normalised numbers, which the checker lets through in no spec (E0406).
pub fn pipeline(list: Option<&Config>) -> Result<Pipeline> {
    let mut pipeline = Pipeline::default();
    // Behind the first step that gives numbers there are no pixels any more.
    let mut pixels = true;
    let items = match list {
        Some(Config::List(items)) => items.as_slice(),
        _ => &[],
    };
    for config in items {
        let Config::Call(call) = config else {
            return Err(Failure::new(format!("{config} is no augmentation")));
        };
        match call.name.as_str() {
            "random_erasing" => {
                pipeline.after.push(Box::new(RandomErasing { p: share(call, "p")? }));
                pixels = false;
                continue;
            }
            // Erasing itself needs normalised numbers, and normalises by ImageNet's if nothing is said before it.
            "normalize" if pixels => {
                pipeline.normalize = Normalize::new(channels(call, "mean")?, channels(call, "std")?);
                pixels = false;
                continue;
            }
            _ => {}
        }
        if !pixels {
            return Err(Failure::new(format!("`{}` takes pixels, and is given numbers", call.name)));
        }
        pipeline.transforms.push(transform(call)?);
    }
    Ok(pipeline)
}

fn transform(call: &Call) -> Result<Box<dyn Transform>> {
    if let Some(operation) = operations::operation(call)? {
        return Ok(Box::new(operation));
    }
    let size = |name: &str| {
        call.size(name)
            .filter(|&n| n > 0)
            .ok_or_else(|| Failure::new(format!("`{name}` of {call_name} must be at least 1", call_name = call.name)))
    };
    Ok(match call.name.as_str() {
        "random_resized_crop" => {
            let mut crop = RandomResizedCrop::new(size("size")?);
            crop.scale.0 = share(call, "scale_min")?.max(1e-3);
            Box::new(crop)
        }
        "random_crop" => Box::new(RandomCrop::new(size("size")?, call.size("padding").unwrap_or(0))),
        "horizontal_flip" => Box::new(HorizontalFlip { p: share(call, "p")? }),
        "resize" => Box::new(Resize::new(size("size")?)),
        "center_crop" => Box::new(CenterCrop::new(size("size")?)),
        "rand_augment" => Box::new(operations::rand_augment(call)?),
        other => return Err(Failure::new(format!("this lmvc cannot run the augmentation `{other}`"))),
    })
}

/// An argument that is a number not below 0.
fn number(call: &Call, name: &str) -> Result<f64> {
    let found = call.float(name).filter(|x| x.is_finite() && *x >= 0.0);
    found.ok_or_else(|| Failure::new(format!("`{name}` of {} must be a number, 0 or more", call.name)))
}

/// An argument that lies between 0 and 1.
fn share(call: &Call, name: &str) -> Result<f64> {
    let found = call.float(name).filter(|p| (0.0..=1.0).contains(p));
    found.ok_or_else(|| Failure::new(format!("`{name}` of {} must lie between 0 and 1", call.name)))
}

/// An argument that has a number for each of red, green and blue: `mean`, or `std`, whose numbers are above 0.
fn channels(call: &Call, name: &str) -> Result<[f32; 3]> {
    let given = call.arguments.get(name);
    let numbers: Option<Vec<f64>> = match given {
        Some(Config::List(items)) => items.iter().map(Config::float).collect(),
        _ => None,
    };
    let sound = |n: &[f64]| n.iter().all(|x| x.is_finite() && (name != "std" || *x > 0.0));
    match numbers.as_deref() {
        Some(&[red, green, blue]) if sound(&[red, green, blue]) => Ok([red, green, blue].map(|x| x as f32)),
        _ => {
            let found = given.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let above = if name == "std" { ", each above 0" } else { "" };
            Err(Failure::new(format!("`{name}` of normalize is {found}, expected three numbers{above}")).help(format!(
                "write one for each of red, green and blue, between 0 and 1: `{name} = [0.5, 0.5, 0.5]`"
            )))
        }
    }
}

#[cfg(test)]
mod tests;
