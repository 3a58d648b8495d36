use std::sync::{Arc, LazyLock};

use tempfile::TempDir;

use super::*;
use crate::data::{Batch, Damage, ImageSet, Loader, LoaderOptions, Pipeline};

/// A tar of `images` small PNGs in two classes, a class without images, a text and a long name, which was changed an hour ago.
fn tarred(path: &Path, images: usize, grey: u8) {
    let mut tar = tar::Builder::new(File::create(path).expect("a file"));
    let mut member = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).expect("a member");
    };
    for i in 0..images {
        let level = grey.wrapping_add(i as u8);
        let mut png = std::io::Cursor::new(Vec::new());
        image::GrayImage::from_pixel(4, 3, image::Luma([level]))
            .write_to(&mut png, image::ImageFormat::Png)
            .expect("a picture");
        member(&format!("./train/{}/{i:03}.png", ["a", "b"][i % 2]), png.get_ref());
    }
    member(&format!("./train/a/{}.png", "long".repeat(50)), b"no picture");
    member("./train/a/notes.txt", b"text");
    let mut folder = tar::Header::new_gnu();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_size(0);
    tar.append_data(&mut folder, "train/c/", &b""[..]).expect("a folder");
    tar.into_inner().expect("written").sync_all().expect("written");
    changed(path, 3600);
}

/// When the first of these tests began: one time for all calls of [`changed`], however long a test takes.
static BEGAN: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// Sets the time of the last change to so many seconds before [`BEGAN`].
fn changed(path: &Path, ago: u64) {
    let file = File::options().write(true).open(path).expect("a file");
    file.set_modified(*BEGAN - Duration::from_secs(ago)).expect("a time");
}

struct Place {
    folder: TempDir,
    cache: TarCache,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = TarCache::at(folder.path().join("cache"));
    tarred(&folder.path().join("train.tar"), 12, 0);
    Place { folder, cache }
}

impl Place {
    fn tar(&self) -> PathBuf {
        self.folder.path().join("train.tar")
    }

    fn found(&self) -> Option<Index> {
        self.cache.find(&self.tar(), &File::open(self.tar()).expect("a tar"))
    }

    fn kept(&self) -> PathBuf {
        self.cache.file_of(&fs::canonicalize(self.tar()).expect("a tar"))
    }

    fn set(&self, cache: Option<&TarCache>) -> ImageSet {
        ImageSet::open_with(self.folder.path(), "train", cache).expect("a set")
    }
}

fn same(a: &Index, b: &Index) -> bool {
    a.files == b.files && a.folders == b.folders && a.others == b.others
}

/// Everything that a set says of itself, and its batches of an epoch.
fn told(set: ImageSet) -> (Vec<String>, Vec<String>, String, Vec<Batch>) {
    let (names, warnings) = ((0..set.len()).map(|i| set.name(i).to_owned()).collect(), set.warnings().to_vec());
    let hash = set.listing_hash();
    let order = crate::data::order::shuffled(set.len(), 7, 0);
    let pipeline = Pipeline { transforms: crate::data::transforms::imagenet_train(8), ..Pipeline::default() };
    let options = LoaderOptions { batch: 4, threads: 2, ..LoaderOptions::default() };
    let loader = Loader::new(Arc::new(set), order, Arc::new(pipeline), Arc::new(Damage::new()), options);
    let batches = loader.expect("a loader").map(|batch| batch.expect("a batch"));
    (names, warnings, hash, batches.collect())
}

#[test]
fn a_set_and_its_batches_are_the_same_without_a_cache_with_a_new_one_and_with_an_old_one() {
    let place = place();
    let without = told(place.set(None));
    assert!(!place.kept().exists());
    assert_eq!(told(place.set(Some(&place.cache))), without);
    let kept = fs::read(place.kept()).expect("it is kept");
    assert!(same(&place.found().expect("it is found"), &tar_index::index(&place.tar()).expect("a tar")));
    assert_eq!(told(place.set(Some(&place.cache))), without);
    assert_eq!(fs::read(place.kept()).expect("it is kept"), kept);
    assert_eq!(fs::read_dir(place.kept().parent().expect("a folder")).expect("a folder").count(), 1);
}

#[test]
fn what_is_cut_short_or_changed_in_any_byte_is_made_anew() {
    let place = place();
    let without = told(place.set(None));
    place.set(Some(&place.cache));
    let whole = fs::read(place.kept()).expect("it is kept");
    for length in 0..whole.len() {
        fs::write(place.kept(), &whole[..length]).expect("written");
        assert!(place.found().is_none(), "{length} of {} bytes", whole.len());
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(place.kept(), &bytes).expect("written");
        assert!(place.found().is_none(), "byte {at}");
    }
    for garbage in [vec![], vec![0xff; 4096], [whole.clone(), vec![0]].concat()] {
        fs::write(place.kept(), &garbage).expect("written");
        assert!(place.found().is_none());
        assert_eq!(told(place.set(Some(&place.cache))), without);
        assert_eq!(fs::read(place.kept()).expect("it is made anew"), whole);
    }
}

