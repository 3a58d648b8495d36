//! `lmvc fmt` from outside.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use tempfile::TempDir;

const LOOSE: &str = "model=vit_small>>head // all of it\r\nseed =1";
const NEAT: &str = "model = vit_small >> head // all of it\nseed  = 1\n";
const WRONG: &str = "model = vit_small -> head\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file in it");
    }
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
    command.current_dir(folder).arg("fmt").args(arguments).stdin(Stdio::null());
    command
}

fn fmt(folder: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    said(&command(folder.path(), arguments).output().expect("lmvc starts"))
}

/// The exit code, stdout and stderr.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

fn read(folder: &TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).expect("the file")
}

#[test]
fn files_are_laid_out_where_they_are() {
    let folder = folder(&[("a.lmv", LOOSE), ("b.lmv", NEAT)]);
    let answer = fmt(&folder, &["a.lmv", "b.lmv"]);
    assert_eq!(answer, (0, String::new(), "2 files read: 1 changed\n".to_owned()));
    assert_eq!((read(&folder, "a.lmv").as_str(), read(&folder, "b.lmv").as_str()), (NEAT, NEAT));
    let answer = fmt(&folder, &["a.lmv", "b.lmv"]);
    assert_eq!(answer, (0, String::new(), "2 files read: nothing to change\n".to_owned()));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn check_writes_nothing_and_names_what_would_change() {
    let folder = folder(&[("a.lmv", LOOSE), ("b.lmv", NEAT)]);
    let answer = fmt(&folder, &["--check", "a.lmv", "b.lmv"]);
    assert_eq!(answer, (1, "a.lmv\n".to_owned(), "2 files read: 1 would change\n".to_owned()));
    assert_eq!(read(&folder, "a.lmv"), LOOSE);
    assert_eq!(fmt(&folder, &["--check", "b.lmv"]).0, 0);
}

#[test]
fn a_file_with_errors_is_left_alone_and_the_others_are_not() {
    let folder = folder(&[("a.lmv", WRONG), ("b.lmv", LOOSE)]);
    let (code, out, err) = fmt(&folder, &["a.lmv", "b.lmv", "c.lmv"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("found `->`, expected `>>`") && err.contains("a.lmv:1:19"), "{err}");
    assert!(err.contains("there is no file `c.lmv`"), "{err}");
    assert_eq!((read(&folder, "a.lmv").as_str(), read(&folder, "b.lmv").as_str()), (WRONG, NEAT));
    assert_eq!(fmt(&folder, &["a.lmv"]).0, 1);
}

#[test]
fn stdin_goes_to_stdout() {
    let folder = folder(&[]);
    let piped = |arguments: &[&str], text: &[u8]| {
        let mut command = command(folder.path(), arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("lmvc starts");
        child.stdin.take().expect("a pipe").write_all(text).expect("it reads");
        said(&child.wait_with_output().expect("it ends"))
    };
    assert_eq!(piped(&["-"], LOOSE.as_bytes()), (0, NEAT.to_owned(), String::new()));
    assert_eq!(piped(&["-", "--check"], LOOSE.as_bytes()), (1, "<stdin>\n".to_owned(), String::new()));
    assert_eq!(piped(&["-", "--check"], NEAT.as_bytes()), (0, String::new(), String::new()));
    let (code, out, err) = piped(&["-"], WRONG.as_bytes());
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("<stdin>:1:19"), "{err}");
    assert_eq!(piped(&["-"], b"\xff").0, 2);
}
