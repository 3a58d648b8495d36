//! Fetching weights, against a Hub that this test serves itself: files that break off, answers that are refused, bytes that
//! are others than the Hub says they are.
#![cfg(all(feature = "download", unix))]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const SPEC: &str = "llm mine = llama(dim = 8, heads = 2, ffn = 12, layers = 3, eps = 1e-5)
model(x : [4, 8]) { x >> frozen(mine.layer[1]) }
";

#[derive(Default)]
struct Hub {
    files: BTreeMap<String, Vec<u8>>,
    /// Names of files that answers break off in, with how often and after how many bytes.
    breaking: BTreeMap<String, (usize, usize)>,
    /// A file whose bytes are not those of its tag.
    damaged: Option<String>,
    /// The token without which nothing is given.
    token: Option<String>,
    /// File and first byte of every request that was answered.
    asked: Vec<(String, usize)>,
}

type Shared = Arc<Mutex<Hub>>;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves until the process of the tests ends; gives the address.
fn serve(hub: &Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let hub = hub.clone();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream, &hub))));
    address
}

fn answer(mut stream: TcpStream, hub: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let found =
            lines.iter().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let mut hub = hub.lock().expect("no test panics here");
    let refuse = |stream: &mut TcpStream, status: &str| {
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    if hub.token.as_ref().is_some_and(|token| header("authorization") != Some(format!("Bearer {token}"))) {
        return refuse(&mut stream, "401 Unauthorized");
    }
    if path == "/api/models/mine/llama/revision/main" {
        let files: Vec<Value> = hub.files.keys().map(|name| json!({ "rfilename": name })).collect();
        let body = json!({ "siblings": files, "sha": COMMIT }).to_string();
        let length = body.len();
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }
    let name = path.strip_prefix("/mine/llama/resolve/main/").unwrap_or_default().to_owned();
    let Some(mut bytes) = hub.files.get(&name).cloned() else { return refuse(&mut stream, "404 Not Found") };
    let tag = sha256(&bytes);
    if hub.damaged.as_ref() == Some(&name) {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    }
    let range = header("range").unwrap_or_default();
    let (begin, end) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let begin: usize = begin.parse().unwrap_or(0);
    let end = end.parse().map_or(bytes.len(), |end: usize| (end + 1).min(bytes.len()));
    if begin >= bytes.len() {
        return refuse(&mut stream, "416 Range Not Satisfiable");
    }
    let all = bytes.len();
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {begin}-{}/{all}\r\nContent-Length: {}\r\nETag: \"{tag}\"\r\n\
         X-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n",
        end - 1,
        end - begin
    )?;
    let mut part = &bytes[begin..end];
    // One byte is what the crate asks for to learn of a file.
    if part.len() > 1 {
        hub.asked.push((name.clone(), begin));
        if let Some((often, after)) = hub.breaking.get_mut(&name).filter(|(often, _)| *often > 0) {
            *often -= 1;
            part = &part[..part.len().min(*after)];
        }
    }
    stream.write_all(part)
}

/// A safetensors file of one block.
fn block(layer: usize) -> (Vec<String>, Vec<u8>) {
    let local: [(&str, &[usize]); 9] = [
        ("input_layernorm", &[8]),
        ("post_attention_layernorm", &[8]),
        ("self_attn.q_proj", &[8, 8]),
        ("self_attn.k_proj", &[8, 8]),
        ("self_attn.v_proj", &[8, 8]),
        ("self_attn.o_proj", &[8, 8]),
        ("mlp.gate_proj", &[12, 8]),
        ("mlp.up_proj", &[12, 8]),
        ("mlp.down_proj", &[8, 12]),
    ];
    let (mut header, mut bytes, mut names) = (serde_json::Map::new(), Vec::new(), Vec::new());
    for (local, shape) in local {
        let name = format!("model.layers.{layer}.{local}.weight");
        let begin = bytes.len();
        let numbers = (0..shape.iter().product::<usize>()).map(|i| (i % 11) as f32 / 11.0 - layer as f32 * 0.1);
        bytes.extend(numbers.flat_map(f32::to_le_bytes));
        header.insert(name.clone(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, bytes.len()] }));
        names.push(name);
    }
    let header = Value::from(header).to_string().into_bytes();
    (names, [&(header.len() as u64).to_le_bytes()[..], &header, &bytes].concat())
}

