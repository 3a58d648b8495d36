//! A batch of random numbers, in the shapes that a spec's model and data have.

use std::collections::BTreeMap;

use lmv_compiler::Experiment;
use lmv_compiler::shape::{Dim, Shape};
use rand::Rng;

use crate::error::{Failure, Result};
use crate::examples::{Batch, Examples};
use crate::training::seeds::Seeds;

/// Draws a batch: what the model takes, and what the data gives the loss. What has no size in the spec is `length` long,
/// and real throughout.
///
/// # Errors
/// A length that a shape does not come out even with.
pub fn draw(experiment: &Experiment, batch: usize, length: usize, seed: u64) -> Result<Examples> {
    let graph = &experiment.graph;
    let mut wanted: BTreeMap<&str, (&Shape, Option<&Dim>)> = BTreeMap::new();
    let label = Shape(Vec::new());
    for field in &experiment.fields {
        wanted.insert(&field.name, (field.shape.as_ref().unwrap_or(&label), field.classes.as_ref()));
    }
    for port in &graph.inputs {
        let stream = &graph.streams[port.stream.0];
        wanted.insert(&port.name, (&stream.shape, stream.classes.as_ref()));
    }
    let seeds = Seeds::new(seed);
    let mut fields = BTreeMap::new();
    for (name, (shape, classes)) in wanted {
        let mut rng = seeds.stream(&format!("benchmark {name}"), 0, 0);
        let sizes = shape.0.iter().map(|dim| size(dim, length, name)).collect::<Result<Vec<_>>>()?;
        let dims = [&[batch][..], &sizes].concat();
        let count = dims.iter().product();
        let drawn = match classes {
            Some(classes) => {
                let classes = i32::try_from(size(classes, length, name)?).unwrap_or(i32::MAX).max(1);
                Batch::classes(dims, (0..count).map(|_| rng.random_range(0..classes)).collect())
            }
            None => Batch::numbers(dims, (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()),
        };
        fields.insert(name.to_owned(), drawn);
    }
    Ok(Examples { samples: batch, fields })
}

fn size(dim: &Dim, length: usize, of: &str) -> Result<usize> {
    let number = match dim {
        Dim::Known(n) => Some(*n),
        Dim::Open(size) => size.value(&|_| i64::try_from(length).ok()),
    };
    number.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| {
        Failure::new(format!("`{of}` has a dim {dim}, which does not come out with a length of {length}"))
            .help("give another one by `--length`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::Values;

    #[test]
    fn a_batch_has_the_shapes_of_the_spec() {
        let program = "model(x : [T?, 6], y : [T?, 6]) { (x, y) >> add >> linear(6, 2) >> mean_tokens }";
        let compiled = lmv_compiler::compile("a.lmv", program, &[]);
        let experiment = compiled.experiment.expect("a right spec");
        let drawn = draw(&experiment, 3, 5, 0).expect("a batch");
        assert_eq!(
            (drawn.samples, &drawn.fields["x"].dims[..], &drawn.fields["y"].dims[..]),
            (3, &[3, 5, 6][..], &[3, 5, 6][..])
        );
        let (Values::Numbers(x), Values::Numbers(y)) = (&drawn.fields["x"].values, &drawn.fields["y"].values) else {
            panic!("numbers")
        };
        assert!(x != y && x.iter().all(|x| x.abs() <= 1.0));
    }

    #[test]
    fn classes_are_drawn_of_those_there_are() {
        let program = "model(words : [8] of class(11)) { words >> embedding(11, 4) >> mean_tokens }";
        let compiled = lmv_compiler::compile("a.lmv", program, &[]);
        let experiment = compiled.experiment.expect("a right spec");
        let drawn = draw(&experiment, 40, 5, 0).expect("a batch");
        let Values::Classes(words) = &drawn.fields["words"].values else { panic!("classes") };
        assert!(
            words.len() == 320
                && (0..11).all(|class| words.contains(&class))
                && words.iter().all(|w| (0..11).contains(w))
        );
    }
}
