//! What runs say of their data: missing, damaged, of other kinds and sizes.

use super::*;

#[test]
fn a_missing_data_folder_is_named_with_the_ways_to_say_where_it_is() {
    let place = Place::new(&on_folder(2));
    place.fails(&["train", "a.lmv"], &["mine", "--path mine=", "LMV_PATH_MINE", "lmv.toml"]);
    place.fails(&["train", "a.lmv", "--path", "mine=nowhere"], &["nowhere", "does not exist"]);
    assert!(!place.path("runs").exists(), "no run began");
}

#[test]
fn a_folder_of_one_class_or_another_number_is_told() {
    let place = Place::new(&on_folder(2));
    pictures(&place.path("one"), 1);
    place.fails(&["train", "a.lmv", "--path", "mine=one"], &["one", "class"]);
    pictures(&place.path("three"), 3);
    place.fails(&["train", "a.lmv", "--path", "mine=three"], &["3 classes", "the spec says 2", "classes = 3"]);
    assert!(!place.path("runs").exists(), "nothing is left of a run that never took a step");
}

#[test]
fn a_last_batch_that_is_too_small_is_told_of() {
    let place = Place::new(SPEC);
    let said = place.succeeds(&["train", "a.lmv", "--batch", "40", "--epochs", "2", "--steps", "1"]);
    let line = "32 of the 192 images of an epoch are left out, others in each: the last batch would have 32 of 40\n";
    assert!(said.contains(line), "{said}");
    let steps = place.succeeds(&["train", "--resume", "runs/a-1"]);
    assert!(steps.contains(line), "{steps}");
    assert_eq!(metrics(&place.path("runs/a-1"), "step").len(), 2 * (192 / 40));
    // A set that is smaller than a batch is one batch, and whole.
    let said = place.succeeds(&["train", "a.lmv", "--batch", "200", "--epochs", "2", "--steps", "1"]);
    assert!(!said.contains("left out"), "{said}");
    let said = place.succeeds(&["train", "a.lmv", "--batch", "48", "--epochs", "2", "--steps", "1"]);
    assert!(!said.contains("left out"), "{said}");
}

#[test]
fn damaged_pictures_are_named_and_the_run_goes_on() {
    let place = Place::new(&on_folder(2));
    pictures(&place.path("mine"), 2);
    std::fs::write(place.path("mine/train/class0/notes.jpg"), "hello, this is text").expect("a file");
    picture(&place.path("mine/train/class1/cut.jpg"), 9);
    let whole = std::fs::read(place.path("mine/train/class1/cut.jpg")).expect("a picture");
    std::fs::write(place.path("mine/train/class1/cut.jpg"), &whole[..whole.len() / 2]).expect("half of it");
    image::GrayImage::from_pixel(9, 30, image::Luma([99])).save(place.path("mine/val/class1/grey.jpg")).expect("grey");
    let said = place.succeeds(&["train", "a.lmv", "--path", "mine=mine"]);
    assert!(said.contains("notes.jpg") && said.contains("cut.jpg"), "{said}");
    assert!(!said.contains("grey.jpg") && !said.contains("damaged left out"), "{said}");
    assert!(said.contains("2 damaged replaced in training"), "{said}");
    let epoch = &metrics(&place.path("runs/a-1"), "epoch")[0];
    assert_eq!(epoch["train_replaced"], 2);
    assert!(epoch.get("val_left_out").is_none(), "what is damaged is for training");
}

