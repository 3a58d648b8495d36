//! The safetensors container (paper.md §2.2): the length of a JSON header as 8 little-endian bytes, the header, the
//! data.
//!
//! The header is read here and not by the `safetensors` crate: the crate wants the whole file in memory or mapped, and
//! says what is wrong with a damaged one in words for its own developers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::dtype::{Dtype, TensorInfo};
use super::file::{WeightFile, shown};
use super::lying::{Lying, Store};
use crate::error::{Failure, Result};

/// The longest header that the format allows, as its reference implementation has it.
const LONGEST_HEADER: u64 = 100_000_000;

/// An open safetensors file: its table of contents, and the place of each tensor.
#[derive(Debug)]
pub struct SafetensorsFile {
    file: Arc<WeightFile>,
    tensors: BTreeMap<String, (TensorInfo, u64)>,
}

impl SafetensorsFile {
    pub(super) fn file(&self) -> &WeightFile {
        &self.file
    }

    pub(super) fn open(file: Arc<WeightFile>) -> Result<Self> {
        let path = file.path();
        let damaged = |what: String| Failure::at(path, what).help("download or copy the file again");
        if file.len() < 8 {
            return Err(damaged(format!(
                "is no safetensors file: it has {} bytes, and the length of its header alone takes 8",
                file.len()
            )));
        }
        let mut length = [0; 8];
        length.copy_from_slice(&file.bytes(0, 8)?);
        let length = u64::from_le_bytes(length);
        if length > file.len() - 8 {
            return Err(damaged(format!(
                "is no safetensors file, or is cut short: its header claims {length} bytes, and {} follow",
                file.len() - 8
            )));
        }
        if length > LONGEST_HEADER {
            return Err(damaged(format!(
                "is no safetensors file: its header claims {length} bytes, and the format allows {LONGEST_HEADER}"
            )));
        }
        // `LONGEST_HEADER` fits a usize anywhere.
        let json = file.bytes(8, length as usize)?;
        let Header(entries) = serde_json::from_slice(&json).map_err(|e| {
            damaged(format!("is no safetensors file, or is damaged: its header is not as the format has it: {e}"))
        })?;

        let start = 8 + length;
        let data = file.len() - start;
        let mut tensors = BTreeMap::new();
        let mut ranges = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            let (begin, end) = entry.data_offsets;
            let about = |what: String| damaged(format!("is damaged: its tensor `{}` {what}", shown(&name)));
            let dtype = Dtype::from_safetensors(&entry.dtype).ok_or_else(|| {
                about(format!("has the type `{}`, which is none of safetensors'", shown(&entry.dtype)))
            })?;
            let info = TensorInfo { dtype, shape: entry.shape };
            if begin > end {
                return Err(about(format!("begins at byte {begin} and ends before it, at {end}")));
            }
            if end > data {
                return Err(about(format!("ends at byte {end} of the data, and the file holds {data}"))
                    .note("a download that broke off looks like this"));
            }
            if info.bytes().is_none_or(|bytes| bytes as u64 != end - begin) {
                return Err(about(format!(
                    "is {} {:?}, and the header gives it {} bytes",
                    dtype,
                    info.shape,
                    end - begin
                )));
            }
            if begin < end {
                ranges.push((begin, end, name.clone()));
            }
            if tensors.insert(name.clone(), (info, start + begin)).is_some() {
                return Err(about("stands in the header twice".into()));
            }
        }
        ranges.sort_unstable();
        let mut covered = 0;
        for (i, (begin, end, name)) in ranges.iter().enumerate() {
            if *begin < covered {
                let (_, _, before) = &ranges[i - 1];
                return Err(damaged(format!(
                    "is damaged: its tensors `{}` and `{}` overlap",
                    shown(before),
                    shown(name)
                )));
            }
            // The format forbids holes, so that nothing hides in a file.
            if *begin > covered {
                return Err(damaged(format!("is damaged: no tensor has bytes {covered} to {begin} of its data")));
            }
            covered = *end;
        }
        if covered != data {
            return Err(damaged(format!(
                "is damaged: its tensors take {covered} bytes, and {data} bytes of data are in the file"
            )));
        }
        Ok(Self { file, tensors })
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, (info, _))| (name.as_str(), info))
    }

    /// Where tensor `name` lies, which must be one of [`Self::tensors`].
    pub(super) fn lying(&self, name: &str) -> Result<Lying> {
        let Some((info, at)) = self.tensors.get(name) else {
            return Err(Failure::at(self.file.path(), format!("holds no tensor `{}`", shown(name))));
        };
        // `open` has compared the size with the header's range, so it can be counted.
        Lying::whole(Store::File(self.file.clone()), *at, info.bytes().unwrap_or(0))
    }
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The entries as they stand, a name that stands twice included: a map would silently keep the last one.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    fn failure(bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let failure = SafetensorsFile::open(WeightFile::open(&path).unwrap()).unwrap_err();
        assert_eq!(failure.path.as_deref(), Some(path.as_path()));
        assert!(failure.help.is_some());
        failure.what
    }

    fn with_header(json: &str, data: usize) -> Vec<u8> {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    }

    #[test]
    fn reads_only_the_wanted_range() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        made::safetensors(&path, &[("a", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), ("b", &[3], &[5.0, 6.0, 7.0])]);
        let file = SafetensorsFile::open(WeightFile::open(&path).unwrap()).unwrap();
        assert_eq!(
            file.tensors().map(|(n, i)| (n, i.shape.clone())).collect::<Vec<_>>(),
            [("a", vec![2, 2]), ("b", vec![3])]
        );
        assert_eq!(Dtype::F32.to_f32(&file.lying("b").unwrap().bytes(&path).unwrap()).unwrap(), [5.0, 6.0, 7.0]);
    }

    #[test]
    fn a_cut_file_says_so() {
        assert!(failure(b"").contains("it has 0 bytes"));
        assert!(failure(&[1, 2, 3]).contains("it has 3 bytes"));
        let whole = with_header(r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, 16);
        assert!(failure(&whole[..20]).contains("cut short"));
        assert!(failure(&whole[..whole.len() - 1]).contains("ends at byte 16 of the data, and the file holds 15"));
    }

    #[test]
    fn a_header_that_claims_more_than_the_file_allocates_nothing() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        assert!(failure(&bytes).contains("claims 18446744073709551615 bytes, and 2 follow"));
        let huge = r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
        assert!(failure(&with_header(huge, 4)).contains("ends at byte 4398046511104"));
    }

    #[test]
    fn a_header_that_is_not_as_the_format_has_it() {
        assert!(failure(&with_header("not json", 0)).contains("not as the format has it"));
        assert!(failure(&with_header("[1]", 0)).contains("not as the format has it"));
        assert!(failure(&with_header(&"[".repeat(100_000), 0)).contains("not as the format has it"));
        assert!(
            failure(&with_header(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4)).contains("not as")
        );
        let of = |fields: &str| failure(&with_header(&format!("{{\"a\":{{{fields}}}}}"), 16));
        assert!(of(r#""dtype":"F33","shape":[4],"data_offsets":[0,16]"#).contains("the type `F33`"));
        assert!(
            of(r#""dtype":"F32","shape":[5],"data_offsets":[0,16]"#)
                .contains("is F32 [5], and the header gives it 16 bytes")
        );
        assert!(
            of(r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]"#).contains("gives it 16 bytes")
        );
        assert!(of(r#""dtype":"F32","shape":[4],"data_offsets":[16,0]"#).contains("ends before it"));
        assert!(of(r#""dtype":"F32","shape":[3],"data_offsets":[0,12]"#).contains("take 12 bytes, and 16"));
        assert!(of(r#""dtype":"F32","shape":[3],"data_offsets":[4,16]"#).contains("no tensor has bytes 0 to 4"));
    }

    #[test]
    fn overlaps_and_doubles_are_refused() {
        let entry = |name: &str, b: usize, e: usize| {
            format!("\"{name}\":{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[{b},{e}]}}", e - b)
        };
        let two = |x: String, y: String| failure(&with_header(&format!("{{{x},{y}}}"), 8));
        assert!(two(entry("a", 0, 6), entry("b", 4, 8)).contains("`a` and `b` overlap"));
        assert!(two(entry("a", 0, 4), entry("a", 4, 8)).contains("stands in the header twice"));
    }
}
