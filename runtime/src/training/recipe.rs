//! A recipe's settled fields as the parts of training.

use std::collections::BTreeMap;

use lmv_compiler::config::{Call, Config};
use lmv_compiler::graph::Parameter;

use crate::error::{Failure, Result};
use crate::kernels::AdamW;
use crate::training::mix::Mix;
use crate::training::schedule::Schedule;

/// The names of all optimizers that Rust runs.
pub const OPTIMIZERS: [&str; 1] = ["adamw"];
/// The names of all schedules that Rust runs.
pub const SCHEDULES: [&str; 3] = ["cosine", "one_cycle_lr", "constant"];
/// The names of all mixes that Rust runs.
pub const MIXES: [&str; 2] = ["mixup", "cutmix"];
/// The names of all samplers that Rust runs.
pub const SAMPLERS: [&str; 1] = ["repeated"];
/// The names of all groups of parameters that Rust tells apart.
pub const GROUPS: [&str; 2] = ["rank", "part"];
/// The names of all ways that Rust gives groups of parameters a learning rate of their own.
pub const SCALES: [&str; 1] = ["times"];
/// The names of all ways that Rust looks at one sample several times.
pub const VIEWS: [&str; 1] = ["cloud_votes"];
/// The names of all ways that Rust clips a gradient by, beside the limit of its norm.
pub const CLIPS: [&str; 0] = [];
/// The names of all ways that Rust changes the momentum of batch norms over a run.
pub const MOMENTA: [&str; 0] = [];

/// A recipe's fields.
pub type Fields = BTreeMap<String, Config>;

fn call<'f>(fields: &'f Fields, name: &str) -> Option<&'f Call> {
    match fields.get(name)? {
        Config::Call(call) => Some(call),
        _ => None,
    }
}

/// AdamW's settings at the base learning rate.
///
/// # Errors
/// A setting out of range.
pub fn optimizer(fields: &Fields) -> Result<AdamW> {
    let Some(call) = call(fields, "optimizer").filter(|call| call.name == "adamw") else {
        return Err(Failure::new("the recipe has no optimizer that this lmvc can run"));
    };
    let number = |name: &str, sound: fn(f64) -> bool, range: &str| {
        call.float(name).filter(|x| sound(*x)).ok_or_else(|| Failure::new(format!("`{name}` of adamw must be {range}")))
    };
    Ok(AdamW {
        lr: number("lr", |x| x.is_finite() && x >= 0.0, "a number of at least 0")?,
        beta1: number("beta1", |x| (0.0..1.0).contains(&x), "at least 0 and less than 1")?,
        beta2: number("beta2", |x| (0.0..1.0).contains(&x), "at least 0 and less than 1")?,
        eps: number("eps", |x| x > 0.0, "more than 0")?,
        weight_decay: number("weight_decay", |x| x.is_finite() && x >= 0.0, "a number of at least 0")?,
    })
}

/// Whether weight decay leaves a parameter alone: by its number of dims, or by a layer that it is in.
pub fn undecayed(fields: &Fields, parameter: &Parameter) -> bool {
    let Some(Config::List(groups)) = call(fields, "optimizer").and_then(|call| call.with.get("no_decay")) else {
        return false;
    };
    groups.iter().any(|group| belongs(group, parameter))
}

/// Whether a parameter is one of a group: by its number of dims, by what occurs in its path, or by a layer that it is in.
fn belongs(group: &Config, parameter: &Parameter) -> bool {
    let Config::Call(call) = group else { return false };
    match (call.kind.as_str(), call.name.as_str()) {
        ("group", "rank") => call.size("n") == Some(parameter.shape.0.len()),
        ("group", "part") => match call.arguments.get("name") {
            Some(Config::Str(name)) => parameter.path.contains(name.as_str()),
            _ => false,
        },
        ("layer", layer) => parameter.within.iter().any(|within| within == layer),
        _ => false,
    }
}

