//! Going on with a text: `lmvc generate`.

use std::path::Path;

use lmv_compiler::Experiment;
use lmv_compiler::graph::Graph;
use lmv_compiler::passes::Passes;

use crate::device::Work;
use crate::error::{Failure, Result};
use crate::events::Observer;
use crate::examples::Batch;
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::network::{Network, values};
use crate::parameters::{self, Trained};
use crate::places::Places;
use crate::training::lock;
use crate::training::seeds::Seeds;
use crate::weights::mapped;

/// A text to go on with.
pub struct Generation<'a> {
    /// The spec of a causal language model: one stream of tokens in, for each of them a score for every token that could
    /// be next out.
    pub experiment: &'a Experiment,
    /// What its graph goes through before it runs.
    pub passes: Passes,
    /// Where its names lead.
    pub places: &'a Places,
    /// Trained weights; without them the spec's own weights, and random starts for the rest.
    pub checkpoint: Option<&'a Path>,
    /// The tokens so far, at least one.
    pub prompt: Vec<i32>,
    /// How many more.
    pub tokens: usize,
    /// For what starts at random, where the checkpoint is of no run.
    pub seed: u64,
    /// Is given each token as soon as it is found; `false` ends the text.
    pub each: &'a mut dyn FnMut(i32) -> bool,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

/// What a causal language model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// How many tokens there are.
    pub size: usize,
    /// How many of them it sees at once, where that is fixed.
    pub window: Option<usize>,
}

/// What the model takes, if it is a causal language model.
///
/// # Errors
/// It takes or gives something else.
pub fn vocabulary(graph: &Graph) -> Result<Vocabulary> {
    let what = |found: String| {
        Failure::new("this model is no language model that can go on with a text")
            .note(found)
            .help("it takes one stream `[T?] of class(n)` and gives `[T?, n]`; specs/language/tiny.lmv is one")
    };
    let ([input], [output]) = (graph.inputs.as_slice(), graph.outputs.as_slice()) else {
        return Err(what(format!("it has {} inputs and {} outputs", graph.inputs.len(), graph.outputs.len())));
    };
    let (taken, given) = (&graph.streams[input.stream.0], &graph.streams[output.stream.0]);
    let size = taken.classes.as_ref().and_then(|classes| classes.known()).and_then(|n| usize::try_from(n).ok());
    let fits = match (taken.shape.0.as_slice(), given.shape.0.as_slice()) {
        ([length], [same, scores]) => {
            length == same && scores.known().and_then(|n| usize::try_from(n).ok()) == size && given.classes.is_none()
        }
        _ => false,
    };
    let Some(size) = size.filter(|_| fits) else {
        return Err(what(format!("it takes `{taken}` and gives `{given}`")));
    };
    Ok(Vocabulary { size, window: taken.shape.0[0].known().and_then(|n| usize::try_from(n).ok()) })
}

impl Work for Generation<'_> {
    type Output = Result<Vec<i32>>;

    /// Gives all tokens, the prompt's first.
    fn run<B: Kernels>(self, device: B::Device) -> Self::Output {
        let Vocabulary { size, window } = vocabulary(&self.experiment.graph)?;
        let plan = self.passes.plan(&self.experiment.graph);
        let network = Network::<B>::new(&plan, &[])?;
        let seeds = Seeds::new(self.checkpoint.and_then(lock::seed_of).unwrap_or(self.seed));
        let loaded = parameters::load::<B>(
            &plan,
            &seeds,
            self.places,
            self.checkpoint.map(Trained::from),
            &device,
            self.observer,
        )?;
        let mut tokens = self.prompt;
        let wrong = tokens.iter().find(|&&token| usize::try_from(token).map_or(true, |token| token >= size));
        if let Some(wrong) = wrong {
            return Err(Failure::new(format!("the prompt has token {wrong}, and the model knows 0 to {}", size - 1)));
        }
        if tokens.is_empty() {
            return Err(Failure::new("there is no token to begin with").help("give a prompt of at least one"));
        }
        for _ in 0..self.tokens {
            let seen = &tokens[tokens.len() - window.unwrap_or(tokens.len()).min(tokens.len())..];
            // A causal model looks at nothing behind a token, so what fills a fixed window up is no matter.
            let mut ids = seen.to_vec();
            ids.resize(window.unwrap_or(ids.len()), 0);
            let input = Batch::classes(vec![1, ids.len()], ids).stream::<B>(&device);
            let output = network.forward(vec![input], &loaded.tensors, &mut Pass::evaluating()).remove(0);
            let scores = values::<B>(output.into_numbers());
            let last = &scores[(seen.len() - 1) * size..][..size];
            let next = (0..size).max_by(|&a, &b| last[a].total_cmp(&last[b]).then(b.cmp(&a))).unwrap_or(0) as i32;
            tokens.push(next);
            if !(self.each)(next) {
                break;
            }
        }
        mapped::unchanged(&loaded.mapped)?;
        Ok(tokens)
    }
}
