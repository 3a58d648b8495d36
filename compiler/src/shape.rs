//! Shapes of streams, per sample: `[197, 384]`, `[tokens?, 64]`.

use std::fmt;

use serde::Serialize;

/// One dim.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Dim {
    /// A number.
    Known(i64),
    /// Not known while checking: a length that varies from sample to sample (`T?`), or a size that only a dataset
    /// tells (`classes` in a spec without data).
    Named {
        /// What it is called in the file.
        name: String,
        /// Whether it differs from sample to sample, so that a mask travels with the stream.
        varying: bool,
    },
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(n) => write!(f, "{n}"),
            Dim::Named { name, varying } => write!(f, "{name}{}", if *varying { "?" } else { "" }),
        }
    }
}

impl Dim {
    /// The number, where it is one.
    pub fn known(&self) -> Option<i64> {
        match self {
            Dim::Known(n) => Some(*n),
            Dim::Named { .. } => None,
        }
    }
}

/// The dims of one sample, the batch left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// A shape of numbers.
    pub fn known(dims: &[i64]) -> Self {
        Self(dims.iter().map(|&n| Dim::Known(n)).collect())
    }

    /// How many numbers a sample has, where all dims are known; saturates.
    pub fn count(&self) -> Option<i64> {
        self.0.iter().try_fold(1i64, |product, dim| Some(product.saturating_mul(dim.known()?)))
    }

    /// All dims as numbers, where they are.
    pub fn numbers(&self) -> Option<Vec<usize>> {
        self.0.iter().map(|dim| dim.known().and_then(|n| usize::try_from(n).ok())).collect()
    }

    /// Whether some dim varies from sample to sample.
    pub fn varies(&self) -> bool {
        self.0.iter().any(|dim| matches!(dim, Dim::Named { varying: true, .. }))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}
