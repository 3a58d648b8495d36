//! The linear layer on `Flex`: one matrix product over all rows, or one for each panel of a weight in half precision.

use burn_flex::FlexTensor;

use super::bf16::{self, Numbers, Side};
use super::buffer::{Mat, MatMut, elements, in_order, new_rows, product, tensor};
use super::half_weight::HalfWeight;
use super::sums::{add_rows, summed};

/// Multiplications from which a product is spread over the cores.
const PARALLEL: usize = 1 << 20;

/// `out` = `a` · `b` (or added to it), on all cores if that pays.
fn spread(out: &mut [f32], a: Mat, b: Mat, accumulate: bool) {
    let parallel = a.rows.saturating_mul(a.cols).saturating_mul(b.cols) >= PARALLEL;
    product(&mut MatMut::new(out, a.rows, b.cols), a, b, 1.0, accumulate, parallel);
}

/// How `t` `[.., d]` lies as a matrix `[rows, d]`, if one step leads from each row to the next; else `None`.
struct Lying {
    rows: usize,
    cols: usize,
    row_step: usize,
    col_step: usize,
}

fn lying(t: &FlexTensor) -> Option<Lying> {
    let layout = t.layout();
    let (shape, strides) = (layout.shape(), layout.strides());
    let (&cols, leading) = shape.split_last()?;
    let col_step = usize::try_from(*strides.last()?).ok()?;
    let (mut rows, mut row_step) = (1, cols * col_step);
    for (&len, &stride) in leading.iter().zip(strides).rev() {
        let stride = usize::try_from(stride).ok()?;
        if len == 1 {
            continue;
        }
        if rows == 1 {
            row_step = stride;
        } else if stride != rows * row_step {
            return None;
        }
        rows *= len;
    }
    Some(Lying { rows, cols, row_step, col_step })
}

/// `t` `[.., d]` as a matrix `[rows, d]`, if it can be read as one where it lies.
fn as_matrix(t: &FlexTensor) -> Option<Mat<'_>> {
    let Lying { rows, cols, row_step, col_step } = lying(t)?;
    let data = t.storage::<f32>().get(t.layout().start_offset()..)?;
    Some(Mat::new(data, rows, cols, row_step, col_step))
}

/// `t`, copied if [`as_matrix`] could not read it.
fn readable(t: FlexTensor) -> FlexTensor {
    if as_matrix(&t).is_some() { t } else { t.to_contiguous() }
}

/// [`as_matrix`] of what [`readable`] returned.
fn matrix(t: &FlexTensor) -> Mat<'_> {
    as_matrix(t).expect("rows at equal distances")
}

/// `rows` rows of the bias, or of zeros, which a product is added to or put over.
fn rows_of_bias(rows: usize, width: usize, bias: Option<&FlexTensor>) -> Vec<f32> {
    new_rows(rows, width, |_, out| {
        if let Some(bias) = bias {
            out.chunks_exact_mut(width.max(1)).for_each(|row| row.copy_from_slice(elements(bias)));
        }
    })
}

/// `data` in the shape of `like`, but for the last dim.
fn shaped(data: Vec<f32>, like: &FlexTensor, width: usize) -> FlexTensor {
    let mut shape = like.layout().shape().to_vec();
    *shape.last_mut().expect("a tensor of one dimension or more") = width;
    tensor(data, shape)
}

/// The gradient of the bias: the sum of the rows.
fn bias_gradient(grad: &FlexTensor, width: usize) -> FlexTensor {
    let grad = in_order(grad.clone());
    // In front of a batch norm it is zero, and is to stay so (docs/decisions.md).
    let db = summed(elements(&grad), width, width, |_, gs, sums| add_rows(sums, gs));
    tensor(db.into_iter().map(|x| x as f32).collect(), [width])
}

