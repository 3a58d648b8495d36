use std::fs;
use std::path::Path;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::*;
use crate::data::transforms::{RandomCrop, RandomErasing, RandomResizedCrop, Resize, imagenet_train};
use crate::data::{SynthImages, order, synth_images};

fn drawn(folder: &Path) -> Arc<ImageSet> {
    let dir = folder.join("shapes");
    synth_images(&dir, SynthImages { classes: 4, train_per_class: 8, val_per_class: 1, size: 16, seed: 1 })
        .expect("drawn");
    Arc::new(ImageSet::open(&dir, "train").expect("a set"))
}

fn pipeline() -> Arc<Pipeline> {
    Arc::new(Pipeline {
        transforms: imagenet_train(12),
        after: vec![Box::new(RandomErasing { p: 0.5 })],
        ..Pipeline::default()
    })
}

fn options() -> LoaderOptions {
    LoaderOptions { batch: 5, seed: 3, epoch: 2, threads: 3, ..LoaderOptions::default() }
}

fn all(set: &Arc<ImageSet>, options: LoaderOptions) -> Vec<Batch> {
    let order = order::shuffled(set.len(), 3, 2);
    let damage = Arc::new(Damage::new());
    let loader = Loader::new(Arc::clone(set), order, pipeline(), damage, options).expect("a loader");
    loader.map(|batch| batch.expect("a batch")).collect()
}

#[test]
fn batches_are_the_same_on_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    let one = all(&set, LoaderOptions { threads: 1, ..options() });
    assert_eq!(one.len(), 7);
    assert_eq!(one.iter().map(Batch::len).collect::<Vec<_>>(), [5, 5, 5, 5, 5, 5, 2]);
    assert_eq!((one[0].size, one[0].images.len()), ((12, 12), 5 * 3 * 144));
    let seen: Vec<usize> = one.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(seen, order::shuffled(set.len(), 3, 2));
    for batch in &one {
        for (index, label) in batch.indices.iter().zip(&batch.labels) {
            assert_eq!(set.label(*index) as i64, *label);
        }
    }
    for threads in [0, 2, 7, 64] {
        assert!(all(&set, LoaderOptions { threads, ..options() }) == one, "{threads} threads");
    }
    // Another epoch draws other crops.
    assert!(all(&set, LoaderOptions { epoch: 3, ..options() }) != one);
    assert!(all(&set, LoaderOptions { purpose: "val".into(), ..options() }) != one);
}

#[test]
fn skipping_gives_what_running_on_would_have() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    let whole = all(&set, options());
    for skip in [1, 3, 6, 7, 100] {
        let rest = all(&set, LoaderOptions { skip_batches: skip, ..options() });
        assert!(rest == whole[skip.min(7)..], "skip {skip}");
    }
    assert!(all(&set, LoaderOptions { drop_last: true, ..options() }) == whole[..6]);
    assert!(all(&set, LoaderOptions { drop_last: true, batch: 33, ..options() }).is_empty());
}

/// A crop that wants whole images.
#[derive(Debug)]
struct OfTheWhole(RandomResizedCrop);

impl Transform for OfTheWhole {
    fn apply(&self, image: Pixels, rng: &mut ChaCha8Rng) -> Pixels {
        self.0.apply(image, rng)
    }
}

#[test]
fn what_is_not_decoded_below_a_crop_is_not_missed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut written = 0_usize;
    for (width, height) in [(40_u16, 90_u16), (33, 71), (120, 50), (64, 128)] {
        for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2] {
            let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 9) as u8;
            let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height) * 3).map(noise).collect();
            let class = folder.path().join(["a", "b"][written % 2]);
            fs::create_dir_all(&class).expect("a folder");
            let mut encoder = Encoder::new_file(class.join(format!("{written}.jpg")), 90).expect("a file");
            encoder.set_sampling_factor(sampling);
            encoder.encode(&pixels, width, height, ColorType::Rgb).expect("it is encoded");
            written += 1;
        }
    }
    let set = Arc::new(ImageSet::open(folder.path(), "").expect("a set"));
    let order: Vec<usize> = (0..400).map(|i| i % set.len()).collect();
    let batches = |crop: Box<dyn Transform>| -> Vec<Batch> {
        let pipeline = Pipeline { transforms: vec![crop], after: Vec::new(), ..Pipeline::default() };
        let damage = Arc::new(Damage::new());
        let loader = Loader::new(Arc::clone(&set), order.clone(), Arc::new(pipeline), damage, options());
        loader.expect("a loader").map(|batch| batch.expect("a batch")).collect()
    };
    let crop = RandomResizedCrop::new(12);
    assert!(batches(Box::new(crop.clone())) == batches(Box::new(OfTheWhole(crop))));
}

