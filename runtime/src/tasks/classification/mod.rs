//! Image classification (paper.md §3): one image in, one number a class out.

mod beside;
pub mod pipeline;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lmv_compiler::Experiment;
use lmv_compiler::config::{Call, Config};
use lmv_compiler::graph::Graph;

use super::{Batches, Labelled, LabelledImages, Opening, Task};
use crate::data::{
    Damage, Damaged, ImageSet, Loader, LoaderOptions, Pipeline, SynthImages, TarCache, order, synth_images,
};
use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::examples::{Batch, Examples, Values};
use crate::training::mix::Mix;
use crate::training::recipe;
use crate::training::seeds::Seeds;

/// The names of all datasets that this task opens.
pub const DATASETS: [&str; 2] = ["image_folder", "shapes"];

/// Samples in an evaluation batch of a spec that has no recipe.
const EVALUATION_BATCH: usize = 64;

/// The task with both splits opened.
pub struct Classification {
    train: Option<Arc<ImageSet>>,
    val: Arc<ImageSet>,
    train_pipeline: Arc<Pipeline>,
    eval_pipeline: Arc<Pipeline>,
    classes: usize,
    batch: usize,
    repeats: Option<usize>,
    mix: Option<Mix>,
    mix_groups: usize,
    seeds: Seeds,
    threads: usize,
    /// Of each split its own: damage is remembered by index.
    train_damage: Arc<Damage>,
    val_damage: Arc<Damage>,
    input: Vec<usize>,
    /// Where it is kept what tars hold.
    tars: Option<TarCache>,
}

impl Classification {
    /// Opens the data of an image spec.
    ///
    /// # Errors
    /// A folder that is not there, classes that are not as many as the spec says, augmentations that do not exist.
    pub fn open(
        experiment: &Experiment,
        data: &Call,
        opening: &Opening<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let root = root(data, opening, observer)?;
        let recipe = experiment.train.as_ref();
        let tars = opening.places.tars.clone();
        let train = match recipe {
            Some(_) => Some(ImageSet::open_with(&root, "train", tars.as_ref())?),
            None => None,
        };
        let mut val = ImageSet::open_with(&root, "val", tars.as_ref())?;
        let classes = data.size("classes").unwrap_or(0);
        if let Some(train) = &train {
            val.relabel(train.classes())?;
        }
        for set in train.iter().chain([&val]) {
            set.warnings().iter().for_each(|warning| observer.event(Event::Warning(warning.clone())));
        }
        let found = train.as_ref().map_or(val.classes().len(), |train| train.classes().len());
        if found != classes {
            return Err(Failure::at(&root, format!("holds {found} classes, and the spec says {classes}"))
                .help(format!("set `classes = {found}` in the spec's `data`, or give it the other folder")));
        }
        let fields = recipe.map(|recipe| &recipe.fields);
        let list = |name: &str| fields.and_then(|fields| fields.get(name));
        let input = input_dims(&experiment.graph)?;
        Ok(Self {
            train: train.map(Arc::new),
            val: Arc::new(val),
            train_pipeline: Arc::new(pipeline::pipeline(list("augment"))?),
            eval_pipeline: Arc::new(pipeline::pipeline(list("eval_augment"))?),
            classes,
            batch: recipe.map_or(EVALUATION_BATCH, |recipe| recipe.batch),
            repeats: fields.and_then(recipe::repeats),
            mix: fields.map(recipe::mix).transpose()?.flatten(),
            mix_groups: fields.map_or(1, recipe::mix_groups),
            seeds: Seeds::new(opening.seed),
            threads: opening.threads,
            train_damage: Arc::new(Damage::new()),
            val_damage: Arc::new(Damage::new()),
            input,
            tars,
        })
    }

    /// The order in which an epoch visits the training set.
    fn order(&self, set: &ImageSet, epoch: u64) -> Vec<usize> {
        match self.repeats {
            Some(times) => order::repeated(set.len(), times, self.seeds.seed(), epoch),
            None => order::shuffled(set.len(), self.seeds.seed(), epoch),
        }
    }

    /// Batches of a set for measuring: in order, with what cannot be read left out.
    fn in_order(
        &self,
        set: &Arc<ImageSet>,
        pipeline: &Arc<Pipeline>,
        damage: &Arc<Damage>,
        purpose: &str,
    ) -> Result<Batches<'_>> {
        let options = LoaderOptions {
            batch: self.batch.min(256),
            seed: self.seeds.seed(),
            purpose: purpose.into(),
            threads: self.threads,
            damaged: Damaged::LeftOut,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(set.clone(), order::sequential(set.len()), pipeline.clone(), damage.clone(), options)?;
        Ok(Box::new(loader.map(move |batch| {
            let batch = batch?;
            self.fits(batch.size)?;
            let labels: Vec<usize> = batch.labels.iter().map(|&label| label as usize).collect();
            let dims = vec![labels.len(), 3, batch.size.0, batch.size.1];
            Ok(examples(Batch::numbers(dims, batch.images), Batch::labels(&labels)))
        })))
    }

