//! What evaluation measures, one file each. A file offers the names it measures with the function that makes one; what a
//! metric takes and means is declared in `stdlib/`.
//!
//! There are three kinds ([`Way`]): those that count what the model gives for the evaluation split, those that are measured on
//! folders of their own, and those that change the images of the evaluation split against the model. The first are cheap,
//! and measured after every epoch; the others once, at the end.

pub mod attack;
pub mod corruptions;
mod mean_class_accuracy;
mod perplexity;
mod top;

use lmv_compiler::Metric as Named;
use lmv_compiler::config::Call;
use lmv_compiler::graph::Port;

use self::attack::Attack;
use self::corruptions::OnFolders;
use crate::error::{Failure, Result};
use crate::examples::{Batch, Examples};

/// An output of the model for a batch, in memory.
pub struct Output {
    /// `[batch, ..]`
    pub dims: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl Output {
    /// The mean over each `views` samples in a row.
    pub fn averaged(mut self, views: usize) -> Self {
        let samples = self.dims[0] / views.max(1);
        let each = self.values.len() / self.dims[0].max(1);
        let mean = |at: usize| {
            let (sample, number) = (at / each, at % each);
            let of = |view: usize| f64::from(self.values[(sample * views + view) * each + number]);
            ((0..views).map(of).sum::<f64>() / views as f64) as f32
        };
        self.values = (0..samples * each).map(mean).collect();
        self.dims[0] = samples;
        self
    }
}

#[cfg(test)]
mod averages {
    use super::Output;

    #[test]
    fn the_looks_at_a_sample_stand_in_a_row_and_are_averaged() {
        // Two samples of two numbers, seen three times each.
        let values = vec![1.0, -4.0, 2.0, 0.0, 6.0, 1.0, 10.0, 7.0, 20.0, 7.0, 0.0, 7.0];
        let averaged = Output { dims: vec![6, 2], values }.averaged(3);
        assert_eq!((averaged.dims, averaged.values), (vec![2, 2], vec![3.0, -1.0, 10.0, 7.0]));
        let once = Output { dims: vec![2, 2], values: vec![1.0, 2.0, 3.0, 4.0] }.averaged(1);
        assert_eq!((once.dims, once.values), (vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]));
    }
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
    /// In percent, less is better.
    ErrorPercent,
    /// A number, less is better.
    Less,
}

impl Reading {
    /// Whether `value` is better than `before`.
    pub fn better(self, value: f64, before: f64) -> bool {
        match self {
            Self::Percent => value > before,
            Self::ErrorPercent | Self::Less => value < before,
        }
    }

    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Percent | Self::ErrorPercent => format!("{value:.2} %"),
            Self::Less => format!("{value:.4}"),
        }
    }
}

/// How a metric is measured.
#[derive(Clone, Copy)]
pub enum Way {
    /// By counting what the model gives for the evaluation split.
    Counting(fn() -> Box<dyn Metric>),
    /// By top-1 on folders of images of its own.
    Folders(&'static dyn OnFolders),
    /// By top-1 on images of the evaluation split that are changed against the model.
    Attacking(fn(&Call) -> Attack),
}

/// What a metric came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// What it is called: as [`lmv_compiler::Metric::label`] says, or `loss`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// How it reads.
    pub reading: Reading,
    /// What it is made of, by name: `fog`, `fog/3`.
    pub parts: Vec<(String, f64)>,
    /// How many samples it was measured on, and how many could not be read, where these are not those of the evaluation
    /// split.
    pub samples: Option<(usize, usize)>,
}

impl Score {
    /// One that is of one part, and of the evaluation split.
    pub fn new(name: impl Into<String>, value: f64, reading: Reading) -> Self {
        Self { name: name.into(), value, reading, parts: Vec::new(), samples: None }
    }
}

const TABLE: &[(&str, Reading, Way)] = &[
    ("top1", Reading::Percent, Way::Counting(|| Box::new(top::Top::new(1)))),
    ("top5", Reading::Percent, Way::Counting(|| Box::new(top::Top::new(5)))),
    (
        "mean_class_accuracy",
        Reading::Percent,
        Way::Counting(|| Box::new(mean_class_accuracy::MeanClassAccuracy::default())),
    ),
    ("perplexity", Reading::Less, Way::Counting(|| Box::new(perplexity::Perplexity::default()))),
    ("imagenet_c", Reading::Percent, Way::Folders(&corruptions::MeanTop1)),
    ("imagenet_c_mce", Reading::ErrorPercent, Way::Folders(&corruptions::MeanCorruptionError)),
    ("top1_on", Reading::Percent, Way::Folders(&corruptions::Top1On)),
    ("fgsm", Reading::Percent, Way::Attacking(attack::fgsm)),
    ("pgd", Reading::Percent, Way::Attacking(attack::pgd)),
];

/// The names of all metrics that Rust measures.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|(name, ..)| *name).collect()
}

/// How a metric reads and is measured.
///
/// # Errors
/// One that Rust does not measure.
pub fn entry(call: &Call) -> Result<(Reading, Way)> {
    let entry = TABLE.iter().find(|(name, ..)| *name == call.name);
    let (_, reading, way) = entry.ok_or_else(|| cannot(&call.name))?;
    Ok((*reading, *way))
}

fn cannot(name: &str) -> Failure {
    Failure::new(format!("this lmvc cannot measure `{name}`"))
}

/// The metrics of a spec that count, at work.
pub struct Meters {
    meters: Vec<Meter>,
}

struct Meter {
    name: String,
    reading: Reading,
    metric: Box<dyn Metric>,
    outputs: Vec<usize>,
    fields: Vec<String>,
}

impl Meters {
    /// Those among what `eval` lists, over the outputs of a model.
    ///
    /// # Errors
    /// One that Rust does not measure.
    pub fn new(metrics: &[Named], outputs: &[Port]) -> Result<Self> {
        let mut meters = Vec::new();
        for Named { label, call, .. } in metrics {
            let (reading, Way::Counting(make)) = entry(call)? else { continue };
            let on = call.on.as_ref().ok_or_else(|| cannot(&call.name))?;
            let index = |name: &String| outputs.iter().position(|port| port.name == *name);
            meters.push(Meter {
                name: label.clone(),
                reading,
                metric: make(),
                outputs: on.outputs.iter().filter_map(index).collect(),
                fields: on.fields.clone(),
            });
        }
        Ok(Self { meters })
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

    /// What each comes to.
    ///
    /// # Errors
    /// There was no sample.
    pub fn scores(&self) -> Result<Vec<Score>> {
        let score = |meter: &Meter| {
            let value = meter.metric.value().ok_or_else(|| Failure::new("there was no sample to measure on"))?;
            Ok(Score::new(&meter.name, value, meter.reading))
        };
        self.meters.iter().map(score).collect()
    }
}

/// The logits of the rows that are real with the class of each: `[rows, classes]`.
pub(crate) fn real_rows(output: &Output, field: &Batch) -> Result<(Vec<f32>, usize, Vec<usize>)> {
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
