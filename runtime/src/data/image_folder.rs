//! A set of labelled images on disk: a folder with a folder for each class, or a tar of the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Pixels;
use super::decode::{decode, decode_top};
use super::nearness::names_like;
use super::tar_cache::TarCache;
use super::tar_index::{self, read_at};
use crate::error::{Failure, Result};

/// Endings of files that are taken for images, in any case of letters.
pub const IMAGE_EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "webp", "gif", "tif", "tiff"];

/// The images of one split, each with a class (paper.md §3.5).
///
/// A class is the name of a folder; its id is the name's place in sorted order. Within a class images are sorted by
/// name. A class without images keeps its id.
#[derive(Debug)]
pub struct ImageSet {
    source: Source,
    classes: Vec<String>,
    images: Vec<Entry>,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Source {
    /// The folder that holds the classes.
    Folder(PathBuf),
    Tar {
        path: PathBuf,
        file: File,
    },
}

#[derive(Debug)]
struct Entry {
    /// `class/file`.
    name: Box<str>,
    class: u32,
    /// Where the bytes are. For folders sizes are asked for when they are needed: a set may have a million files.
    tar: Option<Extent>,
}

/// Offset and length in a tar, in bytes.
type Extent = (u64, u64);

/// A listing before it is sorted and numbered.
#[derive(Default)]
struct Listing {
    /// File names (and places in the tar) by class.
    classes: BTreeMap<String, Vec<(String, Option<Extent>)>>,
    /// What is there and is no image by its name.
    others: Vec<String>,
    /// Classes that hold folders.
    nested: BTreeSet<String>,
    warnings: Vec<String>,
}

impl ImageSet {
    /// Lists `root/split/<class>/<image>`, or the members of `root/split.tar` with exactly two `/` in their name, of which
    /// the middle part is the class. An empty `split` stands for classes directly in `root`; a split may have several
    /// parts (`fog/3`).
    ///
    /// # Errors
    /// Neither is there; a tar that is compressed, cut short or none; no image at all; only one class.
    pub fn open(root: &Path, split: &str) -> Result<Self> {
        Self::open_with(root, split, None)
    }

    /// The same with a place where it is kept what a tar holds.
    ///
    /// # Errors
    /// Those of [`ImageSet::open`]; none for what the cache holds or cannot hold.
    pub fn open_with(root: &Path, split: &str, cache: Option<&TarCache>) -> Result<Self> {
        let folder = if split.is_empty() { root.to_path_buf() } else { root.join(split) };
        let tar = if split.is_empty() { None } else { Some(root.join(format!("{split}.tar"))) };
        let tar = tar.filter(|tar| tar.is_file());
        let (source, place, listing) = match tar {
            _ if folder.is_dir() => {
                let mut listing = list_folder(&folder)?;
                if let Some(tar) = tar {
                    listing.warnings.push(format!("{} is there too and is not read", tar.display()));
                }
                (Source::Folder(folder.clone()), folder, listing)
            }
            Some(tar) => {
                let listing = list_tar(&tar, cache)?;
                let file = File::open(&tar).map_err(|error| Failure::at(&tar, format!("cannot be opened: {error}")))?;
                (Source::Tar { path: tar.clone(), file }, tar, listing)
            }
            None => return Err(missing(root, split, &folder)),
        };
        listing.check(&place, root)?;
        Ok(listing.number(source))
    }

    /// The names of the classes that [`ImageSet::open`] would find, without listing their images; none where they lie in a
    /// tar, which only a reading of all of it tells.
    ///
    /// # Errors
    /// Neither folder nor tar is there.
    pub fn class_names(root: &Path, split: &str) -> Result<Option<Vec<String>>> {
        let folder = if split.is_empty() { root.to_path_buf() } else { root.join(split) };
        if folder.is_dir() {
            let found = entries(&folder, &mut Vec::new())?;
            return Ok(Some(
                found.into_iter().filter(|(_, kind)| *kind == Kind::Folder).map(|(name, _)| name).collect(),
            ));
        }
        match !split.is_empty() && root.join(format!("{split}.tar")).is_file() {
            true => Ok(None),
            false => Err(missing(root, split, &folder)),
        }
    }

    /// The names of the classes, sorted; a label is an index into this.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Never: [`ImageSet::open`] refuses a set without images.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The class of image `i`.
    ///
    /// # Panics
    /// If `i` is not below [`ImageSet::len`]; so for the functions below.
    pub fn label(&self, i: usize) -> usize {
        self.images[i].class as usize
    }

    /// `class/file` of image `i`.
    pub fn name(&self, i: usize) -> &str {
        &self.images[i].name
    }

    /// Where image `i` is, for messages: its path, or the tar's path, a colon and its name.
    pub fn place(&self, i: usize) -> PathBuf {
        match &self.source {
            Source::Folder(folder) => folder.join(self.name(i)),
            Source::Tar { path, .. } => PathBuf::from(format!("{}:{}", path.display(), self.name(i))),
        }
    }

