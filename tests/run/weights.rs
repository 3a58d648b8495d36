//! What runs say of weights: changed under them, damaged, of something else.

use super::*;

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
