//! Small files for the tests of this folder: safetensors, and torch's zip with a pickle written by hand.

use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use zip::write::SimpleFileOptions;

/// Writes a safetensors file of `f32` tensors: name, shape, numbers.
pub fn safetensors(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, numbers)| floats(numbers)).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

/// `numbers` as they lie in a file.
pub fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Writes torch's zip around a pickle: `storages` are the entries under `data/`.
pub fn torch_zip(path: &Path, pickle: &[u8], storages: &[(&str, &[u8])], deflated: bool) {
    torch_zip_in("archive", path, pickle, storages, deflated);
}

/// The same with everything in the folder `root`.
pub fn torch_zip_in(root: &str, path: &Path, pickle: &[u8], storages: &[(&str, &[u8])], deflated: bool) {
    let method = if deflated { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = SimpleFileOptions::default().compression_method(method);
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let mut entry = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("{root}/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    entry("data.pkl", pickle);
    entry("byteorder", b"little");
    for (key, bytes) in storages {
        entry(&format!("data/{key}"), bytes);
    }
    entry("version", b"3\n");
    zip.finish().unwrap();
}

/// Writes torch's zip of a flat dict of contiguous `f32` tensors.
pub fn torch_dict(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let mut pickle = Pickle::new().open_dict();
    let mut storages = Vec::new();
    for (i, (name, shape, numbers)) in tensors.iter().enumerate() {
        let shape: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
        let stride: Vec<i64> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        pickle = pickle.text(name).tensor("FloatStorage", &i.to_string(), numbers.len() as i64, 0, &shape, &stride);
        storages.push((i.to_string(), floats(numbers)));
    }
    let storages: Vec<(&str, &[u8])> = storages.iter().map(|(key, bytes)| (key.as_str(), bytes.as_slice())).collect();
    torch_zip(path, &pickle.close_dict().stop(), &storages, false);
}

/// What `torch.save` wrote before its zip: the object's pickle, and its storages with their numbers' width.
pub fn torch_legacy(pickle: &[u8], storages: &[(&str, usize, &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    let system = Pickle::new().open_dict().text("protocol_version").int(1001).text("little_endian").raw(b"\x88");
    bytes.extend(system.close_dict().stop());
    bytes.extend(pickle);
    let keys = storages.iter().fold(Pickle::new().raw(b"]("), |p, (key, ..)| p.text(key));
    bytes.extend(keys.raw(b"e").stop());
    for (_, width, storage) in storages {
        bytes.extend(((storage.len() / width) as u64).to_le_bytes());
        bytes.extend(*storage);
    }
    bytes
}

/// A pickle as `torch.save` writes it, piece by piece.
pub struct Pickle(Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub fn int(self, n: i64) -> Self {
        self.raw(b"\x8a\x08").raw(&n.to_le_bytes())
    }

    pub fn ints(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self.raw(b"("), |p, n| p.int(*n)).raw(b"t")
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    /// `{`, after which keys and values take turns until [`Self::close_dict`].
    pub fn open_dict(self) -> Self {
        self.raw(b"}(")
    }

    pub fn close_dict(self) -> Self {
        self.raw(b"u")
    }

    pub fn storage(self, module: &str, class: &str, key: &str, numbers: i64) -> Self {
        self.raw(b"(").text("storage").global(module, class).text(key).text("cpu").int(numbers).raw(b"tQ")
    }

    pub fn tensor(self, class: &str, key: &str, numbers: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .storage("torch", class, key, numbers)
            .int(offset)
            .ints(shape)
            .ints(stride)
            .raw(b"\x89")
            .global("collections", "OrderedDict")
            .raw(b")RtR")
    }

    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}
