//! What one block of a large checkpoint costs to load (bench/weights):
//!
//!     load_block make FOLDER [LAYERS]   # LLaMA-7B's true names and sizes, holes except the last block
//!     load_block load CHECKPOINT LAYER  # one line of JSON: seconds, bytes read, memory
//!
//! `make` writes `FOLDER/hf` (two shards of safetensors) and `FOLDER/meta` (one `.pth`), both with the same numbers in
//! half precision. The holes take no disk, so LLaMA-7B's 13.5 GB are 0.8 GB there. `load` goes the whole way that a run
//! goes: from the name in a spec to the tensors of the plan, with all passes. Linux only: it asks /proc.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn_flex::Flex;
use lmv_runtime::device::{DeviceChoice, passes};
use lmv_runtime::events::Event;
use lmv_runtime::parameters;
use lmv_runtime::places::Places;
use lmv_runtime::training::seeds::Seeds;
use lmv_runtime::weights::{LocationKind, Locations};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Anyhow<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", folder] => make(Path::new(folder), 32),
        ["make", folder, layers] => make(Path::new(folder), layers.parse()?),
        ["load", checkpoint, layer] => load(Path::new(checkpoint), layer),
        _ => Err("load_block make FOLDER [LAYERS] | load_block load CHECKPOINT LAYER".into()),
    }
}

fn load(checkpoint: &Path, layer: &str) -> Anyhow<()> {
    let last = layer.parse::<usize>()? + 1;
    let program = format!(
        "llm seven = llama(dim = {DIM}, heads = 32, ffn = {FFN}, layers = {last})\n\
         model(x : [4, {DIM}]) {{ x >> frozen(seven.layer[{layer}]) }}"
    );
    let compiled = lmv_compiler::compile("load_block", &program, &[]);
    let plan = passes(DeviceChoice::Cpu).plan(&compiled.experiment.ok_or("the spec is wrong")?.graph);
    let weights = Locations::new(LocationKind::Weights, |_| None).with_flag("seven", checkpoint);
    let places = Places { paths: Locations::new(LocationKind::Path, |_| None), weights, tars: None };
    let (read, memory) = (proc("io", "rchar:")?, proc("status", "VmRSS:")?);
    let start = Instant::now();
    let loaded =
        parameters::load::<Flex>(&plan, &Seeds::new(0), &places, None, &Default::default(), &mut |_: Event| {});
    let seconds = start.elapsed().as_secs_f64();
    let loaded = loaded.map_err(|failure| failure.to_string())?;
    let kept: usize = loaded.tensors.iter().map(|tensor| tensor.bytes().len()).sum();
    println!(
        "{{\"seconds\": {seconds:.4}, \"read\": {}, \"kept\": {}, \"peak_kib\": {}, \"before_kib\": {memory}, \"tensors\": {}}}",
        proc("io", "rchar:")? - read,
        kept,
        proc("status", "VmHWM:")?,
        loaded.tensors.len()
    );
    Ok(())
}

