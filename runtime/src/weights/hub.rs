//! Repositories of the Hugging Face Hub as they lie on this disk, in the cache that `huggingface_hub` and others fill:
//!
//! ```text
//! models--ORG--NAME/refs/main                  the revision that `main` was when it was fetched
//! models--ORG--NAME/snapshots/REVISION/FILE    a link into
//! models--ORG--NAME/blobs/HASH                 what was fetched
//! ```
//!
//! Nothing is fetched here.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};

/// What a place that is a repository begins with.
pub const SCHEME: &str = "hf:";

/// What is fetched where no revision is said.
const MAIN: &str = "main";

/// A repository of the Hub: `hf:ORG/NAME`, or `hf:ORG/NAME@REVISION`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    id: String,
    revision: Option<String>,
}

impl Repository {
    /// `ORG/NAME` or `NAME`, with `@REVISION` behind it (a branch, a tag or a commit) or without.
    ///
    /// # Errors
    /// In words, where it is none: such a name becomes the name of a folder, so nothing in it may lead elsewhere.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        let plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !part.is_empty() && !part.starts_with('.') && !part.contains("..") && part.bytes().all(allowed)
        };
        if id.split('/').count() > 2 || !id.split('/').all(|part| plain(part) && !part.contains("--")) {
            return Err(format!("`{id}` is no repository of Hugging Face: these are called ORG/NAME"));
        }
        match revision {
            Some(revision) if !revision.split('/').all(plain) => {
                Err(format!("`{revision}` is no revision: that is a branch, a tag or a commit"))
            }
            _ => Ok(Self { id: id.to_owned(), revision: revision.map(str::to_owned) }),
        }
    }

    /// The repository that `place` is, where it begins with `hf:`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn of_place(place: &Path) -> Option<Result<Self, String>> {
        place.to_str()?.strip_prefix(SCHEME).map(Self::parse)
    }

    /// `ORG/NAME`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The branch, tag or commit; `main` where none is said.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// The cache on this disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubCache {
    folder: PathBuf,
}

impl HubCache {
    /// The cache in this folder.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where `huggingface_hub` has it: `$HF_HUB_CACHE`, `$HF_HOME/hub`, or `huggingface/hub` in the folder for caches.
    /// `None` where no variable tells of a home.
    pub fn by(environment: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let said = |name: &str| environment(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = || said("HOME").or_else(|| said("USERPROFILE"));
        let caches = || said("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")));
        // The second is what older versions called the first.
        said("HF_HUB_CACHE")
            .or_else(|| said("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(said("HF_HOME")?.join("hub")))
            .or_else(|| Some(caches()?.join("huggingface").join("hub")))
            .map(Self::at)
    }

    /// Its folder, whether or not it is there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it has a repository, or would have it.
    pub fn place(&self, repository: &Repository) -> PathBuf {
        self.folder.join(format!("models--{}", repository.id.replace('/', "--")))
    }

    /// The folder with the files of a repository at its revision.
    ///
    /// # Errors
    /// When the cache has none, or none of that revision.
    pub fn snapshot(&self, repository: &Repository) -> Result<PathBuf> {
        let place = self.place(repository);
        let fetch = || format!("`lmvc weights add NAME hf:{repository} --download` fetches it");
        if !place.is_dir() {
            return Err(
                Failure::at(&self.folder, format!("the Hugging Face cache has no `{repository}`")).help(fetch())
            );
        }
        let snapshots = place.join("snapshots");
        let revision = repository.revision();
        let commit = match std::fs::read_to_string(place.join("refs").join(revision)) {
            // What stands there becomes the name of a folder.
            Ok(commit) => Repository::parse(commit.trim()).map(|commit| commit.id).map_err(|_| {
                Failure::at(place.join("refs").join(revision), "does not hold a revision")
                    .help("fetch the repository again")
            })?,
            Err(_) => revision.to_owned(),
        };
        let snapshot = snapshots.join(&commit);
        if snapshot.is_dir() {
            return Ok(snapshot);
        }
        let mut there: Vec<String> = std::fs::read_dir(&snapshots)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        there.sort();
        let failure = Failure::at(&place, format!("the Hugging Face cache has no revision `{revision}` of it"));
        Err(match there.first() {
            Some(first) => failure
                .note(format!("it has {}", there.join(", ")))
                .help(format!("name that one: `hf:{}@{first}`", repository.id)),
            None => failure.help(fetch()),
        })
    }

    /// The same, where weights are among its files: many a cache has a repository's tokenizer alone.
    pub fn weights(&self, repository: &Repository) -> Option<PathBuf> {
        let snapshot = self.snapshot(repository).ok()?;
        let is_weights = |name: &str| {
            [".safetensors", ".index.json", ".bin", ".pth", ".pt"].iter().any(|ending| name.ends_with(ending))
        };
        let mut entries = std::fs::read_dir(&snapshot).ok()?;
        let holds = entries.any(|entry| {
            // A link whose blob is gone is no file.
            entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_weights) && entry.path().is_file())
        });
        holds.then_some(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        Repository::parse(text).unwrap()
    }