/// A model of three blocks, one a shard.
fn llama() -> Hub {
    let mut hub = Hub::default();
    let mut map = serde_json::Map::new();
    for layer in 0..3 {
        let (names, bytes) = block(layer);
        let shard = format!("model-0000{}-of-00003.safetensors", layer + 1);
        names.into_iter().for_each(|name| drop(map.insert(name, shard.clone().into())));
        hub.files.insert(shard, bytes);
    }
    let index = json!({ "metadata": {}, "weight_map": map }).to_string();
    hub.files.insert("model.safetensors.index.json".into(), index.into_bytes());
    let config = r#"{"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3}"#;
    hub.files.insert("config.json".into(), config.into());
    hub.files.insert("README.md".into(), b"a model".to_vec());
    hub
}

const SECOND: &str = "model-00002-of-00003.safetensors";

struct Place {
    folder: TempDir,
    hub: Shared,
    address: String,
}

impl Place {
    fn new(hub: Hub) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("a.lmv"), SPEC).expect("a spec");
        let hub = Arc::new(Mutex::new(hub));
        let address = serve(&hub);
        Self { folder, hub, address }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn snapshot(&self, file: &str) -> PathBuf {
        self.path("hub/models--mine--llama/snapshots").join(COMMIT).join(file)
    }

    /// Runs a command that must end by `code`; gives what it said.
    fn ends(&self, code: i32, arguments: &[&str], token: Option<&str>) -> String {
        let mut command = Command::cargo_bin("lmvc").expect("the binary of this package");
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("HF_HOME").env("HF_HUB_CACHE", self.path("hub")).env("HF_ENDPOINT", &self.address);
        match token {
            Some(token) => command.env("HF_TOKEN", token),
            None => command.env_remove("HF_TOKEN"),
        };
        let output = command.output().expect("lmvc starts");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(!text.contains("fault of lmvc") && !text.contains("panicked"), "{text}");
        text
    }

    fn add(&self, code: i32) -> String {
        self.ends(code, &["weights", "add", "mine", "hf:mine/llama", "--download", "--for", "a.lmv"], None)
    }

    fn asked(&self, name: &str) -> Vec<usize> {
        let hub = self.hub.lock().expect("no test panics here");
        hub.asked.iter().filter(|(asked, _)| asked == name).map(|(_, begin)| *begin).collect()
    }
}

#[test]
fn only_the_shards_that_a_spec_takes_are_fetched_and_only_when_asked() {
    let place = Place::new(llama());
    let text = place.ends(3, &["weights", "add", "mine", "hf:mine/llama", "--for", "a.lmv"], None);
    assert!(text.contains("the Hugging Face cache has no `mine/llama`"), "{text}");
    let text = place.ends(0, &["weights", "list", "a.lmv", "--weights", "mine=hf:mine/llama"], None);
    assert!(text.contains("--download` fetches it"), "{text}");
    assert_eq!(place.hub.lock().expect("no panic").asked, [], "nothing is fetched unasked");
    let text = place.add(0);
    for part in
        ["1 shard is of 3 needed", "fetching model-00002-of-00003.safetensors", "lmv.toml says where: hf:mine/llama"]
    {
        assert!(text.contains(part), "`{part}` in: {text}");
    }
    let asked: Vec<String> = place.hub.lock().expect("no panic").asked.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(asked, ["config.json", "model.safetensors.index.json", SECOND]);
    // It lies there as others want it: a link to what is called by its hash.
    let link = std::fs::read_link(place.snapshot(SECOND)).expect("a link");
    let hash = sha256(&place.hub.lock().expect("no panic").files[SECOND]);
    assert!(link.ends_with(format!("blobs/{hash}")), "{}", link.display());
    let reference = std::fs::read_to_string(place.path("hub/models--mine--llama/refs/main")).expect("a ref");
    assert_eq!(reference, COMMIT);
    let listed = place.ends(0, &["weights", "list", "a.lmv", "--message-format", "json"], None);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!((&listed["found"], &listed["files_missing"]), (&json!(true), &json!(2)), "{listed}");
    place.ends(0, &["weights", "lock", "a.lmv"], None);
    // What is there is not fetched again.
    place.add(0);
    assert_eq!(place.asked(SECOND).len(), 1);
    // Without a spec all of it is.
    place.ends(0, &["weights", "add", "mine", "hf:mine/llama", "--download"], None);
    assert!(place.snapshot("model-00001-of-00003.safetensors").is_file());
}

