//! A weight that is kept in half precision: it becomes `f32` a panel at a time, each in front of the product that reads
//! it, so that no more than one panel is held twice. Every half is an `f32`, so nothing is rounded.

use std::cell::Cell;
use std::ops::Range;

use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::buffer::Mat;

/// Terms of a sum that a panel brings, at most: as many as `gemm` itself adds up in one go, so that its order of adding, and what it
/// packs of the other matrix, stay what they are with the whole weight.
const DEPTH: usize = 512;

thread_local! {
    /// The panel's memory, which stays: fresh memory would cost more than what is written to it.
    static PANEL: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// A matrix `[out, in]` in half precision, its rows in order.
pub(super) struct HalfWeight<'a> {
    numbers: Numbers<'a>,
    rows: usize,
    cols: usize,
}

#[derive(Clone, Copy)]
enum Numbers<'a> {
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

impl Numbers<'_> {
    fn widen(self, from: Range<usize>, to: &mut [f32]) {
        match self {
            Self::F16(numbers) => numbers[from].convert_to_f32_slice(to),
            Self::BF16(numbers) => numbers[from].convert_to_f32_slice(to),
        }
    }
}

impl<'a> HalfWeight<'a> {
    /// Whether a tensor holds numbers in half precision.
    pub(super) fn is_one(weight: &FlexTensor) -> bool {
        matches!(weight.dtype(), DType::F16 | DType::BF16)
    }

    /// Of a tensor `[out, in]` that [`Self::is_one`], its elements in order.
    pub(super) fn new(weight: &'a FlexTensor) -> Self {
        let numbers = match weight.dtype() {
            DType::F16 => weight.as_slice().map(Numbers::F16),
            _ => weight.as_slice().map(Numbers::BF16),
        };
        let [rows, cols] = weight.layout().shape()[..] else { unreachable!("a weight has two dimensions") };
        Self { numbers: numbers.expect("halves in order"), rows, cols }
    }

    /// Gives the weight panel by panel, each `[some rows, in]` with the rows that it is of.
    pub(super) fn by_rows(&self, mut f: impl FnMut(Mat, Range<usize>)) {
        let cols = self.cols;
        panels(self.rows, cols, |rows, panel| {
            panel.par_chunks_mut(cols.max(1)).zip(rows.clone()).for_each(|(to, row)| {
                self.numbers.widen(row * cols..(row + 1) * cols, to);
            });
            f(Mat::new(panel, rows.len(), cols, cols, 1), rows);
        });
    }

    /// Gives the weight panel by panel, each `[out, some columns]` with the columns that it is of.
    pub(super) fn by_columns(&self, mut f: impl FnMut(Mat, Range<usize>)) {
        panels(self.cols, self.rows, |cols, panel| {
            panel.par_chunks_mut(cols.len()).with_min_len(ROWS_AT_ONCE).enumerate().for_each(|(row, to)| {
                let first = row * self.cols + cols.start;
                self.numbers.widen(first..first + cols.len(), to);
            });
            f(Mat::new(panel, self.rows, cols.len(), cols.len(), 1), cols);
        });
    }
}

/// Short rows that one core widens before it asks for more.
const ROWS_AT_ONCE: usize = 64;

/// Cuts `count` rows or columns of `each` numbers into panels; `f` is given each with memory of its size.
fn panels(count: usize, each: usize, mut f: impl FnMut(Range<usize>, &mut [f32])) {
    // All of one size, as `gemm` cuts them.
    let depth = count.div_ceil(count.div_ceil(DEPTH).max(1)).max(1);
    let mut panel = PANEL.take();
    panel.resize(panel.len().max(depth.min(count) * each), 0.0);
    for first in (0..count).step_by(depth) {
        let some = first..count.min(first + depth);
        let len = some.len() * each;
        f(some, &mut panel[..len]);
    }
    PANEL.set(panel);
}
