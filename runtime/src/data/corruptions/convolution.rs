//! Weighted sums over the pixels around each pixel.

use super::field::{Border, Field};

/// One summand: the pixel `dx` columns to the right and `dy` rows down, times `weight`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tap {
    pub dx: isize,
    pub dy: isize,
    pub weight: f32,
}

/// The sum of the `taps` at every pixel.
pub(super) fn convolve(field: &Field, taps: &[Tap], border: Border) -> Field {
    let reach = |of: fn(&Tap) -> isize| taps.iter().map(|tap| of(tap).unsigned_abs()).max().unwrap_or(0);
    let (sides, ends) = (reach(|tap| tap.dx), reach(|tap| tap.dy));
    let padded = field.pad(sides, ends, border);
    let (row, padded_row) = (field.width * field.channels, padded.width * field.channels);
    let Field { width, height, channels, .. } = *field;
    let mut out = Field { width, height, channels, data: vec![0.0; field.data.len()] };
    for (y, sums) in out.data.chunks_exact_mut(row).enumerate() {
        for tap in taps {
            // Not negative, and inside: the padding is as wide as the farthest tap.
            let line = (y + ends).wrapping_add_signed(tap.dy);
            let start = line * padded_row + sides.wrapping_add_signed(tap.dx) * field.channels;
            for (sum, value) in sums.iter_mut().zip(&padded.data[start..start + row]) {
                *sum += tap.weight * value;
            }
        }
    }
    out
}
