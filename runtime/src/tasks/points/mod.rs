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
use crate::data::clouds::{self, Augment, CloudSet, far_from_origin};
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
    /// Files that are not there or are damaged, other classes than the spec says, augmentations that are none of clouds, or
    /// that leave of a cloud another number of points than the model takes, clouds that cannot be sampled.
    pub fn open(experiment: &Experiment, data: &Call, opening: &Opening<'_>) -> Result<Self> {
        let root = root(data, opening)?;
        let recipe = experiment.train.as_ref();
        let fields = recipe.map(|recipe| &recipe.fields);
        let list = |name: &str| steps::list(fields.and_then(|fields| fields.get(name)));
        let task = Self {
            augment: list("augment")?,
            eval_augment: list("eval_augment")?,
            votes: fields.and_then(|fields| fields.get("views")).map(steps::votes).transpose()?,
            batch: recipe.map_or(EVALUATION_BATCH, |recipe| recipe.batch),
            points: input_points(&experiment.graph)?,
            seeds: Seeds::new(opening.seed),
            train: recipe.map(|_| split(data, &root, Split::Train)).transpose()?,
            val: split(data, &root, Split::Test)?,
        };
        task.check(samples_by_distance(&experiment.graph))?;
        Ok(task)
    }

    /// Whether every cloud can be seen by the model, before anything runs: how many points the steps leave of it is known.
    fn check(&self, model_samples: bool) -> Result<()> {
        let voted = self.votes.as_ref().map(|votes| [&[votes.kept][..], &votes.each].concat());
        let (seen, seen_by) = match &voted {
            Some(steps) => (&steps[..], "views"),
            None => (&self.eval_augment[..], "eval_augment"),
        };
        let train = self.train.iter().map(|set| (set, &self.augment[..], "augment"));
        for (set, steps, field) in train.chain([(&self.val, seen, seen_by)]) {
            for index in 0..set.len() {
                self.fits(set, index, steps, field)?;
                let all = set.cloud(index).len() / 3;
                let sampled = |step: &Augment| matches!(step, Augment::SampleFarthest(count) if *count < all);
                if (model_samples || steps.iter().any(sampled)) && far_from_origin(set.cloud(index)) == 0 {
                    return Err(all_near_the_origin(set, index));
                }
            }
        }
        Ok(())
    }

    /// A cloud after some steps.
    fn cloud(&self, set: &CloudSet, index: usize, steps: &[Augment], purpose: &str, at: (u64, u64)) -> Vec<f32> {
        let mut random = self.seeds.stream(purpose, at.0, at.1);
        steps.iter().fold(set.cloud(index).to_vec(), |cloud, step| step.apply(cloud, &mut random))
    }

    /// As many points after the steps of a field of the recipe as the model takes.
    fn fits(&self, set: &CloudSet, index: usize, steps: &[Augment], field: &str) -> Result<()> {
        let (wanted, all) = (self.points, set.cloud(index).len() / 3);
        let found = steps.iter().fold(all, |points, step| step.keeps(points));
        if found == wanted {
            return Ok(());
        }
        let name = set.name(index);
        if all < wanted {
            let what = format!("the cloud `{name}` has {all} points, and the model takes {wanted}");
            return Err(Failure::at(set.file(index), what)
                .help(format!("give the data a smaller `count`, such as `count = {all}`, or clouds of more points")));
        }
        Err(Failure::new(format!(
            "`{field}` leaves {found} of the {all} points of the cloud `{name}`, and the model takes {wanted}"
        ))
        .help(steps::help(field, steps, wanted)))
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
    fn looks(&self, index: usize) -> Vec<Vec<f32>> {
        let Some(votes) = &self.votes else {
            return vec![self.cloud(&self.val, index, &self.eval_augment, "look", (0, index as u64))];
        };
        let mut random = self.seeds.stream("look", 0, index as u64);
        let kept = votes.kept.apply(self.val.cloud(index).to_vec(), &mut random);
        let look = |view: usize| {
            let mut random = self.seeds.stream("vote", view as u64, index as u64);
            votes.each.iter().fold(kept.clone(), |cloud, step| step.apply(cloud, &mut random))
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

/// Whether a layer of the model samples the points by their distances, and leaves out those near the origin.
fn samples_by_distance(graph: &Graph) -> bool {
    let near = |arguments: &BTreeMap<String, Config>| arguments.get("near_origin").and_then(Config::float);
    graph
        .nodes
        .iter()
        .any(|node| node.layer == "farthest_points" && near(&node.arguments).is_some_and(|near| near >= 0.0))
}

fn all_near_the_origin(set: &CloudSet, index: usize) -> Failure {
    let (name, all) = (set.name(index), set.cloud(index).len() / 3);
    Failure::at(
        set.file(index),
        format!("0 of the {all} points of the cloud `{name}` are far enough from the origin to be sampled"),
    )
    .note("sampling by distance takes points whose squared distance from the origin is more than 1e-3 (paper.md §4.1)")
    .help("are its coordinates all zero, or in another unit? Scale them so that an object is about 1 in size, or take the cloud out")
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
    fn training_len(&self) -> usize {
        self.train.as_ref().map_or(0, |set| set.len())
    }

    fn batch(&self) -> usize {
        self.batch
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
            let clouds = batch.par_iter().map(one).collect();
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
            let looks = indices.par_iter().map(|&index| self.looks(index)).collect::<Vec<_>>();
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::clouds::Cloud;
    use crate::examples::Values;
    use crate::metrics::Output;

    /// `clouds` clouds of 8 points; those of number n lie within 1 of (10 n, 0, 0).
    fn set(clouds: usize) -> CloudSet {
        let cloud = |number: usize| Cloud {
            name: number.to_string(),
            points: (0..8).flat_map(|point| [10.0 * number as f32 + point as f32 / 10.0, 0.5, -0.5]).collect(),
            label: (number % 2) as i64,
            file: None,
        };
        let classes = vec!["even".to_owned(), "odd".to_owned()];
        CloudSet::new(Path::new("clouds"), classes, &[], (0..clouds).map(cloud).collect()).expect("they are fine")
    }

    fn task(votes: Option<Votes>, eval_augment: Vec<Augment>) -> PointClouds {
        let (augment, seeds) = (vec![Augment::SampleRandom(4)], Seeds::new(3));
        PointClouds { train: None, val: set(5), augment, eval_augment, votes, batch: 6, points: 4, seeds }
    }

    fn numbers(batch: &Examples, field: &str) -> Vec<f32> {
        match &batch.fields[field].values {
            Values::Numbers(numbers) => numbers.clone(),
            Values::Classes(classes) => classes.iter().map(|&class| class as f32).collect(),
            _ => panic!("numbers or classes"),
        }
    }

    #[test]
    fn the_looks_at_a_cloud_stand_in_a_row_and_their_mean_is_its_own() {
        let each = vec![Augment::SampleRandom(4), Augment::Move(0.2)];
        let task = task(Some(Votes { times: 3, kept: Augment::SampleFarthest(6), each }), Vec::new());
        let batches: Vec<Examples> =
            task.evaluation().expect("it begins").map(|batch| batch.expect("a batch")).collect();
        // Six rows at a time are two clouds of three looks.
        assert_eq!(batches.iter().map(|batch| batch.samples).collect::<Vec<_>>(), [6, 6, 3]);
        let labels: Vec<f32> = batches.iter().flat_map(|batch| numbers(batch, "label")).collect();
        assert_eq!(labels, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        // A model that gives the mean of x: each look says which cloud it is of, and no two are the same.
        let of_looks: Vec<f32> = batches
            .iter()
            .flat_map(|batch| {
                numbers(batch, "points")
                    .chunks_exact(12)
                    .map(|look| look.iter().step_by(3).sum::<f32>() / 4.0)
                    .collect::<Vec<_>>()
            })
            .collect();
        for (row, x) in of_looks.iter().enumerate() {
            assert_eq!(((x - 0.35) / 10.0).round() as usize, row / 3, "row {row} is a look at cloud {}", row / 3);
        }
        assert!(of_looks.windows(2).all(|two| two[0] != two[1]), "{of_looks:?}");
        let averaged = Output { dims: vec![15, 1], values: of_looks.clone() }.averaged(task.views());
        assert_eq!(averaged.dims, [5, 1]);
        for (cloud, mean) in averaged.values.iter().enumerate() {
            let by_hand = (of_looks[3 * cloud] + of_looks[3 * cloud + 1] + of_looks[3 * cloud + 2]) / 3.0;
            assert!((mean - by_hand).abs() <= 1e-5, "{mean}, expected {by_hand}");
        }
    }

    #[test]
    fn steps_that_leave_another_number_of_points_are_told_of_with_what_to_change() {
        let said = |votes: Option<Votes>, seen: Vec<Augment>| {
            task(votes, seen).check(false).expect_err("it fits nothing").to_string()
        };
        assert!(task(None, vec![Augment::SampleFarthest(4)]).check(true).is_ok());
        let many = said(None, Vec::new());
        assert!(
            many.contains("`eval_augment` leaves 8 of the 8 points of the cloud `0`, and the model takes 4"),
            "{many}"
        );
        assert!(many.contains("`train.eval_augment = [sample_farthest(4)]`"), "{many}");
        let votes = Votes { times: 2, kept: Augment::SampleFarthest(6), each: vec![Augment::SampleRandom(5)] };
        let voted = said(Some(votes), Vec::new());
        assert!(
            voted.contains("`views` leaves 5 of the 8 points") && voted.contains("`cloud_votes(count = 4)`"),
            "{voted}"
        );
        let few = PointClouds { points: 9, ..task(None, Vec::new()) }.check(false).expect_err("too short").to_string();
        assert!(few.contains("clouds: the cloud `0` has 8 points, and the model takes 9"), "{few}");
    }
}
