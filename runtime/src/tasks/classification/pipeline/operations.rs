//! Single operations on an image, and lists of them for RandAugment.

use lmv_compiler::config::{Call, Config};

use super::{number, share};
use crate::data::transforms::RandAugment;
use crate::data::transforms::rand_augment::{Chance, Operation};
use crate::error::{Failure, Result};

/// The names of all single operations.
pub const NAMES: [&str; 15] = [
    "auto_contrast",
    "equalize",
    "invert",
    "rotate",
    "posterize",
    "solarize",
    "solarize_add",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
];

/// The operation that `call` says, with its probability; none where `call` is another augmentation.
///
/// # Errors
/// An argument that is no number or out of range.
pub fn operation(call: &Call) -> Result<Option<Chance>> {
    let most = |name: &str| number(call, name);
    let operation = match call.name.as_str() {
        "auto_contrast" => Operation::AutoContrast,
        "equalize" => Operation::Equalize,
        "invert" => Operation::Invert,
        "rotate" => Operation::Rotate(most("degrees")?),
        "posterize" => Operation::Posterize(most("bits")?),
        "solarize" => Operation::Solarize(most("depth")?),
        "solarize_add" => Operation::SolarizeAdd(most("most")?),
        "color" => Operation::Color(most("most")?),
        "contrast" => Operation::Contrast(most("most")?),
        "brightness" => Operation::Brightness(most("most")?),
        "sharpness" => Operation::Sharpness(most("most")?),
        "shear_x" => Operation::ShearX(most("most")?),
        "shear_y" => Operation::ShearY(most("most")?),
        "translate_x" => Operation::TranslateX(most("most")?),
        "translate_y" => Operation::TranslateY(most("most")?),
        _ => return Ok(None),
    };
    Ok(Some(Chance { operation, p: share(call, "p")? }))
}

/// RandAugment with the operations of its `from`.
///
/// # Errors
/// A `from` that is no list of operations or holds none, which the checker lets through in no spec, and other arguments
/// out of range.
pub fn rand_augment(call: &Call) -> Result<RandAugment> {
    let items = match call.arguments.get("from") {
        Some(Config::List(items)) => items.as_slice(),
        _ => &[],
    };
    let mut operations = Vec::new();
    for item in items {
        operations.extend(match item {
            Config::Call(inner) => operation(inner)?,
            _ => None,
        });
    }
    // The checker has seen to it (E0205).
    if operations.is_empty() || operations.len() != items.len() {
        return Err(Failure::new("`from` of rand_augment is no list of operations"));
    }
    Ok(RandAugment {
        operations,
        count: call.size("ops").unwrap_or(0),
        magnitude: number(call, "magnitude")?,
        std: number(call, "std")?,
        p: share(call, "p")?,
    })
}
