//! Weights from outside: from a name in a spec to a file, by everything that can say where it is; and the lock beside the
//! spec, which says what was in it. Checkpoints are written here, small and by hand; the Hugging Face cache is a folder.

mod place;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use place::Place;
use serde_json::{Value, json};

/// The name is one that the library has a repository for; the sizes are the spec's own.
const SPEC: &str = "llm llama7b = llama(dim = 8, heads = 2, ffn = 12, layers = 3, eps = 1e-5)
model(x : [T?, 8]) { x >> frozen(llama7b.layer[1]) }
";

/// Its block between two trained parts, on a folder of images.
const TRAINED: &str = "llm llama7b = llama(dim = 8, heads = 2, ffn = 12, layers = 3, eps = 1e-5)
model = vit(image = 16, patch = 8, d = 8, depth = 1, heads = 2) >> frozen(llama7b.layer[1]) >> head
data  = image_folder(root = path(\"mine\"), image = 16, classes = 2)
train = mine()
eval  = [top1]
recipe mine(epochs = 1, batch = 2) {
  loss         = cross_entropy
  optimizer    = adamw(1e-3)
  schedule     = constant
  augment      = [random_resized_crop(16)]
  eval_augment = [resize(16), center_crop(16)]
}
";

/// The tensors of a block by Hugging Face's names, with their shapes.
const BLOCK: [(&str, &[usize]); 9] = [
    ("input_layernorm.weight", &[8]),
    ("post_attention_layernorm.weight", &[8]),
    ("self_attn.q_proj.weight", &[8, 8]),
    ("self_attn.k_proj.weight", &[8, 8]),
    ("self_attn.v_proj.weight", &[8, 8]),
    ("self_attn.o_proj.weight", &[8, 8]),
    ("mlp.gate_proj.weight", &[12, 8]),
    ("mlp.up_proj.weight", &[12, 8]),
    ("mlp.down_proj.weight", &[8, 12]),
];

struct Tensor {
    name: String,
    shape: Vec<usize>,
    numbers: Vec<f32>,
}

/// The tensors of blocks.
fn blocks(layers: std::ops::Range<usize>) -> Vec<Tensor> {
    let all = layers.flat_map(|layer| BLOCK.iter().map(move |(local, shape)| (layer, local, shape)));
    all.enumerate()
        .map(|(at, (layer, local, shape))| Tensor {
            name: format!("model.layers.{layer}.{local}"),
            shape: shape.to_vec(),
            numbers: (0..shape.iter().product::<usize>())
                .map(|i| ((i * 7 + at * 3) % 13) as f32 / 13.0 - 0.4)
                .collect(),
        })
        .collect()
}

/// A safetensors file.
fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut bytes) = (serde_json::Map::new(), Vec::new());
    for tensor in tensors {
        let begin = bytes.len();
        bytes.extend(tensor.numbers.iter().flat_map(|number| number.to_le_bytes()));
        header.insert(
            tensor.name.clone(),
            json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, bytes.len()] }),
        );
    }
    let header = Value::from(header).to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &bytes].concat()
}

const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3,
    "intermediate_size": 12, "rms_norm_eps": 1e-5}"#;

