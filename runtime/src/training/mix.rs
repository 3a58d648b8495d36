//! Mixup and cutmix over a batch, with the soft targets that belong to them (paper.md §3.2, §3.3).

use rand::Rng;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// How a batch is mixed with itself in reverse: timm's `Mixup(mode="batch", prob=1.0, correct_lam=True)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mix {
    /// Every image is blended with its partner.
    Mixup {
        /// λ ~ Beta(alpha, alpha); 0.8 in the paper (paper.md §3.3).
        alpha: f64,
    },
    /// A box of every image is replaced by the same box of its partner.
    Cutmix {
        /// λ ~ Beta(alpha, alpha); 1.0 in the paper (paper.md §3.3).
        alpha: f64,
    },
    /// One of the two, drawn for each batch.
    Either {
        /// `alpha` of mixup.
        mixup: f64,
        /// `alpha` of cutmix.
        cutmix: f64,
        /// Probability of cutmix; 0.5 in the paper (paper.md §3.3).
        switch: f64,
    },
}

/// A box of an image, in pixels: rows `top..bottom` and columns `left..right`. It may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutBox {
    /// First row.
    pub top: usize,
    /// Row after the last.
    pub bottom: usize,
    /// First column.
    pub left: usize,
    /// Column after the last.
    pub right: usize,
}

/// What is done to one batch: drawn once, then applied to its images and its labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixing {
    /// Share of the image itself, 0 to 1; the partner has the rest. With a box it is the share of the area outside.
    pub lambda: f64,
    /// The box that comes from the partner; none for mixup.
    pub cut: Option<CutBox>,
}

impl Mix {
    /// The paper's mix: mixup 0.8 or cutmix 1.0, evenly (paper.md §3.3 and §5.3).
    pub fn paper() -> Self {
        Self::Either { mixup: 0.8, cutmix: 1.0, switch: 0.5 }
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// An alpha that is not above 0, a probability outside 0 to 1.
    pub fn check(&self) -> Result<()> {
        let (alphas, switch) = match *self {
            Self::Mixup { alpha } => ([("mixup", alpha), ("mixup", alpha)], 0.0),
            Self::Cutmix { alpha } => ([("cutmix", alpha), ("cutmix", alpha)], 0.0),
            Self::Either { mixup, cutmix, switch } => ([("mixup", mixup), ("cutmix", cutmix)], switch),
        };
        for (name, alpha) in alphas {
            if !(alpha.is_finite() && alpha > 0.0) {
                return Err(Failure::new(format!("the alpha of {name} is {alpha}, expected a finite number above 0"))
                    .help(format!("leave {name} out to train without it")));
            }
        }
        if !(0.0..=1.0).contains(&switch) {
            return Err(Failure::new(format!(
                "the probability of cutmix instead of mixup is {switch}, expected 0 to 1"
            )));
        }
        Ok(())
    }

    /// Draws what happens to a batch of images of `height` × `width` pixels.
    ///
    /// From the generator come, in this order: which of the two (only for `Either`), λ, and for cutmix the row and the
    /// column of the box's centre.
    ///
    /// # Errors
    /// As [`Mix::check`].
    pub fn draw(&self, height: usize, width: usize, rng: &mut impl Rng) -> Result<Mixing> {
        self.check()?;
        let (cutmix, alpha) = match *self {
            Self::Mixup { alpha } => (false, alpha),
            Self::Cutmix { alpha } => (true, alpha),
            Self::Either { mixup, cutmix, switch } => {
                if rng.random::<f64>() < switch {
                    (true, cutmix)
                } else {
                    (false, mixup)
                }
            }
        };
        let beta = Beta::new(alpha, alpha)
            .map_err(|error| Failure::new(format!("no Beta({alpha}, {alpha}) distribution: {error}")))?;
        let lambda = beta.sample(rng).clamp(0.0, 1.0);
        if !cutmix || height == 0 || width == 0 {
            return Ok(Mixing { lambda, cut: None });
        }
        let centre = (rng.random_range(0..height), rng.random_range(0..width));
        let cut = CutBox::around(centre, lambda, height, width);
        Ok(Mixing { lambda: 1.0 - cut.area() as f64 / (height * width) as f64, cut: Some(cut) })
    }
}

impl Mix {
    /// Mixes a batch in `groups`, to which the samples are dealt in turn, and each of which is drawn for by itself: the
    /// reference trains on four devices, of which each mixes what it has (paper.md §3.3). `images` are
    /// [batch, planes, height, width] as `shape` says; gives the soft targets [batch, classes].
    ///
    /// # Errors
    /// As [`Mix::draw`], [`Mixing::apply`] and [`Mixing::targets`].
    pub fn in_groups(
        &self,
        groups: usize,
        (images, shape): (&mut [f32], [usize; 4]),
        (labels, classes): (&[usize], usize),
        rng: &mut impl Rng,
    ) -> Result<Vec<f32>> {
        let [batch, planes, height, width] = shape;
        let groups = groups.clamp(1, batch.max(1));
        if groups == 1 {
            let mixing = self.draw(height, width, rng)?;
            mixing.apply(images, shape)?;
            return mixing.targets(labels, classes, 0.0);
        }
        let size = planes * height * width;
        let mut targets = vec![0.0; batch * classes];
        let mut dealt = Vec::with_capacity(batch.div_ceil(groups) * size);
        for group in 0..groups {
            let members = || (group..batch).step_by(groups);
            dealt.clear();
            members().for_each(|sample| dealt.extend_from_slice(&images[sample * size..(sample + 1) * size]));
            let mixing = self.draw(height, width, rng)?;
            mixing.apply(&mut dealt, [members().count(), planes, height, width])?;
            let own: Vec<usize> = members().map(|sample| labels[sample]).collect();
            let mixed = mixing.targets(&own, classes, 0.0)?;
            for (index, sample) in members().enumerate() {
                images[sample * size..(sample + 1) * size].copy_from_slice(&dealt[index * size..(index + 1) * size]);
                targets[sample * classes..(sample + 1) * classes]
                    .copy_from_slice(&mixed[index * classes..(index + 1) * classes]);
            }
        }
        Ok(targets)
    }
}

impl CutBox {
    /// The box of timm 0.4.12 (paper.md §0.3): sides of √(1 − λ) of the image's, rounded down to an even number, around
    /// `centre` (row, column), clipped to the image. Newer versions keep odd sides.
    pub fn around(centre: (usize, usize), lambda: f64, height: usize, width: usize) -> Self {
        let ratio = (1.0 - lambda).sqrt();
        let span = |centre: usize, side: usize| {
            let half = (side as f64 * ratio) as usize / 2;
            (centre.saturating_sub(half), (centre + half).min(side))
        };
        let (top, bottom) = span(centre.0, height);
        let (left, right) = span(centre.1, width);
        Self { top, bottom, left, right }
    }

