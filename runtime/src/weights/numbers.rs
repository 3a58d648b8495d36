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

    /// Tensors of one width, one below the other: halves if all are of one kind of them, else `f32`.
    pub fn stacked(parts: Vec<Self>) -> Self {
        let mut parts = parts.into_iter();
        // One by itself stays where it is.
        let Some(first) = parts.next() else { return Self::F32(Vec::new()) };
        parts.fold(first, |above, below| match (above.in_memory(), below.in_memory()) {
            (Self::F16(mut above), Self::F16(below)) => {
                above.extend(below);
                Self::F16(above)
            }
            (Self::BF16(mut above), Self::BF16(below)) => {
                above.extend(below);
                Self::BF16(above)
            }
            (above, below) => {
                let mut above = above.into_f32();
                above.extend(below.into_f32());
                Self::F32(above)
            }
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacked_halves_stay_halves_of_one_kind() {
        let [one, two] = [1.5_f32, -2.25].map(|x| vec![x]);
        let halves = |x: &[f32]| Numbers::F16(x.iter().copied().map(f16::from_f32).collect());
        let upper = |x: &[f32]| Numbers::BF16(x.iter().copied().map(bf16::from_f32).collect());
        let all = [1.5, -2.25];
        assert_eq!(Numbers::stacked(vec![halves(&one), halves(&two)]), halves(&all));
        assert_eq!(Numbers::stacked(vec![upper(&one), upper(&two)]), upper(&all));
        assert_eq!(Numbers::stacked(vec![upper(&one), halves(&two)]), Numbers::F32(all.into()));
        assert_eq!(Numbers::stacked(vec![halves(&one), two.into()]), Numbers::F32(all.into()));
        assert_eq!(Numbers::stacked(Vec::new()), Numbers::F32(Vec::new()));
    }
}
