//! Memory the operations on `Flex` work in: rows computed in parallel, views of matrices, the matrix product.
//!
//! How work is cut never depends on the number of threads, so a result is bitwise the same on any.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use burn::tensor::{DType, Shape, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// Elements one task takes: large enough to hide what a task costs, small enough to stay in the first cache.
const TASK: usize = 8192;

/// Whether every tensor holds `f32`, which is what the fused forms are written for.
pub(super) fn all_f32<'a>(tensors: impl IntoIterator<Item = &'a FlexTensor>) -> bool {
    tensors.into_iter().all(|t| t.dtype() == DType::F32)
}

/// The tensor with its elements in order, copied only where they are not.
pub(super) fn in_order(t: FlexTensor) -> FlexTensor {
    if t.layout().contiguous_offsets().is_some() { t } else { t.to_contiguous() }
}

/// The elements of a tensor of `f32` which [`in_order`] returned.
pub(super) fn elements(t: &FlexTensor) -> &[f32] {
    t.as_slice().expect("a tensor of f32 in order")
}

/// The elements of `t`, to be changed in place, where nobody else holds them and the buffer is theirs alone.
pub(super) fn unshared(t: &mut FlexTensor) -> Option<&mut [f32]> {
    let n = t.layout().num_elements();
    if t.layout().contiguous_offsets() != Some((0, n)) || t.bytes().len() != n * size_of::<f32>() {
        return None;
    }
    t.try_storage_mut()
}

/// A tensor of `shape` over `data`.
pub(super) fn tensor(data: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(data, shape.into()))
}

/// Length of the last dimension, and the number of rows of that length.
pub(super) fn rows_of(shape: &Shape) -> (usize, usize) {
    let width = shape.last().copied().unwrap_or(1);
    (shape.num_elements().checked_div(width).unwrap_or(0), width)
}

/// Rows of `width` elements that one task takes.
fn rows_per_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}

/// Runs `f` on every index below `n`, in parallel if there is more than one.
fn for_each(n: usize, f: impl Fn(usize) + Sync + Send) {
    if n < 2 { (0..n).for_each(f) } else { (0..n).into_par_iter().for_each(f) }
}

/// A pointer that tasks share to write to places of their own.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);
// SAFETY: it is dereferenced only in `new_rows_with`, where each task writes a range no other task touches.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The address `offset` elements on. A method, so that a closure captures the whole of `self`.
    fn at(self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
}

/// `N` new buffers of `rows` rows, the i-th of `widths[i]` elements a row, which `f(first_row, buffers)` fills for
/// `per_task` rows at a time, in parallel. `f` finds zeros.
fn new_rows_with<const N: usize>(
    rows: usize,
    widths: [usize; N],
    per_task: usize,
    f: impl Fn(usize, [&mut [f32]; N]) + Sync + Send,
) -> [Vec<f32>; N] {
    let per_task = per_task.max(1);
    let mut buffers = widths.map(|width| Vec::<f32>::with_capacity(rows.checked_mul(width).expect("a size in memory")));
    let starts = buffers.each_mut().map(|buffer| Shared(buffer.spare_capacity_mut().as_mut_ptr()));
    for_each(rows.div_ceil(per_task), |task| {
        let first = task * per_task;
        let count = per_task.min(rows - first);
        let mut i = 0;
        let parts = starts.map(|start| {
            let width = widths[i];
            i += 1;
            // SAFETY: rows `first..first + count` of a buffer with room for `rows` rows; tasks take disjoint rows, and
            // the buffers outlive the parallel loop.
            let part = unsafe { std::slice::from_raw_parts_mut(start.at(first * width), count * width) };
            part.fill(MaybeUninit::new(0.0));
            // SAFETY: every element was set just now.
            unsafe { &mut *(std::ptr::from_mut(part) as *mut [f32]) }
        });
        f(first, parts);
    });
    for (buffer, width) in buffers.iter_mut().zip(widths) {
        // SAFETY: the tasks covered all rows, and each set all elements of its rows.
        unsafe { buffer.set_len(rows * width) };
    }
    buffers
}

