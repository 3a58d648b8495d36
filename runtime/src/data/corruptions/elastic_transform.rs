//! `elastic_transform`: an image on rubber, pulled at three points and then everywhere.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Severity;
use super::field::{Border, Field};
use super::gaussian::gaussian;
use crate::data::Pixels;

/// How far pixels move, the deviation of the blur that makes neighbours move together, and how far the three points are
/// pulled; in pixels, of a side that make_imagenet_c.py takes for 244 where it is 224.
const PULLS: [(f32, f64, f64); 5] = [
    (244.0 * 2.0, 244.0 * 0.7, 244.0 * 0.1),
    (244.0 * 2.0, 244.0 * 0.08, 244.0 * 0.2),
    (244.0 * 0.05, 244.0 * 0.01, 244.0 * 0.02),
    (244.0 * 0.07, 244.0 * 0.01, 244.0 * 0.02),
    (244.0 * 0.12, 244.0 * 0.01, 244.0 * 0.02),
];

pub(super) fn elastic_transform(image: &Pixels, severity: Severity, rng: &mut ChaCha8Rng) -> Pixels {
    let corners = std::array::from_fn(|_| [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)]);
    let mut noise = || Field::layer(image.width, image.height, |_| rng.random_range(-1.0..1.0));
    let (right, down) = (noise(), noise());
    pulled(image, severity, corners, [right, down])
}

/// The same with numbers from -1 to 1: `[x, y]` for each of the three points, and for every pixel its move to the right
/// and down.
pub(super) fn pulled(image: &Pixels, severity: Severity, corners: [[f64; 2]; 3], noise: [Field; 2]) -> Pixels {
    let (move_by, together, pull) = severity.of(PULLS);
    let field = Field::of(image);
    let turned = pull_corners(&field, corners.map(|corner| corner.map(|number| number * pull)));
    let [right, down] = noise.map(|noise| gaussian(&noise, together, 3.0, Border::Mirror).map(|by| by * move_by));
    let mut out = field;
    for (i, pixel) in out.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let x = (i % image.width) as f64 + f64::from(right.data[i]);
        let y = (i / image.width) as f64 + f64::from(down.data[i]);
        *pixel = std::array::from_fn(|c| turned.between(x, y, c, Border::Mirror));
    }
    out.into_pixels()
}

/// The image under the affine map that moves three corners of a square around its middle by `by`: OpenCV's `warpAffine`.
fn pull_corners(field: &Field, by: [[f64; 2]; 3]) -> Field {
    let middle = [(field.height / 2) as f64, (field.width / 2) as f64];
    let reach = (field.width.min(field.height) / 3) as f64;
    let [a, b] = middle;
    let before = [[a + reach, b + reach], [a + reach, b - reach], [a - reach, b - reach]];
    let after: [[f64; 2]; 3] = std::array::from_fn(|i| [before[i][0] + by[i][0], before[i][1] + by[i][1]]);
    // Where a pixel of the result comes from: what takes `after` to `before`. With u and v the sides of the triangle at
    // its middle corner, a point is that corner plus s·u plus t·v.
    let side = |points: &[[f64; 2]; 3], to: usize| [points[to][0] - points[1][0], points[to][1] - points[1][1]];
    let (u, v) = (side(&after, 0), side(&after, 2));
    let (from_u, from_v) = (side(&before, 0), side(&before, 2));
    let area = u[0] * v[1] - u[1] * v[0];
    // Corners that are pulled onto one line leave no map; then nothing is pulled.
    if area.abs() < 1e-9 {
        return field.clone();
    }
    let mut out = field.clone();
    for (i, pixel) in out.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let at = [(i % field.width) as f64 - after[1][0], (i / field.width) as f64 - after[1][1]];
        let s = (at[0] * v[1] - at[1] * v[0]) / area;
        let t = (u[0] * at[1] - u[1] * at[0]) / area;
        let x = before[1][0] + s * from_u[0] + t * from_v[0];
        let y = before[1][1] + s * from_u[1] + t * from_v[1];
        *pixel = std::array::from_fn(|c| field.between(x, y, c, Border::MirrorInside));
    }
    out
}