/// A number that the kernel tells of this process.
fn proc(file: &str, key: &str) -> Anyhow<u64> {
    let text = fs::read_to_string(format!("/proc/self/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).ok_or("the kernel does not tell")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

const DIM: usize = 4096;
const FFN: usize = 11008;
const WORDS: usize = 32000;

/// A tensor of the model: Meta's name, Hugging Face's, shape.
struct Tensor {
    meta: String,
    hf: String,
    shape: Vec<usize>,
    /// Whether it has numbers; the others are holes.
    real: bool,
}

impl Tensor {
    fn bytes(&self) -> u64 {
        2 * self.shape.iter().product::<usize>() as u64
    }
}

fn tensors(layers: usize) -> Vec<Tensor> {
    let tensor = |meta: &str, hf: &str, shape: &[usize], real| Tensor {
        meta: meta.to_string(),
        hf: hf.to_string(),
        shape: shape.to_vec(),
        real,
    };
    let mut all = vec![tensor("tok_embeddings.weight", "model.embed_tokens.weight", &[WORDS, DIM], false)];
    for layer in 0..layers {
        for (meta, hf, shape) in [
            ("attention.wq", "self_attn.q_proj", &[DIM, DIM][..]),
            ("attention.wk", "self_attn.k_proj", &[DIM, DIM]),
            ("attention.wv", "self_attn.v_proj", &[DIM, DIM]),
            ("attention.wo", "self_attn.o_proj", &[DIM, DIM]),
            ("feed_forward.w1", "mlp.gate_proj", &[FFN, DIM]),
            ("feed_forward.w2", "mlp.down_proj", &[DIM, FFN]),
            ("feed_forward.w3", "mlp.up_proj", &[FFN, DIM]),
            ("attention_norm", "input_layernorm", &[DIM]),
            ("ffn_norm", "post_attention_layernorm", &[DIM]),
        ] {
            let names = [format!("layers.{layer}.{meta}.weight"), format!("model.layers.{layer}.{hf}.weight")];
            all.push(tensor(&names[0], &names[1], shape, layer + 1 == layers));
        }
    }
    all.push(tensor("norm.weight", "model.norm.weight", &[DIM], false));
    all.push(tensor("output.weight", "lm_head.weight", &[WORDS, DIM], false));
    all
}

/// Numbers in half precision between 1/16 and 1/8, of either sign. The same for the same tensor.
fn numbers(tensor: &Tensor) -> Vec<u8> {
    let mut draw = ChaCha8Rng::seed_from_u64(tensor.meta.bytes().map(u64::from).sum());
    let mut bytes = vec![0; tensor.bytes() as usize];
    draw.fill(&mut bytes[..]);
    bytes.chunks_exact_mut(2).for_each(|half| half[1] = half[1] & 0x83 | 0x2c);
    bytes
}

fn make(folder: &Path, layers: usize) -> Anyhow<()> {
    let tensors = tensors(layers);
    safetensors(&folder.join("hf"), &tensors)?;
    torch(&folder.join("meta"), &tensors)?;
    let config = format!(
        r#"{{"model_type":"llama","hidden_size":{DIM},"intermediate_size":{FFN},"num_attention_heads":32,"num_hidden_layers":{layers},"rms_norm_eps":1e-6}}"#
    );
    fs::write(folder.join("hf/config.json"), config)?;
    let params = format!(
        r#"{{"dim":{DIM},"multiple_of":256,"n_heads":32,"n_layers":{layers},"norm_eps":1e-6,"vocab_size":-1}}"#
    );
    fs::write(folder.join("meta/params.json"), params)?;
    Ok(())
}

/// Two shards as Hugging Face's: the last quarter of the tensors is in the second.
fn safetensors(folder: &Path, tensors: &[Tensor]) -> Anyhow<()> {
    fs::create_dir_all(folder)?;
    let cut = tensors.len() * 3 / 4;
    let mut map = serde_json::Map::new();
    for (i, shard) in [&tensors[..cut], &tensors[cut..]].into_iter().enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", i + 1);
        let mut header = serde_json::Map::new();
        let mut end = 0;
        for tensor in shard {
            let begin = end;
            end += tensor.bytes();
            let entry = serde_json::json!({"dtype": "F16", "shape": tensor.shape, "data_offsets": [begin, end]});
            header.insert(tensor.hf.clone(), entry);
            map.insert(tensor.hf.clone(), name.clone().into());
        }
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let start = 8 + header.len() as u64;
        let mut file = Sparse::new(folder.join(name))?;
        file.put(0, &(header.len() as u64).to_le_bytes())?;
        file.put(8, &header)?;
        let mut at = start;
        for tensor in shard {
            if tensor.real {
                file.put(at, &numbers(tensor))?;
            }
            at += tensor.bytes();
        }
        file.end(start + end)?;
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": map});
    fs::write(folder.join("model.safetensors.index.json"), serde_json::to_vec(&index)?)?;
    Ok(())
}

struct Sparse(File);

impl Sparse {
    fn new(path: PathBuf) -> Anyhow<Self> {
        Ok(Self(File::create(path)?))
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Anyhow<()> {
        self.0.seek(SeekFrom::Start(at))?;
        self.0.write_all(bytes)?;
        Ok(())
    }

    fn end(self, len: u64) -> Anyhow<()> {
        self.0.set_len(len)?;
        self.0.sync_all()?;
        Ok(())
    }
}

/// `consolidated.00.pth`: a zip, whose entries are stored, with a storage for each tensor.
fn torch(folder: &Path, tensors: &[Tensor]) -> Anyhow<()> {
    fs::create_dir_all(folder)?;
    let mut zip =
        Zip { file: Sparse::new(folder.join("consolidated.00.pth"))?, at: 0, directory: Vec::new(), entries: 0 };
    let pickle = pickle(tensors);
    zip.entry("consolidated.00/data.pkl", pickle.len() as u64, Some(&pickle))?;
    for (i, tensor) in tensors.iter().enumerate() {
        let numbers = tensor.real.then(|| numbers(tensor));
        zip.entry(&format!("consolidated.00/data/{i}"), tensor.bytes(), numbers.as_deref())?;
    }
    zip.entry("consolidated.00/version", 2, Some(b"3\n"))?;
    zip.end()
}

fn pickle(tensors: &[Tensor]) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    }
    fn ints(out: &mut Vec<u8>, ints: impl Iterator<Item = usize>) {
        out.push(b'(');
        ints.for_each(|n| {
            out.push(b'J');
            out.extend((n as i32).to_le_bytes());
        });
        out.push(b't');
    }
    let mut out = b"\x80\x02}(".to_vec();
    for (i, tensor) in tensors.iter().enumerate() {
        text(&mut out, &tensor.meta);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nHalfStorage\n");
        text(&mut out, &i.to_string());
        text(&mut out, "cpu");
        out.push(b'J');
        out.extend((tensor.bytes() as i32 / 2).to_le_bytes());
        out.extend(b"tQK\0");
        ints(&mut out, tensor.shape.iter().copied());
        ints(&mut out, (1..=tensor.shape.len()).map(|axis| tensor.shape[axis..].iter().product()));
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

/// A zip of stored entries, of any size, whose holes are not written. Sums of holes and numbers are left out: PyTorch
/// looks at none of them.
struct Zip {
    file: Sparse,
    at: u64,
    directory: Vec<u8>,
    entries: u64,
}

impl Zip {
    fn entry(&mut self, name: &str, len: u64, bytes: Option<&[u8]>) -> Anyhow<()> {
        let sum = if len < 1 << 20 { crc32(bytes.unwrap_or(&[])) } else { 0 };
        let header_at = self.at;
        // Padded, as PyTorch does, so that the bytes begin at a multiple of 64.
        let bare = header_at + 30 + name.len() as u64 + 4;
        let padding = (bare.next_multiple_of(64) - bare) as u16;
        let mut header = b"PK\x03\x04".to_vec();
        header.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        header.extend(sum.to_le_bytes());
        header.extend((len as u32).to_le_bytes());
        header.extend((len as u32).to_le_bytes());
        header.extend((name.len() as u16).to_le_bytes());
        header.extend((4 + padding).to_le_bytes());
        header.extend(name.as_bytes());
        header.extend(b"FB");
        header.extend(padding.to_le_bytes());
        header.extend(vec![b'Z'; padding.into()]);
        self.file.put(header_at, &header)?;
        self.at += header.len() as u64;
        if let Some(bytes) = bytes {
            self.file.put(self.at, bytes)?;
        }
        self.at += len;
        // In the directory its place, which may be beyond 4 GB, is in a field of its own.
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.directory.extend(sum.to_le_bytes());
        self.directory.extend((len as u32).to_le_bytes());
        self.directory.extend((len as u32).to_le_bytes());
        self.directory.extend((name.len() as u16).to_le_bytes());
        self.directory.extend(12u16.to_le_bytes());
        self.directory.extend([0; 10]);
        self.directory.extend(u32::MAX.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.directory.extend([1, 0, 8, 0]);
        self.directory.extend(header_at.to_le_bytes());
        self.entries += 1;
        Ok(())
    }

    fn end(mut self) -> Anyhow<()> {
        let (start, len) = (self.at, self.directory.len() as u64);
        let mut end = std::mem::take(&mut self.directory);
        end.extend(b"PK\x06\x06");
        end.extend(44u64.to_le_bytes());
        end.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [self.entries, self.entries, len, start] {
            end.extend(number.to_le_bytes());
        }
        end.extend(b"PK\x06\x07");
        end.extend(0u32.to_le_bytes());
        end.extend((start + len).to_le_bytes());
        end.extend(1u32.to_le_bytes());
        end.extend(b"PK\x05\x06");
        end.extend([0; 4]);
        end.extend(u16::MAX.to_le_bytes());
        end.extend(u16::MAX.to_le_bytes());
        end.extend([0xff; 8]);
        end.extend([0; 2]);
        self.file.put(start, &end)?;
        self.file.end(start + end.len() as u64)
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}
