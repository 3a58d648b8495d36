//! A small image set that is drawn, not downloaded: what to try a spec on.
//!
//! The class is the shape. Colours, place, size, turn, background and noise are random and tell nothing, so that a model has
//! to learn shapes.

mod shapes;

use std::fs;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Pixels, draws};
use crate::error::{Failure, Result};
use shapes::{SHAPES, Shape};

/// What to draw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SynthImages {
    /// 2 to 16 shapes.
    pub classes: usize,
    /// Images of each class in `train/`.
    pub train_per_class: usize,
    /// Images of each class in `val/`.
    pub val_per_class: usize,
    /// Pixels on each side, 8 to 1024.
    pub size: usize,
    /// Another seed, other images.
    pub seed: u64,
}

impl Default for SynthImages {
    /// 10 classes of 32 × 32 pixels, 200 and 50 images of each.
    fn default() -> Self {
        Self { classes: 10, train_per_class: 200, val_per_class: 50, size: 32, seed: 0 }
    }
}

/// What is in the folder now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The names of the classes, sorted.
    pub classes: Vec<String>,
    /// Images in `train/`.
    pub train: usize,
    /// Images in `val/`.
    pub val: usize,
    /// False if they were there already.
    pub drawn: bool,
}

/// The file that says that a folder is finished, and what was asked for.
pub const MARKER: &str = ".lmv-synth.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// Goes up when the same options give other images.
    drawing: u32,
    options: SynthImages,
}

