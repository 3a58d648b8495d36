use proptest::prelude::*;

use super::*;

/// The same as it is written down in words: one pass over all points for each that is taken.
fn farthest_in_words(points: &[[f32; 3]], count: usize, near_origin: f64) -> Vec<i32> {
    let mut taken = vec![0];
    while taken.len() < count {
        let distance = |point: [f32; 3]| {
            taken.iter().map(|&index| squared_distance(point, points[index as usize])).fold(f32::INFINITY, f32::min)
        };
        let mut best: Option<(f32, i32)> = None;
        for (index, &point) in points.iter().enumerate() {
            if f64::from(squared_distance(point, [0.0; 3])) > near_origin
                && best.is_none_or(|(far, _)| distance(point) > far)
            {
                best = Some((distance(point), index as i32));
            }
        }
        taken.push(best.map_or(0, |(_, index)| index));
    }
    taken
}

fn by_distance(points: &[[f32; 3]], centre: [f32; 3]) -> Vec<(f32, i32)> {
    let mut order: Vec<(f32, i32)> =
        points.iter().enumerate().map(|(i, &point)| (squared_distance(point, centre), i as i32)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order
}

/// Clouds on a coarse grid, so that points coincide and distances tie.
fn cloud() -> impl Strategy<Value = Vec<[f32; 3]>> {
    let coordinate = (-4i8..=4).prop_map(|n| f32::from(n) * 0.25);
    proptest::collection::vec(proptest::array::uniform3(coordinate), 1..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn farthest_points_are_those_of_the_definition(points in cloud(), count in 1usize..24, rule in 0usize..3) {
        let near_origin = [-1.0, 1e-3, 0.2][rule];
        let planes = Planes::new(points.as_flattened());
        prop_assert_eq!(farthest(&planes, count, near_origin), farthest_in_words(&points, count, near_origin));
    }

    #[test]
    fn nearest_points_are_those_of_a_stable_sort(points in cloud(), from in 0usize..600, count in 1usize..80) {
        let (centre, count) = (points[from % points.len()], count.min(points.len()));
        let planes = Planes::new(points.as_flattened());
        let expected: Vec<i32> = by_distance(&points, centre).into_iter().take(count).map(|(_, index)| index).collect();
        prop_assert_eq!(nearest(&planes, centre, count), expected);
    }

    #[test]
    fn a_ball_has_the_first_points_inside(points in cloud(), from in 0usize..600, count in 1usize..80, far in 0u8..3) {
        let (centre, radius) = (points[from % points.len()], 0.3 + 0.4 * f64::from(far));
        let planes = Planes::new(points.as_flattened());
        let limit = (radius * radius) as f32;
        let mut expected: Vec<i32> = (0..points.len() as i32)
            .filter(|&index| squared_distance(points[index as usize], centre) < limit)
            .take(count)
            .collect();
        expected.resize(count, expected.first().copied().unwrap_or(0));
        prop_assert_eq!(within(&planes, centre, radius, count), expected);
    }
}

/// Points on a line at these places.
fn line(places: &[f32]) -> Planes {
    Planes::new(&places.iter().flat_map(|&x| [x, 0.0, 0.0]).collect::<Vec<f32>>())
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
    assert_eq!(farthest(&line(&[0.01, 0.0]), 3, 1e-3), [0, 0, 0], "where none counts, point 0");
}

#[test]
fn the_nearest_come_first_and_of_equals_the_earlier() {
    assert_eq!(nearest(&line(&[3.0, 1.0, -1.0, 0.0]), [0.0; 3], 3), [3, 1, 2]);
    assert_eq!(nearest(&line(&[3.0, 1.0]), [0.0; 3], 2), [1, 0]);
}

#[test]
fn a_ball_is_filled_up_with_its_first_point() {
    let points = line(&[5.0, 0.1, 0.2, 0.9]);
    assert_eq!(within(&points, [0.0; 3], 0.5, 4), [1, 2, 1, 1]);
    assert_eq!(within(&points, [0.0; 3], 1.0, 2), [1, 2]);
    assert_eq!(within(&points, [50.0, 0.0, 0.0], 1.0, 2), [0, 0]);
}

#[test]
fn points_that_are_no_numbers_come_last() {
    assert_eq!(nearest(&line(&[f32::NAN, 1.0, 3.0]), [3.0, 0.0, 0.0], 3), [2, 1, 0]);
    assert_eq!(nearest(&line(&[f32::NAN, 1.0, 3.0]), [f32::NAN, 0.0, 0.0], 2), [0, 1]);
}
