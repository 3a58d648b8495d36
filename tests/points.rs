//! Clouds of points from outside: training, votes and measures on each form of data, and data that are wrong.

mod place;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use place::Place;

/// Two classes of 96 points: tall clouds and flat ones.
const LISTS: &str = "modelnet(root = path(\"clouds\"), name = \"toy\", classes = 2, count = 64)";
const SCANNED: &str = "scanobjectnn_bg(root = path(\"clouds\"), count = 64)";

/// Enough for a small model to tell tall clouds from flat ones.
const EPOCHS: usize = 60;

/// A small Point-BERT on some data.
fn spec(data: &str, rest: &str) -> String {
    format!(
        "use data.points {{ modelnet, modelnet_meshes, scanobjectnn_bg }}
use points.point_bert {{ point_bert, head as cloud_head }}
use training.point_augmentations {{ cloud_votes }}
use training.point_bert {{ point_bert_finetuning }}
model = point_bert(groups = 8, size = 4, d = 12, depth = 1, heads = 2) >> cloud_head
data  = {data}
train = point_bert_finetuning(epochs = {EPOCHS}, warmup = 0, batch = 8, lr = 2e-3, oversample = 80)
eval  = [top1, mean_class_accuracy]
{rest}
"
    )
}

fn lmvc(place: &Place, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
    command.current_dir(place.folder.path()).args(arguments).stdin(Stdio::null()).output().expect("lmvc starts")
}

