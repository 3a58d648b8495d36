//! A decoded image in memory.

use image::{ExtendedColorType, ImageEncoder};

/// An RGB image of 8 bits a channel: `data` is `[height, width, 3]`, row by row from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Columns, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// `height * width * 3` bytes.
    pub data: Vec<u8>,
}

impl Pixels {
    /// A black image.
    pub fn black(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![0; width * height * 3] }
    }

    /// An image whose pixel at column `x`, row `y` is `colour(x, y)`.
    pub fn from_fn(width: usize, height: usize, mut colour: impl FnMut(usize, usize) -> [u8; 3]) -> Self {
        let mut data = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                data.extend_from_slice(&colour(x, y));
            }
        }
        Self { width, height, data }
    }

    /// The image as a PNG file.
    pub fn png(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        encoder
            .write_image(&self.data, self.width as u32, self.height as u32, ExtendedColorType::Rgb8)
            .expect("the buffer has the image's size, and memory does not refuse to be written");
        bytes
    }

    /// The red, green and blue at column `x`, row `y`.
    ///
    /// # Panics
    /// Outside the image.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        assert!(x < self.width && y < self.height, "({x}, {y}) is outside {}×{}", self.width, self.height);
        let start = (y * self.width + x) * 3;
        [self.data[start], self.data[start + 1], self.data[start + 2]]
    }

    /// The window of `width` × `height` whose top left corner lies at column `left`, row `top`. What lies outside the
    /// image is black, as in Pillow's `Image.crop`.
    pub fn window(&self, left: isize, top: isize, width: usize, height: usize) -> Self {
        let mut out = Self::black(width, height);
        let first = left.max(0);
        let last = (left + width as isize).min(self.width as isize);
        if first >= last {
            return out;
        }
        let bytes = (last - first) as usize * 3;
        let shift = (first - left) as usize * 3;
        for row in 0..height {
            let y = top + row as isize;
            if y < 0 || y >= self.height as isize {
                continue;
            }
            let from = (y as usize * self.width + first as usize) * 3;
            let to = row * width * 3 + shift;
            out.data[to..to + bytes].copy_from_slice(&self.data[from..from + bytes]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_over_the_edge_is_black_outside() {
        let image = Pixels::from_fn(3, 2, |x, y| [x as u8 + 1, y as u8 + 1, 9]);
        let window = image.window(-1, 1, 3, 2);
        assert_eq!(window.at(0, 0), [0, 0, 0]);
        assert_eq!(window.at(1, 0), [1, 2, 9]);
        assert_eq!(window.at(2, 0), [2, 2, 9]);
        assert_eq!(window.at(1, 1), [0, 0, 0]);
        assert_eq!(image.window(5, 5, 2, 2), Pixels::black(2, 2));
        assert_eq!(image.window(0, 0, 3, 2), image);
    }
}