/// Draws `dir/train/<shape>/NNNNN.png` and `dir/val/<shape>/NNNNN.png`.
///
/// They are drawn into a folder beside `dir` that takes its name at the end, so that a run cut short leaves nothing half done.
/// A finished folder of the same options is left as it is.
///
/// # Errors
/// Options out of range; `dir` holds something else; the disk refuses.
pub fn synth_images(dir: &Path, options: SynthImages) -> Result<Summary> {
    check(&options)?;
    let marker = Marker { drawing: 1, options };
    let options = &marker.options;
    let shapes = &SHAPES[..options.classes];
    let mut classes: Vec<String> = shapes.iter().map(|shape| shape.name.to_string()).collect();
    classes.sort();
    let mut summary = Summary {
        classes,
        train: options.classes * options.train_per_class,
        val: options.classes * options.val_per_class,
        drawn: false,
    };
    if finished(dir, &marker)? {
        return Ok(summary);
    }

    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(|error| refused(parent, &error))?;
    let temporary =
        tempfile::Builder::new().prefix(".lmv-synth-").tempdir_in(parent).map_err(|error| refused(parent, &error))?;
    // Inside the temporary folder, whose own permissions are for its owner alone.
    let work = temporary.path().join("images");
    let mut jobs: Vec<(PathBuf, &'static str, &Shape, usize)> = Vec::new();
    for (split, per_class) in [("train", options.train_per_class), ("val", options.val_per_class)] {
        for shape in shapes {
            let folder = work.join(split).join(shape.name);
            fs::create_dir_all(&folder).map_err(|error| refused(dir, &error))?;
            jobs.extend((0..per_class).map(|i| (folder.join(format!("{i:05}.png")), split, shape, i)));
        }
    }
    jobs.par_iter().try_for_each(|(path, split, shape, i)| {
        let mut rng = draws::stream(options.seed, &format!("synth {split} {}", shape.name), 0, *i as u64);
        fs::write(path, draw(shape, options.size, &mut rng).png()).map_err(|error| refused(dir, &error))
    })?;
    // A struct of numbers has nothing that JSON cannot hold.
    let json = serde_json::to_vec_pretty(&marker).expect("a struct of numbers");
    fs::write(work.join(MARKER), json).map_err(|error| refused(dir, &error))?;
    if dir.is_dir() {
        // Empty, as `finished` saw; not every system renames onto a folder.
        fs::remove_dir(dir).map_err(|error| refused(dir, &error))?;
    }
    fs::rename(&work, dir).map_err(|error| refused(dir, &error))?;
    summary.drawn = true;
    Ok(summary)
}

fn check(options: &SynthImages) -> Result<()> {
    let most = SHAPES.len();
    let SynthImages { classes, train_per_class, val_per_class, size, .. } = *options;
    if !(2..=most).contains(&classes) {
        return Err(Failure::new(format!("{classes} classes of drawn images, expected 2 to {most}")));
    }
    if !(8..=1024).contains(&size) {
        return Err(Failure::new(format!("drawn images of {size} × {size} pixels, expected 8 to 1024 on a side")));
    }
    if train_per_class == 0 || val_per_class == 0 {
        return Err(Failure::new("0 drawn images of each class in a split, expected at least 1"));
    }
    Ok(())
}

/// Whether `dir` holds these very images; an `Err` if it holds anything else.
fn finished(dir: &Path, wanted: &Marker) -> Result<bool> {
    if !dir.exists() {
        return Ok(false);
    }
    let other = |what: &str| {
        Err(Failure::at(dir, what).help("give another folder, or remove this one if nothing in it is needed"))
    };
    let Ok(mut entries) = fs::read_dir(dir) else {
        return other("is not a folder, expected a new or empty one to draw images into");
    };
    let Ok(text) = fs::read_to_string(dir.join(MARKER)) else {
        return match entries.next() {
            None => Ok(false),
            Some(_) => other("holds other files, expected a new or empty folder to draw images into"),
        };
    };
    match serde_json::from_str::<Marker>(&text) {
        Ok(found) if found == *wanted => Ok(true),
        Ok(found) => other(&format!(
            "holds drawn images of other options: found {}, asked for {}",
            in_words(&found.options),
            in_words(&wanted.options)
        )),
        Err(error) => other(&format!("holds a {MARKER} that cannot be understood: {error}")),
    }
}

fn in_words(options: &SynthImages) -> String {
    let SynthImages { classes, train_per_class, val_per_class, size, seed } = options;
    format!("{classes} classes of {train_per_class} + {val_per_class} images of {size} × {size}, seed {seed}")
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    Failure::at(path, format!("images cannot be written there: {error}")).help("check the free space and your rights")
}

/// One image of `shape`.
fn draw(shape: &Shape, size: usize, rng: &mut ChaCha8Rng) -> Pixels {
    let (ink, ground) = two_colours(rng);
    let background = Background::draw(ground, rng);
    // Places in units of half the image: -1 to 1.
    let radius = rng.random_range(0.42..0.74_f32);
    let room = 0.92 - radius;
    let (x0, y0) = (rng.random_range(-room..=room), rng.random_range(-room..=room));
    // A tenth of a turn either way, in radians.
    let (sin, cos) = rng.random_range(-0.6..0.6_f32).sin_cos();
    let stretch = rng.random_range(-0.1..0.1_f32).exp();
    let (shade_x, shade_y) = (rng.random_range(-0.13..0.13_f32), rng.random_range(-0.13..0.13_f32));
    let grain = rng.random_range(0.0..0.035_f32);
    let pixel = 2.0 / size as f32;
    Pixels::from_fn(size, size, |column, row| {
        let x = (column as f32 + 0.5) * pixel - 1.0;
        let y = (row as f32 + 0.5) * pixel - 1.0;
        // Into the shape's own coordinates: centre 0, radius 1, upright.
        let (dx, dy) = ((x - x0) / radius, (y - y0) / radius);
        let (u, v) = ((cos * dx + sin * dy) * stretch, (cos * dy - sin * dx) / stretch);
        // The distance to the edge in pixels decides how much of the pixel is covered.
        let cover = (0.5 - (shape.distance)(u, v) * radius / pixel).clamp(0.0, 1.0);
        let under = background.at(x, y);
        let shade = 1.0 + shade_x * dx + shade_y * dy;
        std::array::from_fn(|channel| {
            let value = under[channel] + cover * (ink[channel] * shade - under[channel]);
            let noise = grain * (rng.random::<f32>() + rng.random::<f32>() - 1.0) * 2.0;
            ((value + noise).clamp(0.0, 1.0) * 255.0).round() as u8
        })
    })
}

/// Colours of the shape and of the ground, far enough apart to be told from each other.
fn two_colours(rng: &mut ChaCha8Rng) -> ([f32; 3], [f32; 3]) {
    loop {
        let mut colour = || hsv(rng.random_range(0.0..1.0), rng.random_range(0.15..0.9), rng.random_range(0.15..1.0));
        let (ink, ground) = (colour(), colour());
        let light = |c: [f32; 3]| 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2];
        if (light(ink) - light(ground)).abs() > 0.28 {
            return (ink, ground);
        }
    }
}

/// Red, green and blue in `[0, 1]` from hue, saturation and value in `[0, 1]`.
fn hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    [5.0, 3.0, 1.0].map(|n: f32| {
        let k = (n + hue * 6.0) % 6.0;
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

/// A colour that runs from one side to the other, with soft clouds in it.
struct Background {
    colour: [f32; 3],
    slope: [f32; 2],
    clouds: [[f32; 4]; 3],
}

impl Background {
    fn draw(colour: [f32; 3], rng: &mut ChaCha8Rng) -> Self {
        let slope = [rng.random_range(-0.1..0.1), rng.random_range(-0.1..0.1)];
        let cloud = |_| {
            let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
            let waves = rng.random_range(1.0..4.0_f32);
            [cos * waves, sin * waves, rng.random_range(0.0..std::f32::consts::TAU), rng.random_range(0.0..0.045)]
        };
        Self { colour, slope, clouds: [0, 1, 2].map(cloud) }
    }

    fn at(&self, x: f32, y: f32) -> [f32; 3] {
        let clouds: f32 = self.clouds.iter().map(|[a, b, phase, height]| height * (a * x + b * y + phase).sin()).sum();
        let lift = self.slope[0] * x + self.slope[1] * y + clouds;
        self.colour.map(|channel| channel + lift)
    }
}

#[cfg(test)]
mod tests;
