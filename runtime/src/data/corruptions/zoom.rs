//! Into the middle of an image, as ImageNet-C zooms.

use super::field::Field;

/// The middle of a square `field`, enlarged `factor` times, 1 or more, to the size that the whole had.
///
/// make_imagenet_c.py's `clipped_zoom`: the middle is the side by the factor, rounded up; scipy's linear `zoom` enlarges it
/// so that its corner pixels stay corner pixels; what is too much is cut off, the half that is rounded down on the upper
/// left.
pub(super) fn clipped_zoom(field: &Field, factor: f64) -> Field {
    let side = field.width;
    let middle = ((side as f64 / factor).ceil() as usize).clamp(1, side);
    let first = (side - middle) / 2;
    // Python's `round` goes to the even neighbour. What the factor leaves short of the side was never published.
    let enlarged = ((middle as f64 * factor).round_ties_even() as usize).max(side);
    let trim = (enlarged - side) / 2;
    let step = if enlarged > 1 { (middle - 1) as f64 / (enlarged - 1) as f64 } else { 0.0 };
    // The pixel before each place, the one behind it, and how far it is on its way there.
    let places: Vec<(usize, usize, f32)> = (0..side)
        .map(|i| {
            let place = ((trim + i) as f64 * step).min((middle - 1) as f64);
            let before = place.floor();
            (first + before as usize, first + (before as usize + 1).min(middle - 1), (place - before) as f32)
        })
        .collect();
    let channels = field.channels;
    let row = |y: usize| &field.data[y * side * channels..(y + 1) * side * channels];
    let mut data = Vec::with_capacity(field.data.len());
    let mut between = vec![0.0; side * channels];
    for (above, below, down) in &places {
        for ((value, above), below) in between.iter_mut().zip(row(*above)).zip(row(*below)) {
            *value = above + (below - above) * down;
        }
        for (left, right, on) in &places {
            for c in 0..channels {
                let (left, right) = (between[left * channels + c], between[right * channels + c]);
                data.push(left + (right - left) * on);
            }
        }
    }
    Field { width: side, height: side, channels, data }
}
