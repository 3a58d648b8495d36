//! What a run leaves behind, and what is said of it.

use super::*;

#[test]
fn a_run_leaves_a_folder_that_can_be_measured_and_run() {
    let place = Place::new(SPEC);
    let said = place.succeeds(&["train", "a.lmv", "--seed", "3"]);
    assert!(said.contains("the run is in runs/a-1"), "{said}");
    let run = place.path("runs/a-1");
    for name in ["spec.lmv", "lmv.lock", "lmv.toml", "metrics.jsonl", "checkpoints/last", "checkpoints/best"] {
        assert!(run.join(name).exists(), "{name}");
    }
    assert_eq!(std::fs::read_to_string(run.join("spec.lmv")).expect("the spec"), SPEC);
    // The frozen block is not in the checkpoint.
    let weights = std::fs::read(run.join("checkpoints/last/model.safetensors")).expect("weights");
    let header = String::from_utf8_lossy(&weights[8..5000]).into_owned();
    assert!(header.contains("vit.cls.token.weight") && !header.contains("small.layer"), "{header}");
    let epochs = metrics(&run, "epoch");
    let numbers: Vec<_> = epochs.iter().map(|line| line["epoch"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)], "epochs count from 1, as on the screen");
    let best = epochs.iter().filter_map(|line| line["val_top1"].as_f64()).fold(0.0, f64::max);
    // The random block starts by the run's seed again, though nothing says it here.
    let again = place.succeeds(&["eval", "a.lmv", "--checkpoint", "runs/a-1"]);
    assert!(again.contains(&format!("top1  {best:.2} %")), "{best} in {again}");
    // Training again with the same seed gives the same run; another seed gives another.
    place.succeeds(&["train", "a.lmv", "--seed", "3"]);
    assert_eq!(remains(&run), remains(&place.path("runs/a-2")));
    place.succeeds(&["train", "a.lmv", "--seed", "4"]);
    assert_ne!(remains(&run), remains(&place.path("runs/a-3")));
}

