//! Runs from outside: training to a run folder, measuring it again, going on after a kill, and what is said when data,
//! weights or disk are not as they should be. Everything is drawn or written here; nothing is measured in time.

mod place;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt;
use place::Place;

/// A spec that trains in well under a second and uses everything random that there is, and statistics that steps keep.
const SPEC: &str = "llm small = llama(dim = 48, heads = 4, ffn = 96, layers = 1)
model = vit(image = 16, patch = 4, d = 32, depth = 2, heads = 2, drop_path = 0.2)
     >> linear(32, 48, bias = false) >> frozen(random(small.layer[0])) >> linear(48, 32, bias = false)
     >> batch_norm(32) >> head
data  = shapes(image = 16, classes = 4, train = 48, val = 16)
train = mine()
eval  = [top1]
recipe mine(epochs = 3, batch = 16) {
  loss      = cross_entropy(smoothing = 0.1)
  optimizer = adamw(1e-3) with { no_decay: [rank(1), position, class_token] }
  schedule  = cosine(epochs, warmup = 1)
  augment   = [random_crop(16, padding = 2), horizontal_flip]
  mix       = mixup(0.8) or cutmix(1.0)
  ema       = 0.9
  clip      = 1.0
}
";

/// A spec on a folder of images, with `classes` classes of 16 × 16 pixels.
fn on_folder(classes: usize) -> String {
    format!(
        "model = vit(image = 16, patch = 8, d = 16, depth = 1, heads = 2) >> head
data  = image_folder(root = path(\"mine\"), image = 16, classes = {classes})
train = mine()
eval  = [top1]
recipe mine(epochs = 1, batch = 4) {{
  loss         = cross_entropy
  optimizer    = adamw(1e-3)
  schedule     = constant
  augment      = [random_resized_crop(16)]
  eval_augment = [resize(16), center_crop(16)]
}}
"
    )
}

impl Place {
    /// A copy of the golden checkpoint of a LLaMA, in a folder of this name.
    fn golden_llama(&self, name: &str) -> PathBuf {
        self.golden("llama_hf", name)
    }

    /// A copy of a golden checkpoint, in a folder of this name.
    fn golden(&self, checkpoint: &str, name: &str) -> PathBuf {
        let to = self.path(name);
        std::fs::create_dir_all(&to).expect("a folder");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tests/golden").join(checkpoint);
        for file in std::fs::read_dir(golden).expect("golden files") {
            let file = file.expect("a file").path();
            std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a copy");
        }
        to
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
        command.current_dir(self.folder.path()).args(arguments).args(["--device", "cpu"]).stdin(Stdio::null());
        command
    }

    fn lmvc(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("lmvc starts")
    }

    /// Runs a command that must fail while running, with one message that holds all of `said`.
    fn fails(&self, arguments: &[&str], said: &[&str]) {
        failed(&self.lmvc(arguments), said);
    }

    /// The same where no file can grow beyond 64 blocks, of 512 bytes or 1024 as the shell has it: writing on fails, as it
    /// does on a full disk.
    #[cfg(target_os = "linux")]
    fn fails_without_room(&self, arguments: &[&str], said: &[&str]) {
        let lmvc = self.command(arguments);
        let output = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
            .arg(lmvc.get_program())
            .args(lmvc.get_args())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("the shell starts");
        failed(&output, said);
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.lmvc(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{message}");
        format!("{}{message}", String::from_utf8_lossy(&output.stdout))
    }
}

/// That a command failed while running, with one message that holds all of `said`.
fn failed(output: &Output, said: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert_eq!(message.matches("error:").count(), 1, "one message: {message}");
    assert!(!message.contains("fault of lmvc") && !message.contains("panicked"), "{message}");
    for part in said {
        assert!(message.contains(part), "`{part}` in: {message}");
    }
}

/// The lines of a run's metrics of one kind.
fn metrics(run: &Path, kind: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    lines.filter(|line| line["kind"] == kind).collect()
}

/// Every file under a folder, with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files.extend(contents(&path)),
            false => files.push((path.clone(), std::fs::read(&path).expect("a file"))),
        }
    }
    files.sort();
    files
}

