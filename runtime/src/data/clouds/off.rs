//! Meshes in OFF files, and points on their surface.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A surface of triangles.
#[derive(Debug, PartialEq)]
pub struct Mesh {
    /// The corners' places.
    pub vertices: Vec<[f32; 3]>,
    /// Three corners each, by their numbers.
    pub triangles: Vec<[usize; 3]>,
}

impl Mesh {
    /// The mesh of an OFF file. Faces of more than three corners are cut into triangles that share their first corner.
    /// Some of ModelNet's files have their counts in the line of the word `OFF`.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence about the file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']);
        let rest = text.strip_prefix("OFF").ok_or("does not begin with `OFF`")?;
        let words = rest.lines().map(|line| line.split('#').next().unwrap_or_default());
        let mut words = words.flat_map(str::split_ascii_whitespace);
        let mut number = |what: &str| words.next().ok_or(format!("ends where {what} should be"));
        let mut count = |what: &str| {
            let word = number(what)?;
            word.parse::<usize>().map_err(|_| format!("has `{}` where {what} should be", word.escape_debug()))
        };
        let (corners, faces, _) =
            (count("the number of corners")?, count("the number of faces")?, count("the number of edges")?);
        // Each takes at least two bytes of text a number, so that a number too large cannot take memory.
        if corners.saturating_mul(6) > text.len() || faces.saturating_mul(4) > text.len() {
            return Err(format!("is too short for {corners} corners and {faces} faces"));
        }
        let mut vertices = Vec::with_capacity(corners);
        for index in 0..corners {
            let mut coordinate = || {
                let word = number("a corner")?;
                let found = word.parse::<f32>().ok().filter(|x| x.is_finite());
                found.ok_or(format!("has `{}` where corner {index} should be", word.escape_debug()))
            };
            vertices.push([coordinate()?, coordinate()?, coordinate()?]);
        }
        let mut triangles = Vec::with_capacity(faces);
        for index in 0..faces {
            let mut corner = |what: &str| {
                let word = number(what)?;
                let found = word.parse::<usize>().ok();
                found.ok_or(format!("has `{}` where face {index} should be", word.escape_debug()))
            };
            let around = corner("a face")?;
            if around > corners {
                return Err(format!("has a face of {around} corners, and {corners} in all"));
            }
            let corners_of = (0..around).map(|_| corner("a face")).collect::<Result<Vec<usize>, String>>()?;
            if let Some(beyond) = corners_of.iter().find(|corner| **corner >= corners) {
                return Err(format!("has a face with corner {beyond}, and the last is {}", corners.saturating_sub(1)));
            }
            triangles.extend(corners_of.windows(2).skip(1).map(|pair| [corners_of[0], pair[0], pair[1]]));
        }
        Ok(Self { vertices, triangles })
    }

    /// `count` points `[count, 3]` on the surface, each part of it as likely as its area; none where there is no area.
    pub fn sample(&self, count: usize, random: &mut ChaCha8Rng) -> Option<Vec<f32>> {
        let corners = |triangle: &[usize; 3]| triangle.map(|corner| self.vertices[corner].map(f64::from));
        let mut whole = 0.0;
        let up_to: Vec<f64> = self
            .triangles
            .iter()
            .map(|triangle| {
                whole += area(corners(triangle));
                whole
            })
            .collect();
        if !(whole > 0.0 && whole.is_finite()) {
            return None;
        }
        let mut points = Vec::with_capacity(3 * count);
        for _ in 0..count {
            let at = random.random::<f64>() * whole;
            // Below a sum that is the whole, so there is one; the last one has rounding's share.
            let triangle = up_to.partition_point(|sum| *sum <= at).min(up_to.len() - 1);
            let [a, b, c] = corners(&self.triangles[triangle]);
            // Even over the triangle: the half of a parallelogram folded onto the other one.
            let (mut u, mut v) = (random.random::<f64>(), random.random::<f64>());
            if u + v > 1.0 {
                (u, v) = (1.0 - u, 1.0 - v);
            }
            points.extend((0..3).map(|axis| (a[axis] + u * (b[axis] - a[axis]) + v * (c[axis] - a[axis])) as f32));
        }
        Some(points)
    }
}

/// The area of a triangle.
fn area([a, b, c]: [[f64; 3]; 3]) -> f64 {
    let side = |to: [f64; 3]| [to[0] - a[0], to[1] - a[1], to[2] - a[2]];
    let ([x, y, z], [u, v, w]) = (side(b), side(c));
    let cross = [y * w - z * v, z * u - x * w, x * v - y * u];
    0.5 * cross.iter().map(|x| x * x).sum::<f64>().sqrt()
}
