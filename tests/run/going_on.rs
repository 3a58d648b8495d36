//! Runs that are killed, cut short or gone on with.

use super::*;

#[test]
fn a_run_in_parts_is_resumed_in_parts_and_at_its_precision() {
    let place = Place::new(SPEC);
    let train = ["train", "a.lmv", "--epochs", "1"];
    let parts = ["--micro-batch", "5", "--precision", "f16"];
    place.succeeds(&[&train[..], &parts, &["--name", "whole"]].concat());
    place.succeeds(&[&train[..], &parts, &["--name", "halves", "--steps", "5"]].concat());
    place.succeeds(&["train", "--resume", "runs/halves-1"]);
    assert_eq!(remains(&place.path("runs/whole-1")), remains(&place.path("runs/halves-1")));
    // Each of the two does something: a batch norm sees a part each, and half precision rounds.
    place.succeeds(&[&train[..], &["--name", "plain"]].concat());
    place.succeeds(&[&train[..], &parts[..2], &["--name", "parts"]].concat());
    place.succeeds(&[&train[..], &parts[2..], &["--name", "narrow"]].concat());
    let [plain, parts, narrow] =
        ["plain", "parts", "narrow"].map(|name| remains(&place.path(&format!("runs/{name}-1"))));
    assert!(plain != parts && plain != narrow && parts != narrow);
}

#[test]
fn a_killed_run_goes_on_as_if_nothing_had_happened() {
    let place = Place::new(SPEC);
    let steps = ["--checkpoint-steps", "2"];
    place.succeeds(&[&["train", "a.lmv", "--name", "whole"], &steps[..]].concat());
    let whole = remains(&place.path("runs/whole-1"));
    for kills in 1..=3usize {
        let name = format!("killed{kills}");
        let run = place.path(&format!("runs/{name}-1"));
        let mut arguments: Vec<String> =
            ["train", "a.lmv", "--name", &name, steps[0], steps[1]].iter().map(ToString::to_string).collect();
        for kill in 1..=kills {
            let arguments_now: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut child = place.command(&arguments_now).stderr(Stdio::null()).spawn().expect("lmvc starts");
            // Killed once it has written so many lines, at whatever moment that is.
            let enough = kill * 7 + kills;
            for _ in 0..6000 {
                let lines = std::fs::read(run.join("metrics.jsonl")).unwrap_or_default();
                let ended = child.try_wait().expect("it can be asked").is_some();
                if ended || lines.iter().filter(|&&byte| byte == b'\n').count() >= enough {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            // It may have ended by itself just now.
            let _ = child.kill();
            child.wait().expect("it ends");
            arguments = vec!["train".into(), "--resume".into(), run.display().to_string()];
        }
        place.succeeds(&["train", "--resume", &run.display().to_string()]);
        assert!(whole == remains(&run), "{kills} kills: the same bytes");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room_for_a_checkpoint_leaves_the_earlier_one() {
    let place = Place::new(SPEC);
    place.succeeds(&["train", "a.lmv", "--name", "whole"]);
    // One epoch has twelve steps.
    place.succeeds(&["train", "a.lmv", "--name", "full", "--steps", "12"]);
    let run = place.path("runs/full-1");
    let before = contents(&run.join("checkpoints"));
    let resume = ["train", "--resume", "runs/full-1"];
    let place_and_way_on = ["runs/full-1/checkpoints/last is unharmed", "go on with `lmvc train --resume runs/full-1`"];
    place.fails_without_room(&resume, &[&["no room for the checkpoint"], &place_and_way_on[..]].concat());
    assert!(before == contents(&run.join("checkpoints")), "the earlier checkpoints are as they were");
    place.succeeds(&["eval", "a.lmv", "--checkpoint", "runs/full-1"]);
    // With room again it ends as if nothing had happened.
    place.succeeds(&resume);
    assert!(remains(&place.path("runs/whole-1")) == remains(&run), "the same bytes");
    place.fails_without_room(
        &["train", "a.lmv", "--name", "none"],
        &["no room for the checkpoint", "runs/none-1/checkpoints/"],
    );
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint() {
    let place = Place::new(SPEC);
    // The cosine begins its first two epochs at 1e-6, so they go well; the third is at the rate that is given here.
    place.fails(
        &["train", "a.lmv", "--name", "wild", "--set", "train.clip=1e30", "--set", "train.optimizer=adamw(1e38)"],
        &["the loss is", "at epoch 3", "learning rate", "unharmed"],
    );
    assert_eq!(metrics(&place.path("runs/wild-1"), "epoch").len(), 2);
    place.succeeds(&["eval", "a.lmv", "--checkpoint", "runs/wild-1"]);
    let weights = std::fs::read(place.path("runs/wild-1/checkpoints/last/model.safetensors")).expect("weights");
    let start = 8 + u64::from_le_bytes(weights[..8].try_into().expect("eight bytes")) as usize;
    let finite = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]).is_finite();
    assert!(weights[start..].chunks_exact(4).all(finite), "what is kept is from before");
}

#[test]
fn a_resumed_run_refuses_what_has_changed() {
    let place = Place::new(SPEC);
    place.succeeds(&["train", "a.lmv", "--epochs", "1"]);
    let spec = place.path("runs/a-1/spec.lmv");
    std::fs::write(&spec, SPEC.replace("drop_path = 0.2", "drop_path = 0.1")).expect("a spec");
    place.fails(&["train", "--resume", "runs/a-1"], &["has changed", "the spec was"]);
}
