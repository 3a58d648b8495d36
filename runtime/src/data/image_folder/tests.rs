use super::*;

/// Writes `files` (name, content) under `root`.
fn tree(root: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a name below root")).expect("a folder");
        fs::write(path, content).expect("written");
    }
}

/// A tar of `files`.
fn tarred(path: &Path, files: &[(&str, &str)]) {
    let mut tar = tar::Builder::new(File::create(path).expect("a file"));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content.as_bytes()).expect("a member");
    }
    tar.finish().expect("written");
}

fn long() -> String {
    format!("train/b/{}.jpg", "long".repeat(50))
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn a_folder_and_its_tar_are_the_same_set() {
    let (one, two) = (temporary(), temporary());
    let long = long();
    let files = [
        ("train/b/2.png", "two"),
        ("train/b/1.JPEG", "one"),
        ("train/a/9.jpg", "nine!"),
        (&long, "long"),
        ("train/a/readme.txt", "text"),
        ("train/a/.hidden.jpg", "hidden"),
        ("train/C/0.Webp", ""),
    ];
    tree(one.path(), &files);
    tarred(&two.path().join("train.tar"), &files);
    let folder = ImageSet::open(one.path(), "train").expect("a folder");
    let tar = ImageSet::open(two.path(), "train").expect("a tar");
    for set in [&folder, &tar] {
        assert_eq!(set.classes(), ["C", "a", "b"]);
        assert_eq!(set.len(), 5);
        let names: Vec<&str> = (0..5).map(|i| set.name(i)).collect();
        assert_eq!(names, ["C/0.Webp", "a/9.jpg", "b/1.JPEG", "b/2.png", long.strip_prefix("train/").expect("train/")]);
        assert_eq!((0..5).map(|i| set.label(i)).collect::<Vec<_>>(), [0, 1, 2, 2, 2]);
        assert_eq!(set.read(3).expect("bytes"), b"two");
        assert_eq!(set.read(4).expect("bytes"), b"long");
        assert_eq!(set.read(0).expect("bytes"), b"");
        assert_eq!(set.warnings().len(), 1, "{:?}", set.warnings());
        assert!(set.warnings()[0].contains("1 files are no images"), "{:?}", set.warnings());
    }
    assert_eq!(folder.listing_hash(), tar.listing_hash());
    tree(one.path(), &[("train/b/2.png", "three")]);
    assert_ne!(folder.listing_hash(), tar.listing_hash());
    assert!(tar.load(1).expect_err("no image").to_string().contains("train.tar:a/9.jpg: is not an image"));
}

#[test]
fn many_threads_read_one_tar() {
    let root = temporary();
    let contents: Vec<String> = (0..60).map(|i| format!("{i}").repeat(1000 + i)).collect();
    let names: Vec<String> = (0..60).map(|i| format!("./val/class{}/{i:02}.jpg", i % 2)).collect();
    let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(contents.iter().map(String::as_str)).collect();
    tarred(&root.path().join("val.tar"), &files);
    let set = ImageSet::open(root.path(), "val").expect("a tar");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for i in 0..set.len() {
                    let file: usize = set.name(i)[7..9].parse().expect("a number");
                    assert_eq!(set.read(i).expect("bytes"), contents[file].as_bytes());
                }
            });
        }
    });
}

#[test]
fn empty_classes_keep_their_id_and_are_told_of() {
    let root = temporary();
    tree(root.path(), &[("val/a/1.jpg", ""), ("val/c/1.jpg", ""), ("val/b/notes.md", "")]);
    let set = ImageSet::open(root.path(), "val").expect("a set");
    assert_eq!(set.classes().len(), 3);
    assert_eq!(set.label(1), 2);
    assert_eq!(set.warnings()[0], "1 of 3 classes hold no images: b");
    assert_eq!(set.warnings()[1], "1 files are no images and are left out: b/notes.md");
}

#[test]
fn classes_may_lie_in_the_root_or_deeper() {
    let root = temporary();
    tree(root.path(), &[("fog/3/a/1.jpg", "x"), ("fog/3/b/1.jpg", "y"), ("fog/3/LICENSE", "")]);
    assert_eq!(ImageSet::open(root.path(), "fog/3").expect("a set").len(), 2);
    assert_eq!(ImageSet::open(&root.path().join("fog/3"), "").expect("a set").len(), 2);
}