impl Place {
    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a folder as Hugging Face has it.
    fn checkpoint(&self, name: &str, tensors: &[Tensor]) {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("config.json"), CONFIG).expect("a config");
        std::fs::write(folder.join("model.safetensors"), safetensors(tensors)).expect("weights");
    }

    /// Writes a repository into the cache, as it lies there: links in a snapshot, to blobs.
    #[cfg(unix)]
    fn cached(&self, repository: &str, tensors: &[Tensor]) -> PathBuf {
        let place = self.path(&format!("hub/models--{}", repository.replace('/', "--")));
        for below in ["refs", "blobs", "snapshots/c0ffee"] {
            std::fs::create_dir_all(place.join(below)).expect("a folder of the cache");
        }
        std::fs::write(place.join("refs/main"), "c0ffee").expect("a ref");
        let weights = safetensors(tensors);
        for (file, blob, bytes) in
            [("config.json", "c1", CONFIG.as_bytes()), ("model.safetensors", "b1", weights.as_slice())]
        {
            std::fs::write(place.join("blobs").join(blob), bytes).expect("a blob");
            std::os::unix::fs::symlink(format!("../../blobs/{blob}"), place.join("snapshots/c0ffee").join(file))
                .expect("a link");
        }
        place.join("snapshots/c0ffee")
    }

    /// Writes what the model of `SPEC` takes.
    fn input(&self) {
        let header = json!({
            "x": { "dtype": "F32", "shape": [1, 3, 8], "data_offsets": [0, 96] },
            "x.mask": { "dtype": "U8", "shape": [1, 3], "data_offsets": [96, 99] },
        })
        .to_string();
        let numbers: Vec<u8> = (0..24).flat_map(|i| (i as f32 / 24.0).to_le_bytes()).collect();
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers, &[1, 1, 1]].concat();
        std::fs::write(self.path("in.safetensors"), file).expect("an input");
    }

    fn lmvc_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        // What the machine of the test has must not be found.
        for variable in ["HF_HOME", "LMV_WEIGHTS_LLAMA7B", "HF_ENDPOINT", "HF_TOKEN"] {
            command.env_remove(variable);
        }
        command.env("HF_HUB_CACHE", self.path("hub")).envs(variables.iter().copied());
        command.output().expect("lmvc starts")
    }

    fn lmvc(&self, arguments: &[&str]) -> Output {
        self.lmvc_with(arguments, &[])
    }

    /// Runs a command that must end by `code`; gives what it said.
    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        said(&self.lmvc(arguments), code)
    }

    fn listed(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
        let arguments = [&["weights", "list", "a.lmv", "--message-format", "json"], arguments].concat();
        let output = self.lmvc_with(&arguments, variables);
        let text = said(&output, 0);
        serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn said(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains("fault of lmvc") && !text.contains("panicked"), "{text}");
    text
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` in: {text}");
    }
}

/// Changes one number of a tensor in a file of weights.
fn change(file: &Path, tensors: &[Tensor], name: &str) {
    let at = tensors.iter().position(|tensor| tensor.name == name).expect("a tensor");
    let before: usize = tensors[..at].iter().map(|tensor| tensor.numbers.len() * 4).sum();
    let all: usize = tensors.iter().map(|tensor| tensor.numbers.len() * 4).sum();
    let mut bytes = std::fs::read(file).expect("weights");
    let begin = bytes.len() - all + before;
    bytes[begin] ^= 1;
    std::fs::write(file, bytes).expect("weights");
}

#[test]
#[cfg(unix)]
fn weights_are_found_in_the_cache_where_nothing_says_where_they_are() {
    let place = Place::new(SPEC);
    let listed = place.listed(&[], &[]);
    assert_eq!(listed["found"], false);
    holds(
        listed["wrong"].as_str().expect("why"),
        &["nothing says where the weights of `llama7b` are", "has no huggyllama/llama-7b", "--weights llama7b="],
    );
    let snapshot = place.cached("huggyllama/llama-7b", &blocks(0..3));
    let listed = place.listed(&[], &[]);
    assert_eq!(listed["by"], "hugging face cache");
    assert_eq!(listed["place"].as_str().map(Path::new), Some(snapshot.as_path()));
    assert_eq!(listed["of"], "block 1");
    assert_eq!(listed["dtypes"], json!(["F32"]));
    assert_eq!(listed["bytes_read"], 4 * (2 * 8 + 4 * 64 + 3 * 96));
    let size = std::fs::metadata(snapshot.join("model.safetensors")).expect("weights").len();
    assert_eq!(listed["bytes_on_disk"], size);
    let text = place.ends(0, &["weights", "list", "a.lmv"]);
    holds(
        &text,
        &["llama7b: block 1\n", "by the Hugging Face cache, as huggyllama/llama-7b\n", "9 tensors, F32, 2.2 KiB of"],
    );
    // It is not only found: the model runs by it.
    place.input();
    place.ends(0, &["infer", "a.lmv", "--input", "in.safetensors", "--output", "out.safetensors", "--device", "cpu"]);
    assert!(place.path("out.safetensors").exists());
}

#[test]
#[cfg(unix)]
fn whoever_says_where_they_are_goes_before_the_cache() {
    let place = Place::new(SPEC);
    place.cached("huggyllama/llama-7b", &blocks(0..3));
    place.cached("mine/other", &blocks(0..3));
    for name in ["by_toml", "by_variable", "by_flag"] {
        place.checkpoint(name, &blocks(0..3));
    }
    let by = |arguments: &[&str], variables: &[(&str, &str)]| {
        let listed = place.listed(arguments, variables);
        assert_eq!(listed["found"], true, "{listed}");
        (listed["by"].as_str().unwrap_or_default().to_owned(), listed["place"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(by(&[], &[]).0, "hugging face cache");
    std::fs::write(place.path("lmv.toml"), "[weights]\nllama7b = \"hf:mine/other@c0ffee\"\n").expect("writable");
    assert_eq!(by(&[], &[]), ("lmv.toml".into(), "hf:mine/other@c0ffee".into()));
    std::fs::write(place.path("lmv.toml"), "[weights]\nllama7b = \"by_toml\"\n").expect("writable");
    assert_eq!(by(&[], &[]).0, "lmv.toml");
    let variable = [("LMV_WEIGHTS_LLAMA7B", "by_variable")];
    assert_eq!(by(&[], &variable), ("environment".into(), "by_variable".into()));
    assert_eq!(by(&["--weights", "llama7b=by_flag"], &variable), ("command line".into(), "by_flag".into()));
    assert_eq!(by(&["--weights", "llama7b=hf:mine/other"], &variable).1, "hf:mine/other");
    let gone = place.listed(&["--weights", "llama7b=hf:mine/gone"], &[]);
    holds(
        gone["wrong"].as_str().expect("why"),
        &["has no `mine/gone`", "the command line gives it", "`lmvc weights add llama7b hf:mine/gone --download`"],
    );
}

#[test]
fn a_checkpoint_is_opened_before_it_is_added() {
    let place = Place::new(SPEC);
    place.checkpoint("weights/llama", &blocks(0..3));
    let before = "# mine\n[paths]\nimagenet = \"/data\" # here\n\n[weights]\nother = 'x'\n";
    std::fs::write(place.path("lmv.toml"), before).expect("writable");
    let text = place.ends(0, &["weights", "add", "llama7b", "weights/llama", "--for", "a.lmv"]);
    holds(
        &text,
        &["llama7b: 27 tensors in 1 file, F32, ", "a model of type llama", "lmv.toml says where: weights/llama"],
    );
    assert_eq!(place.text("lmv.toml"), format!("{before}llama7b = \"weights/llama\"\n"));
    assert_eq!(place.listed(&[], &[])["found"], true);
    // Another place takes its place, and what is no checkpoint, or not of this model, takes none.
    place.checkpoint("moved", &blocks(0..3));
    holds(&place.ends(0, &["weights", "add", "llama7b", "moved", "--for", "a.lmv"]), &["before it was weights/llama"]);
    let after = format!("{before}llama7b = \"moved\"\n");
    place.checkpoint("short", &blocks(0..1));
    holds(
        &place.ends(3, &["weights", "add", "llama7b", "short", "--for", "a.lmv"]),
        &["holds nothing of block 1", "its blocks are 0 to 0"],
    );
    holds(&place.ends(3, &["weights", "add", "llama7b", "gone"]), &["cannot be opened as a checkpoint"]);
    holds(
        &place.ends(3, &["weights", "add", "llama7b", "hf:mine/gone"]),
        &["the Hugging Face cache has no `mine/gone`", "`lmvc weights add llama7b hf:mine/gone --download` fetches it"],
    );
    holds(&place.ends(2, &["weights", "add", "llama7b", "hf:../gone"]), &["is no repository of Hugging Face"]);
    holds(&place.ends(2, &["weights", "add", "nobody"]), &["the library knows no repository", "`nobody`"]);
    holds(
        &place.ends(2, &["weights", "add", "nobody", "moved", "--for", "a.lmv"]),
        &["this spec has no weights `nobody`"],
    );
    // Without a spec it is held against the model that the library calls so.
    let text = place.ends(3, &["weights", "add", "llama13b", "moved"]);
    holds(&text, &["is of another model than `llama13b`", "dim = 5120", "the library's `llama13b`", "`--for SPEC`"]);
    // A damaged shard is told, whoever wants it.
    std::fs::create_dir(place.path("shards")).expect("a folder");
    std::fs::write(place.path("shards/one"), safetensors(&blocks(0..2))).expect("weights");
    std::fs::write(place.path("shards/two"), "not weights").expect("a file");
    let index = blocks(0..3).into_iter().map(|t| (t.name.clone(), if t.name.contains(".2.") { "two" } else { "one" }));
    let index = json!({ "weight_map": index.collect::<std::collections::BTreeMap<_, _>>() }).to_string();
    std::fs::write(place.path("shards/model.safetensors.index.json"), index).expect("an index");
    holds(&place.ends(3, &["weights", "add", "llama7b", "shards", "--for", "a.lmv"]), &["shards/two"]);
    assert_eq!(place.text("lmv.toml"), after);
}

#[test]
fn rotary_positions_count_where_a_use_has_them() {
    let spec = SPEC.replace("layer[1]", "layer[1](rope = true)");
    let place = Place::new(&spec);
    place.checkpoint("w", &blocks(0..3));
    let path = place.path("w/config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("readable")).expect("JSON");
    config["rope_theta"] = json!(500_000.0);
    std::fs::write(&path, config.to_string()).expect("writable");
    let add = ["weights", "add", "llama7b", "w", "--for", "a.lmv"];
    // What the spec does not say, the configuration does.
    place.ends(0, &add);
    let said = place.ends(0, &["weights", "lock", "a.lmv"]);
    holds(&said, &["the configuration beside the weights says llama7b.theta = 500000.0"]);
    std::fs::write(place.path("a.lmv"), spec.replace("eps = 1e-5", "eps = 1e-5, theta = 10000.0")).expect("writable");
    holds(&place.ends(3, &add), &["theta = 10000.0", "says 500000.0 (rope_theta)"]);
    config["rope_theta"] = json!(10_000.0);
    config["rope_scaling"] = json!({ "rope_type": "yarn", "factor": 2.0 });
    std::fs::write(&path, config.to_string()).expect("writable");
    holds(&place.ends(3, &add), &["positions are scaled (`yarn`)"]);
    std::fs::write(place.path("a.lmv"), SPEC).expect("writable");
    place.ends(0, &add);
}

#[test]
fn an_eps_that_the_spec_leaves_open_is_the_configuration_s_and_locked() {
    let spec = SPEC.replace(", eps = 1e-5", "");
    let place = Place::new(&spec);
    place.checkpoint("w", &blocks(0..3));
    std::fs::write(place.path("lmv.toml"), "[weights]\nllama7b = \"w\"\n").expect("writable");
    let said = place.ends(0, &["weights", "lock", "a.lmv"]);
    holds(&said, &["the configuration beside the weights says llama7b.eps = 1e-5", "hashes of 9 tensors"]);
    holds(&place.text("a.lock"), &["\"llama7b.eps\": \"1e-5\""]);
    place.ends(0, &["weights", "verify", "a.lmv"]);
    let config = place.text("w/config.json").replace("1e-5", "1e-3");
    std::fs::write(place.path("w/config.json"), config).expect("writable");
    let text = place.ends(3, &["weights", "verify", "a.lmv"]);
    holds(&text, &["9 tensors as a.lock has them", "llama7b: eps was 1e-5, and is 1e-3"]);
    // What a spec says itself is no setting of its lock.
    std::fs::write(place.path("a.lmv"), SPEC.replace("1e-5", "1e-3")).expect("writable");
    place.ends(0, &["weights", "lock", "a.lmv"]);
    assert!(!place.text("a.lock").contains("settings"), "{}", place.text("a.lock"));
}

#[test]
fn rows_in_meta_s_order_are_not_turned_as_others() {
    let tensors = |prefix: &str| {
        let names = ["attention.wq.weight", "attention.wk.weight"];
        names.map(|name| Tensor { name: format!("{prefix}{name}"), shape: vec![8, 8], numbers: vec![0.5; 64] })
    };
    let spec = |turned: &str| {
        format!(
            "layer rows : [T, 8] -> [T, 8] {{ linear(8, 8, bias = false) as wq{turned} >> linear(8, 8, bias = false) as wk }}
layer rows_of : [T, 8] -> [T, 8] {{ rows as attention }}
names mine {{ \"rows.attention.*\" = \"layers.0.attention.*\" }}
model(x : [T?, 8]) {{ x >> pretrained(\"mine\", rows_of as rows) }}
"
        )
    };
    let place = Place::new(&spec(" >> rotary(2)"));
    place.checkpoint("w", &tensors("layers.0."));
    std::fs::remove_file(place.path("w/config.json")).expect("a file");
    let add = ["weights", "add", "mine", "w", "--for", "a.lmv"];
    holds(&place.ends(3, &add), &["has the rows of q and k in Meta's order", "`mine.layer[0](rope = true)`"]);
    std::fs::write(place.path("a.lmv"), spec("")).expect("writable");
    place.ends(0, &add);
}

#[test]
fn a_name_of_the_library_s_is_held_against_its_model() {
    let place = Place::new(SPEC);
    place.checkpoint("w", &blocks(0..3));
    let text = place.ends(3, &["weights", "add", "tiny_lm", "w"]);
    holds(&text, &["is of another model than `tiny_lm`", "the library's `tiny_lm`"]);
    assert!(!place.path("lmv.toml").exists());
}

#[test]
fn an_input_that_is_no_number_is_refused() {
    let place = Place::new(SPEC);
    place.checkpoint("w", &blocks(0..3));
    let mut numbers = vec![0.5; 2 * 3 * 8];
    numbers[8 * 3 + 8 + 2] = f32::NAN;
    std::fs::write(
        place.path("x.safetensors"),
        safetensors(&[Tensor { name: "x".into(), shape: vec![2, 3, 8], numbers }]),
    )
    .expect("a file");
    let infer = ["infer", "a.lmv", "--weights", "llama7b=w", "--input", "x.safetensors", "--output", "y.safetensors"];
    holds(&place.ends(3, &infer), &["`x` holds NaN at [1, 1, 2], and the model takes numbers"]);
    assert!(!place.path("y.safetensors").exists());
}

#[test]
fn what_a_block_has_more_is_refused() {
    let place = Place::new(SPEC);
    let mut tensors = blocks(0..3);
    let name = "model.layers.1.self_attn.q_proj.bias".to_owned();
    tensors.push(Tensor { name, shape: vec![8], numbers: vec![0.0; 8] });
    place.checkpoint("w", &tensors);
    holds(
        &place.ends(3, &["weights", "add", "llama7b", "w", "--for", "a.lmv"]),
        &["has a tensor in `model.layers.1` that the spec has no place for", "`model.layers.1.self_attn.q_proj.bias`"],
    );
    // Of a block that is not taken it is none of the spec's business.
    std::fs::write(place.path("a.lmv"), SPEC.replace("layer[1]", "layer[2]")).expect("writable");
    place.ends(0, &["weights", "add", "llama7b", "w", "--for", "a.lmv"]);
}

#[test]
fn heads_and_eps_of_what_is_pretrained_are_held_against_its_configuration() {
    let place = Place::new(
        "layer part : [T, 8] -> [T, 8] { (input, input, input) >> attend(2) >> layer_norm(8, eps = 1e-5) as norm }
model(x : [T?, 8]) { x >> pretrained(\"mine\", part) }
",
    );
    let tensors = ["part.norm.weight", "part.norm.bias"];
    let tensors = tensors.map(|name| Tensor { name: name.into(), shape: vec![8], numbers: vec![1.0; 8] });
    place.checkpoint("w", &tensors);
    let add = ["weights", "add", "mine", "w", "--for", "a.lmv"];
    for (config, code, parts) in [
        (r#"{"num_attention_heads":2,"layer_norm_eps":1e-5}"#, 0, &["2 tensors"][..]),
        (r#"{"num_attention_heads":4}"#, 3, &["the spec has heads = 2, and num_attention_heads is 4 there"]),
        (r#"{"layer_norm_eps":1e-12}"#, 3, &["the spec has eps = 1e-5, and layer_norm_eps is 1e-12 there"]),
    ] {
        std::fs::write(place.path("w/config.json"), config).expect("writable");
        holds(&place.ends(code, &add), parts);
    }
}

#[test]
fn an_lmv_toml_is_written_where_there_is_none() {
    let place = Place::new(SPEC);
    place.checkpoint("w", &blocks(0..3));
    place.ends(0, &["weights", "add", "llama7b", "w", "--for", "a.lmv"]);
    assert_eq!(place.text("lmv.toml"), "[weights]\nllama7b = \"w\"\n");
    std::fs::write(place.path("lmv.toml"), "weights = { other = 'x' }\n").expect("writable");
    let text = place.ends(3, &["weights", "add", "llama7b", "w", "--for", "a.lmv"]);
    holds(&text, &["cannot be put into this file as it is written", "llama7b = \"w\""]);
    assert_eq!(place.text("lmv.toml"), "weights = { other = 'x' }\n");
}

#[test]
fn a_lock_knows_the_tensors_that_a_spec_takes() {
    let place = Place::new(SPEC);
    let tensors = blocks(0..3);
    place.checkpoint("w", &tensors);
    std::fs::write(place.path("lmv.toml"), "[weights]\nllama7b = \"w\"\n").expect("writable");
    holds(
        &place.ends(3, &["weights", "verify", "a.lmv"]),
        &["there is no lock of this spec", "`lmvc weights lock a.lmv`"],
    );
    holds(&place.ends(0, &["weights", "lock", "a.lmv"]), &["a.lock holds the hashes of 9 tensors"]);
    let lock = place.text("a.lock");
    assert_eq!(lock.matches("layer.1.").count(), 9, "{lock}");
    holds(&lock, &["\"layer.1.attention.wq.weight\": \"F32 [8, 8] ", "\"llama7b\": {"]);
    assert!(!lock.contains(&*place.folder.path().to_string_lossy()), "a lock has no places: {lock}");
    let listed = place.listed(&[], &[]);
    assert_eq!(listed["locked"].as_object().map(serde_json::Map::len), Some(9));
    assert_eq!(listed["locked"], listed["hashes"]);
    holds(&place.ends(0, &["weights", "list", "a.lmv"]), &["as it is, in a.lock"]);
    holds(&place.ends(0, &["weights", "verify", "a.lmv"]), &["llama7b: 9 tensors as a.lock has them"]);
    // The same tensors in a file of another shape have the same hashes; so has a file whose other blocks changed.
    let mut other = blocks(0..3);
    other.reverse();
    place.checkpoint("w", &other);
    place.ends(0, &["weights", "verify", "a.lmv"]);
    let file = place.path("w/model.safetensors");
    change(&file, &other, "model.layers.2.mlp.up_proj.weight");
    place.ends(0, &["weights", "verify", "a.lmv"]);
    change(&file, &other, "model.layers.1.mlp.up_proj.weight");
    holds(&place.ends(0, &["weights", "list", "a.lmv"]), &["otherwise, in a.lock: `lmvc weights verify`"]);
    let text = place.ends(3, &["weights", "verify", "a.lmv"]);
    holds(
        &text,
        &["llama7b: 1 tensor differs from a.lock", "llama7b: layer.1.feed_forward.w3.weight was F32 [12, 8] "],
    );
    assert_eq!(text.matches(" was ").count(), 1, "{text}");
    let text = place.ends(3, &["weights", "verify", "a.lmv", "--message-format", "json"]);
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let different: Vec<&Value> = objects.iter().filter(|object| object["same"] == false).collect();
    assert_eq!((objects.len(), different.len()), (9, 1), "{text}");
    assert_eq!(different[0]["tensor"], "layer.1.feed_forward.w3.weight");
    // A lock that is none is told, and written anew.
    std::fs::write(place.path("a.lock"), "{}").expect("writable");
    holds(&place.ends(3, &["weights", "verify", "a.lmv"]), &["is no lock of a spec"]);
    place.ends(0, &["weights", "lock", "a.lmv"]);
    place.ends(0, &["weights", "verify", "a.lmv"]);
}

#[test]
fn what_is_locked_runs_and_nothing_else() {
    let place = Place::new(SPEC);
    let tensors = blocks(0..3);
    place.checkpoint("w", &tensors);
    std::fs::write(place.path("lmv.toml"), "[weights]\nllama7b = \"w\"\n").expect("writable");
    place.input();
    let infer = ["infer", "a.lmv", "--input", "in.safetensors", "--output", "out.safetensors", "--device", "cpu"];
    let locked = [&infer[..], &["--locked"]].concat();
    let run = |code: i32, arguments: &[&str]| {
        let _ = std::fs::remove_file(place.path("out.safetensors"));
        let text = place.ends(code, arguments);
        assert_eq!(place.path("out.safetensors").exists(), code == 0, "{text}");
        text
    };
    holds(&run(3, &locked), &["error: there is no lock of this spec", "`lmvc weights lock a.lmv` writes it"]);
    assert!(!run(0, &infer).contains("lock"), "nobody asked for one");
    place.ends(0, &["weights", "lock", "a.lmv"]);
    assert!(!run(0, &locked).contains("lock"));
    change(&place.path("w/model.safetensors"), &tensors, "model.layers.1.input_layernorm.weight");
    let parts = [
        "this is not what the spec's lock has",
        "llama7b: layer.1.attention_norm.weight was F32 [8] ",
        ", and is F32 [8] ",
    ];
    let text = run(0, &infer);
    holds(&text, &parts);
    assert!(text.contains("warning:") && !text.contains("error:"), "{text}");
    let text = run(3, &locked);
    holds(&text, &parts);
    holds(&text, &["error:", "--locked refuses anything else", "`lmvc weights lock a.lmv`"]);
    // Another library is a change as well.
    change(&place.path("w/model.safetensors"), &tensors, "model.layers.1.input_layernorm.weight");
    run(0, &locked);
    let mut lock: Value = serde_json::from_str(&place.text("a.lock")).expect("JSON");
    lock["library"] = "0".repeat(64).into();
    lock["lmvc"] = "0.0.1".into();
    std::fs::write(place.path("a.lock"), lock.to_string()).expect("writable");
    holds(&run(3, &locked), &["the library of lmvc was 000000000000, and is ", "lmvc was 0.0.1, and is 0."]);
}

#[test]
fn training_locks_what_it_reads_and_is_refused_on_anything_else() {
    let place = Place::new(TRAINED);
    let tensors = blocks(0..3);
    place.checkpoint("w", &tensors);
    std::fs::write(place.path("lmv.toml"), "[weights]\nllama7b = \"w\"\n[paths]\nmine = \"images\"\n")
        .expect("writable");
    let synth = ["data", "synth", "images", "images", "--classes", "2", "--train", "2", "--val", "1", "--size", "16"];
    place.ends(0, &synth);
    let train = ["train", "a.lmv", "--device", "cpu", "--steps", "1"];
    let locked = [&train[..], &["--locked"]].concat();
    holds(&place.ends(3, &locked), &["there is no lock of this spec"]);
    assert!(!place.path("a.lock").exists() && !place.path("runs").exists(), "a run that is refused has not begun");
    holds(&place.ends(0, &train), &["what this spec reads is locked in a.lock"]);
    let lock: Value = serde_json::from_str(&place.text("a.lock")).expect("JSON");
    assert_eq!(lock["weights"]["llama7b"].as_object().map(serde_json::Map::len), Some(9));
    let run: Value = serde_json::from_str(&place.text("runs/a-1/lmv.lock")).expect("JSON");
    assert_eq!(lock["data"], run["data"], "the run and the spec lock the same listing");
    assert!(!place.ends(0, &locked).contains("lock"));
    place.ends(0, &["weights", "lock", "a.lmv"]);
    assert_eq!(serde_json::from_str::<Value>(&place.text("a.lock")).expect("JSON"), lock);
    // Measuring it takes the frozen block by the lock, too.
    let eval = ["eval", "a.lmv", "--checkpoint", "runs/a-1", "--device", "cpu", "--locked"];
    place.ends(0, &eval);
    let images = std::fs::read_dir(place.path("images/train")).expect("classes").next().expect("a class").expect("it");
    let image = std::fs::read_dir(images.path()).expect("images").next().expect("an image").expect("it").path();
    std::fs::copy(&image, image.with_file_name("one_more.png")).expect("writable");
    holds(&place.ends(0, &train), &["warning: this is not what the spec's lock has", "the listing of the data was "]);
    let runs = || std::fs::read_dir(place.path("runs")).expect("runs").count();
    let before = runs();
    holds(&place.ends(3, &locked), &["error: this is not what the spec's lock has", "the listing of the data was "]);
    assert_eq!(runs(), before, "a run that is refused has not begun");
    holds(&place.ends(3, &eval), &["error: this is not what the spec's lock has", "the listing of the data was "]);
    assert!(!place.ends(0, &eval[..eval.len() - 1]).contains("lock"), "without --locked it measures what is there");
    change(&place.path("w/model.safetensors"), &tensors, "model.layers.1.self_attn.q_proj.weight");
    holds(&place.ends(3, &eval), &["llama7b: layer.1.attention.wq.weight was "]);
}

#[test]
fn a_spec_that_reads_nothing_gets_no_lock() {
    let spec = TRAINED.replace(
        "image_folder(root = path(\"mine\"), image = 16, classes = 2)",
        "shapes(image = 16, classes = 2, train = 2, val = 1)",
    );
    let place = Place::new(&spec.replace("frozen(llama7b.layer[1])", "frozen(random(llama7b.layer[1]))"));
    place.ends(0, &["train", "a.lmv", "--device", "cpu", "--steps", "1"]);
    assert!(!place.path("a.lock").exists());
    holds(&place.ends(0, &["weights", "list", "a.lmv"]), &["this spec reads no weights"]);
    // A variant has a lock of its own.
    let place =
        Place::new(&format!("{SPEC}variant two {{ model(x : [T?, 8]) {{ x >> frozen(llama7b.layer[2]) }} }}\n"));
    place.checkpoint("w", &blocks(0..3));
    std::fs::write(place.path("lmv.toml"), "[weights]\nllama7b = \"w\"\n").expect("writable");
    place.ends(0, &["weights", "lock", "a.lmv", "--variant", "two"]);
    assert!(place.path("a-two.lock").exists() && !place.path("a.lock").exists());
    place.ends(0, &["weights", "verify", "a.lmv", "--variant", "two"]);
    // So is what comes with lmvc: nothing on this machine could change it.
    let tiny = spec.replace("llm llama7b = llama(dim = 8, heads = 2, ffn = 12, layers = 3, eps = 1e-5)\n", "");
    let tiny = tiny.replace("llama7b.layer[1]", "tiny_lm.layer[0]").replace("d = 8", "d = tiny_lm.dim");
    let place = Place::new(&tiny);
    place.ends(0, &["train", "a.lmv", "--device", "cpu", "--steps", "1"]);
    assert!(!place.path("a.lock").exists());
    let listed = place.listed(&[], &[]);
    assert_eq!((&listed["by"], &listed["found"]), (&json!("lmvc"), &json!(true)), "{listed}");
    holds(&place.ends(0, &["weights", "list", "a.lmv"]), &["tiny_lm: block 0\n", "part of lmvc"]);
    // With a lock it is held against it all the same.
    place.ends(0, &["weights", "lock", "a.lmv"]);
    place.ends(0, &["weights", "verify", "a.lmv"]);
}
