//! Runs from outside: training to a run folder, measuring it again, going on after a kill, and what is said when data,
//! weights or disk are not as they should be. Everything is drawn or written here; nothing is measured in time.

mod data;
mod folder;
mod going_on;
#[path = "../place/mod.rs"]
mod place;
mod weights;

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
