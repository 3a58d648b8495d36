//! `imagenet_c`, `imagenet_c_mce` and `top1_on`: top-1 on folders of images that are not the evaluation split.

use std::path::{Path, PathBuf};

/// The corruptions of ImageNet-C, in the order of their names, with AlexNet's error on each over the five severities, as a
/// share (paper.md §3.4).
pub const CORRUPTIONS: [(&str, f64); 15] = [
    ("brightness", 0.564592),
    ("contrast", 0.853204),
    ("defocus_blur", 0.819880),
    ("elastic_transform", 0.646056),
    ("fog", 0.819324),
    ("frost", 0.826572),
    ("gaussian_noise", 0.886428),
    ("glass_blur", 0.826268),
    ("impulse_noise", 0.922640),
    ("jpeg_compression", 0.606500),
    ("motion_blur", 0.785948),
    ("pixelate", 0.717840),
    ("shot_noise", 0.894468),
    ("snow", 0.866816),
    ("zoom_blur", 0.798360),
];

/// How strong a corruption can be: 1 to 5.
pub const SEVERITIES: usize = 5;

/// Images beside the data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// Where they are.
    pub root: PathBuf,
    /// The part of it: `fog/3`, or nothing for the whole.
    pub split: String,
    /// Whether they have the size that the model takes already, or one to be cropped in the middle: without the recipe's
    /// `eval_augment`.
    pub cropped: bool,
    /// Whether only classes that have a folder there can be given.
    pub masked: bool,
}

/// A metric that is measured by top-1 on folders.
pub trait OnFolders: Sync {
    /// The folders, in the order that [`OnFolders::value`] takes their top-1 in.
    fn folders(&self, root: &Path) -> Vec<Folder>;
    /// What it comes to, in percent, of the top-1 on each folder, in percent; and its parts by name.
    fn value(&self, top1: &[f64]) -> (f64, Vec<(String, f64)>);
}

/// The 75 parts of ImageNet-C. Its images are 224 pixels high and wide, and are not resized (paper.md §3.4).
fn parts_of_imagenet_c(root: &Path) -> Vec<Folder> {
    let part = |(corruption, severity)| Folder {
        root: root.to_path_buf(),
        split: format!("{corruption}/{severity}"),
        cropped: true,
        masked: false,
    };
    parts().map(part).collect()
}

/// Each corruption with each severity.
fn parts() -> impl Iterator<Item = (&'static str, usize)> {
    CORRUPTIONS.iter().flat_map(|(name, _)| (1..=SEVERITIES).map(move |severity| (*name, severity)))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// For each corruption `of` its top-1 over the severities and AlexNet's error.
fn by_corruption(top1: &[f64], of: impl Fn(f64, f64) -> f64) -> Vec<(String, f64)> {
    let means = top1.chunks(SEVERITIES).map(mean);
    CORRUPTIONS.iter().zip(means).map(|((name, alexnet), mean)| ((*name).to_owned(), of(mean, *alexnet))).collect()
}

fn mean_of(parts: &[(String, f64)]) -> f64 {
    mean(&parts.iter().map(|(_, value)| *value).collect::<Vec<_>>())
}

/// The mean top-1 over corruptions and severities: the paper's column.
pub struct MeanTop1;

impl OnFolders for MeanTop1 {
    fn folders(&self, root: &Path) -> Vec<Folder> {
        parts_of_imagenet_c(root)
    }

    fn value(&self, top1: &[f64]) -> (f64, Vec<(String, f64)>) {
        let mut found = by_corruption(top1, |top1, _| top1);
        let value = mean_of(&found);
        found.extend(parts().zip(top1).map(|((name, severity), top1)| (format!("{name}/{severity}"), *top1)));
        (value, found)
    }
}

/// The mean corruption error: of each corruption the error over its severities in percent of AlexNet's.
pub struct MeanCorruptionError;

impl OnFolders for MeanCorruptionError {
    fn folders(&self, root: &Path) -> Vec<Folder> {
        parts_of_imagenet_c(root)
    }

    fn value(&self, top1: &[f64]) -> (f64, Vec<(String, f64)>) {
        let found = by_corruption(top1, |top1, alexnet| (100.0 - top1) / alexnet);
        (mean_of(&found), found)
    }
}

/// Top-1 on one folder, of the classes that it has.
pub struct Top1On;

impl OnFolders for Top1On {
    fn folders(&self, root: &Path) -> Vec<Folder> {
        vec![Folder { root: root.to_path_buf(), split: String::new(), cropped: false, masked: true }]
    }

    fn value(&self, top1: &[f64]) -> (f64, Vec<(String, f64)>) {
        (mean(top1), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fifteen_by_five() {
        let folders = MeanTop1.folders(Path::new("c"));
        assert_eq!(folders.len(), 75);
        assert_eq!((folders[0].split.as_str(), folders[74].split.as_str()), ("brightness/1", "zoom_blur/5"));
        assert_eq!(folders, MeanCorruptionError.folders(Path::new("c")), "one run over them serves both");
        assert!(CORRUPTIONS.is_sorted_by_key(|(name, _)| *name));
    }

    /// Fog is right for 10, 20, 30, 40 and 50 %, everything else never: the mean is 30 / 15 = 2. Fog's error is 70 %, its
    /// CE 70 / 0.819324 = 85.4363; of all others it is 100 / AlexNet's error. The sum of the reciprocals of the other
    /// fourteen errors, reckoned by hand from paper.md §3.4, is 18.181254.
    #[test]
    fn the_mean_and_the_corruption_error_are_the_paper_s() {
        let mut top1 = vec![0.0; 75];
        top1[20..25].copy_from_slice(&[10.0, 20.0, 30.0, 40.0, 50.0]);
        let (mean, parts) = MeanTop1.value(&top1);
        assert!((mean - 2.0).abs() < 1e-12, "{mean}");
        assert_eq!(parts.len(), 15 + 75);
        assert_eq!(parts[4], ("fog".to_owned(), 30.0));
        assert!(parts.contains(&("fog/4".to_owned(), 40.0)));
        let (mce, parts) = MeanCorruptionError.value(&top1);
        assert!((parts[4].1 - 85.4363).abs() < 1e-3, "{:?}", parts[4]);
        assert!((mce - (1818.1254 + 85.4363) / 15.0).abs() < 1e-3, "{mce}");
        // AlexNet itself has 100 by definition.
        let alexnet: Vec<f64> = CORRUPTIONS.iter().flat_map(|(_, error)| [100.0 * (1.0 - error); 5]).collect();
        assert!((MeanCorruptionError.value(&alexnet).0 - 100.0).abs() < 1e-9);
    }
}