#[test]
fn a_damaged_file_is_replaced_and_told_of_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    let order = order::shuffled(set.len(), 3, 2);
    fs::write(set.place(order[1]), "no image").expect("written");
    fs::remove_file(set.place(order[31])).expect("removed");
    let mut runs = Vec::new();
    for threads in [1, 4] {
        let damage = Arc::new(Damage::new());
        let options = LoaderOptions { threads, ..options() };
        let loader = Loader::new(Arc::clone(&set), order.clone(), pipeline(), Arc::clone(&damage), options);
        let batches: Vec<Batch> = loader.expect("a loader").map(|batch| batch.expect("a batch")).collect();
        assert_eq!(damage.count(), 2);
        let untold = damage.untold();
        assert_eq!(untold.len(), 2);
        let text: String = untold.iter().map(ToString::to_string).collect();
        assert!(text.contains("it begins with \"no image\"") && text.contains(set.name(order[31])), "{text}");
        assert!(damage.untold().is_empty());
        runs.push(batches);
    }
    assert!(runs[0] == runs[1]);
    assert_eq!(runs[0][0].indices[1], order[2]);
    assert_eq!(runs[0][6].indices[1], order[0]);
}

#[test]
fn a_damaged_file_is_left_out_where_no_sample_may_count_twice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    let order = order::sequential(set.len());
    // One in the first batch, all of the second, and the last of the last.
    for i in [2, 5, 6, 7, 8, 9, 31] {
        fs::write(set.place(i), "no image").expect("written");
    }
    let good: Vec<usize> = order.iter().copied().filter(|i| ![2, 5, 6, 7, 8, 9, 31].contains(i)).collect();
    let damage = Arc::new(Damage::new());
    // The second time the damage is known already.
    for threads in [1, 4] {
        let options = LoaderOptions { threads, damaged: Damaged::LeftOut, ..options() };
        let loader = Loader::new(Arc::clone(&set), order.clone(), pipeline(), Arc::clone(&damage), options);
        let batches: Vec<Batch> = loader.expect("a loader").map(|batch| batch.expect("a batch")).collect();
        assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [4, 5, 5, 5, 5, 1]);
        let seen: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
        assert_eq!(seen, good);
        assert!(batches.iter().all(|batch| batch.images.len() == batch.len() * 3 * 144));
    }
    assert_eq!(damage.count(), 7);
}

#[test]
fn a_set_without_one_good_file_fails() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    for i in 0..set.len() {
        fs::write(set.place(i), "").expect("written");
    }
    for damaged in [Damaged::Replaced, Damaged::LeftOut] {
        let damage = Arc::new(Damage::new());
        let (order, options) = (order::sequential(set.len()), LoaderOptions { damaged, ..options() });
        let mut loader = Loader::new(Arc::clone(&set), order, pipeline(), damage, options).expect("a loader");
        let failure = loader.next().expect("an item").expect_err("all are damaged");
        assert!(failure.what.contains("none of the 32 images"), "{failure}");
        assert!(failure.notes[0].contains("is empty (0 bytes)"), "{failure}");
        assert!(loader.next().is_none());
    }
}

#[test]
fn dropping_stops_the_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    for taken in 0..4 {
        let damage = Arc::new(Damage::new());
        let order: Vec<usize> = (0..100_000).map(|i| i % set.len()).collect();
        let mut loader = Loader::new(Arc::clone(&set), order, pipeline(), damage, options()).expect("a loader");
        for _ in 0..taken {
            loader.next().expect("an item").expect("a batch");
        }
        drop(loader);
        // Each thread held the set.
        assert_eq!(Arc::strong_count(&set), 1);
    }
}

#[test]
fn images_of_several_sizes_make_no_batch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    image::RgbImage::new(20, 10).save_with_format(set.place(1), image::ImageFormat::Png).expect("written");
    let pipeline = Arc::new(Pipeline { transforms: vec![Box::new(Resize::new(10))], ..Pipeline::default() });
    let damage = Arc::new(Damage::new());
    let order = order::sequential(set.len());
    let mut loader = Loader::new(Arc::clone(&set), order, pipeline, damage, options()).expect("a loader");
    let failure = loader.next().expect("an item").expect_err("two sizes");
    assert!(failure.what.contains("20 × 10 pixels and another one of its batch 10 × 10"), "{failure}");
    assert_eq!(failure.path, Some(set.place(1)));
}

/// A step with a fault in it.
#[derive(Debug)]
struct Broken;

impl Transform for Broken {
    fn apply(&self, image: Pixels, _: &mut rand_chacha::ChaCha8Rng) -> Pixels {
        assert!(image.width > 1000, "broken on purpose");
        image
    }
}

#[test]
fn a_fault_in_a_transform_is_a_failure_and_no_hang() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    let pipeline = Arc::new(Pipeline { transforms: vec![Box::new(Broken)], ..Pipeline::default() });
    let order = order::sequential(set.len());
    let mut loader = Loader::new(set, order, pipeline, Arc::default(), options()).expect("a loader");
    let failure = loader.next().expect("an item").expect_err("it panics");
    assert!(failure.what.contains("broke down"), "{failure}");
}

#[test]
fn senseless_options_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = drawn(folder.path());
    let new = |order, batch| {
        let pipeline = Arc::new(Pipeline { transforms: vec![Box::new(RandomCrop::new(8, 0))], ..Pipeline::default() });
        Loader::new(Arc::clone(&set), order, pipeline, Arc::default(), LoaderOptions { batch, ..options() })
    };
    assert!(new(vec![0], 0).expect_err("no batch").what.contains("at least 1"));
    assert!(new(vec![0, 99], 4).expect_err("no sample").what.contains("sample 99 of a set of 32"));
    assert_eq!(new(Vec::new(), 4).expect("an empty epoch").count(), 0);
}