#[test]
fn a_missing_split_tells_what_is_there() {
    let root = temporary();
    tree(root.path(), &[("training/a/1.jpg", ""), ("val/a/1.jpg", "")]);
    let failure = ImageSet::open(root.path(), "train").expect_err("no such split");
    let text = failure.to_string();
    assert!(text.contains("has no split `train`: neither train/ nor train.tar is there"), "{text}");
    assert!(text.contains("there is: training/, val/"), "{text}");

    let text = ImageSet::open(&root.path().join("vol/deeper"), "train").expect_err("no such root").to_string();
    assert!(text.contains("there is no such folder"), "{text}");
    assert!(text.contains("there is: val/, training/"), "{text}");
}

#[test]
fn a_set_without_images_or_with_one_class_is_refused() {
    let root = temporary();
    tree(root.path(), &[("train/a/1.txt", ""), ("val/only/1.jpg", ""), ("deep/train/x/1.jpg", ""), ("flat/1.jpg", "")]);
    let text = |split| ImageSet::open(root.path(), split).expect_err("refused").to_string();
    assert!(text("train").contains("holds no images"), "{}", text("train"));
    assert!(text("train").contains("found instead: a/1.txt"), "{}", text("train"));
    assert!(text("val").contains("one class only, `only`"), "{}", text("val"));
    assert!(text("deep").contains("one level deeper: train"), "{}", text("deep"));
    assert!(text("flat").contains("found instead: 1.jpg"), "{}", text("flat"));
}

#[test]
fn a_tar_that_is_none_is_refused() {
    let root = temporary();
    let tar =
        |name: &str, content: &[u8]| fs::write(root.path().join(format!("{name}.tar")), content).expect("written");
    let text = |split| ImageSet::open(root.path(), split).expect_err("refused").to_string();
    tar("empty", b"");
    assert!(text("empty").contains("is empty (0 bytes)"), "{}", text("empty"));
    tar("zipped", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    assert!(text("zipped").contains("compressed with gzip"), "{}", text("zipped"));
    tar("text", "this is no tar at all. ".repeat(100).as_bytes());
    assert!(text("text").contains("is no tar, or is damaged"), "{}", text("text"));

    let whole = root.path().join("whole.tar");
    tarred(&whole, &[("whole/a/1.jpg", &"x".repeat(3000)), ("whole/b/2.jpg", &"y".repeat(3000))]);
    let bytes = fs::read(&whole).expect("bytes");
    tar("cut", &bytes[..6000]);
    assert!(text("cut").contains("cut short: whole/b/2.jpg"), "{}", text("cut"));
    tar("torn", &bytes[..3700]);
    assert!(text("torn").contains("torn.tar"), "{}", text("torn"));
}

#[test]
fn labels_can_follow_the_training_split() {
    let root = temporary();
    tree(root.path(), &[("train/a/1.jpg", ""), ("train/b/1.jpg", ""), ("train/c/1.jpg", "")]);
    tree(root.path(), &[("val/a/1.jpg", ""), ("val/c/1.jpg", "")]);
    let train = ImageSet::open(root.path(), "train").expect("a set");
    let mut val = ImageSet::open(root.path(), "val").expect("a set");
    assert_eq!(val.label(1), 1);
    val.relabel(train.classes()).expect("all known");
    assert_eq!((val.label(0), val.label(1), val.classes().len()), (0, 2, 3));
    let mut val = ImageSet::open(root.path(), "val").expect("a set");
    let text = val.relabel(&["a".into(), "b".into()]).expect_err("c is new").to_string();
    assert!(text.contains("1 classes that the training split has not: c"), "{text}");
}

/// Real sets that some machines have; absent elsewhere.
#[test]
fn real_sets_are_read() {
    let shared = std::env::var_os("LMV_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from)
        .join("data");
    for (name, split, count, classes) in [("cifar10", "val", 2000, 10), ("imagenet_samples", "val", 40, 40)] {
        let root = shared.join(name);
        if !root.exists() {
            println!("skipped: {} is not there", root.display());
            continue;
        }
        let set = ImageSet::open(&root, split).expect("a set");
        assert_eq!((set.len(), set.classes().len()), (count, classes));
        for i in (0..set.len()).step_by(set.len() / 40) {
            let image = set.load(i).expect("an image");
            assert_eq!(image.data.len(), image.width * image.height * 3);
        }
    }
}