#[test]
fn a_file_that_breaks_off_is_gone_on_with() {
    let mut hub = llama();
    hub.breaking.insert(SECOND.into(), (2, 700));
    let place = Place::new(hub);
    place.add(0);
    assert_eq!(place.asked(SECOND), [0, 700, 1400]);
    let whole = place.hub.lock().expect("no panic").files[SECOND].clone();
    assert_eq!(std::fs::read(place.snapshot(SECOND)).expect("fetched"), whole);
}

#[test]
fn a_later_process_goes_on_where_an_earlier_one_ended() {
    let mut hub = llama();
    hub.breaking.insert(SECOND.into(), (usize::MAX, 100));
    let place = Place::new(hub);
    let text = place.add(3);
    assert!(text.contains("cannot be fetched") && text.contains("it goes on where it stopped"), "{text}");
    assert!(!place.snapshot(SECOND).exists() && !place.path("lmv.toml").exists());
    let before = place.asked(SECOND).len();
    place.hub.lock().expect("no panic").breaking.clear();
    place.add(0);
    assert_eq!(place.asked(SECOND)[before..], [100 * before], "it began where it had stopped");
    let whole = place.hub.lock().expect("no panic").files[SECOND].clone();
    assert_eq!(std::fs::read(place.snapshot(SECOND)).expect("fetched"), whole);
}

#[test]
fn what_arrives_damaged_is_thrown_away() {
    let mut hub = llama();
    hub.damaged = Some(SECOND.into());
    let place = Place::new(hub);
    let text = place.add(3);
    assert!(text.contains("arrived damaged, and was thrown away"), "{text}");
    assert!(!place.snapshot(SECOND).exists() && !place.path("lmv.toml").exists());
    place.hub.lock().expect("no panic").damaged = None;
    place.add(0);
    assert_eq!(place.asked(SECOND), [0, 0]);
}

#[test]
fn what_the_hub_refuses_is_said() {
    let mut hub = llama();
    hub.token = Some("secret".into());
    let place = Place::new(hub);
    let text = place.add(3);
    assert!(text.contains("does not let you have `mine/llama`") && text.contains("HF_TOKEN"), "{text}");
    let arguments = ["weights", "add", "mine", "hf:mine/llama", "--download", "--for", "a.lmv"];
    let text = place.ends(0, &arguments, Some("secret"));
    assert!(!text.contains("secret"), "{text}");
    let text = place.ends(3, &["weights", "add", "mine", "hf:mine/gone", "--download"], Some("secret"));
    assert!(text.contains("has no `mine/gone`"), "{text}");
    place.hub.lock().expect("no panic").files.retain(|name, _| name == "README.md");
    let text = place.ends(3, &["weights", "add", "mine", "hf:mine/llama", "--download"], Some("secret"));
    assert!(text.contains("has no weights that lmvc reads"), "{text}");
    let text = place.ends(2, &["weights", "add", "mine", "w", "--download"], None);
    assert!(text.contains("there is nothing to fetch"), "{text}");
}
