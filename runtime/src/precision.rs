//! What matrix products are computed in.

use std::fmt;
use std::str::FromStr;

use burn::tensor::FloatDType;
use burn::tensor::ops::FloatTensor;
use serde::{Deserialize, Serialize};

use crate::kernels::Kernels;

/// What the matrix products of a training step are computed in: those of linear layers, of patches and of attention, forward
/// and backward. Parameters, their gradients, the optimizer, norms, softmax and the loss are `f32` in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, 8 of them for the exponent: the range of `f32`, three digits.
    Bf16,
    /// [`Precision::Bf16`] in layers whose parameters are all frozen, 32 bits in the others: what is trained is computed as
    /// ever, and the frozen block, which costs most, as fast as the device can.
    FrozenBf16,
    /// 16 bits, 5 of them for the exponent: gradients below 6e-8 vanish, so that the loss is scaled up for them
    /// (`training::loss_scale`).
    F16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::FrozenBf16, Self::F16];

    /// What the products of a layer are computed in, whose parameters are all `frozen` or not.
    pub fn within(self, frozen: bool) -> Self {
        match (self, frozen) {
            (Self::FrozenBf16, true) => Self::Bf16,
            (Self::FrozenBf16, false) => Self::F32,
            (precision, _) => precision,
        }
    }

    /// A tensor of any shape as a matrix product takes it.
    pub fn narrow<B: Kernels>(self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        match self {
            Self::F32 => tensor,
            Self::Bf16 | Self::FrozenBf16 => B::float_cast(tensor, FloatDType::BF16),
            Self::F16 => B::float_cast(tensor, FloatDType::F16),
        }
    }

    /// A tensor of any shape in this type.
    pub fn cast<B: Kernels>(self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        match self {
            Self::F32 => B::float_cast(tensor, FloatDType::F32),
            _ => self.narrow::<B>(tensor),
        }
    }

    /// What a matrix product gave, for all that comes behind it.
    pub fn widen<B: Kernels>(self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        match self {
            Self::F32 => tensor,
            _ => B::float_cast(tensor, FloatDType::F32),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::FrozenBf16 => "frozen-bf16",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|precision| precision.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is none of f32, bf16, frozen-bf16, f16"))
    }
}