    /// Images of the size that the model takes.
    fn fits(&self, size: (usize, usize)) -> Result<()> {
        if self.input[1..] == [size.0, size.1] {
            return Ok(());
        }
        let (height, width) = (self.input[1], self.input[2]);
        Err(Failure::new(format!("the data gives images of {}×{}, and the model takes {height}×{width}", size.0, size.1))
            .help(format!("bring them to that size in the recipe: `augment = [random_resized_crop({height}), …]` and `eval_augment = [resize({height}), center_crop({height})]`")))
    }
}

/// The folder of the data; a drawn set is drawn where it is not there yet.
fn root(data: &Call, opening: &Opening<'_>, observer: &mut dyn Observer) -> Result<PathBuf> {
    if data.name == "shapes" {
        let size = |name: &str| data.size(name).unwrap_or(0);
        let (image, classes, train, val) = (size("image"), size("classes"), size("train"), size("val"));
        let seed = data.size("seed").unwrap_or(0) as u64;
        let folder = opening.drawn.join(format!("shapes-{image}px-{classes}x{train}+{val}-seed{seed}"));
        let new = !folder.exists();
        if new {
            observer.event(Event::Note(format!(
                "drawing {} images into {}",
                classes * (train + val),
                folder.display()
            )));
        }
        synth_images(&folder, SynthImages { classes, train_per_class: train, val_per_class: val, size: image, seed })?;
        return Ok(folder);
    }
    match data.arguments.get("root") {
        Some(Config::Path(name)) => opening.places.paths.resolve(name),
        _ => Err(Failure::new(format!("the dataset `{}` has no root", data.name))),
    }
}

fn input_dims(graph: &Graph) -> Result<Vec<usize>> {
    let dims = match graph.inputs.as_slice() {
        [port] => graph.shape(port.stream).numbers(),
        _ => None,
    };
    dims.filter(|dims| dims.len() == 3).ok_or_else(|| Failure::new("image classification takes a model of one image"))
}

fn examples(image: Batch, label: Batch) -> Examples {
    let samples = image.dims[0];
    Examples { samples, fields: BTreeMap::from([("image".to_owned(), image), ("label".to_owned(), label)]) }
}

impl Task for Classification {
    fn training_len(&self) -> usize {
        self.train.as_ref().map_or(0, |set| self.order(set, 0).len())
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn training(&self, epoch: u64, skip: u64) -> Result<Batches<'_>> {
        let Some(set) = &self.train else {
            return Err(Failure::new("this spec has no recipe to train by"));
        };
        let order = self.order(set, epoch);
        let options = LoaderOptions {
            batch: self.batch,
            // A set smaller than one batch is one small batch rather than nothing.
            drop_last: order.len() >= self.batch,
            seed: self.seeds.seed(),
            purpose: "train".into(),
            epoch,
            skip_batches: usize::try_from(skip).unwrap_or(usize::MAX),
            threads: self.threads,
            damaged: Damaged::Replaced,
        };
        let loader = Loader::new(set.clone(), order, self.train_pipeline.clone(), self.train_damage.clone(), options)?;
        Ok(Box::new(loader.zip(skip..).map(move |(batch, step)| {
            let mut batch = batch?;
            self.fits(batch.size)?;
            let labels: Vec<usize> = batch.labels.iter().map(|&label| label as usize).collect();
            let dims = vec![labels.len(), 3, batch.size.0, batch.size.1];
            let mut label = Batch::labels(&labels);
            if let Some(mix) = &self.mix {
                let mut rng = self.seeds.stream("mix", epoch, step);
                let images = (&mut batch.images[..], [dims[0], 3, dims[2], dims[3]]);
                let shares = mix.in_groups(self.mix_groups, images, (&labels, self.classes), &mut rng)?;
                label.values = Values::Shares { classes: self.classes, shares };
            }
            Ok(examples(Batch::numbers(dims, batch.images), label))
        })))
    }

    fn evaluation(&self) -> Result<Batches<'_>> {
        self.in_order(&self.val, &self.eval_pipeline, &self.val_damage, "eval")
    }

    fn evaluation_len(&self) -> usize {
        self.val.len()
    }

    fn listing_hash(&self) -> String {
        let train = self.train.as_ref().map(|set| set.listing_hash()).unwrap_or_default();
        blake3::hash(format!("{train}\n{}", self.val.listing_hash()).as_bytes()).to_hex().to_string()
    }

    fn damage(&self) -> Vec<String> {
        [&self.train_damage, &self.val_damage]
            .into_iter()
            .flat_map(|damage| damage.untold())
            .map(|failure| failure.to_string())
            .collect()
    }

    fn damaged_in_training(&self) -> usize {
        self.train_damage.count()
    }

    fn labelled(&self) -> Option<&dyn Labelled> {
        Some(self)
    }

    fn images(&self) -> Option<&dyn LabelledImages> {
        Some(self)
    }
}
