//! What is measured beside the evaluation split, from outside: damaged images, folders with some of the classes, images that
//! are changed against the model, and published numbers beside all of it.

mod place;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use place::Place;

const CORRUPTIONS: [&str; 15] = [
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "shot_noise",
    "snow",
    "zoom_blur",
];

/// A spec on drawn images, small enough to train in no time.
fn spec(eval: &str) -> String {
    format!(
        "model = vit(image = 16, patch = 8, d = 16, depth = 1, heads = 2) >> head
data  = image_folder(root = path(\"mine\"), image = 16, classes = 4)
train = mine()
eval  = {eval}
recipe mine(epochs = 2, batch = 8) {{
  loss         = cross_entropy
  optimizer    = adamw(3e-3)
  schedule     = constant
  augment      = [random_resized_crop(16)]
  eval_augment = [resize(16), center_crop(16)]
}}
"
    )
}

impl Place {
    fn lmvc(&self, arguments: &[&str]) -> Output {
        let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        command.output().expect("lmvc starts")
    }

    /// Stdout of a command that must end well.
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.lmvc(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Stderr of a command that must fail while running, with one message.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.lmvc(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{message}");
        assert_eq!(message.matches("error:").count(), 1, "{message}");
        message
    }

    /// Draws a set of 4 classes of 24 and 6 images.
    fn draw(&self) {
        let draw = ["data", "synth", "images", "mine", "--classes", "4", "--train", "24", "--val", "6", "--size", "16"];
        self.succeeds(&draw);
    }

    /// A folder in the form of ImageNet-C whose every part is the validation split itself.
    fn undamaged(&self, name: &str) {
        for corruption in CORRUPTIONS {
            for severity in 1..=5 {
                copy(&self.path("mine/val"), &self.path(&format!("{name}/{corruption}/{severity}")));
            }
        }
    }

    /// An evaluation of the first run as an object.
    fn measured(&self, arguments: &[&str]) -> serde_json::Value {
        let all = [&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--device", "cpu"], arguments].concat();
        let said = self.succeeds(&[&all[..], &["--message-format", "json"]].concat());
        serde_json::from_str(said.lines().last().expect("a line")).expect("an object")
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).expect("a copy")),
        }
    }
}

/// The classes of the drawn set.
fn classes(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path("mine/val")).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

#[test]
fn damaged_images_are_measured_part_by_part() {
    let place =
        Place::new(&(spec("[top1, imagenet_c, imagenet_c_mce]") + "reported = { top1: 50, imagenet_c: 12.5 }\n"));
    place.draw();
    place.undamaged("c");
    let paths = ["--path", "mine=mine", "--path", "imagenet-c=c"];
    let train = [&["train", "a.lmv", "--device", "cpu"], &paths[..]].concat();
    place.succeeds(&train);
    let top1 = place.measured(&paths)["metrics"]["top1"].as_f64().expect("a number");
    // Nothing is damaged, so every part is as good as the evaluation split.
    let found = place.measured(&paths);
    assert!((found["metrics"]["imagenet_c"].as_f64().expect("a number") - top1).abs() < 1e-9, "{found}");
    let parts = found["parts"]["imagenet_c"].as_object().expect("parts");
    assert_eq!(parts.len(), 15 + 75);
    assert!(parts.values().all(|part| (part.as_f64().expect("a number") - top1).abs() < 1e-9), "{found}");
    // 100 − top1 in percent of AlexNet's error on fog (paper.md §3.4).
    let fog = found["parts"]["imagenet_c_mce"]["fog"].as_f64().expect("a number");
    assert!((fog - (100.0 - top1) / 0.819324).abs() < 1e-6, "{found}");
    assert_eq!(found["difference"]["imagenet_c"].as_f64(), Some(top1 - 12.5));
    assert_eq!(found["elsewhere"]["imagenet_c"]["samples"], 75 * 24);

    // Fog at its worst becomes unreadable but for one image: the others count for nothing, and are counted.
    let worst = place.path(&format!("c/fog/5/{}", classes(&place)[0]));
    let mut images: Vec<_> =
        std::fs::read_dir(&worst).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    images.sort();
    images.iter().skip(1).for_each(|image| std::fs::write(image, "no picture").expect("a file"));
    let found = place.measured(&paths);
    assert_eq!(found["elsewhere"]["imagenet_c"]["left_out"], 5, "{found}");
    let output = place.lmvc(&[&["eval", "a.lmv", "--checkpoint", "runs/a-1"], &paths[..]].concat());
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("  reported 12.50, ") && said.contains("\n  fog ") && !said.contains("fog/5"), "{said}");
    assert!(told.contains("5 could not be read and were left out") && told.contains("2 more images"), "{told}");

    assert!(!told.contains("unlike size"), "a damaged image is there: {told}");

    // A class that is missing in one part makes that part another measure.
    std::fs::remove_dir_all(place.path(&format!("c/fog/4/{}", classes(&place)[1]))).expect("a folder");
    let output = place.lmvc(&[&["eval", "a.lmv", "--checkpoint", "runs/a-1"], &paths[..]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("parts of unlike size: `fog/4` has 18 images, another one 24"), "{told}");

    // In a table, the published row stands below.
    let all = [&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--markdown"], &paths[..]].concat();
    let table = place.succeeds(&all);
    assert!(table.starts_with("|  | top1 | imagenet_c | imagenet_c_mce | loss |\n"), "{table}");
    assert!(table.contains("\n| reported | 50.00 | 12.50 |  |  |\n"), "{table}");

    // A part that is missing is told before anything is trained or measured.
    std::fs::remove_dir_all(place.path("c/fog/3")).expect("a folder");
    std::fs::remove_dir_all(place.path("c/snow")).expect("a folder");
    for command in [&train[..], &[&["eval", "a.lmv", "--checkpoint", "runs/a-1"], &paths[..]].concat()] {
        let said = place.fails(command);
        assert!(said.contains("`fog/3`, `snow/1`, `snow/2`, `snow/3`, `snow/4` and 1 more"), "{said}");
    }
    let said = place.fails(&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--path", "mine=mine"]);
    assert!(said.contains("imagenet-c") && said.contains("--path imagenet-c="), "{said}");
}

#[test]
fn a_folder_with_some_classes_leaves_the_others_out() {
    let place = Place::new(
        &spec("[top1, few, top1_on(root = path(\"whole\"))]")
            .replace("train =", "let few = top1_on(root = path(\"some\"))\ntrain ="),
    );
    place.draw();
    let names = classes(&place);
    for name in &names[..2] {
        copy(&place.path(&format!("mine/val/{name}")), &place.path(&format!("some/{name}")));
    }
    let paths = ["--path", "mine=mine", "--path", "some=some", "--path", "whole=mine/val"];
    place.succeeds(&[&["train", "a.lmv", "--device", "cpu"], &paths[..]].concat());
    let found = place.measured(&paths);
    assert_eq!(found["metrics"]["top1_on"], found["metrics"]["top1"], "the whole split");
    assert_eq!(found["elsewhere"]["few"]["samples"], 12);
    // Of two classes each image has the likelier one of the two: what was right stays right.
    let kept = std::fs::read_to_string(place.path("runs/a-1/evaluation/predictions.jsonl")).expect("predictions");
    let right = kept.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object"));
    let right = right.filter(|line| line["label"].as_u64() < Some(2) && line["label"] == line["predicted"]).count();
    assert!(found["metrics"]["few"].as_f64() >= Some(100.0 * right as f64 / 12.0), "{found}");
    // A folder that is no class of the data is named with the one it may be.
    std::fs::rename(place.path(&format!("some/{}", names[0])), place.path(&format!("some/{}s", names[0])))
        .expect("moved");
    let said = place.fails(&[&["eval", "a.lmv", "--checkpoint", "runs/a-1"], &paths[..]].concat());
    assert!(said.contains(&format!("`{}s`", names[0])) && said.contains(&format!("is `{}`", names[0])), "{said}");
}

#[test]
fn images_that_are_changed_against_the_model_are_harder() {
    let place = Place::new(&spec(
        "[top1, weak, strong, pgd(eps = 0.2, step = 0.05), fgsm(eps = 1e-9)]\nlet weak = fgsm\nlet strong = fgsm(eps = 0.2)",
    ));
    place.draw();
    let paths = ["--path", "mine=mine"];
    place.succeeds(&[&["train", "a.lmv", "--device", "cpu", "--epochs", "30"], &paths[..]].concat());
    let found = place.measured(&paths);
    let of = |name: &str| found["metrics"][name].as_f64().unwrap_or_else(|| panic!("{name} in {found}"));
    assert!(of("top1") > 30.0, "it learned something: {found}");
    assert_eq!(of("fgsm"), of("top1"), "hardly a change");
    assert!(of("strong") < of("top1") - 10.0 && of("pgd") < of("top1") - 10.0, "{found}");
    assert!(of("weak") <= of("top1"), "{found}");
    assert_eq!(found, place.measured(&paths), "the random start is the run's");
}
