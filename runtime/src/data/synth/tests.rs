use super::*;
use crate::data::ImageSet;

fn few() -> SynthImages {
    SynthImages { classes: 16, train_per_class: 3, val_per_class: 2, size: 24, seed: 5 }
}

#[test]
fn the_same_options_draw_the_same_images() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let summary = synth_images(&one, few()).expect("drawn");
    assert_eq!((summary.train, summary.val, summary.drawn), (48, 32, true));
    synth_images(&two, few()).expect("drawn");
    let set = |dir: &Path, split| ImageSet::open(dir, split).expect("an image set");
    let (first, second) = (set(&one, "train"), set(&two, "train"));
    assert_eq!(first.classes(), summary.classes);
    assert!(first.warnings().is_empty());
    assert_eq!(first.listing_hash(), second.listing_hash());
    for i in 0..first.len() {
        assert_eq!(first.read(i).expect("bytes"), second.read(i).expect("bytes"));
    }
    let image = first.load(0).expect("an image");
    assert_eq!((image.width, image.height), (24, 24));
    // No image is in both splits.
    let val = set(&one, "val");
    for i in 0..val.len() {
        assert!((0..first.len()).all(|j| first.read(j) != val.read(i)));
    }
    // Nothing else is left behind.
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

#[test]
fn a_finished_folder_is_left_as_it_is_and_another_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("shapes");
    fs::create_dir(&dir).expect("an empty folder");
    assert!(synth_images(&dir, few()).expect("an empty folder is filled").drawn);
    assert!(!synth_images(&dir, few()).expect("finished").drawn);

    let failure = synth_images(&dir, SynthImages { seed: 6, ..few() }).expect_err("other options");
    assert!(failure.what.contains("seed 5, asked for") && failure.what.contains("seed 6"), "{failure}");

    let failure = synth_images(folder.path(), few()).expect_err("other files");
    assert!(failure.what.contains("holds other files"), "{failure}");

    fs::write(dir.join(MARKER), "{").expect("written");
    let failure = synth_images(&dir, few()).expect_err("a broken marker");
    assert!(failure.what.contains("cannot be understood"), "{failure}");

    let file = folder.path().join("file");
    fs::write(&file, "x").expect("written");
    let failure = synth_images(&file, few()).expect_err("a file");
    assert!(failure.what.contains("is not a folder"), "{failure}");
    let failure = synth_images(&file.join("below"), few()).expect_err("below a file");
    assert!(failure.what.contains("cannot be written"), "{failure}");
}

#[test]
fn options_out_of_range_are_refused() {
    let dir = Path::new("never made");
    for options in [
        SynthImages { classes: 1, ..few() },
        SynthImages { classes: 17, ..few() },
        SynthImages { size: 4, ..few() },
        SynthImages { val_per_class: 0, ..few() },
    ] {
        let failure = synth_images(dir, options).expect_err("out of range");
        assert!(failure.what.contains("expected"), "{failure}");
    }
    assert!(!dir.exists());
}

#[test]
fn every_shape_is_drawn_inside_its_picture() {
    for shape in &SHAPES {
        let inside = (0..400)
            .map(|i| ((i % 20) as f32 / 9.5 - 1.0, (i / 20) as f32 / 9.5 - 1.0))
            .filter(|(u, v)| (shape.distance)(*u, *v) < 0.0)
            .count();
        assert!((40..330).contains(&inside), "{}: {inside} of 400", shape.name);
        assert!((shape.distance)(1.3, 1.3) > 0.0, "{}", shape.name);
    }
}