fn succeeds(place: &Place, arguments: &[&str]) -> String {
    let output = lmvc(place, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Stderr of a command that must fail while running, with one message.
fn fails(place: &Place, arguments: &[&str]) -> String {
    let output = lmvc(place, arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert_eq!(message.matches("error:").count(), 1, "{message}");
    assert!(message.contains("help:") && !message.contains("panicked"), "{message}");
    message
}

fn write(place: &Place, name: &str, content: impl AsRef<[u8]>) {
    let path = place.path(name);
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
    std::fs::write(path, content).expect("a file");
}

/// Points in a box that is tall, or flat: the numbers of a small generator.
fn cloud(tall: bool, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let (across, up) = if tall { (0.2, 1.0) } else { (1.0, 0.2) };
    (0..96).map(|_| format!("{},{},{},0,0,0\n", across * next(), up * next(), across * next())).collect()
}

/// A set of 16 and 12 clouds in ModelNet's layout.
fn lists(place: &Place) {
    write(place, "clouds/toy_shape_names.txt", "flat\ntall\n");
    for (split, count) in [("train", 16), ("test", 12)] {
        let mut list = String::new();
        for number in 0..count {
            let class = ["flat", "tall"][number % 2];
            let id = format!("{class}_{split}{number}");
            write(place, &format!("clouds/{class}/{id}.txt"), cloud(class == "tall", (number + count) as u64));
            list += &format!("{id}\n");
        }
        write(place, &format!("clouds/toy_{split}.txt"), list);
    }
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tests/golden/points").join(name)).expect("a file")
}

const TRAIN: [&str; 6] = ["train", "a.lmv", "--device", "cpu", "--path", "clouds=clouds"];
const EVAL: [&str; 8] = ["eval", "a.lmv", "--checkpoint", "runs/a-1", "--device", "cpu", "--path", "clouds=clouds"];

fn measured(place: &Place) -> serde_json::Value {
    let said = succeeds(place, &[&EVAL[..], &["--message-format", "json"]].concat());
    serde_json::from_str(said.lines().last().expect("a line")).expect("an object")
}

#[test]
fn clouds_in_lists_are_learned_and_measured() {
    let place = Place::new(&spec(LISTS, "reported = { top1: 92.67 }"));
    lists(&place);
    succeeds(&place, &TRAIN);
    let found = measured(&place);
    let top1 = found["metrics"]["top1"].as_f64().expect("a number");
    assert!(top1 >= 90.0, "tall and flat are easily told apart: {found}");
    // As many of each class: the mean over classes is the mean over clouds.
    let mean = found["metrics"]["mean_class_accuracy"].as_f64().expect("a number");
    assert!((mean - top1).abs() < 1e-9, "{found}");
    assert!((found["difference"]["top1"].as_f64().expect("a number") - (top1 - 92.67)).abs() < 1e-9, "{found}");
    assert!(succeeds(&place, &EVAL).contains("reported 92.67"));
    let page = std::fs::read_to_string(place.path("runs/a-1/report.html")).expect("a page");
    assert!(page.contains("<h2>Classes, the worst first</h2>") && page.contains("<td>tall</td>"), "classes by name");
    let kept = std::fs::read_to_string(place.path("runs/a-1/evaluation/predictions.jsonl")).expect("predictions");
    assert_eq!(kept.lines().count(), 12);
    assert!(kept.contains("\"tall/tall_test1\""), "{kept}");

    // The same run again gives the same numbers.
    succeeds(&place, &TRAIN);
    let of =
        |run: &str| std::fs::read(place.path(run).join("checkpoints/last/model.safetensors")).expect("a checkpoint");
    assert!(of("runs/a-1") == of("runs/a-2"), "two runs with one seed");

    // Two classes in each other's place turn all labels: no file has another size, and it is told.
    let warned =
        |place: &Place| String::from_utf8_lossy(&lmvc(place, &EVAL).stderr).contains("warning: the data are not those");
    assert!(!warned(&place), "nothing has changed");
    write(&place, "clouds/toy_shape_names.txt", "tall\nflat\n");
    assert!(warned(&place));
    write(&place, "clouds/toy_shape_names.txt", "flat\ntall\n");

    // Ten looks at each cloud, and still one number of each.
    let voted = spec(LISTS, "train.views = cloud_votes(count = 64, oversample = 80)");
    std::fs::write(place.path("a.lmv"), voted).expect("a spec");
    let found = measured(&place);
    assert!(found["metrics"]["top1"].as_f64().expect("a number") >= 75.0, "{found}");
    assert_eq!(found["samples"], 12, "{found}");
    assert_eq!(found, measured(&place), "the looks are those of the seed");
}

#[test]
fn clouds_are_drawn_by_how_active_their_groups_are() {
    let place = Place::new(&spec(LISTS, ""));
    lists(&place);
    succeeds(&place, &TRAIN);
    let inspect = ["inspect", "a.lmv", "--checkpoint", "runs/a-1", "--device", "cpu", "--path", "clouds=clouds"];
    let said = succeeds(&place, &[&inspect[..], &["--sample", "3,0", "--output", "seen"]].concat());
    assert!(said.contains("columns: groups, point_bert"), "{said}");
    let (first, second) = (said.find("tall-tall_test3.png"), said.find("flat-flat_test0.png"));
    assert!(
        first.is_some() && first < second && said.ends_with("index.html\n"),
        "in the order that was asked for: {said}"
    );
    let picture = image::open(place.path("seen/tall-tall_test3.png")).expect("a picture").to_rgb8();
    // The groups, and one stage: the encoder.
    assert_eq!(picture.dimensions(), (2 * 248 + 8, 21 + 2 * (16 + 248)));
    let colours: std::collections::BTreeSet<[u8; 3]> = picture.pixels().map(|pixel| pixel.0).collect();
    assert!(colours.len() > 20, "more than a blank sheet: {}", colours.len());
    let page = std::fs::read_to_string(place.path("seen/index.html")).expect("a page");
    assert!(page.contains("tall/tall_test3") && page.contains("\"magnitude\":["), "what it shows is in it");
    for foreign in ["http", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }

    // Without a checkpoint the model is at its start, which is told.
    let output = lmvc(&place, &["inspect", "a.lmv", "--device", "cpu", "--path", "clouds=clouds"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("warning: no checkpoint was given: "), "{said}");

    let said = fails(&place, &[&inspect[..], &["--sample", "12"]].concat());
    assert!(said.contains("there is no sample 12: the evaluation split has 12"), "{said}");
    let images = Place::new("model = vit_tiny >> head(10)\ndata = shapes(image = 224)\neval = [top1]\n");
    let said = fails(&images, &["inspect", "a.lmv", "--device", "cpu"]);
    assert!(said.contains("the model has no `farthest_points`"), "{said}");
}

#[test]
fn scans_and_meshes_are_learned_too() {
    let place = Place::new(&spec(SCANNED, ""));
    for (split, way) in [("training", "plain"), ("test", "gzip")] {
        write(&place, &format!("clouds/main_split/{split}_objectdataset.h5"), golden(&format!("scanned_{way}.h5")));
    }
    succeeds(&place, &TRAIN);
    let kept = std::fs::read_to_string(place.path("runs/a-1/evaluation/predictions.jsonl")).expect("predictions");
    assert!(kept.contains("\"chair/0\""), "{kept}");

    let meshes = "modelnet_meshes(root = path(\"meshes\"), classes = 2, count = 64, sampled = 200)";
    let place = Place::new(&spec(meshes, ""));
    let tent =
        |height: usize| format!("OFF\n4 4 6\n0 0 0\n1 0 0\n0 0 1\n0 {height} 0\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n");
    for (class, height) in [("low", 1), ("tall", 5)] {
        for file in ["train/a.off", "train/b.off", "train/c.off", "train/d.off", "test/e.off"] {
            write(&place, &format!("meshes/{class}/{file}"), tent(height));
        }
    }
    succeeds(&place, &["train", "a.lmv", "--device", "cpu", "--path", "meshes=meshes"]);
}

#[test]
fn what_is_wrong_with_clouds_is_told_once_and_before_anything_runs() {
    let place = Place::new(&spec(LISTS, ""));
    let fails_after = |change: &dyn Fn()| {
        lists(&place);
        change();
        fails(&place, &TRAIN)
    };
    let said = fails_after(&|| write(&place, "clouds/tall/tall_train3.txt", "0,1,2\n0,NaN,0\n"));
    assert!(said.contains("line 2 is a point that is nowhere: `0,NaN,0`"), "{said}");
    assert!(said.contains("clouds/tall/tall_train3.txt\n"), "its own file: {said}");
    let said = fails_after(&|| write(&place, "clouds/tall/tall_train3.txt", "0,inf,0\n"));
    assert!(said.contains("line 1 is a point that is nowhere: `0,inf,0`"), "{said}");
    let said = fails_after(&|| write(&place, "clouds/flat/flat_train2.txt", ""));
    assert!(said.contains("the cloud `flat/flat_train2` has no points"), "{said}");
    let said = fails_after(&|| write(&place, "clouds/flat/flat_train2.txt", "0,0,1\n0,1,0\n1,0,0\n"));
    assert!(said.contains("the cloud `flat/flat_train2` has 3 points, and the model takes 64"), "{said}");
    assert!(said.contains("clouds/flat/flat_train2.txt\n"), "its own file: {said}");
    // The files of ModelNet are brought into the unit ball, unless all points are in one place.
    let said = fails_after(&|| write(&place, "clouds/flat/flat_train2.txt", "0.1,0.7,5\n".repeat(96)));
    assert!(
        said.contains("0 of the 96 points of the cloud `flat/flat_train2` are far enough from the origin"),
        "{said}"
    );
    let said = fails_after(&|| std::fs::remove_file(place.path("clouds/flat/flat_train2.txt")).expect("it was there"));
    assert!(said.contains("line 3 names `flat_train2`, and `"), "{said}");
    let said = fails_after(&|| write(&place, "clouds/toy_test.txt", ""));
    assert!(said.contains("holds no cloud"), "{said}");
    lists(&place);
    std::fs::remove_file(place.path("clouds/toy_test.txt")).expect("it was there");
    let said = fails(&place, &TRAIN);
    assert!(
        said.contains("toy_test.txt")
            && said.contains("cannot be read")
            && said.contains("give ROOT with `--path NAME=ROOT`"),
        "{said}"
    );

    // A cache that runs code in Python's hands.
    let said = fails_after(&|| {
        write(&place, "clouds/toy_train_8192pts_fps.dat", b"\x80\x03cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.")
    });
    assert!(said.contains("holds code (`posix.system`) in its pickle, which lmvc never runs"), "{said}");
    std::fs::write(place.path("clouds/toy_train_8192pts_fps.dat"), &golden("cache_4.dat")[..900]).expect("a file");
    let said = fails(&place, &TRAIN);
    assert!(said.contains("is damaged or cut short"), "{said}");
}

#[test]
fn what_is_wrong_with_scans_is_told_too() {
    let place = Place::new(&spec(SCANNED, ""));
    let said = fails(&place, &["train", "a.lmv", "--device", "cpu", "--path", "clouds=."]);
    assert!(said.contains("training_objectdataset.h5") && said.contains("cannot be read"), "{said}");
    let whole = golden("scanned_gzip.h5");
    let with = |training: &[u8], data: &str| {
        let spec = spec(data, "").replace("oversample = 80", "oversample = 1200");
        std::fs::write(place.path("a.lmv"), spec).expect("a spec");
        write(&place, "clouds/main_split/training_objectdataset.h5", training);
        write(&place, "clouds/main_split/test_objectdataset.h5", &whole);
        fails(&place, &TRAIN)
    };
    let said = with(&whole[..whole.len() / 2], SCANNED);
    assert!(said.contains("is cut short: it has 6670 bytes, and says that it has 13340"), "{said}");
    let said = with(b"\x89HDF\r\n\x1a\n", SCANNED);
    assert!(said.contains("is damaged, or no HDF5 file: "), "{said}");
    let said = with(b"no table at all", SCANNED);
    assert!(said.contains("is damaged, or no HDF5 file: "), "{said}");
    // Clouds of 64 points for a model that takes 1024.
    let said = with(&whole, "scanobjectnn_bg(root = path(\"clouds\"))");
    assert!(said.contains("has 64 points, and the model takes 1024"), "{said}");
    // A label that is none of fifteen: the byte of the first label in the file whose tables are not compressed.
    let mut changed = golden("scanned_plain.h5");
    let labels: Vec<u8> = [4i64, 0, 14, 7, 7, 2].iter().flat_map(|label| label.to_le_bytes()).collect();
    let at = changed.windows(labels.len()).position(|part| part == labels).expect("the labels are in the file");
    changed[at] = 33;
    let said = with(&changed, SCANNED);
    assert!(said.contains("the cloud `?/0` has the label 33, and there are 15 classes"), "{said}");
    changed[at..at + 8].copy_from_slice(&(-1i64).to_le_bytes());
    assert!(with(&changed, SCANNED).contains("has the label -1"));
}

#[test]
fn fewer_points_than_groups_is_an_error_of_the_spec() {
    let place = Place::new(&spec(LISTS, "").replace("count = 64)", "count = 7)"));
    let output = lmvc(&place, &["check", "a.lmv"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`farthest_points` needs 1 <= count <= N"), "{said}");
}

#[test]
fn augmentations_of_images_are_none_of_clouds() {
    let place = Place::new(&spec(LISTS, "train.augment = [horizontal_flip]"));
    let output = lmvc(&place, &["check", "a.lmv"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`horizontal_flip` takes pixels, and is given points"), "{said}");
}
