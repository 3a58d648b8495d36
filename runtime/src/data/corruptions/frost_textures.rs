//! Pictures of ice, drawn: a crumpled film, needles, grains and ferns.
//!
//! They stand for the five photographs of the published ImageNet-C, and have their mean and deviation in each channel, so
//! that an image loses as much contrast under ours as under those. Their patterns are alike and not the same: accuracy on
//! `frost` may differ from that on the published files.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::field::{Border, Field};
use super::fog::plasma;
use super::gaussian::gaussian;
use crate::data::Pixels;

/// What the ice is made of.
type Pattern = fn(usize, &mut ChaCha8Rng) -> Field;

/// A pattern with the red, green and blue that it has on average, and their deviations, in levels from 0 to 255.
struct Ice {
    pattern: Pattern,
    mean: [f32; 3],
    deviation: [f32; 3],
}

/// One for each photograph that the published code picks from, measured on the files that come with it; two of these
/// are the same picture.
const ICES: [Ice; 5] = [
    Ice { pattern: film, mean: [78.0, 149.0, 166.0], deviation: [27.0, 16.0, 15.0] },
    Ice { pattern: needles, mean: [201.0, 205.0, 214.0], deviation: [21.0, 22.0, 23.0] },
    Ice { pattern: needles, mean: [201.0, 205.0, 214.0], deviation: [21.0, 22.0, 23.0] },
    Ice { pattern: grains, mean: [138.0, 153.0, 165.0], deviation: [28.0, 28.0, 30.0] },
    Ice { pattern: ferns, mean: [112.0, 123.0, 135.0], deviation: [44.0, 43.0, 42.0] },
];

/// Ice of `side` × `side` pixels; its pieces have the same size in pixels whatever the side.
pub(super) fn draw(side: usize, rng: &mut ChaCha8Rng) -> Pixels {
    let ice = &ICES[rng.random_range(0..ICES.len())];
    let height = standard((ice.pattern)(side, rng));
    let colour = |c: usize, height: f32| (ice.mean[c] + ice.deviation[c] * height).clamp(0.0, 255.0) as u8;
    Pixels::from_fn(side, side, |x, y| std::array::from_fn(|c| colour(c, height.data[y * side + x])))
}

/// With mean 0 and deviation 1.
fn standard(field: Field) -> Field {
    let n = field.data.len() as f32;
    let mean = field.data.iter().sum::<f32>() / n;
    let deviation = (field.data.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / n).sqrt().max(1e-6);
    field.map(|value| (value - mean) / deviation)
}

/// Clouds with a mean of 0 and a deviation of 1.
fn cloud(side: usize, decay: f64, rng: &mut ChaCha8Rng) -> Field {
    let map = side.next_power_of_two();
    let heights = plasma(map, decay, || rng.random_range(-1.0..1.0));
    standard(Field::layer(side, side, |i| heights[i / side * map + i % side]))
}

/// `a` plus `b` times `share`.
fn plus(mut a: Field, b: &Field, share: f32) -> Field {
    a.data.iter_mut().zip(&b.data).for_each(|(a, b)| *a += share * b);
    a
}

/// A thin sheet full of creases: light and shade on its slopes, over a broad cloud.
fn film(side: usize, rng: &mut ChaCha8Rng) -> Field {
    let creases = cloud(side, 1.45, rng).map(|height| -height.abs());
    let lit = Field::layer(side, side, |i| {
        let (x, y) = ((i % side) as f64, (i / side) as f64);
        creases.between(x, y, 0, Border::Edge) - creases.between(x + 1.0, y + 1.0, 0, Border::Edge)
    });
    plus(cloud(side, 2.4, rng), &standard(lit), 0.6)
}

/// Bundles of straight crystals in all directions.
fn needles(side: usize, rng: &mut ChaCha8Rng) -> Field {
    let mut field = Field::layer(side, side, |_| 0.0);
    for _ in 0..side * side / 450 {
        let (x, y) = place(side, rng);
        let towards = rng.random_range(0.0..TAU);
        for _ in 0..rng.random_range(4..12) {
            let angle = towards + rng.random_range(-0.45..0.45_f32);
            stroke(&mut field, (x, y), angle, rng.random_range(10.0..55.0), rng.random_range(0.3..1.0));
        }
    }
    let fine = cloud(side, 1.3, rng);
    plus(plus(standard(field), &fine, 0.35), &cloud(side, 2.2, rng), 0.5)
}

