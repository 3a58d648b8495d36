//! `lmvc bench` from outside: what it measures, what it says of what is not here. No time is held against anything.

mod place;

use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use place::Place;
use serde_json::Value;

/// Everything that can be measured without a file: drawn data, a block that comes with lmvc.
const SPEC: &str = "model = vit(image = 16, patch = 8, d = 32, depth = 1, heads = 2)
     >> linear(32, 96) >> frozen(tiny_lm.layer[3]) >> linear(96, 32) >> head
data  = shapes(image = 16, classes = 4, train = 48, val = 16)
train = one_cycle(epochs = 1, batch = 16)
variant alone { model = vit(image = 16, patch = 8, d = 32, depth = 1, heads = 2) >> head }
variant loud {
  model = vit(image = 16, patch = 8, d = 32, depth = 1, heads = 2) >> mean_tokens >> scale(1000.0) >> linear(32, 4)
}
";

fn lmvc(place: &Place, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
    command.current_dir(place.folder.path()).arg("bench").args(arguments).args(["--device", "cpu"]);
    command.stdin(Stdio::null()).output().expect("lmvc starts")
}

fn measured(place: &Place, arguments: &[&str]) -> Value {
    let output = lmvc(place, &[arguments, &["--json", "--repeats", "3", "--batch", "4"]].concat());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{message}");
    serde_json::from_slice(&output.stdout).expect("one object")
}

fn parts(object: &Value) -> Vec<&str> {
    object["parts"].as_array().expect("parts").iter().filter_map(|part| part["part"].as_str()).collect()
}

