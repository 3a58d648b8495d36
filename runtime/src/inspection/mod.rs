//! What a model makes of single samples, for the eye: how active each group of a cloud is at the stages of the model
//! (paper.md §10.2, §10.6).

mod activation;
mod stages;

use std::path::PathBuf;

use lmv_compiler::Experiment;
use lmv_compiler::graph::Port;
use lmv_compiler::passes::Passes;

pub use self::activation::{Activation, activation};
use self::stages::{Groups, Stage};
use crate::device::Work;
use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::examples::{Examples, Values};
use crate::inference::untrained;
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::network::{Network, class_numbers, values};
use crate::parameters::{self, Trained};
use crate::places::Places;
use crate::stream::Stream;
use crate::tasks::{self, Opening};
use crate::training::lock;
use crate::training::seeds::Seeds;

/// What to look at.
pub struct Inspection<'a> {
    /// The spec.
    pub experiment: &'a Experiment,
    /// Where its names lead.
    pub places: &'a Places,
    /// What training gave; without it the spec's own weights, and random starts for the rest.
    pub checkpoint: Option<Trained<'a>>,
    /// Which samples of the evaluation split, by their numbers from 0.
    pub samples: &'a [usize],
    /// Streams to look at beside the stages of the model, by the names of taps.
    pub taps: &'a [String],
    /// Where data that the program draws itself is kept.
    pub drawn: PathBuf,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

/// A cloud, and how active its groups are.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// `class/file`.
    pub name: String,
    /// Its class.
    pub class: String,
    /// The class that the model finds likeliest.
    pub predicted: String,
    /// How likely it finds that, 0 to 1.
    pub probability: f32,
    /// `[N, 3]`
    pub points: Vec<f32>,
    /// For each group the numbers of its points, its centre first.
    pub groups: Vec<Vec<usize>>,
    /// From the encoder on.
    pub stages: Vec<InspectedStage>,
}

/// How active the groups are at a stage of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct InspectedStage {
    /// The path of what gave it, or the tap's name.
    pub name: String,
    /// Of each group.
    pub activation: Activation,
}

impl Work for Inspection<'_> {
    type Output = Result<Vec<Inspected>>;

    fn run<B: Kernels>(self, device: B::Device) -> Self::Output {
        let seed =
            self.checkpoint.and_then(|trained| lock::seed_of(trained.path)).or(self.experiment.seed).unwrap_or(0);
        // As it is written: a pass may do away with a stream that is to be seen.
        let mut plan = Passes::NONE.plan(&self.experiment.graph);
        let groups = Groups::of(&plan)?;
        let stages = stages::stages(&plan, &groups, self.taps)?;
        let asked = [("groups", groups.centres), ("neighbours", groups.neighbours)]
            .into_iter()
            .map(|(name, stream)| Port { name: format!("inspected {name}"), stream })
            .chain(
                stages.iter().map(|Stage { name, stream }| Port { name: format!("inspected {name}"), stream: *stream }),
            );
        let asked: Vec<Port> = asked.collect();
        plan.taps.extend(asked.iter().cloned());
        let names: Vec<String> = asked.into_iter().map(|port| port.name).collect();
        let network = Network::<B>::new(&plan, &names)?;

        let opening = Opening { places: self.places, drawn: self.drawn, seed, threads: 0 };
        let task = tasks::open(self.experiment, &opening, self.observer)?;
        let labelled = task.labelled().ok_or_else(|| Failure::new("the data have no samples with one label each"))?;
        let count = task.evaluation_len();
        if let Some(beyond) = self.samples.iter().find(|sample| **sample >= count) {
            return Err(Failure::new(format!("there is no sample {beyond}: the evaluation split has {count}"))
                .help(format!("samples are counted from 0, the last is {}", count.saturating_sub(1))));
        }
        let parameters =
            parameters::load::<B>(&plan, &Seeds::new(seed), self.places, self.checkpoint, &device, self.observer)?
                .tensors;
        if let (None, Some(remark)) = (self.checkpoint, untrained(&self.experiment.graph)) {
            self.observer.event(Event::Warning(remark));
        }
        let mut found = Vec::new();
        let views = task.views();
        let each = task.evaluation()?.flat_map(|batch| match batch {
            Ok(batch) => batch.every(views).parts(1).into_iter().map(Ok).collect::<Vec<_>>(),
            Err(failure) => vec![Err(failure)],
        });
        let last = self.samples.iter().copied().max().unwrap_or(0);
        for (sample, one) in each.enumerate().take(last + 1) {
            let one = one?;
            if !self.samples.contains(&sample) {
                continue;
            }
            let inputs = one.inputs::<B>(&plan.inputs, &device)?;
            let mut streams = network.forward(inputs, &parameters, &mut Pass::evaluating());
            let taken = streams.split_off(plan.outputs.len());
            let logits = values::<B>(streams.remove(0).into_numbers());
            let (predicted, probability) = likeliest(&logits);
            let class = |number: usize| labelled.classes().get(number).cloned().unwrap_or_else(|| number.to_string());
            let mut taken = taken.into_iter();
            let (centres, near) = (numbers(taken.next()), numbers(taken.next()));
            let size = near.len() / centres.len().max(1);
            let group = |(centre, near): (&usize, &[usize])| {
                let others = near.iter().copied().filter(|point| point != centre);
                std::iter::once(*centre).chain(others).collect()
            };
            found.push(Inspected {
                name: labelled.name(sample).to_owned(),
                class: class(label(&one)?),
                predicted: class(predicted),
                probability,
                points: points(&one)?,
                groups: centres.iter().zip(near.chunks_exact(size.max(1))).map(group).collect(),
                stages: stages
                    .iter()
                    .zip(taken)
                    .map(|(stage, stream)| {
                        let dims = stream.dims();
                        let (tokens, width) = (dims[1], dims[2]);
                        let all = values::<B>(stream.into_numbers());
                        // The class token, where there is one, stands in front.
                        let of_groups = &all[(tokens - centres.len()) * width..];
                        InspectedStage { name: stage.name.clone(), activation: activation(of_groups, width) }
                    })
                    .collect(),
            });
        }
        // In the order in which they were asked for.
        let place = |inspected: &Inspected| self.samples.iter().position(|&s| labelled.name(s) == inspected.name);
        found.sort_by_key(place);
        Ok(found)
    }
}

fn numbers<B: Kernels>(stream: Option<Stream<B>>) -> Vec<usize> {
    let numbers = stream.map(|stream| class_numbers::<B>(stream.classes())).unwrap_or_default();
    numbers.into_iter().map(|number| usize::try_from(number).unwrap_or(0)).collect()
}

fn points(one: &Examples) -> Result<Vec<f32>> {
    match &one.field("points")?.values {
        Values::Numbers(points) => Ok(points.clone()),
        _ => Err(Failure::new("the points of the data are no numbers")),
    }
}

fn label(one: &Examples) -> Result<usize> {
    match &one.field("label")?.values {
        Values::Classes(labels) => Ok(labels.first().and_then(|label| usize::try_from(*label).ok()).unwrap_or(0)),
        _ => Err(Failure::new("the labels of the data are no classes")),
    }
}

/// The largest of some logits, and its share.
fn likeliest(logits: &[f32]) -> (usize, f32) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let at = logits.iter().position(|&x| x == largest).unwrap_or(0);
    (at, 1.0 / logits.iter().map(|x| (x - largest).exp()).sum::<f32>())
}

#[cfg(test)]
mod tests;
