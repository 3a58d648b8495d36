//! Measuring a model on the evaluation split.

use burn::tensor::ops::FloatTensor;
use lmv_compiler::config::Call;

use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::network::{Network, tensor, values};
use crate::stream::Stream;
use crate::tasks::Task;
use crate::training::meters::{Accuracy, RunningMean};

/// The names of all metrics that Rust measures.
pub const METRICS: [&str; 2] = ["top1", "top5"];

/// Every metric that is asked for by name, in percent, and the mean plain cross entropy as `loss`.
///
/// # Errors
/// Data that cannot be read; a metric that Rust does not measure; `None` inside `Ok` is an interruption.
pub fn evaluate<B: Kernels>(
    network: &Network<B>,
    parameters: &[FloatTensor<B>],
    task: &dyn Task,
    metrics: &[Call],
    device: &B::Device,
    observer: &mut dyn Observer,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Vec<(String, f64)>>> {
    let mut accuracy = Accuracy::new(&[1, 5]);
    let mut loss = RunningMean::default();
    let total = task.evaluation_len();
    let mut done = 0;
    for examples in task.evaluation()? {
        if stop() {
            return Ok(None);
        }
        let examples = examples?;
        let classes = task.classes();
        let inputs =
            examples.inputs.into_iter().map(|(dims, values)| Stream::new(tensor::<B>(values, &dims, device))).collect();
        let Some(output) = network.forward(inputs, parameters, &mut Pass { training: None }).into_iter().next() else {
            return Err(Failure::new("the model gives nothing to measure"));
        };
        let targets = tensor::<B>(examples.targets, &[examples.labels.len(), classes], device);
        let mean = values::<B>(B::fused_softmax_cross_entropy(output.tensor.clone(), targets));
        loss.add(f64::from(mean[0]), examples.labels.len() as u64);
        accuracy.add(&values::<B>(output.tensor), classes, &examples.labels)?;
        done += examples.labels.len();
        observer.event(Event::Evaluated { done, total });
    }
    let mut results = Vec::new();
    for metric in metrics {
        let value = match metric.name.as_str() {
            "top1" => accuracy.top(1),
            "top5" => accuracy.top(5),
            other => return Err(Failure::new(format!("this lmvc cannot measure `{other}`"))),
        };
        let value = value.ok_or_else(|| Failure::new("there was no sample to measure on"))?;
        results.push((metric.name.clone(), 100.0 * value));
    }
    results.push(("loss".to_owned(), loss.mean().unwrap_or(f64::NAN)));
    Ok(Some(results))
}
