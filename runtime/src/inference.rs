//! Running a model on tensors of a file: `lmvc infer`.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use burn::tensor::ops::IntTensor;
use lmv_compiler::Experiment;
use lmv_compiler::graph::Graph;
use lmv_compiler::passes::Passes;
use lmv_compiler::plan::Plan;
use lmv_compiler::shape::Dim;
use safetensors::Dtype;

use crate::device::Work;
use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::kernels::{Kernels, booleans};
use crate::layers::Pass;
use crate::network::{Network, class_numbers, tensor, values};
use crate::parameters::{self, Trained};
use crate::places::Places;
use crate::stream::Stream;
use crate::training::atomic_file::write_atomic;
use crate::training::lock;
use crate::training::seeds::Seeds;
use crate::weights::{Checkpoint, mapped};

/// What to run on what.
pub struct Inference<'a> {
    /// The spec.
    pub experiment: &'a Experiment,
    /// What its graph goes through before it runs.
    pub passes: Passes,
    /// Where its names lead.
    pub places: &'a Places,
    /// Trained weights; without them the spec's own weights, and random starts for the rest.
    pub checkpoint: Option<Trained<'a>>,
    /// Tensors named like the model's inputs, batch first; for a varying length `NAME.mask` too.
    pub input: &'a Path,
    /// Where the outputs go.
    pub output: &'a Path,
    /// Streams to write besides the outputs.
    pub taps: &'a [String],
    /// For what starts at random, where the checkpoint is of no run.
    pub seed: u64,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

