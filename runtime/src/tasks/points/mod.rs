//! Classification of clouds of points (paper.md §4): one cloud in, one number a class out.

mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lmv_compiler::Experiment;
use lmv_compiler::config::{Call, Config};
use lmv_compiler::graph::Graph;
use rayon::prelude::*;

pub use self::steps::NAMES as AUGMENTS;
use self::steps::Votes;
use super::{Batches, Labelled, Opening, Task};
use crate::data::clouds::picture::{View, draw};
use crate::data::clouds::{self, Augment, CloudSet};
use crate::data::{Pixels, order};
use crate::error::{Failure, Result};
use crate::examples::{Batch, Examples};
use crate::training::seeds::Seeds;

/// The names of all datasets that this task opens.
pub const DATASETS: [&str; 3] = ["scanobjectnn", "modelnet", "modelnet_meshes"];

/// Samples in an evaluation batch of a spec that has no recipe.
const EVALUATION_BATCH: usize = 32;

/// The task with both splits opened.
pub struct PointClouds {
    train: Option<CloudSet>,
    val: CloudSet,
    augment: Vec<Augment>,
    eval_augment: Vec<Augment>,
    votes: Option<Votes>,
    batch: usize,
    /// How many points the model takes.
    points: usize,
    seeds: Seeds,
}

impl PointClouds {
    /// Opens the clouds of a spec.
    ///
    /// # Errors
    /// Files that are not there or are damaged, other classes than the spec says, augmentations that are none of clouds.
    pub fn open(experiment: &Experiment, data: &Call, opening: &Opening<'_>) -> Result<Self> {
        let root = root(data, opening)?;
        let recipe = experiment.train.as_ref();
        let fields = recipe.map(|recipe| &recipe.fields);
        let list = |name: &str| steps::list(fields.and_then(|fields| fields.get(name)));
        Ok(Self {
            augment: list("augment")?,
            eval_augment: list("eval_augment")?,
            votes: fields.and_then(|fields| fields.get("views")).map(steps::votes).transpose()?,
            batch: recipe.map_or(EVALUATION_BATCH, |recipe| recipe.batch),
            points: input_points(&experiment.graph)?,
            seeds: Seeds::new(opening.seed),
            train: recipe.map(|_| split(data, &root, Split::Train)).transpose()?,
            val: split(data, &root, Split::Test)?,
        })
    }

    /// A cloud after some steps.
    fn cloud(
        &self,
        set: &CloudSet,
        index: usize,
        steps: &[Augment],
        purpose: &str,
        at: (u64, u64),
    ) -> Result<Vec<f32>> {
        let mut random = self.seeds.stream(purpose, at.0, at.1);
        let cloud = steps.iter().fold(set.cloud(index).to_vec(), |cloud, step| step.apply(cloud, &mut random));
        self.fits(set, index, cloud.len() / 3)?;
        Ok(cloud)
    }

    /// As many points as the model takes.
    fn fits(&self, set: &CloudSet, index: usize, found: usize) -> Result<()> {
        let (wanted, all) = (self.points, set.cloud(index).len() / 3);
        if found == wanted {
            return Ok(());
        }
        let name = set.name(index);
        Err(match found < wanted && found == all {
            true => Failure::new(format!("the cloud `{name}` has {all} points, and the model takes {wanted}"))
                .help(format!("give the data a smaller `count`, such as `count = {all}`, or clouds of more points")),
            false => Failure::new(format!(
                "the recipe makes {found} points of the cloud `{name}`, which has {all}, and the model takes {wanted}"
            ))
            .help(format!(
                "end with that many: `sample_random({wanted})` in `augment`, and `eval_augment = [sample_farthest({wanted})]`"
            )),
        })
    }

    fn examples(&self, clouds: Vec<Vec<f32>>, labels: &[usize]) -> Examples {
        let dims = vec![clouds.len(), self.points, 3];
        Examples {
            samples: clouds.len(),
            fields: BTreeMap::from([
                ("points".to_owned(), Batch::numbers(dims, clouds.concat())),
                ("label".to_owned(), Batch::labels(labels)),
            ]),
        }
    }

    /// The looks at a cloud of the evaluation split.
    fn looks(&self, index: usize) -> Result<Vec<Vec<f32>>> {
        let Some(votes) = &self.votes else {
            return Ok(vec![self.cloud(&self.val, index, &self.eval_augment, "look", (0, index as u64))?]);
        };
        let mut random = self.seeds.stream("look", 0, index as u64);
        let kept = votes.kept.apply(self.val.cloud(index).to_vec(), &mut random);
        let look = |view: usize| {
            let mut random = self.seeds.stream("vote", view as u64, index as u64);
            let cloud = votes.each.iter().fold(kept.clone(), |cloud, step| step.apply(cloud, &mut random));
            self.fits(&self.val, index, cloud.len() / 3)?;
            Ok(cloud)
        };
        (0..votes.times).map(look).collect()
    }
}

