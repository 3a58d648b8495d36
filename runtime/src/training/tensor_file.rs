//! Named f32 tensors, in memory and as a safetensors file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use crate::error::{Failure, Result};

/// Values that are turned into bytes at a time.
const CHUNK: usize = 1 << 14;

/// A tensor with its name: borrowed from the model while saving, owned after loading.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// The name of the parameter, as in the model.
    pub name: Cow<'a, str>,
    /// The length of each axis; none for a single number.
    pub shape: Cow<'a, [usize]>,
    /// The values, last axis fastest.
    pub values: Cow<'a, [f32]>,
}

impl<'a> Tensor<'a> {
    /// A tensor that borrows or owns, as its parts do: `Tensor::new("w", &[2, 3][..], &values[..])`.
    pub fn new(
        name: impl Into<Cow<'a, str>>,
        shape: impl Into<Cow<'a, [usize]>>,
        values: impl Into<Cow<'a, [f32]>>,
    ) -> Self {
        Self { name: name.into(), shape: shape.into(), values: values.into() }
    }

    /// The same with values of its own.
    pub fn to_static(&self) -> Tensor<'static> {
        Tensor {
            name: Cow::Owned(self.name.as_ref().to_owned()),
            shape: Cow::Owned(self.shape.as_ref().to_owned()),
            values: Cow::Owned(self.values.as_ref().to_owned()),
        }
    }
}

/// The header's entry of one tensor, in the format's own words.
#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

/// Whether the tensors can be written: each as long as its shape says, and no name twice.
///
/// # Errors
/// The first that is not so, about the file at `path`.
pub(crate) fn check(path: &Path, tensors: &[Tensor<'_>]) -> Result<()> {
    let mut names: Vec<&str> = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let expected = tensor.shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
        if expected != Some(tensor.values.len()) {
            return Err(Failure::at(
                path,
                format!("`{}` has {} values, and its shape is {:?}", tensor.name, tensor.values.len(), tensor.shape),
            ));
        }
        if tensor.name == "__metadata__" {
            return Err(Failure::at(path, "a tensor is named `__metadata__`, which safetensors keeps for itself"));
        }
        names.push(&tensor.name);
    }
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::at(path, format!("two tensors are named `{}`", pair[0]))),
        None => Ok(()),
    }
}

/// Writes the tensors, sorted by name, as a safetensors file. They must have passed [`check`].
///
/// The `safetensors` crate would build the whole file in memory first, which doubles what a large model needs.
pub(crate) fn write(tensors: &[Tensor<'_>], writer: &mut dyn Write) -> io::Result<()> {
    let sorted: BTreeMap<&str, &Tensor<'_>> = tensors.iter().map(|tensor| (tensor.name.as_ref(), tensor)).collect();
    let mut header = String::from("{");
    let mut offset = 0;
    for (name, tensor) in &sorted {
        let end = offset + tensor.values.len() * size_of::<f32>();
        let entry = Entry { dtype: "F32", shape: &tensor.shape, data_offsets: [offset, end] };
        let comma = if header.len() > 1 { "," } else { "" };
        header += &format!("{comma}{}:{}", serde_json::to_string(name)?, serde_json::to_string(&entry)?);
        offset = end;
    }
    header.push('}');
    // The data begin at a multiple of 8 bytes; the format fills up with spaces.
    let padded = header.len().next_multiple_of(8);
    writer.write_all(&(padded as u64).to_le_bytes())?;
    writer.write_all(format!("{header:padded$}").as_bytes())?;
    let mut bytes = Vec::with_capacity(CHUNK * size_of::<f32>());
    for tensor in sorted.values() {
        for values in tensor.values.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            writer.write_all(&bytes)?;
        }
    }
    Ok(())
}

