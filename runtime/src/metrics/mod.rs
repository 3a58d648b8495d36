//! What evaluation measures, one file each. A file offers the names it measures with the function that makes one; what a
//! metric takes and means is declared in `stdlib/`.

mod perplexity;
mod top;

use lmv_compiler::config::Call;
use lmv_compiler::graph::Port;

use crate::error::{Failure, Result};
use crate::examples::{Batch, Examples};

/// An output of the model for a batch, in memory.
pub struct Output {
    /// `[batch, ..]`
    pub dims: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// A metric that counts.
pub trait Metric {
    /// Adds a batch: outputs and fields in the order of the signature.
    ///
    /// # Errors
    /// Numbers that cannot be measured, such as a label that is no class.
    fn add(&mut self, outputs: &[&Output], fields: &[&Batch]) -> Result<()>;
    /// What it comes to; none before the first sample.
    fn value(&self) -> Option<f64>;
}

/// How a metric reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// In percent, more is better.
    Percent,
    /// A number, less is better.
    Less,
}

type Maker = fn() -> Box<dyn Metric>;

const TABLE: &[(&str, Reading, Maker)] = &[
    ("top1", Reading::Percent, || Box::new(top::Top::new(1))),
    ("top5", Reading::Percent, || Box::new(top::Top::new(5))),
    ("perplexity", Reading::Less, || Box::new(perplexity::Perplexity::default())),
];

/// The names of all metrics that Rust measures.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|(name, ..)| *name).collect()
}

/// How a metric of this name reads; the loss and what is not known are less, the better.
pub fn reading(name: &str) -> Reading {
    TABLE.iter().find(|(known, ..)| *known == name).map_or(Reading::Less, |(_, reading, _)| *reading)
}

/// The metrics of a spec at work.
pub struct Meters {
    meters: Vec<Meter>,
}

struct Meter {
    name: String,
    metric: Box<dyn Metric>,
    outputs: Vec<usize>,
    fields: Vec<String>,
}

impl Meters {
    /// Those that `eval` lists, over the outputs of a model.
    ///
    /// # Errors
    /// One that Rust does not measure.
    pub fn new(metrics: &[Call], outputs: &[Port]) -> Result<Self> {
        let meter = |call: &Call| {
            let entry = TABLE.iter().find(|(name, ..)| *name == call.name);
            let (Some((.., make)), Some(on)) = (entry, &call.on) else {
                return Err(Failure::new(format!("this lmvc cannot measure `{}`", call.name)));
            };
            let index = |name: &String| outputs.iter().position(|port| port.name == *name);
            Ok(Meter {
                name: call.name.clone(),
                metric: make(),
                outputs: on.outputs.iter().filter_map(index).collect(),
                fields: on.fields.clone(),
            })
        };
        Ok(Self { meters: metrics.iter().map(meter).collect::<Result<_>>()? })
    }

    /// Adds a batch; `outputs` are those of the model.
    ///
    /// # Errors
    /// As [`Metric::add`].
    pub fn add(&mut self, outputs: &[Output], examples: &Examples) -> Result<()> {
        for meter in &mut self.meters {
            let fields = meter.fields.iter().map(|field| examples.field(field)).collect::<Result<Vec<_>>>()?;
            let taken: Vec<&Output> = meter.outputs.iter().map(|&index| &outputs[index]).collect();
            meter.metric.add(&taken, &fields)?;
        }
        Ok(())
    }

    /// Each with its name.
    ///
    /// # Errors
    /// There was no sample.
    pub fn values(&self) -> Result<Vec<(String, f64)>> {
        let value = |meter: &Meter| {
            let value = meter.metric.value().ok_or_else(|| Failure::new("there was no sample to measure on"))?;
            Ok((meter.name.clone(), value))
        };
        self.meters.iter().map(value).collect()
    }
}

/// The logits of the rows that are real with the class of each: `[rows, classes]`.
fn real_rows(output: &Output, field: &Batch) -> Result<(Vec<f32>, usize, Vec<usize>)> {
    let crate::examples::Values::Classes(labels) = &field.values else {
        return Err(Failure::new("this is measured against classes, and the data gives none"));
    };
    let classes = output.dims.last().copied().unwrap_or(0);
    let real = field.real();
    let mut rows = Vec::new();
    let mut kept = Vec::new();
    for ((row, &label), _) in
        output.values.chunks_exact(classes.max(1)).zip(labels).zip(&real).filter(|(_, real)| **real)
    {
        rows.extend_from_slice(row);
        kept.push(usize::try_from(label).unwrap_or(usize::MAX));
    }
    Ok((rows, classes, kept))
}
