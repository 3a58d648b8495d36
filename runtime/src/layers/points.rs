//! Sets of points in space: which lie far from each other, and which lie near (paper.md, Appendix B). Distances are
//! reckoned on the host, a cloud to each core; what comes out are numbers of points, through which no gradient goes.

use burn::tensor::{DType, FloatDType, TensorData, TensorMetadata};
use rayon::prelude::*;

use super::{forward, layers, number, size, take};
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

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The numbers of `count` points, each the farthest from all before it, the first being point 0; of equally far ones the
/// first. Points whose squared distance from the origin is at most `near_origin` are left out. `points` is `[N, 3]`.
fn farthest(points: &[f32], count: usize, near_origin: f64) -> Vec<i32> {
    let mut nearest = vec![f32::INFINITY; points.len() / 3];
    let mut taken = Vec::with_capacity(count);
    let mut last = 0;
    for _ in 0..count {
        taken.push(last as i32);
        let from = &points[3 * last..][..3];
        let (mut far, mut farthest) = (f32::NEG_INFINITY, 0);
        for (index, (point, known)) in points.chunks_exact(3).zip(&mut nearest).enumerate() {
            *known = known.min(squared_distance(point, from));
            if *known > far && f64::from(squared_distance(point, &[0.0; 3])) > near_origin {
                (far, farthest) = (*known, index);
            }
        }
        last = farthest;
    }
    taken
}

/// The numbers of the `count` points nearest to `centre`, the nearest first; of equally near ones the first.
fn nearest(points: &[f32], centre: &[f32], count: usize) -> Vec<i32> {
    let mut order: Vec<(f32, i32)> =
        points.chunks_exact(3).enumerate().map(|(i, point)| (squared_distance(point, centre), i as i32)).collect();
    let by_distance = |a: &(f32, i32), b: &(f32, i32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if count < order.len() {
        order.select_nth_unstable_by(count, by_distance);
        order.truncate(count);
    }
    order.sort_unstable_by(by_distance);
    order.into_iter().map(|(_, index)| index).collect()
}

/// The first `count` points within `radius` of `centre`; where there are fewer, the first one fills the places up, and
/// where there is none, point 0 does.
fn within(points: &[f32], centre: &[f32], radius: f64, count: usize) -> Vec<i32> {
    let limit = (radius * radius) as f32;
    let inside = |(_, point): &(usize, &[f32])| squared_distance(point, centre) < limit;
    let mut found: Vec<i32> =
        points.chunks_exact(3).enumerate().filter(inside).take(count).map(|(index, _)| index as i32).collect();
    let first = found.first().copied().unwrap_or(0);
    found.resize(count, first);
    found
}

/// For each centre `[batch, M, 3]` numbers of points of `[batch, N, 3]`, `[batch, M, count]`.
fn around<B: Kernels>(
    points: &Stream<B>,
    centres: &Stream<B>,
    count: usize,
    find: impl Fn(&[f32], &[f32]) -> Vec<i32> + Sync,
) -> Stream<B> {
    let (dims, wanted) = (points.dims(), centres.dims());
    let (all, from) = (coordinates(points), coordinates(centres));
    let found: Vec<i32> = from
        .par_chunks_exact(3)
        .enumerate()
        .flat_map_iter(|(index, centre)| find(&all[index / wanted[1] * dims[1] * 3..][..dims[1] * 3], centre))
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
        .flat_map_iter(|cloud| farthest(cloud, this.count, this.near_origin))
        .collect();
    let taken = TensorData::new(taken, [dims[0], this.count]);
    vec![Stream::of_classes(B::int_from_data(taken, &B::float_device(&x.numbers())))]
});

// [batch, N, 3], [batch, M, 3] -> [batch, M, count]
forward!(BallQuery, |this, inputs, _weights, _pass| {
    let [points, centres] = take(inputs);
    vec![around(&points, &centres, this.count, |cloud, centre| within(cloud, centre, this.radius, this.count))]
});

// [batch, N, 3], [batch, M, 3] -> [batch, M, count]
forward!(NearestPoints, |this, inputs, _weights, _pass| {
    let [points, centres] = take(inputs);
    vec![around(&points, &centres, this.count, |cloud, centre| nearest(cloud, centre, this.count))]
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a line at these places.
    fn line(places: &[f32]) -> Vec<f32> {
        places.iter().flat_map(|&x| [x, 0.0, 0.0]).collect()
    }

    #[test]
    fn each_point_taken_is_the_farthest_from_all_before() {
        assert_eq!(farthest(&line(&[0.0, 1.0, 10.0, 4.0]), 4, -1.0), [0, 2, 3, 1]);
        // All in one place: the first again and again, as an arg-max of zeros gives it.
        assert_eq!(farthest(&line(&[2.0; 3]), 3, -1.0), [0, 0, 0]);
    }

    #[test]
    fn points_near_the_origin_are_left_out_but_for_the_first() {
        let points = line(&[0.01, 1.0, 0.02, 0.9]);
        assert_eq!(farthest(&points, 3, 1e-3), [0, 1, 3]);
        assert_eq!(farthest(&points, 3, -1.0), [0, 1, 3]);
        assert_eq!(farthest(&points, 4, 1e-3)[3], 1, "what is left is taken again");
        assert_eq!(farthest(&points, 4, -1.0)[3], 2);
    }

    #[test]
    fn the_nearest_come_first_and_of_equals_the_earlier() {
        assert_eq!(nearest(&line(&[3.0, 1.0, -1.0, 0.0]), &[0.0, 0.0, 0.0], 3), [3, 1, 2]);
        assert_eq!(nearest(&line(&[3.0, 1.0]), &[0.0, 0.0, 0.0], 2), [1, 0]);
    }

    #[test]
    fn a_ball_is_filled_up_with_its_first_point() {
        let points = line(&[5.0, 0.1, 0.2, 0.9]);
        assert_eq!(within(&points, &[0.0, 0.0, 0.0], 0.5, 4), [1, 2, 1, 1]);
        assert_eq!(within(&points, &[0.0, 0.0, 0.0], 1.0, 2), [1, 2]);
        assert_eq!(within(&points, &[50.0, 0.0, 0.0], 1.0, 2), [0, 0]);
    }
}
