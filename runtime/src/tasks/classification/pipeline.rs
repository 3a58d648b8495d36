//! The recipe's list of augmentations as transforms.

use lmv_compiler::config::{Call, Config};

use crate::data::transforms::{CenterCrop, HorizontalFlip, RandomCrop, RandomResizedCrop, Resize, Transform};
use crate::data::{Normalize, Pipeline};
use crate::error::{Failure, Result};

/// The names of all augmentations that Rust runs.
pub const NAMES: [&str; 5] = ["random_resized_crop", "random_crop", "horizontal_flip", "resize", "center_crop"];

/// The pipeline of a list of augmentations, none for no list.
///
/// # Errors
/// An augmentation that Rust does not run, or one with an argument out of range.
pub fn pipeline(list: Option<&Config>) -> Result<Pipeline> {
    let calls: Vec<&Config> = match list {
        Some(Config::List(items)) => items.iter().collect(),
        _ => Vec::new(),
    };
    let transforms = calls
        .into_iter()
        .map(|config| match config {
            Config::Call(call) => transform(call),
            other => Err(Failure::new(format!("{other} is no augmentation"))),
        })
        .collect::<Result<_>>()?;
    Ok(Pipeline { transforms, normalize: Normalize::default() })
}

fn transform(call: &Call) -> Result<Box<dyn Transform>> {
    let size = |name: &str| {
        call.size(name)
            .filter(|&n| n > 0)
            .ok_or_else(|| Failure::new(format!("`{name}` of {call_name} must be at least 1", call_name = call.name)))
    };
    let share = |name: &str| {
        call.float(name).filter(|p| (0.0..=1.0).contains(p)).ok_or_else(|| {
            Failure::new(format!("`{name}` of {call_name} must lie between 0 and 1", call_name = call.name))
        })
    };
    Ok(match call.name.as_str() {
        "random_resized_crop" => {
            let mut crop = RandomResizedCrop::new(size("size")?);
            crop.scale.0 = share("scale_min")?.max(1e-3);
            Box::new(crop)
        }
        "random_crop" => Box::new(RandomCrop::new(size("size")?, call.size("padding").unwrap_or(0))),
        "horizontal_flip" => Box::new(HorizontalFlip { p: share("p")? }),
        "resize" => Box::new(Resize::new(size("size")?)),
        "center_crop" => Box::new(CenterCrop::new(size("size")?)),
        other => return Err(Failure::new(format!("this lmvc cannot run the augmentation `{other}`"))),
    })
}
