//! Fetching weights from the Hugging Face Hub into its cache on this disk, by the crate `hf-hub`. Other programs find them
//! there, and what they have fetched is not fetched again.
//!
//! 1. The Hub says which files a repository has; those that are weights are picked as [`Checkpoint::open`] would.
//! 2. Of weights in shards the index comes first; by it, only the shards with a spec's tensors are fetched.
//! 3. A file that breaks off is gone on with where it stopped, also by a later process. It is in the cache under its own
//!    name only when it is whole, and where the Hub tells its SHA-256, that is held against what came.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lmv_runtime::error::Failure;
use lmv_runtime::parameters::used::Use;
use lmv_runtime::weights::{Checkpoint, HubCache, Repository};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::context::{Context, Exit, MessageFormat};
use crate::units::{bytes, counted};

/// How often a file that breaks off is gone on with before it is given up; the crate waits longer each time.
const RETRIES: usize = 5;

/// How often a plain line says how a file goes.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Fetches what `used` takes of a repository, or all its weights; gives the folder of the cache with them.
///
/// # Errors
/// No network, no such repository, one that asks for a token, a disk that is full, a file that arrived damaged.
pub fn fetch(
    cache: &HubCache,
    repository: &Repository,
    used: Option<&Use<'_>>,
    context: &Context,
) -> Result<PathBuf, Failure> {
    tell_when_interrupted(context);
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut builder = ApiBuilder::from_cache(Cache::new(cache.folder().to_path_buf()));
    if let Some(token) = said("HF_TOKEN") {
        builder = builder.with_token(Some(token));
    }
    if let Some(endpoint) = said("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let failed = |error: ApiError| failure(repository, &error);
    let api = builder.with_progress(false).with_retries(RETRIES).build().map_err(failed)?;
    let repo = Repo::with_revision(repository.id().to_owned(), RepoType::Model, repository.revision().to_owned());
    let hub = Hub { repo: api.repo(repo), api, repository, context };
    let info = hub.repo.info().map_err(failed)?;
    if Repository::parse(&info.sha).is_err() {
        return Err(odd(repository, "its revision is no revision"));
    }
    let snapshot = cache.place(repository).join("snapshots").join(&info.sha);
    let names: BTreeSet<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let picked = pick(&names).ok_or_else(|| {
        Failure::new(format!("`{repository}` on the Hugging Face Hub has no weights that lmvc reads"))
            .help("name a repository with safetensors, `pytorch_model.bin` or `consolidated.*.pth` in it")
    })?;
    for name in &picked.first {
        hub.get(name, &snapshot)?;
    }
    if let Some(index) = picked.index {
        let shards = shards(&snapshot, index, used)?;
        context.remark(&format!(
            "{} {} of {} needed",
            counted(shards.wanted.len(), "shard", "shards"),
            if shards.wanted.len() == 1 { "is" } else { "are" },
            shards.all
        ));
        for name in &shards.wanted {
            hub.get(name, &snapshot)?;
        }
    }
    Ok(snapshot)
}

/// The files to fetch.
struct Picked<'a> {
    /// Those that are wanted in any case.
    first: Vec<&'a str>,
    /// The index of shards, which is among them.
    index: Option<&'a str>,
}

/// The weights among the files of a repository, and what says of which model they are.
fn pick<'a>(names: &BTreeSet<&'a str>) -> Option<Picked<'a>> {
    let has = |name: &str| names.get(name).copied();
    let mut first: Vec<&str> = ["config.json", "params.json"].into_iter().filter_map(has).collect();
    for base in ["model.safetensors", "pytorch_model.bin"] {
        if let Some(name) = has(base) {
            first.push(name);
            return Some(Picked { first, index: None });
        }
        if let Some(index) = has(&format!("{base}.index.json")) {
            first.push(index);
            return Some(Picked { first, index: Some(index) });
        }
    }
    let plain = names.iter().copied().filter(|name| is_plain(name));
    let consolidated: Vec<&str> =
        plain.clone().filter(|name| name.starts_with("consolidated.") && name.ends_with(".pth")).collect();
    let lone = || plain.filter(|name| [".safetensors", ".pth", ".pt", ".bin"].iter().any(|end| name.ends_with(end)));
    let files = if consolidated.is_empty() { lone().collect() } else { consolidated };
    (!files.is_empty()).then(|| Picked { first: [first, files].concat(), index: None })
}