/// The tensors of a safetensors file, sorted by name. `path` is for messages.
///
/// # Errors
/// Bytes that are no safetensors file, and a tensor that is not f32.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Tensor<'static>>> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| Failure::at(path, format!("this is not a safetensors file: {error}")))?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(Failure::at(path, format!("`{name}` is {:?}, expected F32", view.dtype()))
                .help("lmv writes checkpoints in f32; was this file made by another program?"));
        }
        // `chunks_exact` hands out slices of 4 bytes only.
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        tensors.push(Tensor::new(name.to_owned(), view.shape().to_vec(), values));
    }
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(tensors: &[Tensor<'_>]) -> Vec<u8> {
        check(Path::new("a"), tensors).expect("tensors that can be written");
        let mut bytes = Vec::new();
        write(tensors, &mut bytes).expect("memory takes everything");
        bytes
    }

    /// The bytes that the `safetensors` crate, which is also what Python uses, writes for the same tensors.
    #[test]
    fn the_bytes_are_those_of_the_reference() {
        let values: Vec<f32> = (0..6).map(|i| i as f32 - 2.5).collect();
        let tensors = [Tensor::new("w", vec![2, 3], &values[..]), Tensor::new("a \"b\"", vec![], vec![7.0])];
        let raw: Vec<(String, Vec<u8>, Vec<usize>)> = tensors
            .iter()
            .map(|t| (t.name.to_string(), t.values.iter().flat_map(|v| v.to_le_bytes()).collect(), t.shape.to_vec()))
            .collect();
        let views = raw.iter().map(|(name, data, shape)| {
            let view = safetensors::tensor::TensorView::new(Dtype::F32, shape.clone(), data);
            (name.clone(), view.expect("as long as the shape says"))
        });
        let reference = safetensors::serialize(views, None).expect("fine tensors");
        assert_eq!(written(&tensors), reference);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let found = |tensors: &[Tensor<'_>]| check(Path::new("m"), tensors).expect_err("refused").to_string();
        let tensor = |name: &'static str, shape: &'static [usize]| Tensor::new(name, shape, vec![0.0; 2]);
        assert_eq!(found(&[tensor("w", &[3])]), "m: `w` has 2 values, and its shape is [3]");
        assert_eq!(
            found(&[tensor("w", &[usize::MAX, 2])]),
            format!("m: `w` has 2 values, and its shape is [{}, 2]", usize::MAX)
        );
        assert_eq!(found(&[tensor("w", &[2]), tensor("w", &[1, 2])]), "m: two tensors are named `w`");
        assert!(found(&[tensor("__metadata__", &[2])]).contains("__metadata__"));
    }

    #[test]
    fn what_cannot_be_read_is_a_failure() {
        let whole = written(&[Tensor::new("w", vec![2], vec![1.0, 2.0])]);
        for length in 0..whole.len() {
            let failure = parse(Path::new("m.safetensors"), &whole[..length]).expect_err("cut short");
            assert!(failure.to_string().starts_with("m.safetensors: this is not a safetensors file"), "{failure}");
        }
        let half = safetensors::tensor::TensorView::new(Dtype::F16, vec![1], &[0, 0]).expect("2 bytes");
        let half = safetensors::serialize([("w", half)], None).expect("a fine tensor");
        assert_eq!(parse(Path::new("m"), &half).expect_err("f16").what, "`w` is F16, expected F32");
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(tensors in proptest::collection::btree_map(
            "[a-z.]{0,8}", proptest::collection::vec(any::<u32>(), 0..9), 0..6,
        )) {
            let tensors: Vec<Tensor<'_>> = tensors
                .into_iter()
                .map(|(name, bits)| {
                    Tensor::new(name, vec![bits.len()], bits.into_iter().map(f32::from_bits).collect::<Vec<_>>())
                })
                .collect();
            let back = parse(Path::new("m"), &written(&tensors)).expect("what was written");
            // By their bits, since NaN is not equal to itself.
            let bits = |tensors: &[Tensor<'_>]| -> Vec<(String, Vec<u32>)> {
                tensors.iter().map(|t| (t.name.to_string(), t.values.iter().map(|v| v.to_bits()).collect())).collect()
            };
            prop_assert_eq!(bits(&back), bits(&tensors));
        }
    }
}
