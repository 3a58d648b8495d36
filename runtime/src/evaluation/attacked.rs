//! Top-1 on images that are changed a little against the model (paper.md §3.4).

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn_autodiff::Autodiff;
use lmv_compiler::Metric;

use super::Model;
use super::beside::field_of;
use crate::data::Normalize;
use crate::error::{Failure, Result};
use crate::events::{Event, Observer};
use crate::examples::{Batch, Examples, Values};
use crate::kernels::Kernels;
use crate::layers::Pass;
use crate::metrics::attack::Attack;
use crate::metrics::real_rows;
use crate::network::{Network, tensor, values};
use crate::stream::{Stream, reshape};
use crate::training::meters::Accuracy;

impl<B: Kernels> Model<'_, B> {
    /// Top-1 under an attack, in percent; `None` inside `Ok` is an interruption.
    pub(super) fn attacked(
        &self,
        metric: &Metric,
        attack: Attack,
        observer: &mut dyn Observer,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<f64>> {
        let images = self.task.images().ok_or_else(|| {
            Failure::new(format!("`{}` changes images, and the data has others than images of one label", metric.label))
        })?;
        // On the tape throughout: the gradient goes back to the images, past what is frozen.
        let network = Network::<Autodiff<B>>::new(self.network.plan(), &[])?;
        let parameters: Vec<_> =
            self.parameters.iter().map(|tensor| Autodiff::<B>::from_inner(tensor.clone())).collect();
        let attacked = Attacked { network: &network, parameters: &parameters, output: self.output_of(metric) };
        let mut accuracy = Accuracy::new(&[1]);
        observer.event(Event::Folder { name: metric.label.clone(), number: 1, count: 1 });
        let (mut done, total) = (0, self.task.evaluation_len());
        for (number, examples) in (0..).zip(self.task.evaluation()?) {
            if stop() {
                return Ok(None);
            }
            let mut rng = self.seeds.stream("attack", 0, number);
            let start = |pixels: &[f32]| attack.start(pixels, &mut rng);
            let changed =
                attacked.against(examples?, field_of(metric), images.normalize(), attack, start, self.device)?;
            let outputs = self.outputs(&changed)?;
            let (logits, classes, labels) = real_rows(&outputs[attacked.output], changed.field(field_of(metric))?)?;
            accuracy.add(&logits, classes, &labels)?;
            done += changed.samples;
            observer.event(Event::Evaluated { done, total });
        }
        let top1 = accuracy.top(1).ok_or_else(|| Failure::new("there was no sample to measure on"))?;
        Ok(Some(100.0 * top1))
    }
}

/// A model of images on the tape, and which of its outputs gives the classes.
pub struct Attacked<'a, B: Kernels> {
    /// What it computes.
    pub network: &'a Network<Autodiff<B>>,
    /// With what.
    pub parameters: &'a [FloatTensor<Autodiff<B>>],
    /// The output.
    pub output: usize,
}

impl<B: Kernels> Attacked<'_, B> {
    /// The examples with images that are changed against the model: normalised ones in, normalised ones out. `label` is the
    /// field of the true classes; `start` gives, of the images in pixels, those that the first step moves.
    ///
    /// # Errors
    /// Examples without images or labels.
    pub fn against(
        &self,
        mut examples: Examples,
        label: &str,
        normalize: &Normalize,
        attack: Attack,
        start: impl FnOnce(&[f32]) -> Vec<f32>,
        device: &B::Device,
    ) -> Result<Examples> {
        let input = &self.network.plan().inputs[0].name;
        let field = examples.field(input)?;
        let (Values::Numbers(numbers), [_, 3, height, width]) = (&field.values, field.dims.as_slice()) else {
            return Err(Failure::new(format!("`{input}` is no batch of images with three channels")));
        };
        let (dims, plane) = (field.dims.clone(), height * width);
        let Values::Classes(labels) = examples.field(label)?.values.clone() else {
            return Err(Failure::new(format!("`{label}` is no batch of classes")));
        };
        let pixels = normalize.backward(numbers, plane);
        let mut at = start(&pixels);
        for _ in 0..attack.steps {
            let gradient = self.gradient(normalize.forward(&at, plane), &dims, &labels, device)?;
            attack.advance(&pixels, &mut at, &gradient);
        }
        examples.fields.insert(input.clone(), Batch::numbers(dims, normalize.forward(&at, plane)));
        Ok(examples)
    }

    /// The gradient of the mean cross entropy by the images, of the size of `images`: `[batch, 3, height, width]`. The
    /// gradient by pixels has the same signs, as a deviation is above zero.
    ///
    /// # Errors
    /// A label that is no class.
    pub fn gradient(&self, images: Vec<f32>, dims: &[usize], labels: &[i32], device: &B::Device) -> Result<Vec<f32>> {
        let images = Autodiff::<B>::float_set_require_grad(tensor::<Autodiff<B>>(images, dims, device), true);
        let input = vec![Stream::new(images.clone())];
        let outputs = self.network.forward(input, self.parameters, &mut Pass::evaluating());
        let logits = outputs[self.output].numbers();
        let classes = outputs[self.output].dims().last().copied().unwrap_or(0);
        let mut targets = vec![0.0; labels.len() * classes];
        for (row, &label) in targets.chunks_exact_mut(classes.max(1)).zip(labels) {
            let own = usize::try_from(label).ok().and_then(|label| row.get_mut(label));
            *own.ok_or_else(|| Failure::new(format!("label {label} of {classes} classes")))? = 1.0;
        }
        let rows = [labels.len(), classes];
        let targets = tensor::<Autodiff<B>>(targets, &rows, device);
        let loss = Autodiff::<B>::fused_softmax_cross_entropy(reshape::<Autodiff<B>>(logits, &rows), targets);
        let gradients = Autodiff::<B>::backward(loss);
        Ok(match Autodiff::<B>::grad(&images, &gradients) {
            Some(gradient) => values::<B>(gradient),
            // A model that does not look at its input.
            None => vec![0.0; dims.iter().product()],
        })
    }
}
