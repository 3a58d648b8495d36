//! Sets of points in space: which lie far from each other, and which lie near (paper.md, Appendix B). What
//! comes out are numbers of points, through which no gradient goes.

use super::{forward, layers, number, size, take};
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

// [batch, N, 3] -> [batch, count]
forward!(FarthestPoints, |this, inputs, _weights, _pass| {
    let [x] = take(inputs);
    vec![Stream::of_classes(B::farthest_points(B::float_detach(x.numbers()), this.count, this.near_origin))]
});

// [batch, N, 3], [batch, M, 3] -> [batch, M, count]
forward!(BallQuery, |this, inputs, _weights, _pass| {
    let [points, centres] = take(inputs);
    let [from, around] = [&points, &centres].map(|stream| B::float_detach(stream.numbers()));
    vec![Stream::of_classes(B::ball_query(from, around, this.radius, this.count)).masked(0, centres.mask(0))]
});

// [batch, N, 3], [batch, M, 3] -> [batch, M, count]
forward!(NearestPoints, |this, inputs, _weights, _pass| {
    let [points, centres] = take(inputs);
    let [from, around] = [&points, &centres].map(|stream| B::float_detach(stream.numbers()));
    vec![Stream::of_classes(B::nearest_points(from, around, this.count)).masked(0, centres.mask(0))]
});