    /// Pixels inside.
    pub fn area(&self) -> usize {
        (self.bottom - self.top) * (self.right - self.left)
    }
}

impl Mixing {
    /// Mixes the images in place. `shape` is [batch, planes, height, width]: 3 planes for an image, 3 × frames for a
    /// clip, whose frames all get the same box (paper.md §5.3).
    ///
    /// The partner of image i is image batch − 1 − i. Of an odd batch the middle image is its own partner and stays as
    /// it is (timm's arithmetic; timm itself refuses odd batches).
    ///
    /// # Errors
    /// Images that do not have that shape, and a box outside it.
    pub fn apply(&self, images: &mut [f32], shape: [usize; 4]) -> Result<()> {
        let [batch, planes, height, width] = shape;
        let size = planes * height * width;
        if images.len() != batch * size {
            return Err(Failure::new(format!(
                "{} values of images to mix, expected [{batch}, {planes}, {height}, {width}] = {}",
                images.len(),
                batch * size
            )));
        }
        if let Some(cut) = self.cut.filter(|cut| cut.bottom > height || cut.right > width) {
            return Err(Failure::new(format!(
                "the box to mix ends at row {}, column {}, expected at most {height}, {width}",
                cut.bottom, cut.right
            ))
            .help("draw the mix with the height and width of the images"));
        }
        for low in 0..batch / 2 {
            let high = batch - 1 - low;
            let (head, tail) = images.split_at_mut(high * size);
            let (one, other) = (&mut head[low * size..(low + 1) * size], &mut tail[..size]);
            match self.cut {
                Some(cut) => swap_box(one, other, cut, height, width),
                None => blend(one, other, self.lambda),
            }
        }
        Ok(())
    }

