//! An image moved, sheared or turned, sampled as Pillow's `Image.transform(…, AFFINE, …, BICUBIC)` samples.
//!
//! For each pixel of the result the middle of the pixel is led to a place in the source. Outside the source the result has
//! the fill colour. Inside, 4 × 4 pixels are weighed by Keys' kernel with a = -1 (resizing has a = -0.5), those over the edge
//! standing for the nearest one that is there, and the sum is cut to a whole number, not rounded.

use crate::data::Pixels;

/// The place in the source of a place (x, y) in the result: (`a`·x + `b`·y + `c`, `d`·x + `e`·y + `f`), in pixels, with
/// the middle of the first pixel at (0.5, 0.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub a: f64,
    pub b: f64,
    pub c: f64,
    pub d: f64,
    pub e: f64,
    pub f: f64,
}

impl Affine {
    const IDENTITY: Self = Self { a: 1.0, b: 0.0, c: 0.0, d: 0.0, e: 1.0, f: 0.0 };

    /// Row y comes from `share` · y further right.
    pub fn shear_x(share: f64) -> Self {
        Self { b: share, ..Self::IDENTITY }
    }

    /// Column x comes from `share` · x further down.
    pub fn shear_y(share: f64) -> Self {
        Self { d: share, ..Self::IDENTITY }
    }

    /// Every pixel comes from `pixels` further right.
    pub fn translate_x(pixels: f64) -> Self {
        Self { c: pixels, ..Self::IDENTITY }
    }

    /// Every pixel comes from `pixels` further down.
    pub fn translate_y(pixels: f64) -> Self {
        Self { f: pixels, ..Self::IDENTITY }
    }

