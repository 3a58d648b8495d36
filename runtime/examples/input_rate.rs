//! How many images a second go through the input side of training: read, decoded, cropped, flipped, RandAugment, normalised,
//! erased, and put into batches. `bench/input/measure.py` holds it against torchvision and timm.
//!
//!     input_rate FOLDER COUNT [THREADS]
//!
//! FOLDER has a folder for each of two classes or more. Prints images a second.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lmv_runtime::data::transforms::{HorizontalFlip, RandAugment, RandomErasing, RandomResizedCrop};
use lmv_runtime::data::{Damage, ImageSet, Loader, LoaderOptions, Pipeline};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, count, threads) = match arguments.as_slice() {
        [folder, count] => (folder, count.parse::<usize>()?, 1),
        [folder, count, threads] => (folder, count.parse::<usize>()?, threads.parse()?),
        _ => return Err("usage: input_rate FOLDER COUNT [THREADS]".into()),
    };
    let set = Arc::new(ImageSet::open(Path::new(folder), "").map_err(|failure| failure.to_string())?);
    // The recipe of the paper (paper.md §3.3).
    let pipeline = Arc::new(Pipeline {
        transforms: vec![
            Box::new(RandomResizedCrop::new(224)),
            Box::new(HorizontalFlip::default()),
            Box::new(RandAugment::default()),
        ],
        after: vec![Box::new(RandomErasing { p: 0.25 })],
        ..Pipeline::default()
    });
    let images = |count: usize| -> Result<usize, String> {
        let order = (0..count).map(|i| i % set.len()).collect();
        let options = LoaderOptions { batch: 32, threads, ..LoaderOptions::default() };
        let loader = Loader::new(set.clone(), order, pipeline.clone(), Arc::new(Damage::new()), options);
        let mut seen = 0;
        for batch in loader.map_err(|failure| failure.to_string())? {
            seen += batch.map_err(|failure| failure.to_string())?.len();
        }
        Ok(seen)
    };
    images(64)?;
    let began = Instant::now();
    let seen = images(count)?;
    println!("{:.1}", seen as f64 / began.elapsed().as_secs_f64());
    Ok(())
}