#[test]
fn every_part_is_measured_with_its_spread_and_its_share() {
    let place = Place::new(SPEC);
    let object = measured(&place, &["a.lmv"]);
    assert_eq!(parts(&object), ["weights", "data", "forward", "train"]);
    assert_eq!(
        (&object["left_out"], &object["notes"]),
        (&Value::from(Vec::<Value>::new()), &Value::from(Vec::<Value>::new()))
    );
    assert_eq!(
        (object["batch"].as_u64(), object["precision"].as_str(), object["repeats"].as_u64()),
        (Some(4), Some("f32"), Some(3))
    );
    for part in object["parts"].as_array().expect("parts") {
        let mut seconds: Vec<f64> =
            part["seconds"].as_array().expect("runs").iter().filter_map(Value::as_f64).collect();
        assert!(seconds.len() == 3 && seconds.iter().all(|second| *second > 0.0), "{part}");
        seconds.sort_by(f64::total_cmp);
        let said =
            ["fastest_seconds", "median_seconds", "slowest_seconds"].map(|name| part[name].as_f64().expect("a time"));
        assert_eq!(said.as_slice(), seconds, "{part}");
        if cfg!(target_os = "linux") {
            assert!(part["peak_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{part}");
        }
    }
    let [weights, data, forward, train] = object["parts"].as_array().expect("parts").as_slice() else { panic!("four") };
    // What the block reads, and the parameters that start at random: f32 where they are trained.
    assert!(weights["bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{weights}");
    assert_eq!((data["samples"].as_u64(), forward["samples"].as_u64()), (Some(16 * 4), Some(4)));
    // Backward, each product is taken once more for its input, and for its weight where that is trained.
    let [forward, train] = [forward, train].map(|part| part["flops"].as_f64().expect("counted"));
    assert!(forward > 0.0 && train > 1.5 * forward && train <= 3.0 * forward, "{forward} {train}");
    assert!(object["machine"]["flops_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    assert_eq!(object["machine"]["product"][0], 20, "4 samples of 5 tokens: {}", object["machine"]);
}

#[test]
fn a_part_or_a_variant_is_measured_alone() {
    let place = Place::new(SPEC);
    assert_eq!(parts(&measured(&place, &["a.lmv", "--only", "forward"])), ["forward"]);
    let object = measured(&place, &["a.lmv", "--variant", "alone", "--only", "train,weights", "--precision", "bf16"]);
    assert_eq!(parts(&object), ["train"]);
    assert_eq!(object["left_out"][0]["reason"], "the spec names no weights");
    assert_eq!(object["precision"], "bf16");
    let output = lmvc(&place, &["a.lmv", "--variant", "alone", "--only", "weights"]);
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.ends_with("not measured: loading weights, since the spec names no weights\n"), "{page}");
    assert!(!page.contains("fastest"), "no table of nothing: {page}");
}

#[test]
fn a_step_in_f16_scales_its_loss_as_training_does() {
    let place = Place::new(SPEC);
    let notes = |precision: &str, variant: &str| -> Vec<String> {
        let object = measured(&place, &["a.lmv", "--variant", variant, "--only", "train", "--precision", precision]);
        serde_json::from_value(object["notes"].clone()).expect("texts")
    };
    let scale = |variant: &str| -> u32 {
        let notes = notes("f16", variant);
        let [note] = &notes[..] else { panic!("one note: {notes:?}") };
        let scale = note.strip_prefix("the loss was multiplied by ").and_then(|rest| rest.split_once(','));
        scale.and_then(|(scale, _)| scale.parse().ok()).expect("a scale")
    };
    // It begins at 65,536, and is halved while a gradient is not finite: f16 ends at 65,504, and a gradient of the last
    // weight is some 100 where what it is multiplied with is a thousand.
    let (quiet, loud) = (scale("alone"), scale("loud"));
    assert!(quiet.is_power_of_two() && quiet <= 65_536 && loud.is_power_of_two(), "{quiet} {loud}");
    assert!((2..=4096).contains(&loud) && loud < quiet, "{quiet} {loud}");
    assert!(notes("bf16", "loud").is_empty(), "bf16 has the range of f32");
}

#[test]
fn samples_are_those_that_were_made() {
    let place = Place::new(SPEC);
    let output = lmvc(&place, &["a.lmv", "--only", "data", "--json", "--repeats", "1", "--batch", "500"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    // 48 of each of four kinds.
    assert_eq!((&object["parts"][0]["samples"], &object["parts"][0]["batches"]), (&192.into(), &1.into()), "{object}");
    assert_eq!(object["notes"][0], "a batch of the data has 192 samples: there are no more");
}

#[test]
fn what_is_not_here_is_drawn_and_told() {
    let spec = "llm small = llama(dim = 32, heads = 4, ffn = 64, layers = 2)
        model = vit(image = 16, patch = 8, d = 32, depth = 1, heads = 2) >> frozen(small.layer[1]) >> head
        data  = image_folder(root = path(\"mine\"), image = 16, classes = 3)
        train = one_cycle(epochs = 1, batch = 4)";
    let place = Place::new(spec);
    let object = measured(&place, &["a.lmv", "--frozen-as", "bf16"]);
    assert_eq!(parts(&object), ["forward", "train"]);
    let reasons: Vec<&str> =
        object["left_out"].as_array().expect("a list").iter().filter_map(|left| left["reason"].as_str()).collect();
    assert_eq!(
        reasons,
        [
            "nothing says where `mine` is: `--path mine=DIR` does",
            "nothing says where `small` is: `--weights small=DIR` does"
        ]
    );
    let notes: Vec<&str> = object["notes"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(
        notes,
        [
            "nothing says where `small` is, so its weights were drawn at random, as f32",
            "frozen weights of linear layers were made bf16",
            "the batch is of random numbers",
        ]
    );
    // A place that is said and wrong is a mistake, and is told as one.
    let output = lmvc(&place, &["a.lmv", "--weights", &format!("small={}", place.path("nowhere").display())]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && message.contains("gives it for `small`"), "{message}");
}

#[test]
fn a_model_of_lengths_that_vary_needs_no_recipe() {
    let spec = "model(x : [T?, 96]) { x >> frozen(tiny_lm.layer[0]) >> mean_tokens >> linear(96, 3) }";
    let place = Place::new(spec);
    let object = measured(&place, &["a.lmv", "--length", "10"]);
    assert_eq!(parts(&object), ["weights", "forward"]);
    assert_eq!(object["machine"]["product"][1], 96);
    let output = lmvc(&place, &["a.lmv", "--repeats", "1", "--length", "7"]);
    assert_eq!(output.status.code(), Some(0));
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    for said in [
        "a.lmv\n  batches of 8, f32, cpu",
        "1 run each",
        "loading weights",
        "forward",
        "samples/s",
        "the machine: ",
        "not measured: training step, since the spec has no recipe to train by",
        "note: the batch is of random numbers",
    ] {
        assert!(page.contains(said), "`{said}` in: {page}");
    }
}

/// What `lmvc show` reckons is within 15 % of what a step was measured to take: a model whose streams are most of it, one
/// whose weights are, one with next to nothing beside the process itself, and clouds of points with a block.
#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_a_step_is_known_before_it_runs() {
    let spec = "use data.points { modelnet10 }
use points.point_bert { point_bert, head as cloud_head }
use training.point_bert { point_bert_finetuning }
llm large = llama(dim = 1024, heads = 8, ffn = 2816, layers = 1)
llm small = llama(dim = 64, heads = 8, kv_heads = 4, ffn = 172, layers = 1)
model = vit(image = 64, patch = 4, d = 96, depth = 4, heads = 2) >> head
data  = shapes(image = 64, classes = 4, train = 64, val = 4)
train = one_cycle
variant wide {
  model = vit(image = 64, patch = 16, d = 96, depth = 1, heads = 2)
       >> linear(96, 1024) >> random(trainable(large.layer[0])) >> linear(1024, 96) >> head
}
variant least { model = vit(image = 64, patch = 32, d = 16, depth = 1, heads = 2) >> head }
variant clouds {
  data  = modelnet10(count = 1024)
  model = point_bert(groups = 32, size = 8, d = 96, depth = 4, heads = 3)
       >> linear(96, 64) >> frozen(small.layer[0]) >> linear(64, 96) >> cloud_head
  train = point_bert_finetuning(batch = 8)
}
";
    let place = Place::new(spec);
    for (variant, batch) in [
        (&[][..], "40"),
        (&["--variant", "wide"], "16"),
        (&["--variant", "least"], "1"),
        (&["--variant", "clouds"], "8"),
    ] {
        let arguments = [&["a.lmv", "--only", "train", "--json", "--repeats", "1", "--batch", batch], variant].concat();
        let output = lmvc(&place, &arguments);
        let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
        let measured = object["parts"][0]["peak_bytes"].as_f64().expect("Linux tells");
        let mut show = Command::cargo_bin("lmvc").expect("the binary of this package");
        show.current_dir(place.folder.path())
            .args(["show", "a.lmv", "--format", "json", "--batch", batch])
            .args(variant);
        let shown: Value = serde_json::from_slice(&show.output().expect("lmvc starts").stdout).expect("JSON");
        let reckoned = shown["memory"]["peak"].as_f64().expect("reckoned");
        assert!((reckoned / measured - 1.0).abs() < 0.15, "{variant:?}: {reckoned} reckoned, {measured} measured");
    }
}

#[test]
fn what_surely_has_no_room_is_told_before_it_begins() {
    let place = Place::new(SPEC);
    let mut train = Command::cargo_bin("lmvc").expect("the binary of this package");
    train.current_dir(place.folder.path()).args(["train", "a.lmv", "--device", "cpu", "--batch", "1000000000"]);
    let output = train.output().expect("lmvc starts");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if cfg!(target_os = "linux") {
        assert_eq!(output.status.code(), Some(3), "{message}");
        for said in
            ["error: a step of training holds ", " are free", "`--micro-batch ", "`--batch ", "or end other programs"]
        {
            assert!(message.contains(said), "`{said}` in: {message}");
        }
        assert!(!place.path("runs").exists(), "no folder says that a run began");
    }
}