    /// Turned by `degrees` against the clock around the middle of an image of `width` × `height`.
    pub fn rotate(degrees: f64, width: usize, height: usize) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
        Self { a: cos, b: -sin, c: x - cos * x + sin * y, d: sin, e: cos, f: y - sin * x - cos * y }
    }

    /// `image` seen through this.
    pub fn apply(&self, image: &Pixels, fill: [u8; 3]) -> Pixels {
        let mut out =
            Pixels { width: image.width, height: image.height, data: fill.repeat(image.width * image.height) };
        if (self.a, self.d, self.e) == (1.0, 0.0, 1.0) && self.f == 0.0 {
            self.along_rows(image, &mut out);
        } else if (self.a, self.b, self.c, self.e) == (1.0, 0.0, 0.0, 1.0) {
            self.along_columns(image, &mut out);
        } else {
            self.anywhere(image, &mut out);
        }
        out
    }

    /// Rows that move sideways: one set of weights for each row.
    fn along_rows(&self, image: &Pixels, out: &mut Pixels) {
        let (width, bytes) = (image.width, image.width * 3);
        // A row with its first and last pixel three more times on each side.
        let mut padded = vec![0_u8; bytes + 18];
        for (y, (source, target)) in image.data.chunks_exact(bytes).zip(out.data.chunks_exact_mut(bytes)).enumerate() {
            let shift = self.b * (y as f64 + 0.5) + self.c;
            let (first, last) = inside(shift, width);
            if first >= last {
                continue;
            }
            let whole = shift.floor();
            let weights = keys((shift - whole) as f32);
            padded[9..9 + bytes].copy_from_slice(source);
            for side in 0..3 {
                padded.copy_within(9..12, side * 3);
                padded.copy_within(6 + bytes..9 + bytes, 9 + bytes + side * 3);
            }
            // Column x begins to read one pixel before x + `whole`, which lies at least one pixel before the image.
            let begin = ((first as isize + whole as isize + 2) * 3) as usize;
            let length = (last - first) * 3;
            let taps: [&[u8]; 4] = std::array::from_fn(|tap| &padded[begin + tap * 3..][..length]);
            weigh(taps, weights, &mut target[first * 3..last * 3]);
        }
    }

    /// Columns that move up or down: one set of weights for each column.
    fn along_columns(&self, image: &Pixels, out: &mut Pixels) {
        let (height, bytes) = (image.height, image.width * 3);
        if self.d == 0.0 {
            // All by as much: rows are weighed as a whole.
            let (first, last) = inside(self.f, height);
            let weights = keys((self.f - self.f.floor()) as f32);
            for y in first..last {
                let begin = y as isize + self.f.floor() as isize - 1;
                let taps: [&[u8]; 4] = std::array::from_fn(|tap| {
                    let row = (begin + tap as isize).clamp(0, height as isize - 1) as usize;
                    &image.data[row * bytes..][..bytes]
                });
                weigh(taps, weights, &mut out.data[y * bytes..][..bytes]);
            }
            return;
        }
        let columns: Vec<(isize, usize, usize, [f32; 4])> = (0..image.width)
            .map(|x| {
                let shift = self.d * (x as f64 + 0.5) + self.f;
                let (first, last) = inside(shift, height);
                (shift.floor() as isize - 1, first, last, keys((shift - shift.floor()) as f32))
            })
            .collect();
        for (y, target) in out.data.chunks_exact_mut(bytes).enumerate() {
            for (x, (pixel, (begin, first, last, weights))) in
                target.as_chunks_mut::<3>().0.iter_mut().zip(&columns).enumerate()
            {
                if !(*first..*last).contains(&y) {
                    continue;
                }
                let mut sum = [0.0_f32; 3];
                for (tap, weight) in weights.iter().enumerate() {
                    let row = (y as isize + begin + tap as isize).clamp(0, height as isize - 1) as usize;
                    let colour = &image.data[row * bytes + x * 3..][..3];
                    for (sum, level) in sum.iter_mut().zip(colour) {
                        *sum += weight * f32::from(*level);
                    }
                }
                *pixel = sum.map(cut);
            }
        }
    }

    fn anywhere(&self, image: &Pixels, out: &mut Pixels) {
        let (width, height) = (image.width as isize, image.height as isize);
        // Four bytes a pixel, and two more pixels on each side, so that four neighbours are sixteen bytes in a row.
        let stride = image.width + 4;
        let mut padded = Vec::with_capacity(stride * image.height);
        for row in image.data.chunks_exact(image.width * 3) {
            let pixels = row.as_chunks::<3>().0;
            let four = |[r, g, b]: [u8; 3]| [r, g, b, 0];
            // A row has at least one pixel.
            let (first, last) = (four(pixels[0]), four(pixels[pixels.len() - 1]));
            padded.extend([first; 2]);
            padded.extend(pixels.iter().map(|pixel| four(*pixel)));
            padded.extend([last; 2]);
        }
        for (y, row) in out.data.chunks_exact_mut(image.width * 3).enumerate() {
            for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
                let (x, y) = (self.a * x + self.b * y + self.c, self.d * x + self.e * y + self.f);
                if !(x >= 0.0 && x < width as f64 && y >= 0.0 && y < height as f64) {
                    continue;
                }
                let (x, y) = (x - 0.5, y - 0.5);
                let (left, top) = (x.floor(), y.floor());
                let (across, down) = (keys((x - left) as f32), keys((y - top) as f32));
                // `left` is -1 at least, and the padded row begins two pixels before the image: the tap before it is there.
                let column = (left as isize + 1) as usize;
                let mut sum = [0.0_f32; 4];
                for (tap, down) in down.iter().enumerate() {
                    let source = (top as isize - 1 + tap as isize).clamp(0, height - 1) as usize;
                    let four = &padded[source * stride + column..][..4];
                    for (across, colour) in across.iter().zip(four) {
                        for (sum, level) in sum.iter_mut().zip(colour) {
                            *sum += across * down * f32::from(*level);
                        }
                    }
                }
                *pixel = [cut(sum[0]), cut(sum[1]), cut(sum[2])];
            }
        }
    }
}

/// The pixels of a side of `length` whose middle, moved by `shift`, is still on it: from the first to before the last.
fn inside(shift: f64, length: usize) -> (usize, usize) {
    let end = length as f64;
    let first = (-0.5 - shift).ceil().clamp(0.0, end);
    let last = (end - 0.5 - shift).ceil().clamp(0.0, end);
    (first as usize, last as usize)
}

/// The weights of four pixels in a row for a place that lies `d` after the second.
fn keys(d: f32) -> [f32; 4] {
    let (square, cube) = (d * d, d * d * d);
    [-d + 2.0 * square - cube, 1.0 - 2.0 * square + cube, d + square - cube, cube - square]
}

/// Each byte of `out` is the weighted sum of the bytes of `taps`.
fn weigh(taps: [&[u8]; 4], weights: [f32; 4], out: &mut [u8]) {
    let [first, second, third, fourth] = taps;
    let taps = first.iter().zip(second).zip(third.iter().zip(fourth));
    for (out, ((a, b), (c, d))) in out.iter_mut().zip(taps) {
        let sum = weights[0] * f32::from(*a)
            + weights[1] * f32::from(*b)
            + weights[2] * f32::from(*c)
            + weights[3] * f32::from(*d);
        *out = cut(sum);
    }
}

/// Cut to 0 to 255, and to a whole number. What single precision leaves just below one counts as that number.
fn cut(sum: f32) -> u8 {
    (sum + 1e-3) as u8
}
