//! The numbers of a tensor in memory, in a type that something here computes with.

use std::fmt::Debug;

use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};

use super::mapped::MappedBytes;

/// Numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// IEEE halves.
    F16(Vec<f16>),
    /// The upper halves of 32-bit floats.
    BF16(Vec<bf16>),
    /// IEEE halves in a mapped file.
    MappedF16(MappedBytes),
    /// The upper halves of 32-bit floats in a mapped file.
    MappedBF16(MappedBytes),
}

impl Numbers {
    /// Halves from their bits.
    pub(super) fn f16(bits: Vec<u16>) -> Self {
        Self::F16(bits.reinterpret_into())
    }

    /// Halves from their bits.
    pub(super) fn bf16(bits: Vec<u16>) -> Self {
        Self::BF16(bits.reinterpret_into())
    }

    /// All of them as `f32`, which every half is.
    pub fn into_f32(self) -> Vec<f32> {
        fn widened(count: usize, convert: impl Fn(&mut [f32])) -> Vec<f32> {
            let mut out = vec![0.0; count];
            convert(&mut out);
            out
        }
        match self {
            Self::F32(numbers) => numbers,
            Self::F16(halves) => widened(halves.len(), |out| halves.convert_to_f32_slice(out)),
            Self::BF16(halves) => widened(halves.len(), |out| halves.convert_to_f32_slice(out)),
            mapped => mapped.in_memory().into_f32(),
        }
    }

    /// The same in memory of their own.
    pub(super) fn in_memory(self) -> Self {
        let bits = |bytes: MappedBytes| {
            let pairs = bytes.as_ref().as_chunks().0;
            pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect::<Vec<u16>>()
        };
        match self {
            Self::MappedF16(bytes) => Self::f16(bits(bytes)),
            Self::MappedBF16(bytes) => Self::bf16(bits(bytes)),
            numbers => numbers,
        }
    }
}

impl From<Vec<f32>> for Numbers {
    fn from(numbers: Vec<f32>) -> Self {
        Self::F32(numbers)
    }
}