#[test]
fn damaged_pictures_to_evaluate_on_are_left_out_of_the_count() {
    let place = Place::new(&on_folder(2));
    pictures(&place.path("mine"), 2);
    let train = ["train", "a.lmv", "--path", "mine=mine"];
    place.succeeds(&train);
    // A file as it would be without the damaged one: what is measured must be the same.
    let damaged = place.path("mine/val/class0/2.png");
    let whole = std::fs::read(&damaged).expect("a picture");
    std::fs::remove_file(&damaged).expect("a picture");
    let without = place.succeeds(&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--path", "mine=mine"]);
    std::fs::write(&damaged, &whole[..whole.len() / 2]).expect("half of it");
    let with = place.succeeds(&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--path", "mine=mine"]);
    assert!(with.starts_with(without.trim_end()), "{without}\n{with}");
    assert!(with.contains("2.png") && with.contains("measured on 7 samples; 1 could not be read"), "{with}");
    let said = place.succeeds(&train);
    assert!(said.contains("2.png") && said.contains("1 damaged left out"), "{said}");
    assert_eq!(metrics(&place.path("runs/a-2"), "epoch")[0]["val_left_out"], 1);
    for (path, _) in contents(&place.path("mine/val")) {
        std::fs::write(path, "no picture").expect("a file");
    }
    place.fails(&train, &["none of the 8 images can be read", "mine/val/class0/0.png"]);
}

#[test]
fn grey_and_cmyk_pictures_are_as_good_as_others() {
    let place = Place::new(&on_folder(2));
    pictures(&place.path("mine"), 2);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tests/golden/images");
    for (split, class) in [("train", "class0"), ("train", "class1"), ("val", "class1")] {
        for name in ["cmyk.jpg", "grey.jpg"] {
            std::fs::copy(golden.join(name), place.path(&format!("mine/{split}/{class}/{name}"))).expect("a copy");
        }
    }
    let said = place.succeeds(&["train", "a.lmv", "--path", "mine=mine"]);
    assert!(!said.contains("warning"), "{said}");
    // Three steps of four: the four pictures are counted, and nothing was left out.
    assert_eq!(metrics(&place.path("runs/a-1"), "step").len(), 3);
    let said = place.succeeds(&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--path", "mine=mine"]);
    assert!(!said.contains("warning") && !said.contains("left out"), "{said}");
}

#[test]
fn the_papers_recipe_takes_pictures_of_every_kind_and_size() {
    let spec = "model = vit(image = 16, patch = 8, d = 16, depth = 2, heads = 2, drop_path = 0.1) >> head
data  = image_folder(root = path(\"mine\"), image = 16, classes = 2)
train = deit(epochs = 2, warmup = 1, batch = 8, resized = 18)
eval  = [top1, mean_class_accuracy]
";
    let place = Place::new(spec);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tests/golden/images");
    let kinds: Vec<PathBuf> = contents(&golden)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| {
            path.extension().is_some_and(|kind| ["jpg", "png", "bmp", "webp"].iter().any(|one| kind == *one))
        })
        .collect();
    assert!(kinds.len() > 8, "{kinds:?}");
    for split in ["train", "val"] {
        for class in ["a", "b"] {
            std::fs::create_dir_all(place.path(&format!("mine/{split}/{class}"))).expect("a folder");
            for kind in &kinds {
                let name = kind.file_name().expect("a name").to_string_lossy().into_owned();
                std::fs::copy(kind, place.path(&format!("mine/{split}/{class}/{name}"))).expect("a copy");
            }
            for (number, (width, height)) in [(1, 300), (200, 3), (5, 5), (641, 427)].into_iter().enumerate() {
                let picture =
                    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
                picture.save(place.path(&format!("mine/{split}/{class}/{number}.png"))).expect("a picture");
            }
        }
    }
    let said = place.succeeds(&["train", "a.lmv", "--path", "mine=mine"]);
    assert!(!said.contains("warning") && !said.contains("damaged"), "{said}");
    // Repeated augmentation leaves an epoch as long as it is: every picture counts once.
    let pictures = 2 * (kinds.len() + 4);
    let steps = metrics(&place.path("runs/a-1"), "step");
    assert_eq!(steps.len(), 2 * (pictures / 8));
    assert!(steps.iter().all(|step| step["loss"].as_f64().is_some_and(|loss| loss > 0.0 && loss < 5.0)), "{steps:?}");
    let average =
        place.succeeds(&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--path", "mine=mine", "--ema", "--keep"]);
    assert!(average.contains("top1") && average.contains("mean_class_accuracy"), "{average}");
    let page = std::fs::read_to_string(place.path("runs/a-1/evaluation/scores.json")).expect("scores");
    assert!(page.contains("\"average\": true"), "{page}");
}

#[test]
fn a_tar_is_gone_through_once_and_gives_the_same_run_again() {
    let place = Place::new(&on_folder(2));
    std::fs::create_dir(place.path("mine")).expect("a folder");
    for split in ["train", "val"] {
        let path = place.path(&format!("mine/{split}.tar"));
        let mut tar = tar::Builder::new(std::fs::File::create(&path).expect("a file"));
        for number in 0..8_u32 {
            let picture =
                image::RgbImage::from_fn(20 + number, 24, |x, y| image::Rgb([x as u8, y as u8, number as u8]));
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a picture");
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.get_ref().len() as u64);
            header.set_mode(0o644);
            let name = format!("{split}/{}/{number}.jpg", ["a", "b"][number as usize % 2]);
            tar.append_data(&mut header, name, bytes.get_ref().as_slice()).expect("a member");
        }
        tar.finish().expect("written");
        let file = std::fs::File::options().write(true).open(&path).expect("a file");
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).expect("a time");
    }
    let train = |name: &str, cache: &str| {
        let mut lmvc = place.command(&["train", "a.lmv", "--path", "mine=mine", "--name", name]);
        let output = lmvc.env("LMV_CACHE", cache).output().expect("lmvc starts");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(place.path(&format!("runs/{name}-1/metrics.jsonl"))).expect("metrics")
    };
    let without = train("without", "off");
    assert!(!place.path("off").exists() && !place.path("kept").exists());
    let kept = || -> Vec<PathBuf> {
        let files = std::fs::read_dir(place.path("kept/tars")).expect("a cache");
        files.map(|file| file.expect("a file").path()).collect()
    };
    assert_eq!(train("new", "kept"), without);
    assert_eq!(kept().len(), 2);
    assert_eq!(train("again", "kept"), without);
    for file in kept() {
        std::fs::write(file, "garbage").expect("written");
    }
    assert_eq!(train("garbage", "kept"), without);
    assert!(kept().iter().all(|file| std::fs::read(file).expect("a file").starts_with(b"lmv tar index")));
}

#[test]
fn drawn_images_are_a_dataset_on_disk() {
    let place = Place::new(&on_folder(3));
    let draw = ["data", "synth", "images", "drawn", "--classes", "3", "--train", "4", "--val", "2", "--size", "16"];
    let output = Command::cargo_bin("lmvc")
        .expect("the binary")
        .current_dir(place.folder.path())
        .args(draw)
        .output()
        .expect("lmvc starts");
    assert_eq!(output.status.code(), Some(0));
    place.succeeds(&["train", "a.lmv", "--path", "mine=drawn"]);
}
