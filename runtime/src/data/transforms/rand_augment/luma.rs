//! How bright a pixel is.

/// Pillow's `convert("L")`: ITU-R 601-2's weights in sixteenths of a bit, rounded.
pub(super) fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
    ((sum + 0x8000) >> 16) as u8
}
