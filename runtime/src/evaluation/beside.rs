//! Metrics that name folders of images of their own: each folder is run over once, whatever metrics want of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lmv_compiler::config::Config;
use lmv_compiler::{Experiment, Metric};

use super::Model;
use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::kernels::Kernels;
use crate::metrics::corruptions::{Folder, OnFolders};
use crate::metrics::{Reading, Score, Way, entry, real_rows};
use crate::places::Places;
use crate::tasks::{Beside, LabelledImages, Task};
use crate::training::meters::Accuracy;

/// A metric that is measured on folders.
struct Wanted<'a> {
    metric: &'a Metric,
    reading: Reading,
    way: &'static dyn OnFolders,
    root: PathBuf,
    folders: Vec<Folder>,
}

/// What was counted on a folder.
struct Counted {
    /// Top-1 in percent.
    top1: f64,
    samples: usize,
    left_out: usize,
}

fn wanted<'a>(experiment: &'a Experiment, places: &Places) -> Result<Vec<Wanted<'a>>> {
    let mut all = Vec::new();
    for metric in &experiment.eval {
        let (reading, Way::Folders(way)) = entry(&metric.call)? else { continue };
        let root = match metric.call.arguments.get("root") {
            Some(Config::Path(name)) => places.paths.resolve(name)?,
            _ => return Err(Failure::new(format!("the metric `{}` has no root", metric.label))),
        };
        let folders = way.folders(&root);
        all.push(Wanted { metric, reading, way, root, folders });
    }
    Ok(all)
}

fn images<'t>(task: &'t dyn Task, metric: &Metric) -> Result<&'t dyn LabelledImages> {
    task.images().ok_or_else(|| {
        Failure::new(format!("`{}` is measured on images of one label each, and the data has others", metric.label))
    })
}

/// Looks whether all folders are there that the metrics of a spec name, before anything runs that takes its time.
///
/// # Errors
/// Those that are missing, by name; a class in one of them that the data has not.
pub fn look(experiment: &Experiment, task: &dyn Task, places: &Places) -> Result<()> {
    for Wanted { metric, root, folders, .. } in wanted(experiment, places)? {
        let images = images(task, metric)?;
        let is_there = |folder: &&Folder| {
            folder.split.is_empty() || root.join(&folder.split).is_dir() || {
                root.join(format!("{}.tar", folder.split)).is_file()
            }
        };
        let missing: Vec<&str> =
            folders.iter().filter(|folder| !is_there(folder)).map(|folder| folder.split.as_str()).collect();
        if !missing.is_empty() {
            let shown = missing.iter().take(5).map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ");
            let more = if missing.len() > 5 { format!(" and {} more", missing.len() - 5) } else { String::new() };
            return Err(Failure::at(
                &root,
                format!("has not all that `{}` is measured on: {shown}{more}", metric.label),
            )
            .note(format!("a mean over less than its {} parts would be another number", folders.len()))
            .help(format!(
                "each is a folder {}/<class>/<image>: `lmvc data corrupt` makes them of a validation folder; or take `{}` out of `eval`",
                missing[0], metric.label
            )));
        }
        folders.iter().try_for_each(|folder| images.look_at(folder))?;
    }
    Ok(())
}

/// What to say of parts of which one has fewer images than another: a copy that broke off, most likely.
fn uneven(metric: &Metric, folders: &[Folder], found: &[&Counted]) -> Option<String> {
    let images = |counted: &Counted| counted.samples + counted.left_out;
    let (fewest, least) =
        folders.iter().zip(found).map(|(folder, found)| (folder, images(found))).min_by_key(|(_, n)| *n)?;
    let most = found.iter().map(|found| images(found)).max()?;
    (least < most).then(|| {
        format!(
            "`{}` is measured on parts of unlike size: `{}` has {least} images, another one {most}; is something missing?",
            metric.label, fewest.split
        )
    })
}