    /// The bytes of image `i` as they are on disk. Many threads may read at once.
    pub fn read(&self, i: usize) -> Result<Vec<u8>> {
        let cannot = |error: std::io::Error| Failure::at(self.place(i), format!("cannot be read: {error}"));
        match (&self.source, self.images[i].tar) {
            (Source::Tar { file, .. }, Some((offset, size))) => {
                let mut bytes = vec![0; size as usize];
                read_at(file, &mut bytes, offset).map_err(cannot)?;
                Ok(bytes)
            }
            _ => fs::read(self.place(i)).map_err(cannot),
        }
    }

    /// Image `i`, decoded.
    pub fn load(&self, i: usize) -> Result<Pixels> {
        decode(&self.read(i)?, &self.place(i))
    }

    /// The same where only so many of the uppermost rows are wanted: [`decode_top`].
    pub fn load_top(&self, i: usize, rows: impl FnOnce(usize, usize) -> usize) -> Result<Pixels> {
        decode_top(&self.read(i)?, &self.place(i), rows)
    }

    /// What is odd about the set and does not stop a run, a sentence each: empty classes, files that are no images.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// BLAKE3 over the classes and over name and size of every image, in hexadecimal: the same for a folder and for a tar
    /// of it. A file that is gone counts as one of no size.
    pub fn listing_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for class in &self.classes {
            hasher.update(class.as_bytes()).update(b"/\n");
        }
        for (i, image) in self.images.iter().enumerate() {
            let size = match image.tar {
                Some((_, size)) => Some(size),
                None => fs::metadata(self.place(i)).ok().map(|data| data.len()),
            };
            hasher.update(image.name.as_bytes()).update(b"\0");
            hasher.update(size.map_or_else(|| "-".to_string(), |size| size.to_string()).as_bytes()).update(b"\n");
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Numbers the labels by `classes` (those the model was trained on, sorted) instead of by this split's own.
    ///
    /// # Errors
    /// This split has a class that is not among them.
    pub fn relabel(&mut self, classes: &[String]) -> Result<()> {
        if classes == self.classes {
            return Ok(());
        }
        let ids: BTreeMap<&str, u32> = classes.iter().zip(0..).map(|(name, id)| (name.as_str(), id)).collect();
        let unknown: Vec<&str> =
            self.classes.iter().map(String::as_str).filter(|name| !ids.contains_key(name)).collect();
        if !unknown.is_empty() {
            let place = match &self.source {
                Source::Folder(path) | Source::Tar { path, .. } => path,
            };
            return Err(Failure::at(
                place,
                format!("has {} classes that the training split has not: {}", unknown.len(), some(&unknown)),
            )
            .note(format!("the training split has {} classes: {}", classes.len(), some(classes)))
            .help("give both splits the same class folders"));
        }
        let new: Vec<u32> = self.classes.iter().map(|name| ids[name.as_str()]).collect();
        for image in &mut self.images {
            image.class = new[image.class as usize];
        }
        self.classes = classes.to_vec();
        Ok(())
    }
}

impl Listing {
    /// The failures that only the whole listing shows.
    fn check(&self, place: &Path, root: &Path) -> Result<()> {
        let images: usize = self.classes.values().map(Vec::len).sum();
        let layout = "expected <class>/<image> in it, with two classes or more";
        if images == 0 {
            let mut failure = Failure::at(place, format!("holds no images; {layout}"));
            let names: Vec<&String> = self.classes.keys().collect();
            if !names.is_empty() {
                failure = failure.note(format!("the class folders are there and hold none: {}", some(&names)));
            }
            if !self.nested.is_empty() {
                let nested: Vec<&String> = self.nested.iter().collect();
                failure = failure
                    .note(format!("these hold folders, so the classes may lie one level deeper: {}", some(&nested)));
            }
            if !self.others.is_empty() {
                failure = failure.note(format!("found instead: {}", some(&self.others)));
            }
            return Err(failure.help(format!("images are files that end in {}", IMAGE_EXTENSIONS.join(", "))));
        }
        if self.classes.len() == 1 {
            let only = self.classes.keys().next().map_or("", String::as_str);
            return Err(Failure::at(place, format!("holds one class only, `{only}`; {layout}"))
                .note(format!("looked in {} for a folder for each class", place.display()))
                .help(format!("check that {} is the folder that holds the splits", root.display())));
        }
        Ok(())
    }