#[test]
fn the_average_is_measured_where_it_is_asked_for_and_kept() {
    let place = Place::new(SPEC);
    place.succeeds(&["train", "a.lmv", "--epochs", "1"]);
    let measured = |more: &[&str]| {
        let arguments = [&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--message-format", "json"], more].concat();
        place.succeeds(&arguments).lines().find(|line| line.contains("metrics")).expect("a result").to_owned()
    };
    assert_ne!(measured(&[]), measured(&["--ema"]), "an average at 0.9 is far behind after an epoch");

    let place = Place::new(&SPEC.replace("  ema       = 0.9\n", ""));
    place.succeeds(&["train", "a.lmv", "--epochs", "1"]);
    place.fails(
        &["eval", "a.lmv", "--checkpoint", "runs/a-1", "--ema"],
        &["keeps no average of the weights", "train.ema="],
    );
}

#[test]
fn a_run_that_ends_before_its_first_step_leaves_no_folder_and_one_that_was_there_stays() {
    let place = Place::new(&on_folder(2));
    pictures(&place.path("mine"), 2);
    place.succeeds(&["train", "a.lmv", "--path", "mine=mine", "--steps", "1"]);
    pictures(&place.path("three"), 3);
    place.fails(&["train", "a.lmv", "--path", "mine=three"], &["3 classes"]);
    let runs: Vec<_> =
        std::fs::read_dir(place.path("runs")).expect("runs").flatten().map(|run| run.file_name()).collect();
    assert_eq!(runs, ["a-1"]);
    // Nor does going on with one that fails take it away.
    let before = contents(&place.path("runs/a-1"));
    place.fails(&["train", "--resume", "runs/a-1", "--path", "mine=three"], &["3 classes"]);
    assert!(contents(&place.path("runs/a-1")) == before, "as it was");
}

#[test]
fn what_is_kept_of_another_spec_is_told_of_also_where_only_an_import_differs() {
    let place = Place::new(&format!("use \"./sizes.lmv\" {{ wide }}\n{}", SPEC.replace("d = 32,", "d = wide,")));
    std::fs::write(place.path("sizes.lmv"), "let wide = 32\n").expect("written");
    place.succeeds(&["train", "a.lmv", "--steps", "2"]);
    let keep = |spec: &str| place.succeeds(&["eval", spec, "--checkpoint", "runs/a-1", "--keep"]);
    let told = "is of another spec than the run was made of";
    for spec in ["a.lmv", "runs/a-1/spec.lmv"] {
        let said = keep(spec);
        assert!(!said.contains(told), "{spec}: {said}");
    }
    std::fs::write(place.path("sizes.lmv"), "let wide = 16 * 2\n").expect("written");
    let said = keep("a.lmv");
    assert!(said.contains(told), "{said}");
}

#[test]
fn a_spec_that_is_wrong_is_not_trained() {
    let wrong = on_folder(2).replace("augment      =", "augmentation =");
    for (spec, said) in [
        ("", "this spec is empty"),
        ("model = \0\u{1}\u{2}", "this file is not text"),
        (wrong.as_str(), "`augmentation`"),
    ] {
        let place = Place::new(spec);
        let output = place.lmvc(&["train", "a.lmv"]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("a.lmv") && message.contains(said), "{message}");
        assert_eq!(message.matches("error[").count(), 1, "one message: {message}");
        assert!(!place.path("runs").exists(), "no run began");
    }
}

#[test]
fn a_name_on_the_command_line_that_the_spec_lacks_is_told() {
    let place = Place::new(&on_folder(2));
    pictures(&place.path("mine"), 2);
    std::fs::write(place.path("lmv.toml"), "[paths]\nmine = \"mine\"\n").expect("a file");
    let said = place.succeeds(&["train", "a.lmv", "--path", "mime=elsewhere", "--weights", "llama7b=elsewhere"]);
    assert!(said.contains("`--path mime=…` is for nothing in this spec"), "{said}");
    assert!(said.contains("did you mean `--path mine=elsewhere`?"), "{said}");
    assert!(said.contains("`--weights llama7b=…` is for nothing in this spec"), "{said}");
    let said = place.succeeds(&["train", "a.lmv", "--path", "mine=mine"]);
    assert!(!said.contains("warning"), "{said}");
    // Where nothing else says where it is, the one message names both.
    std::fs::remove_file(place.path("lmv.toml")).expect("a file");
    place.fails(&["train", "a.lmv", "--path", "mime=mine"], &["nothing says where `mine` is", "`mime` is given"]);
}

#[test]
fn a_model_without_a_checkpoint_is_said_to_be_at_its_start() {
    let place = Place::new("model(x : [4]) { x >> linear(4, 2) >> frozen(random(linear(2, 2))) }\n");
    let values: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let header = br#"{"x":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &values].concat();
    std::fs::write(place.path("in.safetensors"), bytes).expect("a file");
    let infer = ["infer", "a.lmv", "--input", "in.safetensors", "--output", "out.safetensors"];
    let said = place.succeeds(&infer);
    assert!(said.contains("warning: no checkpoint was given") && said.contains("`linear.weight` first"), "{said}");
    std::fs::write(place.path("a.lmv"), "model(x : [4]) { x >> gelu }\n").expect("a spec");
    assert_eq!(place.succeeds(&infer), "");
}

#[test]
fn programs_get_an_object_for_what_happens() {
    let place = Place::new(SPEC);
    let output = place.lmvc(&["train", "a.lmv", "--message-format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let objects: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let events: Vec<_> = objects.iter().map(|object| object["event"].as_str().expect("its name")).collect();
    assert_eq!(events, ["run", "started", "epoch", "epoch", "epoch", "done"]);
    assert_eq!((&objects[0]["folder"], &objects[1]["left_out"]), (&"runs/a-1".into(), &0.into()));
    let written = metrics(&place.path("runs/a-1"), "epoch");
    for (object, line) in objects[2..5].iter().zip(&written) {
        assert_eq!((&object["epoch"], &object["train_loss"]), (&line["epoch"], &line["train_loss"]));
        assert_eq!(object["metrics"]["top1"], line["val_top1"]);
    }
    assert_eq!((&objects[5]["whole"], &objects[5]["metrics"]), (&true.into(), &objects[4]["metrics"]));
    let output = place.lmvc(&["eval", "a.lmv", "--checkpoint", "runs/a-1", "--message-format", "json"]);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!((&object["samples"], &object["left_out"]), (&64.into(), &0.into()));
}
