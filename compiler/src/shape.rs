//! Shapes of streams, per sample: `[197, 384]`, `[T? + 1, 64]`.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::size::Size;

/// One dim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dim {
    /// A number.
    Known(i64),
    /// Not a number while checking: a length that varies from sample to sample (`T?`), a size that only a dataset tells
    /// (`classes` in a spec without data), a parameter of a layer that is checked before it is used, or arithmetic over
    /// such.
    Open(Size),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(n) => write!(f, "{n}"),
            Dim::Open(size) => write!(f, "{size}"),
        }
    }
}

/// A number as it is; what has none as `{ "name": "T + 1", "varying": true }`.
impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        match self {
            Dim::Known(n) => serializer.serialize_i64(*n),
            Dim::Open(size) => {
                let mut dim = serializer.serialize_struct("Dim", 2)?;
                dim.serialize_field("name", &size.plain())?;
                dim.serialize_field("varying", &size.varies())?;
                dim.end()
            }
        }
    }
}

impl Dim {
    /// A size that has a name, and no number yet; at least one.
    pub fn named(name: &str) -> Self {
        Dim::Open(Size::named(name))
    }

    /// A length that differs from sample to sample.
    pub fn varying(name: &str) -> Self {
        Dim::Open(Size::varying(name))
    }

    /// The number, where it is one.
    pub fn known(&self) -> Option<i64> {
        match self {
            Dim::Known(n) => Some(*n),
            Dim::Open(_) => None,
        }
    }

    /// Whether it differs from sample to sample, so that a mask travels with the stream.
    pub fn varies(&self) -> bool {
        match self {
            Dim::Known(_) => false,
            Dim::Open(size) => size.varies(),
        }
    }

    /// Whether a stream of the one size can stand where the other is wanted. What is not decided fits, and is checked
    /// where the numbers are there; two lengths that vary are the same only when they are written the same.
    pub fn fits(&self, other: &Dim) -> bool {
        match (self, other) {
            (Dim::Known(a), Dim::Known(b)) => a == b,
            (a, b) if a.varies() || b.varies() => a == b,
            (a, b) => !Size::from(a).differs(&Size::from(b)),
        }
    }
}

impl From<Size> for Dim {
    fn from(size: Size) -> Self {
        match size.number() {
            Some(n) => Dim::Known(n),
            None => Dim::Open(size),
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
        self.0.iter().any(Dim::varies)
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