    fn number(self, source: Source) -> ImageSet {
        let mut warnings = self.warnings;
        let empty: Vec<&String> =
            self.classes.iter().filter(|(_, files)| files.is_empty()).map(|(name, _)| name).collect();
        if !empty.is_empty() {
            warnings.push(format!(
                "{} of {} classes hold no images: {}",
                empty.len(),
                self.classes.len(),
                some(&empty)
            ));
        }
        if !self.others.is_empty() {
            warnings.push(format!(
                "{} files are no images and are left out: {}",
                self.others.len(),
                some(&self.others)
            ));
        }
        let mut classes = Vec::with_capacity(self.classes.len());
        let mut images = Vec::new();
        // A `BTreeMap` gives its keys sorted by bytes, which for UTF-8 is Python's order too.
        for (id, (class, mut files)) in (0..).zip(self.classes) {
            files.sort();
            images.extend(files.into_iter().map(|(file, tar)| Entry {
                name: format!("{class}/{file}").into_boxed_str(),
                class: id,
                tar,
            }));
            classes.push(class);
        }
        ImageSet { source, classes, images, warnings }
    }
}

fn list_folder(folder: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    for (class, kind) in entries(folder, &mut listing.others)? {
        if kind == Kind::File {
            listing.others.push(class);
            continue;
        }
        let mut files = Vec::new();
        for (file, kind) in entries(&folder.join(&class), &mut listing.others)? {
            match kind {
                Kind::Folder => {
                    listing.nested.insert(class.clone());
                }
                Kind::File if is_image(&file) => files.push((file, None)),
                Kind::File => listing.others.push(format!("{class}/{file}")),
            }
        }
        listing.classes.insert(class, files);
    }
    listing.others.sort();
    Ok(listing)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// What is in `folder` and is not hidden; names that are not UTF-8 go to `others`.
fn entries(folder: &Path, others: &mut Vec<String>) -> Result<Vec<(String, Kind)>> {
    let cannot = |error: std::io::Error| {
        Failure::at(folder, format!("the folder cannot be listed: {error}")).help("check that you may read it")
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let name = match entry.file_name().into_string() {
            Ok(name) => name,
            Err(name) => {
                others.push(name.to_string_lossy().into_owned());
                continue;
            }
        };
        if name.starts_with('.') {
            continue;
        }
        let mut kind = entry.file_type().map_err(cannot)?;
        if kind.is_symlink() {
            match fs::metadata(entry.path()) {
                Ok(target) => kind = target.file_type(),
                Err(_) => {
                    others.push(format!("{name} (a link to nothing)"));
                    continue;
                }
            }
        }
        if kind.is_dir() {
            found.push((name, Kind::Folder));
        } else if kind.is_file() {
            found.push((name, Kind::File));
        }
    }
    Ok(found)
}

fn list_tar(path: &Path, cache: Option<&TarCache>) -> Result<Listing> {
    let index = match cache {
        Some(cache) => cache.index(path)?,
        None => tar_index::index(path)?,
    };
    let mut listing = Listing { others: index.others, ..Listing::default() };
    for member in index.files {
        let parts: Vec<&str> = member.name.split('/').collect();
        match parts[..] {
            [_, class, file] if !class.is_empty() && !class.starts_with('.') => {
                if file.starts_with('.') {
                    continue;
                }
                if is_image(file) {
                    let files = listing.classes.entry(class.to_string()).or_default();
                    files.push((file.to_string(), Some((member.offset, member.size))));
                } else {
                    listing.others.push(member.name);
                }
            }
            _ => listing.others.push(member.name),
        }
    }
    // So that a class without images has an id here too, as it has in a folder.
    for folder in index.folders {
        if let [_, class] = folder.split('/').collect::<Vec<_>>()[..]
            && !class.is_empty()
            && !class.starts_with('.')
        {
            listing.classes.entry(class.to_string()).or_default();
        }
    }
    // A tar may hold a name twice, of which the last counts when it is unpacked.
    for files in listing.classes.values_mut() {
        files.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        files.dedup_by(|later, kept| later.0 == kept.0);
    }
    listing.others.sort();
    Ok(listing)
}

fn is_image(file: &str) -> bool {
    let ending = Path::new(file).extension().and_then(|ending| ending.to_str()).unwrap_or("");
    IMAGE_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

fn missing(root: &Path, split: &str, folder: &Path) -> Failure {
    // The nearest folder above that does exist tells where the path goes wrong.
    let mut existing = root;
    while !existing.is_dir() {
        match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => existing = parent,
            _ => {
                existing = Path::new(".");
                break;
            }
        }
    }
    let wanted = if existing == root {
        split.split('/').next().unwrap_or(split).to_string()
    } else {
        let rest = root.strip_prefix(existing).unwrap_or(root);
        rest.iter().next().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let what = if existing == root {
        format!("has no split `{split}`: neither {split}/ nor {split}.tar is there")
    } else {
        "there is no such folder, expected one with the images".to_string()
    };
    let mut failure = Failure::at(root, what);
    if !split.is_empty() {
        failure = failure.note(format!("looked for {} and {}.tar", folder.display(), folder.display()));
    }
    let names = names_like(existing, &wanted);
    let found = if names.is_empty() { "nothing".to_string() } else { names.join(", ") };
    failure
        .note(format!("in {} there is: {found}", existing.display()))
        .help("expected <root>/<split>/<class>/<image>, or <root>/<split>.tar with <split>/<class>/<image> in it")
}

/// The first few of `names` and how many more there are.
fn some<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(AsRef::as_ref).collect();
    match names.len() {
        0..=5 => shown.join(", "),
        n => format!("{} and {} more", shown.join(", "), n - 5),
    }
}

#[cfg(test)]
mod tests;