pub(super) fn forward(x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>) -> FlexTensor {
    let (x, bias) = (readable(x), bias.map(in_order));
    let a = matrix(&x);
    let (rows, width) = (a.rows, weight.layout().shape()[0]);
    let mut out = rows_of_bias(rows, width, bias.as_ref());
    if HalfWeight::is_one(&weight) {
        let weight = in_order(weight);
        let weight = HalfWeight::new(&weight);
        if rows == 1 {
            // A matrix times a vector, row by row of the matrix: there is no order of adding to keep.
            weight.by_rows(|panel, rows| spread(&mut out[rows], a, panel.t(), bias.is_some()));
        } else {
            weight.by_columns(|panel, columns| {
                let accumulate = bias.is_some() || columns.start > 0;
                spread(&mut out, a.columns(columns), panel.t(), accumulate);
            });
        }
    } else {
        let weight = readable(weight);
        spread(&mut out, a, matrix(&weight).t(), bias.is_some());
    }
    shaped(out, &x, width)
}

pub(super) fn backward(
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
    grad: FlexTensor,
    bias: bool,
) -> [Option<FlexTensor>; 3] {
    let grad = readable(grad);
    let g = matrix(&grad);
    let dx = weight.map(|weight| {
        let cols = weight.layout().shape()[1];
        let mut dx = new_rows(g.rows, cols, |_, _| {});
        if HalfWeight::is_one(&weight) {
            let weight = in_order(weight);
            HalfWeight::new(&weight).by_rows(|panel, rows| {
                let accumulate = rows.start > 0;
                spread(&mut dx, g.columns(rows), panel, accumulate);
            });
        } else {
            let weight = readable(weight);
            spread(&mut dx, g, matrix(&weight), false);
        }
        shaped(dx, &grad, cols)
    });
    let dw = x.map(|x| {
        let x = readable(x);
        let x = matrix(&x);
        let mut dw = new_rows(g.cols, x.cols, |_, _| {});
        spread(&mut dw, g.t(), x, false);
        tensor(dw, [g.cols, x.cols])
    });
    let db = bias.then(|| bias_gradient(&grad, g.cols));
    [dx, dw, db]
}

/// A tensor as an operand in `bf16`.
struct Operand(FlexTensor);

impl Operand {
    /// `t` as it lies, or a copy where no row or column of it can be read in one go.
    fn new(t: FlexTensor) -> Self {
        match lying(&t) {
            Some(Lying { row_step, col_step, .. }) if row_step == 1 || col_step == 1 => Self(t),
            _ => Self(t.to_contiguous()),
        }
    }

    fn lying(&self) -> Lying {
        lying(&self.0).expect("rows at equal distances")
    }

    /// Its rows, each a lane of a product.
    fn rows(&self) -> Side<'_> {
        let Lying { rows, cols, row_step, col_step } = self.lying();
        Side::new(Numbers::of(&self.0), rows, cols, [row_step, col_step])
    }

    /// Its columns, each a lane of a product.
    fn columns(&self) -> Side<'_> {
        let Lying { rows, cols, row_step, col_step } = self.lying();
        Side::new(Numbers::of(&self.0), cols, rows, [col_step, row_step])
    }
}

/// [`forward`] with operands rounded to `bf16`; the weight may be of halves of either type.
pub(super) fn forward_bf16(x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>) -> FlexTensor {
    let (x, weight, bias) = (Operand::new(x), Operand::new(weight), bias.map(in_order));
    let (rows, width) = (x.lying().rows, weight.lying().rows);
    let mut out = rows_of_bias(rows, width, bias.as_ref());
    bf16::product(&mut out, x.rows(), weight.rows(), bias.is_some());
    shaped(out, &x.0, width)
}

/// [`backward`] with operands rounded to `bf16`; the weight may be of halves of either type.
pub(super) fn backward_bf16(
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
    grad: FlexTensor,
    bias: bool,
) -> [Option<FlexTensor>; 3] {
    let grad = Operand::new(grad);
    let Lying { rows, cols: width, .. } = grad.lying();
    let dx = weight.map(|weight| {
        let weight = Operand::new(weight);
        let cols = weight.lying().cols;
        let mut dx = new_rows(rows, cols, |_, _| {});
        bf16::product(&mut dx, grad.rows(), weight.columns(), false);
        shaped(dx, &grad.0, cols)
    });
    let dw = x.map(|x| {
        let x = Operand::new(x);
        let cols = x.lying().cols;
        let mut dw = new_rows(width, cols, |_, _| {});
        bf16::product(&mut dw, grad.columns(), x.columns(), false);
        tensor(dw, [width, cols])
    });
    let db = bias.then(|| bias_gradient(&grad.0, width));
    [dx, dw, db]
}
