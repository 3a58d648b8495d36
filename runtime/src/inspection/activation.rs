//! How active tokens are (paper.md §10.2).

use std::f64::consts::TAU;

use rayon::prelude::*;

/// Two measures of each token, each brought to 0 to 1 over the sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// How far a token is from the mean of all tokens.
    pub magnitude: Vec<f32>,
    /// How far the phases of its channels' Fourier transform are from the mean of all tokens' phases.
    pub frequency: Vec<f32>,
}

/// The activation of tokens `[tokens, width]`, row-major.
pub fn activation(tokens: &[f32], width: usize) -> Activation {
    let rows: Vec<Vec<f64>> =
        tokens.chunks_exact(width.max(1)).map(|token| token.iter().map(|&x| f64::from(x)).collect()).collect();
    let turns = turns(width);
    let phases: Vec<Vec<f64>> = rows.par_iter().map(|row| phases(row, &turns)).collect();
    Activation { magnitude: distances(&rows), frequency: distances(&phases) }
}

/// The distance of each row from the mean of all, brought to 0 to 1; all 0 where none is farther than another.
fn distances(rows: &[Vec<f64>]) -> Vec<f32> {
    let width = rows.first().map_or(0, Vec::len);
    let mut mean = vec![0.0; width];
    rows.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / rows.len() as f64));
    let distance = |row: &Vec<f64>| row.iter().zip(&mean).map(|(x, mean)| (x - mean) * (x - mean)).sum::<f64>().sqrt();
    let all: Vec<f64> = rows.iter().map(distance).collect();
    let (least, most) = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let span = most - least;
    all.iter().map(|x| if span > 0.0 { ((x - least) / span) as f32 } else { 0.0 }).collect()
}

/// Cosine and sine of each of `width` steps around the circle; those of a half turn exactly, since a phase there has no
/// imaginary part.
fn turns(width: usize) -> Vec<(f64, f64)> {
    let turn = |step: usize| match 2 * step == width {
        true => (-1.0, 0.0),
        false => {
            let angle = TAU * step as f64 / width as f64;
            (angle.cos(), angle.sin())
        }
    };
    (0..width).map(turn).collect()
}

/// The phase in (−π, π] of each number of the discrete Fourier transform of a row. The row is real, so that the second half
/// mirrors the first.
fn phases(row: &[f64], turns: &[(f64, f64)]) -> Vec<f64> {
    let width = row.len();
    let mut all = vec![0.0; width];
    for number in 0..=width / 2 {
        let (mut real, mut imaginary) = (0.0, 0.0);
        let mut at = 0;
        for &x in row {
            let (cos, sin) = turns[at];
            real += x * cos;
            imaginary -= x * sin;
            at += number;
            if at >= width {
                at -= width;
            }
        }
        // A zero below zero would turn π into −π.
        let phase = if imaginary == 0.0 { 0f64.atan2(real) } else { imaginary.atan2(real) };
        if number < width {
            all[number] = phase;
        }
        if number > 0 && width - number != number {
            all[width - number] = -phase;
        }
    }
    all
}