/// A new buffer of `rows` rows of `width` elements, which `f(first_row, some_rows)` fills, in parallel. `f` finds
/// zeros.
pub(super) fn new_rows(rows: usize, width: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) -> Vec<f32> {
    let [out] = new_rows_with(rows, [width], rows_per_task(width), |first, [out]| f(first, out));
    out
}

/// Two new buffers of `n` elements, filled as by [`new_rows`].
pub(super) fn new_pair(n: usize, f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send) -> (Vec<f32>, Vec<f32>) {
    let [a, b] = new_rows_with(n, [1, 1], TASK / 2, |first, [a, b]| f(first, a, b));
    (a, b)
}

/// New rows as by [`new_rows`], and a sum of `total` elements to which all of them contribute: `f(first_row, count,
/// some_rows, sum)` adds to `sum` what `count` rows bring. No rows are kept where `width` is zero.
pub(super) fn new_rows_and_sum(
    rows: usize,
    width: usize,
    total: usize,
    f: impl Fn(usize, usize, &mut [f32], &mut [f32]) + Sync + Send,
) -> (Vec<f32>, Vec<f32>) {
    // A fixed number of partial sums bounds what adding them up costs.
    let per_task = rows.div_ceil(32).max(rows_per_task(width.max(total)));
    let tasks = rows.div_ceil(per_task);
    let kept = new_rows_with(tasks, [per_task * width, total], 1, |task, [out, sum]| {
        let first = task * per_task;
        let count = per_task.min(rows - first);
        f(first, count, &mut out[..count * width], sum);
    });
    let [mut out, partial] = kept;
    out.truncate(rows * width);
    let mut sum = vec![0.0; total];
    for part in partial.chunks_exact(total.max(1)) {
        for (s, &p) in sum.iter_mut().zip(part) {
            *s += p;
        }
    }
    (out, sum)
}

/// Changes `data` in place, `f(first_element, some_elements)` at a time, in parallel.
fn in_place(data: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    if data.len() <= TASK {
        f(0, data);
    } else {
        data.par_chunks_mut(TASK).enumerate().for_each(|(i, part)| f(i * TASK, part));
    }
}

/// Changes the elements of `x`, in its buffer where nobody else holds it, else in a copy.
pub(super) fn update(x: FlexTensor, f: impl Fn(usize, &mut [f32]) + Sync + Send) -> FlexTensor {
    let mut x = in_order(x);
    if let Some(data) = unshared(&mut x) {
        in_place(data, f);
        return x;
    }
    let xs = elements(&x);
    let out = new_rows(xs.len(), 1, |first, out| {
        out.copy_from_slice(&xs[first..first + out.len()]);
        f(first, out);
    });
    tensor(out, x.layout().shape().clone())
}

/// The elements of `x` in memory of their own.
pub(super) fn copied(x: FlexTensor) -> FlexTensor {
    let x = in_order(x);
    let xs = elements(&x);
    tensor(
        new_rows(xs.len(), 1, |first, out| out.copy_from_slice(&xs[first..first + out.len()])),
        x.layout().shape().clone(),
    )
}

/// Changes each element of `x` by `f`.
pub(super) fn map(x: FlexTensor, f: fn(&mut [f32])) -> FlexTensor {
    update(x, |_, part| f(part))
}

/// Changes each element of `x` by `f`, which sees that of `y` in the same place.
pub(super) fn zip(x: FlexTensor, y: FlexTensor, f: fn(&mut [f32], &[f32])) -> FlexTensor {
    assert_eq!(x.layout().shape(), y.layout().shape(), "tensors of one shape");
    let y = in_order(y);
    let ys = elements(&y);
    update(x, |first, part| f(part, &ys[first..first + part.len()]))
}