    /// The soft targets of the batch, [batch, classes]: λ·t(y) + (1 − λ)·t(y of the reversed batch), where t is
    /// [`one_hot_smoothed`] (paper.md §3.2).
    ///
    /// # Errors
    /// As [`one_hot_smoothed`].
    pub fn targets(&self, labels: &[usize], classes: usize, smoothing: f64) -> Result<Vec<f32>> {
        let plain = one_hot_smoothed(labels, classes, smoothing)?;
        let (own, partner) = (self.lambda as f32, (1.0 - self.lambda) as f32);
        let reversed = plain.chunks_exact(classes).rev().flatten();
        Ok(plain.iter().zip(reversed).map(|(one, other)| one * own + other * partner).collect())
    }
}

fn swap_box(one: &mut [f32], other: &mut [f32], cut: CutBox, height: usize, width: usize) {
    for (one, other) in one.chunks_exact_mut(height * width).zip(other.chunks_exact_mut(height * width)) {
        for row in cut.top..cut.bottom {
            let pixels = row * width + cut.left..row * width + cut.right;
            one[pixels.clone()].swap_with_slice(&mut other[pixels]);
        }
    }
}

fn blend(one: &mut [f32], other: &mut [f32], lambda: f64) {
    // 1 − λ is taken in f64 and then rounded, as Python does.
    let (own, partner) = (lambda as f32, (1.0 - lambda) as f32);
    for (one, other) in one.iter_mut().zip(other) {
        (*one, *other) = (*one * own + *other * partner, *other * own + *one * partner);
    }
}

/// Label smoothing s over K classes: s/K for every class and 1 − s more for the label's, [batch, classes]. The same as
/// PyTorch's `label_smoothing`; s is 0.1 in the paper (paper.md §3.2).
///
/// # Errors
/// A label that is no class, a smoothing outside 0 to 1.
pub fn one_hot_smoothed(labels: &[usize], classes: usize, smoothing: f64) -> Result<Vec<f32>> {
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Failure::new(format!("the label smoothing is {smoothing}, expected 0 to 1")));
    }
    if let Some(label) = labels.iter().find(|&&label| label >= classes) {
        return Err(Failure::new(format!("label {label} in a dataset of {classes} classes"))
            .note("labels count from 0")
            .help("check the dataset's list of classes"));
    }
    let off = smoothing / classes as f64;
    let on = 1.0 - smoothing + off;
    let mut targets = vec![off as f32; labels.len() * classes];
    for (row, &label) in targets.chunks_exact_mut(classes.max(1)).zip(labels) {
        row[label] = on as f32;
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::Rng;

    use super::*;
    use crate::training::seeds::Seeds;

    #[track_caller]
    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} {expected}");
        }
    }

    /// timm 1.0.31: `mixup_target(tensor([0, 2, 1, 2]), 5, lam=0.7, smoothing=0.1)`.
    #[test]
    fn targets_are_timm_s() {
        let mixing = Mixing { lambda: 0.7, cut: None };
        #[rustfmt::skip]
        let expected = [
            0.65, 0.02, 0.29000002, 0.02, 0.02,
            0.02, 0.29000002, 0.65, 0.02, 0.02,
            0.02, 0.65, 0.29000002, 0.02, 0.02,
            0.29000002, 0.02, 0.65, 0.02, 0.02,
        ];
        close(&mixing.targets(&[0, 2, 1, 2], 5, 0.1).expect("labels below 5"), &expected);
    }

    /// torch 2.15: `cross_entropy(logits, [2, 0], label_smoothing=0.1)` of [[0.5, -1, 2], [0.1, 0.2, 0.3]] is
    /// 0.7916271090507507.
    #[test]
    fn smoothed_targets_are_pytorch_s_label_smoothing() {
        let targets = one_hot_smoothed(&[2, 0], 3, 0.1).expect("labels below 3");
        close(&targets, &[0.033_333_335, 0.033_333_335, 0.933_333_34, 0.933_333_34, 0.033_333_335, 0.033_333_335]);
        let logits = [[0.5_f64, -1.0, 2.0], [0.1, 0.2, 0.3]];
        let mut loss = 0.0;
        for (row, targets) in logits.iter().zip(targets.chunks(3)) {
            let log_sum = row.iter().map(|x| x.exp()).sum::<f64>().ln();
            loss -= row.iter().zip(targets).map(|(x, &t)| f64::from(t) * (x - log_sum)).sum::<f64>() / 2.0;
        }
        assert!((loss - 0.791_627_109).abs() < 1e-6, "{loss}");
        assert_eq!(one_hot_smoothed(&[1], 2, 0.0).expect("below 2"), [0.0, 1.0]);
    }

    /// timm's `_mix_batch` in torch 2.15: `x = arange(48).reshape(4, 3, 2, 2) / 10`, λ = 0.7.
    #[test]
    fn mixup_blends_with_the_reversed_batch() {
        let mut images: Vec<f32> = (0..48).map(|i| i as f32 / 10.0).collect();
        Mixing { lambda: 0.7, cut: None }.apply(&mut images, [4, 3, 2, 2]).expect("48 values");
        close(&images[..3], &[1.08, 1.18, 1.28]);
        close(&images[12..15], &[1.56, 1.66, 1.76]);
        close(&images[36..38], &[2.52, 2.62]);
        close(&images[45..], &[3.42, 3.52, 3.62]);
    }

    /// timm 0.4.12: `cutmix_bbox_and_lam((1, 3, h, w), lam)` with `np.random.randint` giving the centre (cy, cx).
    #[test]
    fn boxes_are_timm_s() {
        for ((height, width, lambda, centre), (top, bottom, left, right), corrected) in [
            ((224, 224, 0.7, (112, 112)), (51, 173, 51, 173), 0.7033641581632653),
            ((224, 224, 0.3, (0, 223)), (0, 93, 130, 224), 0.8257732780612245),
            ((7, 5, 0.5, (3, 0)), (1, 5, 0, 1), 0.8857142857142857),
            ((4, 4, 0.999, (2, 2)), (2, 2, 2, 2), 1.0),
            ((4, 4, 0.0, (0, 0)), (0, 2, 0, 2), 0.75),
            ((224, 224, 0.9123, (200, 17)), (167, 224, 0, 50), 0.9431999362244898),
        ] {
            let cut = CutBox::around(centre, lambda, height, width);
            assert_eq!(cut, CutBox { top, bottom, left, right });
            assert!((1.0 - cut.area() as f64 / (height * width) as f64 - corrected).abs() < 1e-15);
        }
    }

    #[test]
    fn cutmix_swaps_the_box_in_every_plane() {
        // One digit for the image, one for the plane, one for the row, one for the column.
        let value = |image, plane, row, column| (image * 1000 + plane * 100 + row * 10 + column) as f32;
        let shape = [2, 2, 3, 4];
        let mut images = Vec::new();
        for (image, plane, row) in (0..12).map(|i| (i / 6, i / 3 % 2, i % 3)) {
            images.extend((0..4).map(|column| value(image, plane, row, column)));
        }
        let cut = CutBox { top: 1, bottom: 3, left: 0, right: 2 };
        Mixing { lambda: 2.0 / 3.0, cut: Some(cut) }.apply(&mut images, shape).expect("48 values");
        for (index, found) in images.into_iter().enumerate() {
            let (image, plane, row, column) = (index / 24, index / 12 % 2, index / 4 % 3, index % 4);
            let from = if row >= 1 && column < 2 { 1 - image } else { image };
            assert_eq!(found, value(from, plane, row, column));
        }
    }

    #[test]
    fn the_middle_of_an_odd_batch_is_its_own_partner() {
        let mut images = vec![1.0, 2.0, 4.0];
        let mixing = Mixing { lambda: 0.25, cut: None };
        mixing.apply(&mut images, [3, 1, 1, 1]).expect("3 values");
        assert_eq!(images, [3.25, 2.0, 1.75]);
        let targets = mixing.targets(&[0, 1, 2], 3, 0.0).expect("labels below 3");
        assert_eq!(targets, [0.25, 0.0, 0.75, 0.0, 1.0, 0.0, 0.75, 0.0, 0.25]);
    }

    #[test]
    fn the_share_of_cutmix_and_the_mean_of_lambda_are_as_asked() {
        let mut rng = Seeds::new(7).stream("test", 0, 0);
        let mix = Mix::Either { mixup: 0.8, cutmix: 1.0, switch: 0.25 };
        let drawn: Vec<Mixing> = (0..20_000).map(|_| mix.draw(32, 32, &mut rng).expect("fine numbers")).collect();
        let cut = drawn.iter().filter(|mixing| mixing.cut.is_some()).count() as f64 / 2e4;
        assert!((cut - 0.25).abs() < 0.015, "{cut}");
        let blended: Vec<f64> =
            drawn.iter().filter(|mixing| mixing.cut.is_none()).map(|mixing| mixing.lambda).collect();
        let mean = blended.iter().sum::<f64>() / blended.len() as f64;
        let variance = blended.iter().map(|lambda| (lambda - mean).powi(2)).sum::<f64>() / blended.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        // Beta(a, a) has variance 1 / (4(2a + 1)): 1/10.4 for a = 0.8.
        assert!((variance - 1.0 / 10.4).abs() < 0.003, "{variance}");
    }

    #[test]
    fn what_does_not_fit_is_a_failure() {
        let draw = |mix: Mix| mix.draw(8, 8, &mut Seeds::new(0).stream("test", 0, 0));
        assert_eq!(
            draw(Mix::Mixup { alpha: 0.0 }).expect_err("alpha 0").to_string(),
            "the alpha of mixup is 0, expected a finite number above 0\nhelp: leave mixup out to train without it"
        );
        assert!(draw(Mix::Cutmix { alpha: f64::INFINITY }).is_err());
        assert!(draw(Mix::Either { mixup: 1.0, cutmix: 1.0, switch: -0.5 }).is_err());
        let mixing = Mixing { lambda: 0.5, cut: None };
        let failure = mixing.apply(&mut [0.0; 5], [2, 1, 1, 3]).expect_err("5 is not 6");
        assert_eq!(failure.to_string(), "5 values of images to mix, expected [2, 1, 1, 3] = 6");
        let outside = Mixing { lambda: 0.5, cut: Some(CutBox { top: 0, bottom: 3, left: 0, right: 1 }) };
        assert!(outside.apply(&mut [0.0; 8], [2, 1, 2, 2]).is_err());
        assert!(mixing.targets(&[3], 3, 0.1).is_err());
        assert!(one_hot_smoothed(&[0], 3, 1.5).is_err());
    }

    #[test]
    fn groups_are_dealt_in_turn_and_mixed_by_themselves() {
        // Image i is filled with i; with two groups 0, 2, 4 and 1, 3 are each mixed with their own reverse.
        let mut images: Vec<f32> = (0..5).flat_map(|image| [image as f32; 12]).collect();
        let mut rng = Seeds::new(3).stream("test", 0, 0);
        let mix = Mix::Mixup { alpha: 0.8 };
        let targets = mix.in_groups(2, (&mut images, [5, 3, 2, 2]), (&[0, 1, 2, 3, 4], 5), &mut rng).expect("mixed");
        let mut again = Seeds::new(3).stream("test", 0, 0);
        let [even, odd] = [(); 2].map(|()| mix.draw(2, 2, &mut again).expect("drawn").lambda as f32);
        assert!(even != odd, "each group has its own share");
        let value = |image: usize| images[image * 12];
        for (image, own, partner, lambda) in [(0, 0.0, 4.0, even), (2, 2.0, 2.0, even), (1, 1.0, 3.0, odd)] {
            assert!((value(image) - (own * lambda + partner * (1.0 - lambda))).abs() < 1e-6, "image {image}");
        }
        assert!((targets[5 + 1] - odd).abs() < 1e-6 && (targets[5 + 3] - (1.0 - odd)).abs() < 1e-6);
        assert!((targets[4] - (1.0 - even)).abs() < 1e-6);
        assert!(targets.chunks_exact(5).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6));
    }

    proptest! {
        #[test]
        fn boxes_lie_within_the_image(
            seed: u64, alpha in 0.05_f64..5.0, height in 1_usize..70, width in 1_usize..70,
        ) {
            let mut rng = Seeds::new(seed).stream("test", 0, 0);
            let mixing = Mix::Cutmix { alpha }.draw(height, width, &mut rng).expect("alpha above 0");
            let cut = mixing.cut.expect("cutmix has a box");
            prop_assert!(cut.top <= cut.bottom && cut.bottom <= height);
            prop_assert!(cut.left <= cut.right && cut.right <= width);
            prop_assert!((0.0..=1.0).contains(&mixing.lambda));
        }

        #[test]
        fn targets_sum_to_1_and_images_keep_their_sum(
            seed: u64, smoothing in 0.0_f64..=1.0, classes in 1_usize..40, batch in 0_usize..9,
        ) {
            let mut rng = Seeds::new(seed).stream("test", 0, 0);
            let mixing = Mix::paper().draw(4, 4, &mut rng).expect("the paper's numbers");
            let labels: Vec<usize> = (0..batch).map(|_| rng.random_range(0..classes)).collect();
            for row in mixing.targets(&labels, classes, smoothing).expect("labels below classes").chunks(classes) {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                prop_assert!(row.iter().all(|&share| share >= 0.0));
            }
            let mut images: Vec<f32> = (0..batch * 48).map(|_| rng.random()).collect();
            let before: f32 = images.iter().sum();
            mixing.apply(&mut images, [batch, 3, 4, 4]).expect("batch × 48 values");
            prop_assert!((images.iter().sum::<f32>() - before).abs() < 1e-2);
        }
    }
}