/// Whether a name is that of a file beside the others: it becomes a path in the cache.
fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\']) && !name.is_empty()
}

struct Shards {
    wanted: BTreeSet<String>,
    all: usize,
}

/// The shards that `used` takes a tensor of, by the index alone.
fn shards(snapshot: &Path, index: &str, used: Option<&Use<'_>>) -> Result<Shards, Failure> {
    let path = snapshot.join(index);
    let wrong = |why: String| Failure::at(&path, why).help("delete it and fetch it again");
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(format!("is no index of shards: {error}")))?;
    let map = json.get("weight_map").and_then(serde_json::Value::as_object);
    let map = map.ok_or_else(|| wrong("is no index of shards: it has no `weight_map`".into()))?;
    let all: BTreeSet<&str> = map.values().filter_map(serde_json::Value::as_str).collect();
    if let Some(odd) = all.iter().find(|name| !is_plain(name)) {
        return Err(wrong(format!("names a shard that lies elsewhere: {odd:?}")));
    }
    let names = match used {
        Some(used) => used.names(&Checkpoint::open(snapshot)?)?,
        None => None,
    };
    let wanted = match names {
        Some(names) => names.iter().filter_map(|name| Some(map.get(name)?.as_str()?.to_owned())).collect(),
        None => all.iter().map(|name| (*name).to_owned()).collect(),
    };
    Ok(Shards { wanted, all: all.len() })
}

struct Hub<'a> {
    api: Api,
    repo: ApiRepo,
    repository: &'a Repository,
    context: &'a Context,
}

impl Hub<'_> {
    /// Fetches a file, where the cache has it not.
    fn get(&self, name: &str, snapshot: &Path) -> Result<(), Failure> {
        if snapshot.join(name).is_file() {
            return Ok(());
        }
        let failed = |error: ApiError| failure(self.repository, &error).note(format!("the file is {name}"));
        let meta = self.api.metadata(&self.repo.url(name)).map_err(failed)?;
        // They become names of files.
        if ![meta.etag(), meta.commit_hash()].iter().all(|part| Repository::parse(part).is_ok_and(|_| is_plain(part))) {
            return Err(odd(self.repository, &format!("the tag of {name} is none")));
        }
        let blobs = snapshot.ancestors().nth(2).unwrap_or(snapshot).join("blobs");
        // A process that ended between the last byte and the end leaves a file that no request can go on with.
        let part = blobs.join(meta.etag()).with_extension("part");
        if std::fs::metadata(&part).is_ok_and(|part| part.len() >= meta.size() as u64) {
            let shorter = File::options().write(true).open(&part);
            // What comes is held against its hash in any case.
            let _ = shorter.and_then(|file| file.set_len((meta.size() as u64).saturating_sub(1)));
        }
        let transfer = Transfer::new(self.context, meta.size() as u64);
        let path = self.repo.download_with_progress(name, transfer).map_err(failed)?;
        let whole = std::fs::metadata(&path).is_ok_and(|file| file.len() == meta.size() as u64);
        let hash = meta.etag();
        let is_sha256 = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if whole && (!is_sha256 || sha256(&path).is_some_and(|found| found.eq_ignore_ascii_case(hash))) {
            self.context.event("fetched", json!({ "file": name, "bytes": meta.size() }));
            return Ok(());
        }
        // Nobody may find it.
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_file(blobs.join(hash));
        Err(Failure::at(&path, "arrived damaged, and was thrown away: it is not what the Hub says it is")
            .help("run the command again"))
    }
}