impl Work for Inference<'_> {
    type Output = Result<Vec<(String, Vec<usize>)>>;

    /// Gives the names and shapes of what was written.
    fn run<B: Kernels>(self, device: B::Device) -> Self::Output {
        let plan = self.passes.plan(&self.experiment.graph);
        let network = Network::<B>::new(&plan, self.taps)?;
        let file = Checkpoint::open(self.input)?;
        let mut inputs = Vec::new();
        for port in &plan.inputs {
            inputs.push(input::<B>(&file, &port.name, &plan.streams[port.stream.0], &device)?);
        }
        agree(&plan, &inputs, self.input)?;
        let seeds = Seeds::new(self.checkpoint.and_then(|trained| lock::seed_of(trained.path)).unwrap_or(self.seed));
        let loaded = parameters::load::<B>(&plan, &seeds, self.places, self.checkpoint, &device, self.observer)?;
        if let (None, Some(remark)) = (self.checkpoint, untrained(&self.experiment.graph)) {
            self.observer.event(Event::Warning(remark));
        }
        let outputs = network.forward(inputs, &loaded.tensors, &mut Pass::evaluating());
        mapped::unchanged(&loaded.mapped)?;
        let names = plan.outputs.iter().map(|port| port.name.clone()).chain(self.taps.iter().cloned());
        let named: Vec<(String, Vec<usize>, Dtype, Vec<u8>)> = names
            .zip(outputs)
            .map(|(name, stream)| {
                let dims = stream.dims();
                let (dtype, bytes) = if stream.holds_classes() {
                    (Dtype::I64, class_numbers::<B>(stream.classes()).into_iter().flat_map(i64::to_le_bytes).collect())
                } else {
                    (Dtype::F32, values::<B>(stream.into_numbers()).into_iter().flat_map(f32::to_le_bytes).collect())
                };
                (name, dims, dtype, bytes)
            })
            .collect();
        let views = named
            .iter()
            .map(|(name, dims, dtype, bytes)| {
                safetensors::tensor::TensorView::new(*dtype, dims.clone(), bytes).map(|view| (name.as_str(), view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::at(self.output, format!("cannot be written: {error}")))?;
        let bytes = safetensors::serialize(views, None)
            .map_err(|error| Failure::at(self.output, format!("cannot be written: {error}")))?;
        write_atomic(self.output, |out| out.write_all(&bytes))?;
        Ok(named.into_iter().map(|(name, dims, ..)| (name, dims)).collect())
    }
}

/// What to say of a model without a checkpoint, where the spec trains something that no weights fill.
pub(crate) fn untrained(graph: &Graph) -> Option<String> {
    let fresh = graph.parameters.iter().filter(|parameter| parameter.is_trained() && parameter.filled_by.is_none());
    let fresh: Vec<&str> = fresh.map(|parameter| parameter.path.as_str()).collect();
    let first = fresh.first()?;
    Some(match fresh.len() {
        1 => format!("no checkpoint was given: `{first}`, which is to be trained, is at its start"),
        n => format!("no checkpoint was given: {n} tensors that are to be trained are at their start, `{first}` first"),
    })
}

/// Inputs of one call: one batch, and one length wherever the spec gives two dims one name.
fn agree<B: Kernels>(plan: &Plan, inputs: &[Stream<B>], file: &Path) -> Result<()> {
    let mut lengths: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (port, stream) in plan.inputs.iter().zip(inputs) {
        let batch = Dim::named("batch");
        for (dim, length) in std::iter::once(&batch).chain(&plan.shape(port.stream).0).zip(stream.dims()) {
            let Dim::Open(size) = dim else { continue };
            let name = size.plain();
            let (known, by) = lengths.entry(name.clone()).or_insert((length, port.name.clone()));
            if *known != length {
                return Err(Failure::at(
                    file,
                    format!("`{name}` is {known} in `{by}` and {length} in `{}`", port.name),
                )
                .help("give both the same; for lengths of their own, give them names of their own in the spec"));
            }
        }
    }
    Ok(())
}

/// One input of the model from the file, with a mask for each length that varies.
fn input<B: Kernels>(
    file: &Checkpoint,
    name: &str,
    wanted: &lmv_compiler::graph::Stream,
    device: &B::Device,
) -> Result<Stream<B>> {
    let shape = &wanted.shape.0;
    let dims: Vec<String> = std::iter::once("batch".to_owned()).chain(shape.iter().map(ToString::to_string)).collect();
    let expected = format!("[{}]", dims.join(", "));
    let Some(info) = file.info(name) else {
        let names: Vec<&str> = file.names().collect();
        let kind = if wanted.classes.is_some() { "i64" } else { "f32" };
        return Err(Failure::at(file.path(), format!("has no tensor `{name}`, which the model takes"))
            .note(format!("it holds `{}`", names.join("`, `")))
            .help(format!("write `{name}` as {expected}, {kind}")));
    };
    let dims = info.shape.clone();
    let fits = dims.len() == shape.len() + 1
        && dims[1..].iter().zip(shape).all(|(&found, dim)| match dim {
            Dim::Known(n) => i64::try_from(found).is_ok_and(|found| found == *n),
            Dim::Open(_) => found > 0,
        });
    if !fits || dims[0] == 0 {
        return Err(Failure::at(file.path(), format!("`{name}` is {dims:?}, and the model takes {expected}")));
    }
    let numbers = file.read_f32(name)?;
    if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
        let behind = |dim: usize| dims[dim + 1..].iter().product::<usize>();
        let at: Vec<String> = (0..dims.len()).map(|dim| (place / behind(dim) % dims[dim]).to_string()).collect();
        return Err(Failure::at(
            file.path(),
            format!("`{name}` holds {} at [{}], and the model takes numbers", numbers[place], at.join(", ")),
        )
        .help("leave the sample out, or put zeros in the places that a mask says are not real"));
    }
    let mut stream = match &wanted.classes {
        None => Stream::new(tensor::<B>(numbers, &dims, device)),
        Some(classes) => Stream::of_classes(classes_of::<B>(file, name, numbers, &dims, classes, device)?),
    };
    let varying: Vec<usize> = (0..shape.len()).filter(|&dim| shape[dim].varies()).collect();
    if varying.is_empty() && file.contains(&format!("{name}.mask")) {
        return Err(Failure::at(
            file.path(),
            format!("holds `{name}.mask`, and the length of `{name}` does not vary in this spec"),
        )
        .help(format!("let it vary: `model({name} : [T?, …])`")));
    }
    for dim in varying.iter().copied() {
        // The mask of the only length that varies needs no number; of several, each is named by its dim.
        let mask_name = if varying.len() == 1 { format!("{name}.mask") } else { format!("{name}.mask.{dim}") };
        let Some(info) = file.info(&mask_name) else { continue };
        let size = [dims[0], dims[dim + 1]];
        if info.shape != size {
            return Err(Failure::at(
                file.path(),
                format!("`{mask_name}` is {:?}, and must be {size:?}: one value a token", info.shape),
            ));
        }
        let real: Vec<bool> = file.read_f32(&mask_name)?.into_iter().map(|x| x != 0.0).collect();
        stream = stream.masked(dim, Some(booleans::<B>(real, size, device)));
    }
    Ok(stream)
}

/// Numbers of classes, each held against how many there are.
fn classes_of<B: Kernels>(
    file: &Checkpoint,
    name: &str,
    numbers: Vec<f32>,
    dims: &[usize],
    classes: &Dim,
    device: &B::Device,
) -> Result<IntTensor<B>> {
    let count = classes.known().unwrap_or(i64::MAX);
    // A file's whole numbers come as f32, which holds them exactly up to 2^24; no vocabulary is larger.
    let wrong = numbers.iter().find(|&&x| x.fract() != 0.0 || x < 0.0 || x as i64 >= count);
    if let Some(wrong) = wrong {
        return Err(Failure::at(
            file.path(),
            format!("`{name}` holds {wrong}, and its {count} classes are numbered from 0 to {}", count - 1),
        ));
    }
    let ids: Vec<i32> = numbers.into_iter().map(|x| x as i32).collect();
    Ok(B::int_from_data(TensorData::new(ids, dims.to_vec()), device))
}