/// What must be the same, bit for bit, however a run came to its end.
fn remains(run: &Path) -> Vec<Vec<u8>> {
    ["metrics.jsonl", "checkpoints/last/model.safetensors", "checkpoints/last/optimizer.safetensors"]
        .into_iter()
        .chain(["checkpoints/last/ema.safetensors", "checkpoints/best/model.safetensors"])
        .map(|name| std::fs::read(run.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")))
        .collect()
}

/// A picture of one colour in a file of the format that its name says.
fn picture(path: &Path, shade: u8) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("its folder");
    image::RgbImage::from_fn(20, 18, |x, y| image::Rgb([shade, (x * 9) as u8, (y * 11) as u8]))
        .save(path)
        .expect("a picture");
}

/// A folder with so many classes of four pictures in each split.
fn pictures(root: &Path, classes: usize) {
    for split in ["train", "val"] {
        for class in 0..classes {
            for number in 0..4u8 {
                picture(&root.join(format!("{split}/class{class}/{number}.png")), 60 * class as u8 + number);
            }
        }
    }
}

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

/// What becomes of a run in half precision whose weights are changed under it, once it has done some steps.
#[cfg(target_os = "linux")]
fn under_a_run(change: impl Fn(&Path)) -> String {
    let spec = "llm other = llama(dim = 32, heads = 4, kv_heads = 2, ffn = 96, layers = 2)
model = vit(image = 16, patch = 4, d = 32, depth = 1, heads = 2) >> frozen(other.layer[0]) >> head
data  = shapes(image = 16, classes = 4, train = 48, val = 16)
train = one_cycle(epochs = 4000, batch = 16)
eval  = [top1]
";
    let place = Place::new(spec);
    let weights = place.golden("llama_hf_gqa_bf16", "w");
    let arguments = ["train", "a.lmv", "--weights", "other=w", "--checkpoint-steps", "5"];
    let child = place.command(&arguments).stderr(Stdio::piped()).spawn().expect("lmvc starts");
    for _ in 0..6000 {
        let lines = std::fs::read(place.path("runs/a-1/metrics.jsonl")).unwrap_or_default();
        if lines.iter().filter(|&&byte| byte == b'\n').count() >= 8 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for file in std::fs::read_dir(weights).expect("its files") {
        change(&file.expect("a file").path());
    }
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(place.path("runs/a-1/checkpoints/last").exists(), "what was saved before is there: {said}");
    said
}

#[test]
fn a_run_that_is_measured_with_other_frozen_weights_says_so() {
    let spec = "llm other = llama(dim = 32, heads = 4, kv_heads = 2, ffn = 96, layers = 2)
model = vit(image = 16, patch = 4, d = 32, depth = 1, heads = 2) >> frozen(other.layer[0]) >> head
data  = shapes(image = 16, classes = 4, train = 8, val = 4)
train = one_cycle(epochs = 1, batch = 16)
eval  = [top1]
";
    let place = Place::new(spec);
    let weights = place.golden("llama_hf_gqa_bf16", "w");
    place.succeeds(&["train", "a.lmv", "--weights", "other=w"]);
    let eval = ["eval", "a.lmv", "--checkpoint", "runs/a-1", "--weights", "other=w"];
    let said = place.succeeds(&eval);
    assert!(!said.contains("warning"), "{said}");
    // The last byte of the first shard that has the block.
    for (path, mut bytes) in
        contents(&weights).into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "safetensors"))
    {
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        std::fs::write(path, bytes).expect("a shard");
    }
    let said = place.succeeds(&eval);
    assert!(said.contains("the weights `other` are not those that the run was trained with"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn weights_that_are_cut_short_under_a_run_end_it_with_a_message() {
    // The next thing that the run does with the file is to read it, which the kernel forbids, or to ask whether it is as it
    // was. Which of them comes first is chance, and so this is tried more than once.
    let read = |_: usize| {
        let said = under_a_run(|file| {
            std::fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(0)).expect("an empty file");
        });
        let (read, asked) = (said.contains(".safetensors: became shorter"), said.contains("was written to while"));
        assert!(said.contains("error: ") && (read || asked), "{said}");
        assert!(!read || said.contains("lmvc train --resume"), "{said}");
        read
    };
    assert!((0..20).any(read), "it was never read first");
}

#[cfg(target_os = "linux")]
#[test]
fn weights_that_are_written_to_under_a_run_end_it_before_anything_is_saved() {
    let said = under_a_run(|file| {
        let mut bytes = std::fs::read(file).expect("its bytes");
        bytes.iter_mut().rev().take(64).for_each(|byte| *byte = 0);
        let open = std::fs::OpenOptions::new().write(true).open(file);
        open.and_then(|mut file| std::io::Write::write_all(&mut file, &bytes)).expect("other bytes");
    });
    assert!(said.contains("was written to while its weights were in use") && said.contains(".safetensors"), "{said}");
}

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
fn weights_that_do_not_fit_are_told() {
    let spec = "llm toy = llama(dim = 32, heads = 4, ffn = 96, layers = 2)
model = vit(image = 16, patch = 8, d = 16, depth = 1, heads = 2) >> linear(16, 32) >> frozen(toy.layer[1])
     >> linear(32, 16) >> head
data = shapes(image = 16, classes = 2, train = 8, val = 4)
train = one_cycle(epochs = 1, batch = 4)
eval = [top1]
";
    let place = Place::new(spec);
    let copy = |name: &str| place.golden_llama(name);
    place.fails(&["train", "a.lmv"], &["toy", "--weights toy=", "LMV_WEIGHTS_TOY"]);
    let good = copy("good");
    place.succeeds(&["train", "a.lmv", "--weights", &format!("toy={}", good.display())]);

    // Every shard cut in half, one that is missing, one whose header claims more than the file has.
    let shards = |folder: &Path| -> Vec<PathBuf> {
        let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
        files.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect()
    };
    let cut = copy("cut");
    for shard in shards(&cut) {
        let bytes = std::fs::read(&shard).expect("a shard");
        std::fs::write(&shard, &bytes[..bytes.len() / 2]).expect("half of it");
    }
    place.fails(&["train", "a.lmv", "--weights", "toy=cut"], &["cut/model-0000", ".safetensors"]);
    // The block lies in two of the three shards; the other one is not missed.
    let mut missed = 0;
    for (number, name) in shards(&good).iter().filter_map(|shard| shard.file_name()?.to_str()).enumerate() {
        let folder = format!("gone{number}");
        std::fs::remove_file(copy(&folder).join(name)).expect("a shard");
        let train = ["train", "a.lmv", "--weights", &format!("toy={folder}")];
        if place.lmvc(&train).status.code() != Some(0) {
            place.fails(&train, &[&format!("{folder}/{name}")]);
            missed += 1;
        }
    }
    assert_eq!(missed, 2);
    let claims = copy("claims");
    for shard in shards(&claims) {
        let mut bytes = std::fs::read(&shard).expect("a shard");
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        std::fs::write(&shard, bytes).expect("a shard");
    }
    place.fails(&["train", "a.lmv", "--weights", "toy=claims"], &["claims/model-0000", "header"]);

    // Another size than the spec says, in the config and in the tensors themselves.
    let wide = Place::new(&spec.replace("ffn = 96", "ffn = 128"));
    wide.fails(&["train", "a.lmv", "--weights", &format!("toy={}", good.display())], &["ffn = 128", "96"]);
    let config = std::fs::read_to_string(good.join("config.json")).expect("a config");
    let lying = copy("lying");
    std::fs::write(lying.join("config.json"), config.replace("96", "128")).expect("a config");
    wide.fails(&["train", "a.lmv", "--weights", &format!("toy={}", lying.display())], &["[128, 32]", "[96, 32]"]);
}

/// A spec with a frozen block of a checkpoint like runtime/tests/golden/llama_hf.
const ON_BLOCK: &str = "llm toy = llama(dim = 32, heads = 4, ffn = 96, layers = 2)
model = vit(image = 16, patch = 8, d = 16, depth = 1, heads = 2) >> linear(16, 32) >> frozen(toy.layer[1])
     >> linear(32, 16) >> head
data = shapes(image = 16, classes = 2, train = 8, val = 4)
train = one_cycle(epochs = 1, batch = 4)
eval = [top1]
";

#[test]
fn damaged_weights_are_told_by_file_and_tensor() {
    let place = Place::new(ON_BLOCK);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tests/golden");
    let copy = |name: &str| place.golden_llama(name);
    let train = |folder: &str, said: &[&str]| {
        place.fails(&["train", "a.lmv", "--weights", &format!("toy={folder}")], said);
    };
    // The headers of all shards, each changed in its own way.
    let headers = |name: &str, change: &dyn Fn(&str) -> String| {
        for file in std::fs::read_dir(copy(name)).expect("a folder").map(|file| file.expect("a file").path()) {
            if file.extension().is_some_and(|extension| extension == "safetensors") {
                let bytes = std::fs::read(&file).expect("a shard");
                let end = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
                let header = change(std::str::from_utf8(&bytes[8..end]).expect("text"));
                let changed = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[end..]].concat();
                std::fs::write(&file, changed).expect("a shard");
            }
        }
    };
    type Entries = Vec<(String, serde_json::Value)>;
    let entries = |header: &str, change: &dyn Fn(&mut Entries)| {
        let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(header).expect("a header");
        let mut entries: Entries = map.into_iter().filter(|(name, _)| name != "__metadata__").collect();
        change(&mut entries);
        let entries: Vec<String> = entries.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", entries.join(","))
    };
    headers("twice", &|header| entries(header, &|all| all.push(all[0].clone())));
    train("twice", &["twice/model-0000", "tensor `", "stands in the header twice"]);
    headers("overlapping", &|header| {
        entries(header, &|all| {
            let (begin, end) = (&all[0].1["data_offsets"][0], &all[0].1["data_offsets"][1]);
            let other = serde_json::json!({"dtype": "U8", "shape": [end.as_u64().expect("a place") - begin.as_u64().expect("a place")], "data_offsets": [begin, end]});
            all.push(("more".into(), other));
        })
    });
    train("overlapping", &["overlapping/model-0000", "`more`", "overlap"]);
    headers("beyond", &|header| {
        entries(header, &|all| {
            all[0].1["data_offsets"] = serde_json::json!([1_u64 << 40, (1_u64 << 40) + 4]);
        })
    });
    train("beyond", &["beyond/model-0000", "tensor `", "of the data, and the file holds"]);
    headers("huge", &|header| {
        entries(header, &|all| {
            all[0].1["shape"] = serde_json::json!([1_u64 << 40, 1_u64 << 40]);
        })
    });
    train("huge", &["huge/model-0000", "tensor `", "1099511627776"]);
    headers("flipped", &|header| header.replacen(':', ";", 1));
    train("flipped", &["flipped/model-0000", "header is not as the format has it"]);

    // One shard in the place of all others; a config that lies about heads.
    let shards = copy("swapped");
    for number in 1..=2 {
        let name = |number| shards.join(format!("model-0000{number}-of-00003.safetensors"));
        std::fs::copy(name(3), name(number)).expect("a copy");
    }
    train("swapped", &["swapped/model-0000", "holds no tensor `model.layers.1.", "the index says that it does"]);
    let lying = copy("lying").join("config.json");
    let config = std::fs::read_to_string(&lying).expect("a config");
    std::fs::write(&lying, config.replace("\"num_attention_heads\": 4", "\"num_attention_heads\": 8"))
        .expect("a config");
    train("lying", &["lying/config.json", "heads = 4", "says 8 (num_attention_heads)"]);

    // PyTorch's formats, cut short.
    for name in ["deit_old.pth", "deit_new.pth", "clip.pt"] {
        let bytes = std::fs::read(golden.join("checkpoints").join(name)).expect("a golden file");
        std::fs::write(place.path(name), &bytes[..bytes.len() * 2 / 3]).expect("a file");
        train(name, &[name, "is cut short", "download or copy the file again"]);
    }
}

#[test]
fn code_in_a_pickle_is_never_run() {
    let place = Place::new(SPEC);
    // A `.pth` whose pickle asks for `os.system("touch ran")`, in the zip that torch.save writes.
    let pickle = b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch ran\x85R.";
    let file = std::fs::File::create(place.path("evil.pth")).expect("a file");
    let mut zip = zip::ZipWriter::new(file);
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("archive/data.pkl", &pickle[..]), ("archive/version", b"3\n")] {
        zip.start_file(name, stored).expect("an entry");
        std::io::Write::write_all(&mut zip, bytes).expect("its bytes");
    }
    zip.finish().expect("a zip");
    place.fails(&["eval", "a.lmv", "--checkpoint", "evil.pth"], &["evil.pth", "system"]);
    assert!(!place.path("ran").exists());
}

#[test]
fn a_resumed_run_refuses_what_has_changed() {
    let place = Place::new(SPEC);
    place.succeeds(&["train", "a.lmv", "--epochs", "1"]);
    let spec = place.path("runs/a-1/spec.lmv");
    std::fs::write(&spec, SPEC.replace("drop_path = 0.2", "drop_path = 0.1")).expect("a spec");
    place.fails(&["train", "--resume", "runs/a-1"], &["has changed", "the spec was"]);
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
