//! How parameters start where nothing fills them. Each has a stream of random numbers of its own, by its path, so that a
//! change in one part of a model leaves the start of the others as it was.

use lmv_compiler::config::Config;
use lmv_compiler::graph::Parameter;
use rand::Rng;
use rand_distr::{Distribution, Normal};

use crate::error::{Failure, Result};
use crate::training::seeds::Seeds;

/// The names of all starts that Rust knows.
pub const NAMES: [&str; 6] = ["zeros", "ones", "normal", "trunc_normal", "fan_in_uniform", "fan_in_uniform_bias"];

/// The first values of a parameter.
///
/// # Errors
/// The parameter's size is not known, or its start is none that Rust knows.
pub fn initial(parameter: &Parameter, seeds: &Seeds) -> Result<(Vec<f32>, Vec<usize>)> {
    let Some(dims) = parameter.shape.numbers() else {
        return Err(Failure::new(format!(
            "the size of `{}` is {}, which only data can tell",
            parameter.path, parameter.shape
        ))
        .help("give the spec a `data = …`, or the head a number: `head(1000)`"));
    };
    let count: usize = dims.iter().product();
    let mut rng = seeds.stream(&format!("init {}", parameter.path), 0, 0);
    let Config::Call(call) = &parameter.init else {
        return Err(unknown(parameter));
    };
    let argument = |name: &str| call.float(name);
    let values = match call.name.as_str() {
        "zeros" => vec![0.0; count],
        "ones" => vec![1.0; count],
        "normal" => {
            let normal = deviation(argument("std"), parameter)?;
            (0..count).map(|_| normal.sample(&mut rng) as f32).collect()
        }
        "trunc_normal" => {
            let normal = deviation(argument("std"), parameter)?;
            // timm cuts at ±2 whatever the deviation (paper.md §3.1); redrawing gives the same distribution.
            (0..count)
                .map(|_| {
                    loop {
                        let x: f64 = normal.sample(&mut rng);
                        if x.abs() <= 2.0 {
                            break x as f32;
                        }
                    }
                })
                .collect()
        }
        "fan_in_uniform" | "fan_in_uniform_bias" => {
            // PyTorch's default start of linear layers and convolutions: ±1/sqrt(fan-in) (paper.md §1.4).
            let fan_in = argument("fan_in").unwrap_or_else(|| dims.iter().skip(1).product::<usize>() as f64);
            let bound = 1.0 / fan_in.max(1.0).sqrt();
            (0..count).map(|_| rng.random_range(-bound..bound) as f32).collect()
        }
        _ => return Err(unknown(parameter)),
    };
    Ok((values, dims))
}

fn deviation(std: Option<f64>, parameter: &Parameter) -> Result<Normal<f64>> {
    std.and_then(|std| Normal::new(0.0, std).ok()).filter(|normal| normal.std_dev() <= 1.0).ok_or_else(|| {
        Failure::new(format!(
            "`{}` starts as {}, whose deviation is not between 0 and 1",
            parameter.path, parameter.init
        ))
    })
}

fn unknown(parameter: &Parameter) -> Failure {
    Failure::new(format!("this lmvc cannot start `{}` as {}", parameter.path, parameter.init))
}