/// What the optimizer's learning rate is multiplied by for a parameter: the factor of the first group of `scaled` that it
/// belongs to. It goes into the schedule as a rate of its own, so that where the schedule begins and ends stays what it says
/// (paper.md §4.3).
pub fn rate(fields: &Fields, parameter: &Parameter) -> f64 {
    let Some(Config::List(scales)) = call(fields, "optimizer").and_then(|call| call.with.get("scaled")) else {
        return 1.0;
    };
    let factor = |scale: &Config| match scale {
        Config::Call(call) if call.name == "times" => {
            call.arguments.get("group").filter(|group| belongs(group, parameter)).and(call.float("factor"))
        }
        _ => None,
    };
    scales.iter().find_map(factor).unwrap_or(1.0)
}

/// The learning rate over the run.
///
/// # Errors
/// A schedule that Rust does not run, or one out of range.
pub fn schedule(fields: &Fields) -> Result<Schedule> {
    let Some(call) = call(fields, "schedule") else {
        return Err(Failure::new("the recipe has no schedule"));
    };
    let size = |name: &str| call.size(name).unwrap_or(0) as u64;
    let schedule = match call.name.as_str() {
        "constant" => Schedule::Constant,
        "cosine" => Schedule::Cosine {
            epochs: size("epochs"),
            warmup: size("warmup"),
            from: call.float("from").unwrap_or(0.0),
            to: call.float("to").unwrap_or(0.0),
        },
        "one_cycle_lr" => Schedule::one_cycle(size("epochs")),
        other => return Err(Failure::new(format!("this lmvc cannot run the schedule `{other}`"))),
    };
    schedule.check()?;
    Ok(schedule)
}

/// The loss, as the recipe says it.
///
/// # Errors
/// None at all.
pub fn loss(fields: &Fields) -> Result<&Config> {
    fields.get("loss").ok_or_else(|| Failure::new("the recipe has no loss"))
}

/// Mixup, cutmix or a choice of both.
///
/// # Errors
/// A mix that Rust does not run, or one out of range.
pub fn mix(fields: &Fields) -> Result<Option<Mix>> {
    let one = |config: &Config| match config {
        Config::Call(call) if call.name == "mixup" => Some((true, call.float("alpha")?)),
        Config::Call(call) if call.name == "cutmix" => Some((false, call.float("alpha")?)),
        _ => None,
    };
    let mix = match fields.get("mix") {
        None => return Ok(None),
        Some(Config::Either(a, b)) => match (one(a), one(b)) {
            // Which of two is drawn is even (paper.md §3.3: switch probability 0.5).
            (Some((true, mixup)), Some((false, cutmix))) | (Some((false, cutmix)), Some((true, mixup))) => {
                Some(Mix::Either { mixup, cutmix, switch: 0.5 })
            }
            _ => None,
        },
        Some(config) => {
            one(config).map(|(mixup, alpha)| if mixup { Mix::Mixup { alpha } } else { Mix::Cutmix { alpha } })
        }
    };
    let Some(mix) = mix else {
        return Err(Failure::new("the recipe's mix is none that this lmvc can run")
            .help("it is `mixup(…)`, `cutmix(…)`, or `mixup(…) or cutmix(…)`"));
    };
    mix.check()?;
    Ok(Some(mix))
}

/// Into how many groups a batch is dealt to be mixed.
pub fn mix_groups(fields: &Fields) -> usize {
    fields.get("mix_groups").and_then(Config::int).and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1)
}

/// Whether matrix products are computed in half precision on a GPU.
pub fn amp(fields: &Fields) -> bool {
    fields.get("amp") == Some(&Config::Bool(true))
}

/// How often in a row a repeating sampler shows an image.
pub fn repeats(fields: &Fields) -> Option<usize> {
    call(fields, "sampler")
        .filter(|call| call.name == "repeated")
        .and_then(|call| call.size("times"))
        .filter(|&n| n > 1)
}

/// The decay of the averaged copy of the weights, if one is kept.
pub fn ema(fields: &Fields) -> Option<f64> {
    fields.get("ema").and_then(Config::float)
}

/// The largest norm of the gradient.
pub fn clip(fields: &Fields) -> Option<f64> {
    fields.get("clip").and_then(Config::float)
}