/// Small flat crystals side by side, each tilted in its own way, in streaks from top to bottom.
fn grains(side: usize, rng: &mut ChaCha8Rng) -> Field {
    const CELL: usize = 9;
    let cells = side.div_ceil(CELL) + 2;
    // Place, level and slope of a crystal in each cell.
    let crystals: Vec<[f32; 5]> = (0..cells * cells)
        .map(|_| {
            let mut unit = || rng.random_range(-0.5..0.5_f32);
            [unit(), unit(), unit() * 3.0, unit() * 0.5, unit() * 0.5]
        })
        .collect();
    let field = Field::layer(side, side, |i| {
        let (x, y) = ((i % side) as f32, (i / side) as f32);
        let (column, row) = (i % side / CELL, i / side / CELL);
        let (mut nearest, mut second, mut level) = (f32::INFINITY, f32::INFINITY, 0.0);
        for (r, c) in (row..row + 3).flat_map(|r| (column..column + 3).map(move |c| (r, c))) {
            let [right, down, light, slope_x, slope_y] = crystals[r * cells + c];
            let dx = x - (c as f32 - 0.5 + right) * CELL as f32;
            let dy = y - (r as f32 - 0.5 + down) * CELL as f32;
            let distance = dx.hypot(dy);
            if distance < nearest {
                (nearest, second) = (distance, nearest);
                level = light + slope_x * dx + slope_y * dy;
            } else {
                second = second.min(distance);
            }
        }
        // Dark where two crystals meet.
        level - 1.2 * (1.0 - (second - nearest)).max(0.0)
    });
    let streaks = cloud(side, 1.4, rng);
    let streaks = Field::layer(side, side, |i| streaks.data[i / side / 6 * side + i % side]);
    plus(plus(standard(field), &streaks, 0.35), &cloud(side, 1.9, rng), 0.5)
}

/// Feathers of ice: a stem with barbs on both sides, more of them where the window is white already.
fn ferns(side: usize, rng: &mut ChaCha8Rng) -> Field {
    let ground = cloud(side, 2.2, rng);
    let mut field = Field::layer(side, side, |_| 0.0);
    for _ in 0..side * side / 260 {
        let start = place(side, rng);
        let here = ground.between(start.0.into(), start.1.into(), 0, Border::Edge);
        if rng.random_range(-1.5..1.5_f32) > here {
            continue;
        }
        let length: f32 = rng.random_range(12.0..48.0);
        let (angle, light) = (rng.random_range(0.0..TAU), rng.random_range(0.5..1.2));
        stroke(&mut field, start, angle, length, light);
        let (sin, cos) = angle.sin_cos();
        let mut along = 2.0;
        while along < length {
            let root = (start.0 + along * cos, start.1 + along * sin);
            let barb = (length - along) * 0.38 + 1.5;
            for turn in [PI / 3.0, -PI / 3.0] {
                stroke(&mut field, root, angle + turn, barb * rng.random_range(0.7..1.1), light * 0.7);
            }
            along += 3.0;
        }
    }
    let field = standard(gaussian(&field, 0.5, 3.0, Border::Edge));
    plus(plus(field, &ground, 0.8), &cloud(side, 1.3, rng), 0.25)
}

/// Somewhere in the picture or a little outside, so that its rim is not emptier.
fn place(side: usize, rng: &mut ChaCha8Rng) -> (f32, f32) {
    let mut along = || rng.random_range(-30.0..side as f32 + 30.0);
    (along(), along())
}

/// A line of light that ends in a point, with a shade beside it.
fn stroke(field: &mut Field, (x, y): (f32, f32), angle: f32, length: f32, light: f32) {
    let (sin, cos) = angle.sin_cos();
    // Steps of half a pixel leave no gaps.
    for step in 0..(2.0 * length) as usize {
        let along = step as f32 / 2.0;
        let bright = light * (1.0 - along / length);
        let (x, y) = (x + along * cos, y + along * sin);
        dab(field, x, y, bright);
        dab(field, x - 1.6 * sin, y + 1.6 * cos, -0.6 * bright);
    }
}

/// Light on the four pixels around a point.
fn dab(field: &mut Field, x: f32, y: f32, light: f32) {
    let (left, top) = (x.floor(), y.floor());
    let (dx, dy) = (x - left, y - top);
    for (column, share) in [(left, 1.0 - dx), (left + 1.0, dx)] {
        for (row, part) in [(top, 1.0 - dy), (top + 1.0, dy)] {
            let inside = |at: f32, length: usize| at >= 0.0 && at < length as f32;
            if inside(column, field.width) && inside(row, field.height) {
                field.data[row as usize * field.width + column as usize] += light * share * part;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::draws;

    #[test]
    fn ice_has_the_colours_of_the_photographs() {
        for ice in &ICES {
            let mut rng = draws::stream(0, "ice", 0, 0);
            let height = standard((ice.pattern)(224, &mut rng));
            for c in 0..3 {
                let levels: Vec<f32> =
                    height.data.iter().map(|h| (ice.mean[c] + ice.deviation[c] * h).clamp(0.0, 255.0)).collect();
                let mean = levels.iter().sum::<f32>() / levels.len() as f32;
                // What is cut off at 0 and 255 moves the mean a little.
                assert!((mean - ice.mean[c]).abs() < 2.5, "{mean} for {}", ice.mean[c]);
            }
            assert!(height.data.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn a_window_of_one_pixel_has_ice_too() {
        for seed in 0..20 {
            let ice = draw(1, &mut draws::stream(seed, "ice", 0, 0));
            assert_eq!((ice.width, ice.height), (1, 1));
        }
    }
}
