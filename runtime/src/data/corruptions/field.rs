//! Numbers over an image, between its bytes and its bytes again.

use crate::data::Pixels;

/// `[height, width, channels]` numbers, row by row from the top left. Images have three channels and levels from 0 to 1;
/// layers of snow and displacements have one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub data: Vec<f32>,
}

/// What stands where an image has no pixel any more, written as the row `abcd` goes on to its right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    /// `abcd|dddd`: scipy's `nearest`, ImageMagick's edge.
    Edge,
    /// `abcd|dcba`: scipy's `reflect`.
    Mirror,
    /// `abcd|cbab`: OpenCV's `REFLECT_101`.
    MirrorInside,
}

impl Border {
    /// Which of `length` places stands at `index`.
    pub fn place(self, index: isize, length: usize) -> usize {
        let n = length as isize;
        if (0..n).contains(&index) {
            return index as usize;
        }
        let place = match self {
            Self::Edge => index.clamp(0, n - 1),
            Self::Mirror => {
                let turned = index.rem_euclid(2 * n);
                turned.min(2 * n - 1 - turned)
            }
            Self::MirrorInside if n == 1 => 0,
            Self::MirrorInside => {
                let turned = index.rem_euclid(2 * n - 2);
                turned.min(2 * n - 2 - turned)
            }
        };
        place as usize
    }
}

impl Field {
    /// The levels of an image, 0 to 1.
    pub fn of(image: &Pixels) -> Self {
        let data = image.data.iter().map(|level| f32::from(*level) / 255.0).collect();
        Self { width: image.width, height: image.height, channels: 3, data }
    }

    /// One channel, `value(i)` at place `i` of the row-major order.
    pub fn layer(width: usize, height: usize, value: impl FnMut(usize) -> f32) -> Self {
        Self { width, height, channels: 1, data: (0..width * height).map(value).collect() }
    }

    /// A field of the same shape with every number changed.
    pub fn map(mut self, change: impl Fn(f32) -> f32) -> Self {
        for value in &mut self.data {
            *value = change(*value);
        }
        self
    }

    /// Levels from 0 to 1 as bytes, cut to that range and then rounded down, as numpy's `uint8` does it.
    pub fn into_pixels(self) -> Pixels {
        let data = self.data.iter().map(|level| (level.clamp(0.0, 1.0) * 255.0) as u8).collect();
        Pixels { width: self.width, height: self.height, data }
    }

    /// The same with `sides` columns on the left and right and `ends` rows above and below.
    pub fn pad(&self, sides: usize, ends: usize, border: Border) -> Self {
        let (width, height) = (self.width + 2 * sides, self.height + 2 * ends);
        let channels = self.channels;
        let mut data = Vec::with_capacity(width * height * channels);
        for y in 0..height {
            let row = border.place(y as isize - ends as isize, self.height) * self.width;
            let pixel = |x: isize| {
                let start = (row + border.place(x, self.width)) * channels;
                &self.data[start..start + channels]
            };
            for x in 0..sides {
                data.extend_from_slice(pixel(x as isize - sides as isize));
            }
            data.extend_from_slice(&self.data[row * channels..(row + self.width) * channels]);
            for x in 0..sides {
                data.extend_from_slice(pixel((self.width + x) as isize));
            }
        }
        Self { width, height, channels, data }
    }

    /// The number of channel `c` at column `x`, row `y`, both from 0 and between pixels by the four around it.
    pub fn between(&self, x: f64, y: f64, c: usize, border: Border) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (dx, dy) = ((x - left) as f32, (y - top) as f32);
        let at = |x: f64, y: f64| {
            let (x, y) = (border.place(x as isize, self.width), border.place(y as isize, self.height));
            self.data[(y * self.width + x) * self.channels + c]
        };
        let upper = at(left, top) * (1.0 - dx) + at(left + 1.0, top) * dx;
        let lower = at(left, top + 1.0) * (1.0 - dx) + at(left + 1.0, top + 1.0) * dx;
        upper * (1.0 - dy) + lower * dy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_go_on_as_their_libraries_have_them() {
        let row = |border: Border| -> Vec<usize> { (-5..8).map(|index| border.place(index, 3)).collect() };
        assert_eq!(row(Border::Edge), [0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2]);
        // numpy.pad(…, mode="symmetric") and mode="reflect" of 0, 1, 2.
        assert_eq!(row(Border::Mirror), [1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]);
        assert_eq!(row(Border::MirrorInside), [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]);
        assert_eq!(Border::MirrorInside.place(-3, 1), 0);
    }

    #[test]
    fn every_level_comes_back() {
        let image = Pixels::from_fn(256, 1, |x, _| [x as u8; 3]);
        assert_eq!(Field::of(&image).into_pixels(), image);
    }
}