impl<B: Kernels> Model<'_, B> {
    /// What every metric on folders comes to; `None` inside `Ok` is an interruption.
    pub(super) fn on_folders(
        &self,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Score>>> {
        let wanted = wanted(self.experiment, self.places)?;
        let each = wanted.iter().flat_map(|wanted| {
            let output = self.output_of(wanted.metric);
            wanted.folders.iter().map(move |folder| (folder, output))
        });
        let count = each.collect::<BTreeSet<_>>().len();
        let mut counted: BTreeMap<(Folder, usize), Counted> = BTreeMap::new();
        let mut scores = Vec::new();
        for Wanted { metric, reading, way, folders, .. } in wanted {
            let output = self.output_of(metric);
            for folder in &folders {
                let key = (folder.clone(), output);
                if counted.contains_key(&key) {
                    continue;
                }
                let name = match folder.split.as_str() {
                    "" => metric.label.clone(),
                    split => split.to_owned(),
                };
                observer.event(Event::Folder { name, number: counted.len() + 1, count });
                let opened = images(self.task, metric)?.beside(folder)?;
                let Some(found) = self.on_folder(opened, folder, metric, observer, stop)? else { return Ok(None) };
                counted.insert(key, found);
            }
            let found: Vec<&Counted> =
                folders.iter().filter_map(|folder| counted.get(&(folder.clone(), output))).collect();
            if let Some(warning) = uneven(metric, &folders, &found) {
                observer.event(Event::Warning(warning));
            }
            let (value, parts) = way.value(&found.iter().map(|counted| counted.top1).collect::<Vec<_>>());
            let samples = found.iter().map(|counted| counted.samples).sum();
            let left_out = found.iter().map(|counted| counted.left_out).sum();
            scores.push(Score {
                name: metric.label.clone(),
                value,
                reading,
                parts,
                samples: Some((samples, left_out)),
            });
        }
        Ok(Some(scores))
    }

    fn on_folder(
        &self,
        opened: Beside<'_>,
        folder: &Folder,
        metric: &Metric,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Counted>> {
        let Beside { batches, len, present, damage } = opened;
        let mut accuracy = Accuracy::new(&[1]);
        let mut done = 0;
        for examples in batches {
            if stop() {
                return Ok(None);
            }
            let examples = examples?;
            let outputs = self.outputs(&examples)?;
            let (mut logits, classes, labels) =
                real_rows(&outputs[self.output_of(metric)], examples.field(field_of(metric))?)?;
            if folder.masked {
                for row in logits.chunks_exact_mut(classes.max(1)) {
                    let absent = row.iter_mut().zip(&present).filter(|(_, present)| !**present);
                    absent.for_each(|(logit, _)| *logit = f32::NEG_INFINITY);
                }
            }
            accuracy.add(&logits, classes, &labels)?;
            done += examples.samples;
            observer.event(Event::Evaluated { done, total: len });
        }
        let untold = damage.untold();
        for failure in untold.iter().take(3) {
            observer.event(Event::Warning(failure.to_string()));
        }
        if untold.len() > 3 {
            let place = folder.root.join(&folder.split);
            let more = format!("{}: {} more images cannot be read", place.display(), untold.len() - 3);
            observer.event(Event::Warning(more));
        }
        let top1 = accuracy.top(1).ok_or_else(|| {
            Failure::at(folder.root.join(&folder.split), "there was no image to measure on that could be read")
        })?;
        Ok(Some(Counted { top1: 100.0 * top1, samples: done, left_out: len - done }))
    }

    /// Which of the model's outputs a metric is of.
    pub(super) fn output_of(&self, metric: &Metric) -> usize {
        let name = metric.call.on.as_ref().and_then(|on| on.outputs.first());
        let outputs = &self.network.plan().outputs;
        // The checker saw to it that there is one.
        name.and_then(|name| outputs.iter().position(|port| port.name == *name)).unwrap_or(0)
    }
}

/// Which field of the data a metric is held against.
pub(super) fn field_of(metric: &Metric) -> &str {
    let on = metric.call.on.as_ref();
    on.and_then(|on| on.fields.first()).map_or("label", String::as_str)
}
