//! Settled values: what is left of an expression once it is evaluated and is no layer. They cross from the compiler to
//! the runtime as they are, and into the run folder as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A settled value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A text.
    Str(String),
    /// `path("imagenet")`: a name that the machine turns into a folder.
    Path(String),
    /// A size that only the data tells.
    Unknown(String),
    /// `[a, b]`.
    List(Vec<Config>),
    /// `{ answer: cross_entropy, pose: 0.1 * mse }`.
    Record(BTreeMap<String, Config>),
    /// `a + b`, of losses.
    Sum(Vec<Config>),
    /// `0.1 * a`, of a loss.
    Scaled(f64, Box<Config>),
    /// One of two at random.
    Either(Box<Config>, Box<Config>),
    /// An `extern` of the library that is neither layer nor language model, with its arguments.
    Call(Box<Call>),
}

/// A configured `extern`: a dataset, loss, metric, optimizer, schedule, augmentation, …
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// `dataset`, `loss`, …
    pub kind: String,
    /// Its name in the library.
    pub name: String,
    /// Its arguments by name, defaults filled in.
    pub arguments: BTreeMap<String, Config>,
    /// What a `with { … }` behind it adds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, Config>,
    /// For a loss or a metric, what it is held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<On>,
}

/// What a loss or metric is taken of: parts of its own by the names of outputs of the model and fields of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct On {
    /// Outputs of the model, in the order in which the declaration takes them.
    pub outputs: Vec<String>,
    /// Fields of the data, the same.
    pub fields: Vec<String>,
}

impl Call {
    /// An argument as a number. The checker has seen to it that arguments with a default have the default's type.
    pub fn float(&self, name: &str) -> Option<f64> {
        self.arguments.get(name)?.float()
    }

    /// An argument as a whole number that is not negative.
    pub fn size(&self, name: &str) -> Option<usize> {
        self.arguments.get(name)?.int().and_then(|n| usize::try_from(n).ok())
    }

    /// An argument as a truth value.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.arguments.get(name)? {
            Config::Bool(b) => Some(*b),
            _ => None,
        }
    }
}

impl Config {
    /// As a whole number.
    pub fn int(&self) -> Option<i64> {
        match self {
            Config::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// As a number.
    pub fn float(&self) -> Option<f64> {
        match self {
            Config::Int(n) => Some(*n as f64),
            Config::Float(x) => Some(*x),
            _ => None,
        }
    }

    /// What a message calls a value of this kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Config::Int(_) => "a whole number",
            Config::Float(_) => "a number",
            Config::Bool(_) => "a truth value",
            Config::Str(_) => "a text",
            Config::Path(_) => "a path",
            Config::Unknown(_) => "a size that only the data tells",
            Config::List(_) => "a list",
            Config::Record(_) => "a record",
            Config::Sum(_) | Config::Scaled(..) => "a sum of losses",
            Config::Either(..) => "a choice",
            Config::Call(call) => match call.kind.as_str() {
                "dataset" => "a dataset",
                "loss" => "a loss",
                "metric" => "a metric",
                "optimizer" => "an optimizer",
                "schedule" => "a schedule",
                "augment" => "an augmentation",
                "operation" => "an operation on an image",
                "mix" => "a mix",
                "sampler" => "a sampler",
                "init" => "an initialisation",
                "group" => "a group of parameters",
                "scale" => "a factor on a learning rate",
                "views" => "views of a sample",
                "clip" => "a way of clipping gradients",
                "momentum" => "a momentum of batch norms",
                _ => "a configured part",
            },
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Config::Int(n) => write!(f, "{n}"),
            Config::Float(x) if *x != 0.0 && x.abs() < 1e-3 => write!(f, "{x:e}"),
            Config::Float(x) => write!(f, "{x}"),
            Config::Bool(b) => write!(f, "{b}"),
            Config::Str(s) => write!(f, "{s:?}"),
            Config::Path(p) => write!(f, "path({p:?})"),
            Config::Unknown(name) => f.write_str(name),
            Config::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Config::Record(fields) => {
                f.write_str("{ ")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(" }")
            }
            Config::Sum(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if i == 0 { "" } else { " + " })?;
                }
                Ok(())
            }
            Config::Scaled(factor, part) => write!(f, "{factor} * {part}"),
            Config::Either(a, b) => write!(f, "{a} or {b}"),
            Config::Call(call) => {
                f.write_str(&call.name)?;
                if call.arguments.is_empty() {
                    return Ok(());
                }
                f.write_str("(")?;
                for (i, (name, value)) in call.arguments.iter().enumerate() {
                    write!(f, "{}{name} = {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}
