//! The shapes, each by its signed distance: how far a point is from the edge, negative inside. Shapes are upright, about
//! as wide and high as the circle of radius 1 around the origin; `v` grows downwards.

/// A class of drawn images.
pub(super) struct Shape {
    /// The class's name.
    pub name: &'static str,
    /// The signed distance at `(u, v)`; near the edge exact or nearly so.
    pub distance: fn(f32, f32) -> f32,
}

/// The classes in the order in which they are used: the first `n` of them.
pub(super) const SHAPES: [Shape; 16] = [
    Shape { name: "circle", distance: |u, v| u.hypot(v) - 0.9 },
    Shape { name: "square", distance: |u, v| rectangle(u, v, 0.78, 0.78) },
    Shape { name: "triangle", distance: |u, v| polygon(u, v, &[(0.0, -0.98), (0.95, 0.75), (-0.95, 0.75)]) },
    Shape { name: "cross", distance: |u, v| rectangle(u, v, 0.95, 0.29).min(rectangle(u, v, 0.29, 0.95)) },
    Shape { name: "ring", distance: |u, v| (u.hypot(v) - 0.7).abs() - 0.24 },
    Shape { name: "stripes", distance: |u, v| stripes(v).max(rectangle(u, v, 0.88, 0.88)) },
    Shape { name: "checker", distance: checker },
    Shape { name: "star", distance: star },
    Shape { name: "crescent", distance: |u, v| (u.hypot(v) - 0.95).max(0.82 - (u - 0.45).hypot(v)) },
    Shape { name: "heart", distance: heart },
    Shape { name: "arrow", distance: |u, v| polygon(u, v, &ARROW) },
    Shape { name: "ell", distance: |u, v| polygon(u, v, &ELL) },
    Shape { name: "frame", distance: |u, v| rectangle(u, v, 0.62, 0.62).abs() - 0.2 },
    Shape { name: "hourglass", distance: |u, v| polygon(u, v, &HOURGLASS) },
    Shape { name: "dots", distance: dots },
    Shape { name: "bar", distance: |u, v| rectangle(u, v, 0.98, 0.22) },
];

const ARROW: [(f32, f32); 7] =
    [(0.0, -1.0), (0.85, -0.1), (0.32, -0.1), (0.32, 0.95), (-0.32, 0.95), (-0.32, -0.1), (-0.85, -0.1)];
const ELL: [(f32, f32); 6] = [(-0.75, -0.95), (-0.2, -0.95), (-0.2, 0.4), (0.8, 0.4), (0.8, 0.95), (-0.75, 0.95)];
const HOURGLASS: [(f32, f32); 6] = [(-0.8, -0.95), (0.8, -0.95), (0.12, 0.0), (0.8, 0.95), (-0.8, 0.95), (-0.12, 0.0)];

fn rectangle(u: f32, v: f32, half_width: f32, half_height: f32) -> f32 {
    let (x, y) = (u.abs() - half_width, v.abs() - half_height);
    x.max(0.0).hypot(y.max(0.0)) + x.max(y).min(0.0)
}

fn polygon(u: f32, v: f32, corners: &[(f32, f32)]) -> f32 {
    let mut nearest = f32::INFINITY;
    let mut inside = false;
    let mut from = corners[corners.len() - 1];
    for &to in corners {
        let (ex, ey) = (to.0 - from.0, to.1 - from.1);
        let (px, py) = (u - from.0, v - from.1);
        let along = ((px * ex + py * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0);
        nearest = nearest.min((px - ex * along).hypot(py - ey * along));
        if (from.1 > v) != (to.1 > v) && px < ex * py / ey {
            inside = !inside;
        }
        from = to;
    }
    if inside { -nearest } else { nearest }
}

/// Four bars, as high as the gaps between them.
fn stripes(v: f32) -> f32 {
    const PERIOD: f32 = 0.5;
    let in_period = (v + 0.88).rem_euclid(PERIOD);
    (in_period - PERIOD / 4.0).abs() - PERIOD / 4.0
}

/// Every other field of a board of four by four.
fn checker(u: f32, v: f32) -> f32 {
    const HALF: f32 = 0.225;
    let middle = |i: i32| (2 * i - 3) as f32 * HALF;
    let filled = (0..16).filter(|i| (i / 4 + i % 4) % 2 == 0);
    filled.map(|i| rectangle(u - middle(i % 4), v - middle(i / 4), HALF, HALF)).fold(f32::INFINITY, f32::min)
}

/// Five points.
fn star(u: f32, v: f32) -> f32 {
    let corners: [(f32, f32); 10] = std::array::from_fn(|i| {
        let (sin, cos) = (i as f32 * std::f32::consts::PI / 5.0).sin_cos();
        let radius = if i % 2 == 0 { 1.0 } else { 0.42 };
        (radius * sin, -radius * cos)
    });
    polygon(u, v, &corners)
}

/// Two circles over a square that stands on its corner.
fn heart(u: f32, v: f32) -> f32 {
    let (x, y) = (u.abs(), v + 0.05);
    const SIDE: f32 = 0.5;
    let lobe = (x - SIDE * 0.9).hypot(y + SIDE * 0.65) - 0.52;
    let body = polygon(x, y, &[(0.0, -0.55), (0.86, -0.05), (0.0, 0.98), (-0.86, -0.05)]);
    lobe.min(body)
}

/// Four discs.
fn dots(u: f32, v: f32) -> f32 {
    (u.abs() - 0.52).hypot(v.abs() - 0.52) - 0.34
}
