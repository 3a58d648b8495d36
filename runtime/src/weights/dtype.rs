//! What a tensor in a file is made of, and how its numbers become `f32`.

use std::fmt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The type of a tensor's numbers in a file. All are little-endian there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of a 32-bit float.
    BF16,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 64 bits.
    U64,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 8 bits.
    U8,
    /// One byte, 0 or 1.
    Bool,
    /// A type that safetensors has and that nothing here computes with: its name and its width in bits. Such a tensor
    /// is listed, its bytes can be had, and it never becomes `f32`.
    Other(&'static str, u8),
}

impl Dtype {
    /// The type that safetensors writes as `name`, if there is one.
    pub fn from_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "I64" => Self::I64,
            "I32" => Self::I32,
            "I16" => Self::I16,
            "I8" => Self::I8,
            "U64" => Self::U64,
            "U32" => Self::U32,
            "U16" => Self::U16,
            "U8" => Self::U8,
            "BOOL" => Self::Bool,
            "C64" => Self::Other("C64", 64),
            "F8_E4M3" => Self::Other("F8_E4M3", 8),
            "F8_E5M2" => Self::Other("F8_E5M2", 8),
            "F8_E8M0" => Self::Other("F8_E8M0", 8),
            "F6_E2M3" => Self::Other("F6_E2M3", 6),
            "F6_E3M2" => Self::Other("F6_E3M2", 6),
            "F4" => Self::Other("F4", 4),
            _ => return None,
        })
    }

    /// Its name, as safetensors writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::Other(name, _) => name,
        }
    }

    /// The width of one number, in bits.
    pub fn bits(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 64,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 16,
            Self::I8 | Self::U8 | Self::Bool => 8,
            Self::Other(_, bits) => bits as usize,
        }
    }

    /// Whether its numbers can become `f32`: all but those of [`Dtype::Other`].
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Other(..))
    }

    /// Whether weights are stored in it as they are. Whole numbers in a weight's place are quantised, and worth something
    /// only with the scales beside them.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Writes `bytes` into `out` as `f32`, rounded to nearest where the type is wider. Only as many as both hold;
    /// nothing where it [is no number](Self::is_number).
    pub(super) fn convert(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F64 => each(bytes, out, |b: [u8; 8]| f64::from_le_bytes(b) as f32),
            Self::F32 => each(bytes, out, f32::from_le_bytes),
            Self::F16 => halves(bytes, out, f16::from_le_bytes, |from, to| from.convert_to_f32_slice(to)),
            Self::BF16 => halves(bytes, out, bf16::from_le_bytes, |from, to| from.convert_to_f32_slice(to)),
            Self::I64 => each(bytes, out, |b: [u8; 8]| i64::from_le_bytes(b) as f32),
            Self::I32 => each(bytes, out, |b: [u8; 4]| i32::from_le_bytes(b) as f32),
            Self::I16 => each(bytes, out, |b: [u8; 2]| f32::from(i16::from_le_bytes(b))),
            Self::I8 => each(bytes, out, |b: [u8; 1]| f32::from(i8::from_le_bytes(b))),
            Self::U64 => each(bytes, out, |b: [u8; 8]| u64::from_le_bytes(b) as f32),
            Self::U32 => each(bytes, out, |b: [u8; 4]| u32::from_le_bytes(b) as f32),
            Self::U16 => each(bytes, out, |b: [u8; 2]| f32::from(u16::from_le_bytes(b))),
            Self::U8 => each(bytes, out, |b: [u8; 1]| f32::from(b[0])),
            Self::Bool => each(bytes, out, |b: [u8; 1]| f32::from(b[0] != 0)),
            Self::Other(..) => {}
        }
    }

    /// `bytes` as `f32`; `None` for [`Dtype::Other`]. A rest of bytes that is no whole number is dropped.
    #[cfg(test)]
    pub(super) fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        let mut out = vec![0.0; bytes.len() / (self.bits() / 8).max(1)];
        self.convert(bytes, &mut out);
        self.is_number().then_some(out)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    out.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(to, from)| *to = number(*from));
}

/// Numbers to convert at once: the slice conversions of `half` use the processor's own instructions, and this many stay
/// in the first cache on the way.
const AT_ONCE: usize = 4096;

