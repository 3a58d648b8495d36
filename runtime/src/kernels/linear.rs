//! The linear layer on `Flex`: one matrix product over all rows, or one for each panel of a weight in half precision.

use burn_flex::FlexTensor;

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

/// `t` `[.., d]` as a matrix `[rows, d]`, if one step leads from each row to the next; else `None`.
fn as_matrix(t: &FlexTensor) -> Option<Mat<'_>> {
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
    let data = t.storage::<f32>().get(layout.start_offset()..)?;
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

pub(super) fn forward(x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>) -> FlexTensor {
    let (x, bias) = (readable(x), bias.map(in_order));
    let a = matrix(&x);
    let (rows, width) = (a.rows, weight.layout().shape()[0]);
    let mut out = new_rows(rows, width, |_, out| {
        if let Some(bias) = &bias {
            out.chunks_exact_mut(width.max(1)).for_each(|row| row.copy_from_slice(elements(bias)));
        }
    });
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
    let mut shape = x.layout().shape().to_vec();
    *shape.last_mut().expect("a tensor of one dimension or more") = width;
    tensor(out, shape)
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
        let mut shape = grad.layout().shape().to_vec();
        *shape.last_mut().expect("a tensor of one dimension or more") = cols;
        tensor(dx, shape)
    });
    let dw = x.map(|x| {
        let x = readable(x);
        let x = matrix(&x);
        let mut dw = new_rows(g.cols, x.cols, |_, _| {});
        spread(&mut dw, g.t(), x, false);
        tensor(dw, [g.cols, x.cols])
    });
    let width = g.cols;
    let db = bias.then(|| {
        let grad = in_order(grad.clone());
        // In front of a batch norm it is zero, and is to stay so (docs/decisions.md).
        let db = summed(elements(&grad), width, width, |_, gs, sums| add_rows(sums, gs));
        tensor(db.into_iter().map(|x| x as f32).collect(), [width])
    });
    [dx, dw, db]
}