fn sha256(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn odd(repository: &Repository, what: &str) -> Failure {
    Failure::new(format!("`{repository}` cannot be fetched: what answers is not the Hugging Face Hub, {what}"))
        .help("look at HF_ENDPOINT")
}

fn failure(repository: &Repository, error: &ApiError) -> Failure {
    let text = error.to_string();
    // The crate gives the status as text alone.
    if ["401", "403"].iter().any(|status| text.ends_with(&format!("status: {status}"))) {
        return Failure::new(format!("the Hugging Face Hub does not let you have `{repository}`, or there is none"))
            .help(format!(
                "accept its terms on https://huggingface.co/{}, then `export HF_TOKEN=…` or `hf auth login`",
                repository.id()
            ));
    }
    if text.ends_with("status: 404") {
        return Failure::new(format!("the Hugging Face Hub has no `{repository}`"))
            .help("look at its name and its revision: `hf:ORG/NAME@REVISION`");
    }
    Failure::new(format!("`{repository}` cannot be fetched: {text}"))
        .help("run the command again: it goes on where it stopped")
}

/// Says how to go on after Ctrl-C. What has come so far stays.
fn tell_when_interrupted(context: &Context) {
    let context = context.clone();
    // Without a handler Ctrl-C ends the process all the same.
    let _ = ctrlc::set_handler(move || {
        context.remark("\ninterrupted; run the command again: it goes on where it stopped");
        std::process::exit(Exit::Failed as i32);
    });
}

/// A file on its way: a bar on a terminal, else plain lines.
struct Transfer {
    context: Context,
    name: String,
    size: u64,
    done: u64,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Transfer {
    fn new(context: &Context, size: u64) -> Self {
        let watched = context.stderr_is_terminal && context.message_format == MessageFormat::Human;
        let bar = watched.then(|| {
            let bar = if context.stderr_color { "{bar:16.green/black.bright}" } else { "{bar:16}" };
            let rest = "{bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {wide_msg}";
            let style = ProgressStyle::with_template(&format!("{bar}  {rest}"))
                .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("━━─"));
            ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { context: context.clone(), name: String::new(), size, done: 0, bar, last_line: Instant::now() }
    }
}

impl Progress for Transfer {
    /// Called once more each time that a file is gone on with.
    fn init(&mut self, _size: usize, name: &str) {
        if self.name.is_empty() && self.bar.is_none() {
            self.context.remark(&format!("fetching {name}, {}", bytes(self.size as f64)));
        }
        (self.name, self.done) = (name.to_owned(), 0);
        if let Some(bar) = &self.bar {
            bar.set_message(self.name.clone());
            bar.set_position(0);
        }
    }

    fn update(&mut self, count: usize) {
        // What was there before comes as one step.
        self.done += count as u64;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.last_line.elapsed() >= PLAIN_EVERY {
            self.last_line = Instant::now();
            let (done, size) = (bytes(self.done as f64), bytes(self.size as f64));
            self.context.remark(&format!("{}  {done}/{size}", self.name));
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_picked_as_they_are_read() {
        let picked = |names: &[&'static str]| {
            let names = names.iter().copied().collect();
            pick(&names).map(|picked| (picked.first, picked.index))
        };
        let index = "model.safetensors.index.json";
        assert_eq!(
            picked(&["config.json", index, "model-00001-of-00002.safetensors", "pytorch_model.bin", "tokenizer.json"]),
            Some((vec!["config.json", index], Some(index)))
        );
        assert_eq!(picked(&["pytorch_model.bin", "x.safetensors"]), Some((vec!["pytorch_model.bin"], None)));
        let meta = ["consolidated.00.pth", "consolidated.01.pth", "params.json"];
        assert_eq!(picked(&meta), Some((vec!["params.json", "consolidated.00.pth", "consolidated.01.pth"], None)));
        assert_eq!(picked(&["README.md", "tokenizer.model", "original/consolidated.00.pth"]), None);
    }
}
