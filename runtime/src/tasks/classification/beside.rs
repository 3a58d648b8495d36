//! Images beside the evaluation split: damaged ones, drawings, and whatever else a metric names a folder of.

use std::path::Path;
use std::sync::Arc;

use super::Classification;
use crate::data::transforms::CenterCrop;
use crate::data::{Damage, ImageSet, Normalize, Pipeline, Pixels};
use crate::error::{Failure, Result};
use crate::metrics::corruptions::Folder;
use crate::tasks::{Beside, Labelled, LabelledImages};

impl Labelled for Classification {
    fn noun(&self) -> &'static str {
        "images"
    }

    fn classes(&self) -> &[String] {
        self.val.classes()
    }

    fn readable(&self) -> Vec<usize> {
        (0..self.val.len()).filter(|image| !self.val_damage.contains(*image)).collect()
    }

    fn name(&self, image: usize) -> &str {
        self.val.name(image)
    }

    fn picture(&self, image: usize) -> Result<Pixels> {
        self.val.load(image)
    }
}

impl LabelledImages for Classification {
    fn normalize(&self) -> &Normalize {
        &self.eval_pipeline.normalize
    }

    fn look_at(&self, folder: &Folder) -> Result<()> {
        match ImageSet::class_names(&folder.root, &folder.split)? {
            Some(names) => known(&folder.root.join(&folder.split), &names, self.val.classes()),
            None => Ok(()),
        }
    }

    fn beside(&self, folder: &Folder) -> Result<Beside<'_>> {
        let mut set = ImageSet::open_with(&folder.root, &folder.split, self.tars.as_ref())?;
        let own = set.classes().to_vec();
        known(&folder.root.join(&folder.split), &own, self.val.classes())?;
        set.relabel(self.val.classes())?;
        let set = Arc::new(set);
        let pipeline = match folder.cropped {
            // The side that the model takes, as the paper's 224 (paper.md §3.4).
            true => Arc::new(Pipeline {
                transforms: vec![Box::new(CenterCrop::new(self.input[1]))],
                normalize: self.eval_pipeline.normalize.clone(),
                after: Vec::new(),
            }),
            false => self.eval_pipeline.clone(),
        };
        let damage = Arc::new(Damage::new());
        Ok(Beside {
            batches: self.in_order(&set, &pipeline, &damage, "beside")?,
            len: set.len(),
            present: self.val.classes().iter().map(|class| own.binary_search(class).is_ok()).collect(),
            damage,
        })
    }
}

/// Whether each of these folders is named as a class of the data is.
fn known(place: &Path, folders: &[String], classes: &[String]) -> Result<()> {
    let strange: Vec<&String> = folders.iter().filter(|name| classes.binary_search(name).is_err()).collect();
    let Some(first) = strange.first() else { return Ok(()) };
    let failure = match strange.len() {
        1 => Failure::at(place, format!("the folder `{first}` is named as no class of the data is")),
        many => Failure::at(
            place,
            format!("{many} folders are named as no class of the data is, the first one is `{first}`"),
        ),
    };
    let near = |class: &&String| strsim::jaro_winkler(first, class);
    let nearest = classes.iter().max_by(|a, b| near(a).total_cmp(&near(b)));
    let failure = match nearest {
        Some(nearest) => failure.note(format!("the class nearest to `{first}` is `{nearest}`")),
        None => failure,
    };
    Err(failure.help(format!(
        "name its folders as those of the data, which has {} classes, or take the strange ones away",
        classes.len()
    )))
}
