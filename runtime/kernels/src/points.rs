//! Sampling and grouping of clouds of points, on the host: what a backend without kernels of its own for it has, a cloud to each
//! core ([`geometry`]).

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, FloatDType, Tensor, TensorData, TensorMetadata, TensorPrimitive};
use rayon::prelude::*;

use crate::geometry::{self, Planes};

/// The coordinates of clouds `[batch, N, 3]`, and N.
fn coordinates<B: Backend>(points: FloatTensor<B>) -> (Vec<f32>, usize) {
    let points = if points.dtype() == DType::F32 { points } else { B::float_cast(points, FloatDType::F32) };
    let length = points.shape()[1];
    let data = Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(points)).into_data();
    (data.into_vec().unwrap_or_else(|error| unreachable!("the points were made f32: {error:?}")), length)
}

/// [`Kernels::farthest_points`](crate::Kernels::farthest_points).
pub(super) fn farthest<B: Backend>(points: FloatTensor<B>, count: usize, near_origin: f64) -> IntTensor<B> {
    let device = B::float_device(&points);
    let (all, length) = coordinates::<B>(points);
    let clouds = all.par_chunks_exact((3 * length).max(1));
    let taken: Vec<i32> =
        clouds.flat_map_iter(|cloud| geometry::farthest(&Planes::new(cloud), count, near_origin)).collect();
    let batch = taken.len() / count.max(1);
    B::int_from_data(TensorData::new(taken, [batch, count]), &device)
}

/// What `find` says of each centre `[batch, M, 3]` and its cloud `[batch, N, 3]`: `[batch, M, count]`.
fn around<B: Backend>(
    points: FloatTensor<B>,
    centres: FloatTensor<B>,
    count: usize,
    find: impl Fn(&Planes, [f32; 3]) -> Vec<i32> + Sync,
) -> IntTensor<B> {
    let device = B::float_device(&points);
    let ((all, length), (from, wanted)) = (coordinates::<B>(points), coordinates::<B>(centres));
    let clouds: Vec<Planes> = all.par_chunks_exact((3 * length).max(1)).map(Planes::new).collect();
    let found: Vec<i32> = from
        .par_chunks_exact(3)
        .enumerate()
        .flat_map_iter(|(index, centre)| find(&clouds[index / wanted], [centre[0], centre[1], centre[2]]))
        .collect();
    B::int_from_data(TensorData::new(found, [clouds.len(), wanted, count]), &device)
}

/// [`Kernels::ball_query`](crate::Kernels::ball_query).
pub(super) fn within<B: Backend>(
    points: FloatTensor<B>,
    centres: FloatTensor<B>,
    radius: f64,
    count: usize,
) -> IntTensor<B> {
    around::<B>(points, centres, count, |cloud, centre| geometry::within(cloud, centre, radius, count))
}

/// [`Kernels::nearest_points`](crate::Kernels::nearest_points).
pub(super) fn nearest<B: Backend>(points: FloatTensor<B>, centres: FloatTensor<B>, count: usize) -> IntTensor<B> {
    around::<B>(points, centres, count, |cloud, centre| geometry::nearest(cloud, centre, count))
}