/// An index with `change` done to it, kept as if it were true.
fn lied(place: &Place, change: impl Fn(&mut Index)) {
    let mut index = tar_index::index(&place.tar()).expect("a tar");
    change(&mut index);
    place.cache.keep(&place.tar(), &fs::metadata(place.tar()).expect("a tar"), &index);
}

#[test]
fn what_lies_about_a_member_is_made_anew() {
    let place = place();
    let without = told(place.set(None));
    let lies: [&dyn Fn(&mut Index); 4] = [
        &|index| index.files[0].size += 1,
        &|index| index.files[0].offset += 512,
        &|index| index.files.last_mut().expect("a file").size = u64::MAX,
        &|index| index.files[0].offset = 3,
    ];
    for lie in lies {
        lied(&place, lie);
        assert!(place.kept().exists() && place.found().is_none());
        assert_eq!(told(place.set(Some(&place.cache))), without);
        assert!(place.found().is_some());
    }
}

#[test]
fn a_number_of_members_that_are_not_there_takes_no_memory() {
    let place = place();
    let path = fs::canonicalize(place.tar()).expect("a tar");
    let state = State::of(&fs::metadata(&path).expect("a tar")).expect("a state");
    let mut bytes = written(&Index::default(), &path, state).expect("an index");
    bytes.truncate(bytes.len() - HASH - 8);
    bytes.extend(u64::MAX.to_le_bytes());
    let hash = blake3::hash(&bytes);
    bytes.extend(hash.as_bytes());
    assert!(read(&bytes, &path, state).is_none());
}

#[test]
fn a_tar_that_is_another_by_its_length_its_time_or_its_content_is_gone_through_again() {
    let place = place();
    place.set(Some(&place.cache));
    changed(&place.tar(), 1200);
    assert!(place.found().is_none(), "another time");
    place.set(Some(&place.cache));
    assert!(place.found().is_some());
    tarred(&place.tar(), 14, 0);
    changed(&place.tar(), 1200);
    assert!(place.found().is_none(), "another length");
    assert_eq!(place.set(Some(&place.cache)).len(), 15);
    // The same length and time, and other members.
    let length = fs::metadata(place.tar()).expect("a tar").len();
    let mut bytes = fs::read(place.tar()).expect("a tar");
    bytes.rotate_right(1024);
    fs::write(place.tar(), &bytes).expect("written");
    changed(&place.tar(), 1200);
    assert_eq!(fs::metadata(place.tar()).expect("a tar").len(), length);
    assert!(place.found().is_none(), "other members");
}

#[test]
fn a_tar_that_was_just_changed_is_not_kept() {
    let place = place();
    let file = File::options().write(true).open(place.tar()).expect("a tar");
    for modified in [SystemTime::now(), SystemTime::now() + Duration::from_secs(3600)] {
        file.set_modified(modified).expect("a time");
        place.set(Some(&place.cache));
        assert!(!place.kept().exists());
    }
}

#[test]
fn what_cannot_be_written_or_read_stops_nothing() {
    let place = place();
    fs::write(place.folder.path().join("cache"), "no folder").expect("written");
    assert_eq!(told(place.set(Some(&place.cache))), told(place.set(None)));
    fs::remove_file(place.folder.path().join("cache")).expect("removed");
    fs::create_dir_all(place.kept()).expect("a folder in its place");
    assert_eq!(told(place.set(Some(&place.cache))), told(place.set(None)));
}

#[test]
fn the_environment_says_where_it_is() {
    let by = |variables: &[(&str, &str)]| {
        let found = TarCache::by(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        found.map(|cache| cache.folder)
    };
    assert_eq!(by(&[("HOME", "/h")]), Some("/h/.cache/lmv".into()));
    assert_eq!(by(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), Some("/c/lmv".into()));
    assert_eq!(by(&[("HOME", "/h"), ("LMV_CACHE", "/mine")]), Some("/mine".into()));
    assert_eq!(by(&[("HOME", "/h"), ("LMV_CACHE", "off")]), None);
    assert_eq!(by(&[("HOME", "/h"), ("LMV_CACHE", "")]), Some("/h/.cache/lmv".into()));
    assert_eq!(by(&[]), None);
}
