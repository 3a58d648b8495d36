//! A cloud as a picture.

use super::super::Pixels;

/// A pleasant view: turned about the axis that points up, and seen a little from above. Radians.
const TURN: f32 = 0.7;
const TILT: f32 = 0.42;

/// How a cloud is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The side of the picture in pixels.
    pub side: usize,
    /// The radius of a point in pixels.
    pub radius: f32,
    /// What is behind the points.
    pub background: [u8; 3],
}

/// Draws a cloud `[N, 3]` on a square, y pointing up, near points over far ones; `colour` says what a point is drawn in,
/// none for not at all. What is far is drawn a little towards the background.
pub fn draw(points: &[f32], view: View, colour: impl Fn(usize) -> Option<[u8; 3]>) -> Pixels {
    let View { side, radius, background } = view;
    let mut pixels = Pixels::from_fn(side, side, |_, _| background);
    let mut seen: Vec<([f32; 3], usize)> = points.chunks_exact(3).map(turned).zip(0..).collect();
    let span = |axis: usize| {
        let of = seen.iter().map(|(point, _)| point[axis]);
        of.fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), x| (least.min(x), most.max(x)))
    };
    let spans = [span(0), span(1), span(2)];
    let extent = spans[..2].iter().map(|(least, most)| most - least).fold(f32::MIN_POSITIVE, f32::max);
    let scale = (side as f32 - 4.0 * radius).max(1.0) / extent;
    let middle = spans.map(|(least, most)| 0.5 * (least + most));
    let depth = (spans[2].1 - spans[2].0).max(f32::MIN_POSITIVE);
    seen.sort_by(|a, b| a.0[2].total_cmp(&b.0[2]));
    for (point, index) in seen {
        let Some(colour) = colour(index) else { continue };
        let far = 0.45 * (spans[2].1 - point[2]) / depth;
        let shade = |channel: usize| {
            (f32::from(colour[channel]) * (1.0 - far) + f32::from(background[channel]) * far).round() as u8
        };
        let x = side as f32 / 2.0 + (point[0] - middle[0]) * scale;
        let y = side as f32 / 2.0 - (point[1] - middle[1]) * scale;
        disc(&mut pixels, (x, y), radius, [shade(0), shade(1), shade(2)]);
    }
    pixels
}

/// A point as the eye has it: to the right, up, towards the eye.
fn turned(point: &[f32]) -> [f32; 3] {
    let [x, y, z] = [point[0], point[1], point[2]];
    let (across, ahead) = (x * TURN.cos() - z * TURN.sin(), x * TURN.sin() + z * TURN.cos());
    [across, y * TILT.cos() - ahead * TILT.sin(), y * TILT.sin() + ahead * TILT.cos()]
}

fn disc(pixels: &mut Pixels, (x, y): (f32, f32), radius: f32, colour: [u8; 3]) {
    let (width, height) = (pixels.width as isize, pixels.height as isize);
    let around =
        |at: f32, most: isize| ((at - radius).floor() as isize).max(0)..=((at + radius).ceil() as isize).min(most - 1);
    for row in around(y, height) {
        for column in around(x, width) {
            let (dx, dy) = (column as f32 + 0.5 - x, row as f32 + 0.5 - y);
            if dx * dx + dy * dy <= radius * radius {
                let at = 3 * (row * width + column) as usize;
                pixels.data[at..at + 3].copy_from_slice(&colour);
            }
        }
    }
}
