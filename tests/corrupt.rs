//! `lmvc data corrupt` from outside.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use tempfile::TempDir;

fn lmvc(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
    command.current_dir(folder).args(["data", "corrupt"]).args(arguments).stdin(Stdio::null());
    command.output().expect("lmvc starts")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `val/` with two classes of two images; `val/b/bad.jpg` is no image.
fn originals() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["val/a/1.png", "val/a/2.jpg", "val/b/3.png"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a class")).expect("a folder");
        let image = image::RgbImage::from_fn(48, 40, |x, y| image::Rgb([x as u8 * 5, y as u8 * 6, 90]));
        image.save(&path).expect("an image");
    }
    std::fs::write(folder.path().join("val/b/bad.jpg"), b"no image").expect("a file");
    folder
}

#[test]
fn a_folder_is_corrupted_and_its_damaged_file_told_of() {
    let folder = originals();
    let asked = ["val", "c", "--only", "fog,contrast", "--severities", "1,5", "--image", "32"];
    let output = lmvc(folder.path(), &asked);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let said = err(&output);
    assert!(said.contains("wrote 12 images to c; 1 of 4 originals are damaged and left out"), "{said}");
    assert!(said.contains("warning") && said.contains("bad.jpg"), "{said}");
    for name in ["fog/1/a/1.png", "fog/5/a/2.jpg", "contrast/1/b/3.png", "contrast/5/a/1.png"] {
        let image = image::open(folder.path().join("c").join(name)).expect(name);
        assert_eq!((image.width(), image.height()), (32, 32));
    }
    assert!(!folder.path().join("c/fog/2").exists() && !folder.path().join("c/snow").exists());

    // Again: nothing to do. Other corruptions come beside them.
    let again = lmvc(folder.path(), &asked);
    assert!(err(&again).contains("wrote 0 images to c, kept 12 from before"), "{}", err(&again));
    let more = lmvc(folder.path(), &["val", "c", "--only", "snow", "--image", "32"]);
    assert!(err(&more).contains("wrote 15 images"), "{}", err(&more));
}

#[test]
fn an_original_of_all_fifteen_has_75_images() {
    let folder = originals();
    let output = lmvc(folder.path(), &["val", "c", "--image", "32", "--message-format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("an object");
    assert_eq!((&last["event"], &last["written"], &last["damaged"]), (&"done".into(), &225.into(), &1.into()));
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let folder = originals();
    let unknown = lmvc(folder.path(), &["val", "c", "--only", "frogs"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("frost"), "{}", err(&unknown));
    assert_eq!(lmvc(folder.path(), &["val", "c", "--severities", "6"]).status.code(), Some(2));

    let missing = lmvc(folder.path(), &["vall", "c"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(err(&missing).contains("val/"), "{}", err(&missing));

    // Never among the originals.
    let same = lmvc(folder.path(), &["val", "val"]);
    assert_eq!(same.status.code(), Some(3));
    assert!(err(&same).contains("lies within"), "{}", err(&same));

    let within = lmvc(folder.path(), &["val", "val/new/c"]);
    assert_eq!(within.status.code(), Some(3));
    assert!(err(&within).contains("lies within the folder that is read"), "{}", err(&within));
    assert!(!folder.path().join("val/new").exists());

    lmvc(folder.path(), &["val", "c", "--only", "contrast", "--image", "32"]);
    let other = lmvc(folder.path(), &["val", "c", "--only", "contrast", "--image", "32", "--seed", "7"]);
    assert_eq!(other.status.code(), Some(3));
    assert!(err(&other).contains("found seed 0"), "{}", err(&other));
}
