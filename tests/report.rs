//! The page of a run from outside: it is there once a run is done, and holds all that it shows.

mod place;

use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use place::Place;

const SPEC: &str = "model = vit(image = 16, patch = 8, d = 16, depth = 1, heads = 2) >> head
data  = shapes(image = 16, classes = 4, train = 16, val = 8)
train = one_cycle(epochs = 2, batch = 8)
eval  = [top1]
reported = { top1: 25 }
";

fn lmvc(place: &Place, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
    command.current_dir(place.folder.path()).args(arguments).stdin(Stdio::null()).output().expect("lmvc starts")
}

#[test]
fn a_page_holds_all_that_it_shows() {
    let place = Place::new(SPEC);
    let train = lmvc(&place, &["train", "a.lmv", "--device", "cpu"]);
    assert_eq!(train.status.code(), Some(0), "{}", String::from_utf8_lossy(&train.stderr));
    let page = std::fs::read_to_string(place.path("runs/a-1/report.html")).expect("a page");
    // Nothing from elsewhere, and nothing that runs.
    for foreign in ["<script", "src=\"http", "href=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let kept = std::fs::read_to_string(place.path("runs/a-1/evaluation/scores.json")).expect("scores");
    let kept: serde_json::Value = serde_json::from_str(&kept).expect("an object");
    let predictions =
        std::fs::read_to_string(place.path("runs/a-1/evaluation/predictions.jsonl")).expect("predictions");
    assert_eq!(predictions.lines().count(), 32);
    let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("an object");
    let right = predictions.lines().filter(|line| of(line)["label"] == of(line)["predicted"]).count();
    let top1 = 100.0 * right as f64 / 32.0;
    assert_eq!(kept["scores"][0]["value"].as_f64(), Some(top1), "the predictions are those that were counted");
    assert!(page.contains(&format!("<td>top1</td><td>{top1:.2} %</td><td>25.00</td>")), "{top1}");
    assert_eq!(page.matches("<figure><svg").count(), 3, "loss, metrics, learning rate");
    let wrong = (32 - right).min(24);
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), wrong);
    // The worst first, and all of them images that were wrong.
    let shown = kept["wrong"].as_array().expect("a list");
    let least: Vec<f64> = shown.iter().map(|wrong| wrong["of_label"].as_f64().expect("a share")).collect();
    assert!(least.is_sorted() && shown.iter().all(|wrong| wrong["label"] != wrong["predicted"]), "{least:?}");

    // It is made again of the folder alone.
    std::fs::remove_dir_all(place.path("runs/data")).expect("the drawn images");
    let again = lmvc(&place, &["report", "runs/a-1", "--output", "again.html"]);
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(std::fs::read_to_string(place.path("again.html")).expect("a page"), page);
    let none = lmvc(&place, &["report", "runs"]);
    assert_eq!(none.status.code(), Some(3));
    let told = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(told.contains("this is a folder with a run in it") && told.contains("give a run: runs/a-1\n"), "{told}");
    let none = lmvc(&place, &["report", "."]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("is this the folder of a run?"));
}
