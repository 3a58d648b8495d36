//! The recipe's lists of augmentations and its votes, as what is done to a cloud.

use lmv_compiler::config::{Call, Config};

use crate::data::clouds::Augment;
use crate::error::{Failure, Result};

/// The names of all augmentations of clouds.
pub const NAMES: [&str; 5] = ["shuffle_points", "sample_farthest", "sample_random", "scale_points", "move_points"];

/// What the paper's code does to each look of a vote (paper.md §4.3): the factors of the axes, and the way along them.
const SCALED: (f32, f32) = (2.0 / 3.0, 3.0 / 2.0);
const MOVED: f32 = 0.2;

/// How a cloud is voted on.
pub struct Votes {
    /// How often it is looked at.
    pub times: usize,
    /// What is done to it once.
    pub kept: Augment,
    /// What is done for each look.
    pub each: Vec<Augment>,
}

/// The steps of a list of augmentations, none for no list.
///
/// # Errors
/// An argument out of range, and an augmentation that is none of clouds, which the checker lets through in no spec (E0406).
pub fn list(list: Option<&Config>) -> Result<Vec<Augment>> {
    let items = match list {
        Some(Config::List(items)) => items.as_slice(),
        _ => &[],
    };
    let step = |config: &Config| match config {
        Config::Call(call) => augment(call),
        other => Err(Failure::new(format!("{other} is no augmentation"))),
    };
    items.iter().map(step).collect()
}

fn augment(call: &Call) -> Result<Augment> {
    let count = || size(call, "count");
    Ok(match call.name.as_str() {
        "shuffle_points" => Augment::Shuffle,
        "sample_farthest" => Augment::SampleFarthest(count()?),
        "sample_random" => Augment::SampleRandom(count()?),
        "scale_points" => {
            let (least, most) = (number(call, "least")?, number(call, "most")?);
            if least > most {
                return Err(Failure::new(format!("`least` of scale_points is {least}, and `most` is {most}")));
            }
            Augment::Scale(least, most)
        }
        "move_points" => Augment::Move(number(call, "most")?),
        other => {
            return Err(Failure::new(format!("this lmvc cannot run the augmentation `{other}` on points")));
        }
    })
}

/// How the recipe's `views` looks at a cloud.
///
/// # Errors
/// A way that is not one of clouds.
pub fn votes(config: &Config) -> Result<Votes> {
    match config {
        Config::Call(call) if call.name == "cloud_votes" => Ok(Votes {
            times: size(call, "times")?,
            kept: Augment::SampleFarthest(size(call, "oversample")?),
            each: vec![
                Augment::SampleRandom(size(call, "count")?),
                Augment::Scale(SCALED.0, SCALED.1),
                Augment::Move(MOVED),
            ],
        }),
        other => Err(Failure::new(format!("`views` is {other}, and clouds of points are seen by `cloud_votes(…)`"))),
    }
}

/// What to change where a field of the recipe, made of these steps, does not leave `wanted` points.
pub fn help(field: &str, steps: &[Augment], wanted: usize) -> String {
    let too_few = |step: &Augment| matches!(step, Augment::SampleFarthest(count) if *count < wanted);
    match field {
        "views" => format!("make it `cloud_votes(count = {wanted})`, with an `oversample` of {wanted} or more"),
        "augment" if steps.iter().any(too_few) => format!(
            "keep more points by distance: the recipe's `oversample`, such as `train.oversample = {}`",
            oversampled(wanted)
        ),
        "augment" => format!(
            "end with that many: the recipe's `count`, `train.count = {wanted}`, or `sample_random({wanted})` in `augment`"
        ),
        field => format!("end with that many: the recipe's `count`, or `train.{field} = [sample_farthest({wanted})]`"),
    }
}

/// How many points the paper's code keeps by distance for clouds of so many (paper.md §4.3).
fn oversampled(points: usize) -> usize {
    match points {
        ..=1024 => 1200,
        2048 => 2400,
        4096 => 4800,
        points => points,
    }
}

fn size(call: &Call, name: &str) -> Result<usize> {
    let found = call.size(name).filter(|&n| n > 0);
    found.ok_or_else(|| Failure::new(format!("`{name}` of {} must be at least 1", call.name)))
}

fn number(call: &Call, name: &str) -> Result<f32> {
    let found = call.float(name).filter(|x| x.is_finite() && *x >= 0.0);
    found
        .map(|x| x as f32)
        .ok_or_else(|| Failure::new(format!("`{name}` of {} must be a number, 0 or more", call.name)))
}