fn halves<T: Copy + Default>(bytes: &[u8], out: &mut [f32], number: fn([u8; 2]) -> T, convert: fn(&[T], &mut [f32])) {
    let mut halves = [T::default(); AT_ONCE];
    for (to, from) in out.chunks_mut(AT_ONCE).zip(bytes.chunks(2 * AT_ONCE)) {
        let from = from.as_chunks::<2>().0;
        let len = from.len().min(to.len());
        halves.iter_mut().zip(from).for_each(|(half, bytes)| *half = number(*bytes));
        convert(&halves[..len], &mut to[..len]);
    }
}

/// What a header says of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The type of its numbers in the file.
    pub dtype: Dtype,
    /// Its shape, outermost axis first; `[]` for a single number.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// How many numbers it has; `None` where that is more than the machine can count.
    pub fn elements(&self) -> Option<usize> {
        elements(&self.shape)
    }

    /// How many bytes it takes when it lies in one piece; `None` where that is more than the machine can count, or no
    /// whole number.
    pub fn bytes(&self) -> Option<usize> {
        let bits = self.elements()?.checked_mul(self.dtype.bits())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

/// The product of `shape`, if it can be counted.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes the tensor empty, however large the other axes claim to be.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// One tensor as it is in the file: in one piece, row-major, little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorBytes {
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Its shape, outermost axis first.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_becomes_f32() {
        let of = |dtype: Dtype, bytes: &[u8]| dtype.to_f32(bytes).unwrap();
        assert_eq!(of(Dtype::F64, &(-1.5f64).to_le_bytes()), [-1.5]);
        assert_eq!(of(Dtype::F32, &2.25f32.to_le_bytes()), [2.25]);
        assert_eq!(of(Dtype::F16, &f16::from_f32(0.5).to_le_bytes()), [0.5]);
        assert_eq!(of(Dtype::BF16, &bf16::from_f32(-8.0).to_le_bytes()), [-8.0]);
        assert_eq!(of(Dtype::I64, &(-3i64).to_le_bytes()), [-3.0]);
        assert_eq!(of(Dtype::I32, &(-3i32).to_le_bytes()), [-3.0]);
        assert_eq!(of(Dtype::I16, &(-3i16).to_le_bytes()), [-3.0]);
        assert_eq!(of(Dtype::I8, &(-3i8).to_le_bytes()), [-3.0]);
        assert_eq!(of(Dtype::U64, &3u64.to_le_bytes()), [3.0]);
        assert_eq!(of(Dtype::U32, &3u32.to_le_bytes()), [3.0]);
        assert_eq!(of(Dtype::U16, &3u16.to_le_bytes()), [3.0]);
        assert_eq!(of(Dtype::U8, &[7, 255]), [7.0, 255.0]);
        assert_eq!(of(Dtype::Bool, &[0, 1]), [0.0, 1.0]);
        assert_eq!(Dtype::Other("F4", 4).to_f32(&[0]), None);
    }

    #[test]
    fn halves_keep_their_order_across_pieces() {
        let bytes: Vec<u8> = (0..10_000u32).flat_map(|i| f16::from_f32((i % 2048) as f32).to_le_bytes()).collect();
        let numbers = Dtype::F16.to_f32(&bytes).unwrap();
        assert_eq!(numbers.len(), 10_000);
        assert!(numbers.iter().enumerate().all(|(i, x)| *x == (i % 2048) as f32));
    }

    #[test]
    fn a_size_that_cannot_be_counted_is_none() {
        let info = |shape: &[usize], dtype| TensorInfo { dtype, shape: shape.to_vec() };
        assert_eq!(info(&[usize::MAX, 2], Dtype::U8).elements(), None);
        assert_eq!(info(&[usize::MAX / 4], Dtype::F32).bytes(), None);
        assert_eq!(info(&[usize::MAX, 0, 3], Dtype::F32).bytes(), Some(0));
        assert_eq!(info(&[3], Dtype::Other("F4", 4)).bytes(), None);
        assert_eq!(info(&[], Dtype::F32).bytes(), Some(4));
    }
}