enum Split {
    Train,
    Test,
}

/// The clouds of a split.
fn split(data: &Call, root: &std::path::Path, split: Split) -> Result<CloudSet> {
    let text = |name: &str| match data.arguments.get(name) {
        Some(Config::Str(text)) => Ok(text.as_str()),
        _ => Err(Failure::new(format!("the dataset `{}` has no `{name}`", data.name))),
    };
    let classes = data.size("classes").unwrap_or(0);
    let name = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    match data.name.as_str() {
        "scanobjectnn" => {
            let long = if name == "train" { "training" } else { name };
            clouds::scanned(&root.join(text("folder")?).join(format!("{long}_{}.h5", text("file")?)), classes)
        }
        "modelnet" => clouds::listed(root, text("name")?, name, classes),
        _ => clouds::meshes(root, name, classes, data.size("sampled").unwrap_or(1).max(1)),
    }
}

fn root(data: &Call, opening: &Opening<'_>) -> Result<PathBuf> {
    match data.arguments.get("root") {
        Some(Config::Path(name)) => opening.places.paths.resolve(name),
        _ => Err(Failure::new(format!("the dataset `{}` has no root", data.name))),
    }
}

fn input_points(graph: &Graph) -> Result<usize> {
    let dims = match graph.inputs.as_slice() {
        [port] => graph.shape(port.stream).numbers(),
        _ => None,
    };
    match dims.as_deref() {
        Some(&[points, 3]) => Ok(points),
        _ => Err(Failure::new("classification of points takes a model of one cloud [points, 3]")),
    }
}

impl Task for PointClouds {
    fn steps_per_epoch(&self) -> u64 {
        // A last batch of fewer clouds is left out of training, as in the reference.
        self.train.as_ref().map_or(0, |set| (set.len() / self.batch).max(1) as u64)
    }

    fn training(&self, epoch: u64, skip: u64) -> Result<Batches<'_>> {
        let Some(set) = &self.train else {
            return Err(Failure::new("this spec has no recipe to train by"));
        };
        let order = order::shuffled(set.len(), self.seeds.seed(), epoch);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let steps = (order.len() / self.batch).max(1);
        Ok(Box::new((skip..steps).map(move |step| {
            let end = ((step + 1) * self.batch).min(order.len());
            let batch = &order[step * self.batch..end];
            let one = |&index: &usize| self.cloud(set, index, &self.augment, "cloud", (epoch, index as u64));
            let clouds = batch.par_iter().map(one).collect::<Result<Vec<_>>>()?;
            let labels: Vec<usize> = batch.iter().map(|&index| set.label(index)).collect();
            Ok(self.examples(clouds, &labels))
        })))
    }

    fn evaluation(&self) -> Result<Batches<'_>> {
        let views = self.views();
        let batch = (self.batch.min(256) / views).max(1);
        let starts = (0..self.val.len()).step_by(batch);
        Ok(Box::new(starts.map(move |start| {
            let indices: Vec<usize> = (start..(start + batch).min(self.val.len())).collect();
            let looks = indices.par_iter().map(|&index| self.looks(index)).collect::<Result<Vec<_>>>()?;
            let labels = indices.iter().flat_map(|&index| std::iter::repeat_n(self.val.label(index), views));
            Ok(self.examples(looks.concat(), &labels.collect::<Vec<_>>()))
        })))
    }

    fn evaluation_len(&self) -> usize {
        self.val.len()
    }

    fn listing_hash(&self) -> String {
        let train = self.train.as_ref().map(CloudSet::listing_hash).unwrap_or_default();
        blake3::hash(format!("{train}\n{}", self.val.listing_hash()).as_bytes()).to_hex().to_string()
    }

    fn damage(&self) -> Vec<String> {
        Vec::new()
    }

    fn views(&self) -> usize {
        self.votes.as_ref().map_or(1, |votes| votes.times)
    }

    fn labelled(&self) -> Option<&dyn Labelled> {
        Some(self)
    }
}

impl Labelled for PointClouds {
    fn noun(&self) -> &'static str {
        "clouds"
    }

    fn classes(&self) -> &[String] {
        self.val.classes()
    }

    fn readable(&self) -> Vec<usize> {
        (0..self.val.len()).collect()
    }

    fn name(&self, cloud: usize) -> &str {
        self.val.name(cloud)
    }

    fn picture(&self, cloud: usize) -> Result<Pixels> {
        let view = View { side: 128, radius: 1.4, background: [255, 255, 255] };
        Ok(draw(self.val.cloud(cloud), view, |_| Some([40, 70, 120])))
    }
}