    #[test]
    fn a_repository_has_a_plain_name() {
        assert_eq!(repository("huggyllama/llama-7b").revision(), "main");
        assert_eq!(repository("a/b@refs/pr/1").revision(), "refs/pr/1");
        assert_eq!(repository("a/b@v1.0").to_string(), "a/b@v1.0");
        assert_eq!(repository("roberta-base").id(), "roberta-base");
        for wrong in
            ["", "a/b/c", "/a", "a/", "../b", "a/..", "a/.b", "a b/c", "a--b/c", "a/b@", "a/b@../c", "a/b@/etc"]
        {
            assert!(Repository::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Repository::of_place(Path::new("/a/b")), None);
        assert_eq!(Repository::of_place(Path::new("hf:a/b")), Some(Ok(repository("a/b"))));
    }

    #[test]
    fn the_cache_is_where_others_have_it() {
        let found = |variables: &'static [(&str, &str)]| {
            let value =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
            HubCache::by(value).map(|cache| cache.folder.display().to_string())
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("HOME", "/h")]).as_deref(), Some("/h/.cache/huggingface/hub"));
        assert_eq!(found(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]).as_deref(), Some("/c/huggingface/hub"));
        assert_eq!(found(&[("HF_HOME", "/f"), ("HOME", "/h")]).as_deref(), Some("/f/hub"));
        assert_eq!(found(&[("HF_HUB_CACHE", "/x"), ("HF_HOME", "/f")]).as_deref(), Some("/x"));
        assert_eq!(found(&[("HF_HUB_CACHE", ""), ("HF_HOME", "/f")]).as_deref(), Some("/f/hub"));
    }

    /// A cache as `huggingface_hub` leaves it, with one file of `a/b` at one revision.
    fn filled(file: &str) -> (tempfile::TempDir, HubCache) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("models--a--b");
        for below in ["refs", "blobs", "snapshots/c0ffee"] {
            std::fs::create_dir_all(place.join(below)).unwrap();
        }
        std::fs::write(place.join("refs/main"), "c0ffee\n").unwrap();
        std::fs::write(place.join("blobs/123"), "x").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("../../blobs/123", place.join("snapshots/c0ffee").join(file)).unwrap();
        #[cfg(not(unix))]
        std::fs::copy(place.join("blobs/123"), place.join("snapshots/c0ffee").join(file)).unwrap();
        let cache = HubCache::at(folder.path());
        (folder, cache)
    }

    #[test]
    fn a_snapshot_is_found_by_branch_and_by_commit() {
        let (folder, cache) = filled("model.safetensors");
        let snapshot = folder.path().join("models--a--b/snapshots/c0ffee");
        assert_eq!(cache.snapshot(&repository("a/b")), Ok(snapshot.clone()));
        assert_eq!(cache.snapshot(&repository("a/b@c0ffee")), Ok(snapshot.clone()));
        assert_eq!(cache.weights(&repository("a/b")), Some(snapshot));
        let failure = cache.snapshot(&repository("a/b@v2")).unwrap_err();
        assert_eq!(failure.what, "the Hugging Face cache has no revision `v2` of it");
        assert_eq!(failure.help.as_deref(), Some("name that one: `hf:a/b@c0ffee`"));
        let failure = cache.snapshot(&repository("a/c")).unwrap_err();
        assert_eq!(failure.what, "the Hugging Face cache has no `a/c`");
        std::fs::write(folder.path().join("models--a--b/refs/main"), "../../../etc").unwrap();
        assert_eq!(cache.snapshot(&repository("a/b")).unwrap_err().what, "does not hold a revision");
    }

    #[test]
    fn a_tokenizer_alone_is_no_weights() {
        let (folder, cache) = filled("tokenizer.json");
        assert_eq!(cache.weights(&repository("a/b")), None);
        drop(folder);
        let (folder, cache) = filled("model.safetensors");
        std::fs::remove_file(folder.path().join("models--a--b/blobs/123")).unwrap();
        #[cfg(unix)]
        assert_eq!(cache.weights(&repository("a/b")), None, "its blob is gone");
    }
}
