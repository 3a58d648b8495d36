//! Words in pictures, by the bitmap font of `embedded-graphics` for western letters; others stand as a question mark.

use std::convert::Infallible;

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_7X13;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{DrawTarget, Drawable, OriginDimensions, Pixel, Point, RgbColor, Size};
use embedded_graphics::text::{Baseline, Text};
use lmv_runtime::data::Pixels;

/// The width of a letter, and the height of a line, in pixels.
pub const LETTER: usize = 7;
pub const LINE: usize = 13;

/// Writes a line; what does not fit on the sheet is left out, and all of it where its corner does not lie there.
pub fn write(sheet: &mut Pixels, left: usize, top: usize, text: &str, [r, g, b]: [u8; 3]) {
    if left >= sheet.width || top >= sheet.height {
        return;
    }
    let style = MonoTextStyle::new(&FONT_7X13, Rgb888::new(r, g, b));
    let at = Point::new(i32::try_from(left).unwrap_or(i32::MAX), i32::try_from(top).unwrap_or(i32::MAX));
    // Nothing here can fail.
    let _ = Text::with_baseline(text, at, style, Baseline::Top).draw(&mut Sheet(sheet));
}

/// A text that is `room` pixels wide at most: of a longer one its end, which tells a layer from its neighbours.
pub fn shortened(text: &str, room: usize) -> String {
    let (count, fits) = (text.chars().count(), room / LETTER);
    match count <= fits {
        true => text.to_owned(),
        false => "..".chars().chain(text.chars().skip(count + 2 - fits.max(2))).collect(),
    }
}

struct Sheet<'p>(&'p mut Pixels);

impl OriginDimensions for Sheet<'_> {
    fn size(&self) -> Size {
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        Size::new(side(self.0.width), side(self.0.height))
    }
}

impl DrawTarget for Sheet<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { continue };
            if x < self.0.width && y < self.0.height {
                let at = 3 * (y * self.0.width + x);
                self.0.data[at..at + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_lies_where_it_was_put_and_nothing_leaves_the_sheet() {
        let mut sheet = Pixels::from_fn(40, 30, |_, _| [255; 3]);
        write(&mut sheet, 10, 8, "Hi", [0; 3]);
        let inked: Vec<(usize, usize)> =
            (0..40).flat_map(|x| (0..30).map(move |y| (x, y))).filter(|&(x, y)| sheet.at(x, y) == [0; 3]).collect();
        assert!(inked.len() > 15, "{inked:?}");
        assert!(
            inked.iter().all(|&(x, y)| (10..10 + 2 * LETTER).contains(&x) && (8..8 + LINE).contains(&y)),
            "{inked:?}"
        );
        write(&mut sheet, 36, 25, "beyond every edge \u{4e2d}", [0; 3]);
        write(&mut sheet, usize::MAX, 4, "far away", [0; 3]);
    }

    #[test]
    fn a_long_text_keeps_its_end() {
        assert_eq!(shortened("groups", 6 * LETTER), "groups");
        // Ten letters: two dots, and the last eight.
        assert_eq!(shortened("llama_dim_mapper2", 10 * LETTER + 3), ".._mapper2");
    }
}
