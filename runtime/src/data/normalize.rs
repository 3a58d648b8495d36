//! From 8-bit pixels to the numbers a model takes.

use super::Pixels;

/// The mean of ImageNet's red, green and blue in `[0, 1]` (paper.md §3.3).
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their standard deviation (paper.md §3.3).
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// `(x / 255 - mean) / std` for each channel, in `f32`.
#[derive(Clone, Debug)]
pub struct Normalize {
    /// The result for every value of every channel: there are only 768, and a look-up gives torchvision's bits.
    table: Box<[[f32; 256]; 3]>,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Normalize {
    /// With the given `mean` and `std` of red, green and blue in `[0, 1]`.
    pub fn new(mean: [f32; 3], std: [f32; 3]) -> Self {
        let mut table = Box::new([[0.0; 256]; 3]);
        for (channel, values) in table.iter_mut().enumerate() {
            for (level, value) in values.iter_mut().enumerate() {
                *value = (level as f32 / 255.0 - mean[channel]) / std[channel];
            }
        }
        Self { table, mean, std }
    }

    /// Planes `[.., 3, height, width]` of `plane` = height × width numbers each, from 0 to 1, as the numbers a model takes.
    pub fn forward(&self, pixels: &[f32], plane: usize) -> Vec<f32> {
        self.each(pixels, plane, |x, mean, std| (x - mean) / std)
    }

    /// The way back from [`Normalize::forward`].
    pub fn backward(&self, numbers: &[f32], plane: usize) -> Vec<f32> {
        self.each(numbers, plane, |x, mean, std| x * std + mean)
    }

    fn each(&self, numbers: &[f32], plane: usize, of: impl Fn(f32, f32, f32) -> f32) -> Vec<f32> {
        let channels = (0..3).cycle().zip(numbers.chunks(plane.max(1)));
        channels
            .flat_map(|(c, plane)| plane.iter().map(|x| of(*x, self.mean[c], self.std[c])).collect::<Vec<_>>())
            .collect()
    }

    /// The planes `[3, height, width]` of `image`, appended to `out`.
    pub fn append(&self, image: &Pixels, out: &mut Vec<f32>) {
        for (channel, table) in self.table.iter().enumerate() {
            out.extend(image.data.chunks_exact(3).map(|pixel| table[usize::from(pixel[channel])]));
        }
    }

    /// The planes `[3, height, width]` of `image`.
    pub fn apply(&self, image: &Pixels) -> Vec<f32> {
        let mut out = Vec::with_capacity(image.data.len());
        self.append(image, &mut out);
        out
    }
}

impl Default for Normalize {
    /// With ImageNet's mean and deviation.
    fn default() -> Self {
        Self::new(IMAGENET_MEAN, IMAGENET_STD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_come_one_after_the_other() {
        let image = Pixels { width: 2, height: 1, data: vec![0, 10, 20, 255, 30, 40] };
        let planes = Normalize::new([0.0; 3], [1.0; 3]).apply(&image);
        assert_eq!(planes, [0.0, 1.0, 10.0 / 255.0, 30.0 / 255.0, 20.0 / 255.0, 40.0 / 255.0]);
    }

    #[test]
    fn the_way_back_leads_to_the_pixels() {
        let normalize = Normalize::default();
        let image = Pixels { width: 2, height: 1, data: vec![0, 10, 20, 255, 30, 40] };
        let pixels = [0.0, 1.0, 10.0 / 255.0, 30.0 / 255.0, 20.0 / 255.0, 40.0 / 255.0];
        let numbers = normalize.forward(&pixels, 2);
        assert_eq!(numbers, normalize.apply(&image));
        let back = normalize.backward(&numbers, 2);
        assert!(back.iter().zip(pixels).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{back:?}");
    }

    #[test]
    fn imagenets_numbers_are_the_default() {
        // torchvision: ToTensor, Normalize of a pixel (255, 128, 0).
        let planes = Normalize::default().apply(&Pixels { width: 1, height: 1, data: vec![255, 128, 0] });
        for (ours, torch) in planes.iter().zip([2.248_908_3_f32, 0.205_182_1, -1.804_444_4]) {
            assert!((ours - torch).abs() < 1e-6, "{ours} {torch}");
        }
    }
}
