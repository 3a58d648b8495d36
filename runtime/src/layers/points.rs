//! Sets of points in space: which lie far from each other, and which lie near (paper.md, Appendix B). Distances are
//! reckoned on the host, a cloud to each core; what comes out are numbers of points, through which no gradient goes.

use burn::tensor::{DType, FloatDType, TensorData, TensorMetadata};
use rayon::prelude::*;

use super::{forward, layers, number, size, take};
use crate::geometry::{self, Planes};
use crate::kernels::Kernels;
use crate::network::values;
use crate::stream::Stream;

struct FarthestPoints {
    count: usize,
    near_origin: f64,
}
struct BallQuery {
    radius: f64,
    count: usize,
}
struct NearestPoints {
    count: usize,
}

layers! {
    "farthest_points" => |node| Ok(FarthestPoints { count: size(node, "count")?, near_origin: number(node, "near_origin")? }),
    "ball_query" => |node| Ok(BallQuery { radius: number(node, "radius")?, count: size(node, "count")? }),
    "nearest_points" => |node| Ok(NearestPoints { count: size(node, "count")? }),
}

/// The coordinates of a stream `[batch, N, 3]` on the host.
fn coordinates<B: Kernels>(stream: &Stream<B>) -> Vec<f32> {
    let points = B::float_detach(stream.numbers());
    values::<B>(if points.dtype() == DType::F32 { points } else { B::float_cast(points, FloatDType::F32) })
}

/// For each centre `[batch, M, 3]` numbers of points of `[batch, N, 3]`, `[batch, M, count]`.
fn around<B: Kernels>(
    points: &Stream<B>,
    centres: &Stream<B>,
    count: usize,
    find: impl Fn(&Planes, [f32; 3]) -> Vec<i32> + Sync,
) -> Stream<B> {
    let (dims, wanted) = (points.dims(), centres.dims());
    let (all, from) = (coordinates(points), coordinates(centres));
    let clouds: Vec<Planes> = all.par_chunks_exact(dims[1] * 3).map(Planes::new).collect();
    let centre_of = |centre: &[f32]| [centre[0], centre[1], centre[2]];
    let found: Vec<i32> = from
        .par_chunks_exact(3)
        .enumerate()
        .flat_map_iter(|(index, centre)| find(&clouds[index / wanted[1]], centre_of(centre)))
        .collect();
    let found = TensorData::new(found, [dims[0], wanted[1], count]);
    let found = Stream::of_classes(B::int_from_data(found, &B::float_device(&points.numbers())));
    found.masked(0, centres.mask(0))
}

// [batch, N, 3] -> [batch, count]
forward!(FarthestPoints, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    let dims = x.dims();
    let clouds = coordinates(&x);
    let taken: Vec<i32> = clouds
        .par_chunks_exact(dims[1] * 3)
        .flat_map_iter(|cloud| geometry::farthest(&Planes::new(cloud), this.count, this.near_origin))
        .collect();
    let taken = TensorData::new(taken, [dims[0], this.count]);
    vec![Stream::of_classes(B::int_from_data(taken, &B::float_device(&x.numbers())))]
});

// [batch, N, 3], [batch, M, 3] -> [batch, M, count]
forward!(BallQuery, |this, inputs, _weights, _pass| {
    let [points, centres] = take(inputs);
    vec![around(&points, &centres, this.count, |cloud, centre| {
        geometry::within(cloud, centre, this.radius, this.count)
    })]
});

// [batch, N, 3], [batch, M, 3] -> [batch, M, count]
forward!(NearestPoints, |this, inputs, _weights, _pass| {
    let [points, centres] = take(inputs);
    vec![around(&points, &centres, this.count, |cloud, centre| geometry::nearest(cloud, centre, this.count))]
});