/// A matrix somewhere in a buffer.
#[derive(Clone, Copy)]
pub(super) struct Mat<'a> {
    data: &'a [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    row_step: usize,
    col_step: usize,
}

impl<'a> Mat<'a> {
    /// The matrix whose element (i, j) is `data[i · row_step + j · col_step]`.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize, row_step: usize, col_step: usize) -> Self {
        if rows > 0 && cols > 0 {
            let last = (rows - 1).checked_mul(row_step).zip((cols - 1).checked_mul(col_step));
            let last = last.and_then(|(r, c)| r.checked_add(c));
            assert!(last.is_some_and(|last| last < data.len()), "a matrix inside its buffer");
        }
        Self { data, rows, cols, row_step, col_step }
    }

    /// The transposed matrix.
    pub(super) fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_step: self.col_step, col_step: self.row_step, ..self }
    }

    /// `count` rows from row `first` on.
    pub(super) fn rows(self, first: usize, count: usize) -> Self {
        let data = self.data.get(first * self.row_step..).unwrap_or_default();
        Self::new(data, count, self.cols, self.row_step, self.col_step)
    }

    /// The columns `columns`.
    pub(super) fn columns(self, columns: std::ops::Range<usize>) -> Self {
        self.t().rows(columns.start, columns.len()).t()
    }
}

/// A matrix to write, its rows in order, somewhere in a buffer; nobody else sees its elements.
pub(super) struct MatMut<'a> {
    start: *mut f32,
    pub(super) rows: usize,
    pub(super) cols: usize,
    row_step: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for an exclusive reference to its elements, and `f32` may go to another thread.
unsafe impl Send for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// The whole of `data` as a matrix of `rows` × `cols`.
    pub(super) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "a matrix inside its buffer");
        Self { start: data.as_mut_ptr(), rows, cols, row_step: cols, buffer: PhantomData }
    }

    /// `data`, `[batch, rows, parts · width]`, as batch · parts matrices of `rows` × `width`, part by part.
    pub(super) fn split(data: &'a mut [f32], batch: usize, rows: usize, parts: usize, width: usize) -> Vec<Self> {
        let step = parts * width;
        assert_eq!(data.len(), batch * rows * step, "matrices that fill their buffer");
        let start = data.as_mut_ptr();
        let views = (0..batch).flat_map(|b| (0..parts).map(move |p| b * rows * step + p * width));
        views
            .map(|offset| Self {
                // Columns `p · width..` of rows that are `parts · width` apart: no two of the matrices share an
                // element.
                start: start.wrapping_add(offset),
                rows,
                cols: width,
                row_step: step,
                buffer: PhantomData,
            })
            .collect()
    }

    /// One row.
    pub(super) fn row(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows, "a row of the matrix");
        // SAFETY: by construction row i lies in the buffer, and `self` is the only way to its elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.wrapping_add(i * self.row_step), self.cols) }
    }

    /// `count` rows from row `first` and the columns `columns` of them.
    pub(super) fn part(&mut self, first: usize, count: usize, columns: std::ops::Range<usize>) -> MatMut<'_> {
        assert!(
            first + count <= self.rows && columns.start <= columns.end && columns.end <= self.cols,
            "a part inside"
        );
        let start = self.start.wrapping_add(first * self.row_step + columns.start);
        MatMut { start, rows: count, cols: columns.len(), row_step: self.row_step, buffer: PhantomData }
    }
}

/// `out` = `scale` · `a` · `b`, or that added to what `out` holds.
pub(super) fn product(out: &mut MatMut, a: Mat, b: Mat, scale: f32, accumulate: bool, parallel: bool) {
    assert_eq!((out.rows, out.cols, a.cols), (a.rows, b.cols, b.rows), "matrices that fit each other");
    if out.rows == 0 || out.cols == 0 {
        return;
    }
    if a.cols == 0 {
        if !accumulate {
            (0..out.rows).for_each(|i| out.row(i).fill(0.0));
        }
        return;
    }
    let step = |n: usize| isize::try_from(n).expect("a step inside memory");
    let parallelism = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: the shapes fit (asserted), `Mat::new` checked that `a` and `b` lie inside their slices, `out` lies inside
    // the buffer it borrows, and exclusive and shared borrows do not overlap.
    unsafe {
        gemm::gemm(
            out.rows,
            out.cols,
            a.cols,
            out.start,
            1,
            step(out.row_step),
            accumulate,
            a.data.as_ptr(),
            step(a.col_step),
            step(a.row_step),
            b.data.as_ptr(),
            step(b.col_step),
            step(b.row_step),
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_number_and_width() {
        for (rows, width) in [(0, 5), (5, 0), (1, 1), (3, 7), (1000, 33), (2, 20_000)] {
            let out = new_rows(rows, width, |first, out| {
                assert!(out.iter().all(|&v| v == 0.0));
                for (i, v) in out.iter_mut().enumerate() {
                    *v = (first * width + i) as f32;
                }
            });
            assert!(out.len() == rows * width && out.iter().enumerate().all(|(i, &v)| v == i as f32));
        }
    }

    #[test]
    fn rows_with_a_sum() {
        for (rows, width, total) in [(0, 2, 3), (1, 1, 1), (77, 3, 3), (5000, 2, 2), (9000, 0, 1)] {
            let (out, sum) = new_rows_and_sum(rows, width, total, |first, count, out, sum| {
                out.iter_mut().enumerate().for_each(|(i, v)| *v = (first * width + i) as f32);
                sum.iter_mut().for_each(|s| *s += count as f32);
            });
            assert!(out.len() == rows * width && out.iter().enumerate().all(|(i, &v)| v == i as f32));
            assert_eq!(sum, vec![rows as f32; total]);
        }
    }

    #[test]
    fn split_gives_every_element_once() {
        for (batch, rows, parts, width) in [(0, 1, 1, 1), (2, 3, 4, 5), (1, 0, 2, 2), (2, 2, 2, 0), (1, 1, 1, 1)] {
            let mut data = vec![0.0; batch * rows * parts * width];
            let views = MatMut::split(&mut data, batch, rows, parts, width);
            assert_eq!(views.len(), batch * parts);
            views.into_par_iter().for_each(|mut view| {
                for i in 0..view.rows {
                    view.row(i).iter_mut().for_each(|v| *v += 1.0);
                }
            });
            assert!(data.iter().all(|&v| v == 1.0));
        }
    }

    #[test]
    fn products_of_any_size() {
        for (m, n, k) in [(0, 2, 2), (2, 0, 2), (2, 3, 0), (1, 1, 1), (5, 7, 3), (33, 65, 17)] {
            let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i % 5) as f32 - 2.0).collect();
            for accumulate in [false, true] {
                let mut out = vec![1.0; m * n];
                let (a, b) = (Mat::new(&a, m, k, k, 1), Mat::new(&b, n, k, 1, n).t());
                product(&mut MatMut::new(&mut out, m, n), a, b, 2.0, accumulate, true);
                for i in 0..m {
                    for j in 0..n {
                        let dot: f32 = (0..k).map(|l| a.data[i * k + l] * b.data[l * n + j]).sum();
                        assert_eq!(out[i * n + j], 2.0 * dot + f32::from(u8::from(accumulate)));
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a matrix inside its buffer")]
    fn a_matrix_beyond_its_buffer_is_refused() {
        Mat::new(&[0.0; 5], 2, 3, 3, 1);
    }

    #[test]
    #[should_panic(expected = "a part inside")]
    fn a_part_beyond_its_matrix_is_refused() {
        MatMut::new(&mut [0.0; 6], 2, 3).part(1, 2, 0..3);
    }
}
