use std::collections::BTreeSet;

use super::*;
use crate::data::draws::stream;

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is made");
    std::fs::write(path, text).expect("it writes");
}

/// ModelNet's layout with two classes and three clouds.
fn lists() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    write(root, "toy_shape_names.txt", "bed\nnight_stand\n");
    write(root, "toy_train.txt", "night_stand_0001\nbed_0002\n\n");
    write(root, "toy_test.txt", "bed_0001\n");
    write(root, "night_stand/night_stand_0001.txt", "1.0,0.0,0.0,0,0,1\n3.0,0.0,0.0,0,0,1\n");
    write(root, "bed/bed_0002.txt", "0 2 0\n0 -2 0\n0 0 0\n\n");
    write(root, "bed/bed_0001.txt", "5,5,5\n5,5,5\n");
    folder
}

#[test]
fn clouds_come_in_the_order_of_the_list_and_in_the_unit_ball() {
    let folder = lists();
    let set = listed(folder.path(), "toy", "train", 2).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((set.len(), set.label(0), set.label(1)), (2, 1, 0));
    assert_eq!(set.name(0), "night_stand/night_stand_0001");
    assert_eq!(set.cloud(0), [-1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(set.cloud(1), [0.0, 1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0]);
    let point = listed(folder.path(), "toy", "test", 2).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(point.cloud(0), [0.0; 6], "all points in one place have no size");
    assert_ne!(set.listing_hash(), point.listing_hash());
}

#[test]
fn classes_in_another_order_are_other_data() {
    let folder = lists();
    let hash = || listed(folder.path(), "toy", "train", 2).expect("it reads").listing_hash().to_owned();
    let before = hash();
    assert_eq!(before, hash());
    write(folder.path(), "toy_shape_names.txt", "night_stand\nbed\n");
    assert_ne!(before, hash(), "the same files have other labels now");
}

#[test]
fn what_is_wrong_with_a_list_is_told_by_its_line() {
    let said = |change: &dyn Fn(&Path), classes: usize| {
        let folder = lists();
        change(folder.path());
        let failure = listed(folder.path(), "toy", "train", classes).expect_err("it is wrong");
        failure.to_string().replace(&folder.path().display().to_string(), "ROOT")
    };
    let message = said(&|root| write(root, "toy_train.txt", "bed_0002\nbed_0009\n"), 2);
    assert!(
        message
            .starts_with("ROOT/toy_train.txt: line 2 names `bed_0009`, and `ROOT/bed/bed_0009.txt` cannot be read: "),
        "{message}"
    );
    let message = said(&|root| write(root, "toy_train.txt", "nightstand_0002\n"), 2);
    assert!(
        message.contains("line 1 names `nightstand_0002`, whose class `nightstand` is none of the data's"),
        "{message}"
    );
    assert!(message.contains("the nearest of its 2 classes is `night_stand`"), "{message}");
    let message = said(&|_| {}, 3);
    assert!(message.starts_with("ROOT/toy_shape_names.txt: names 2 classes, and the spec says 3"), "{message}");
    let message = said(&|root| write(root, "bed/bed_0002.txt", "0,1,2\n0,1,nan\n"), 2);
    assert!(message.starts_with("ROOT/bed/bed_0002.txt: line 2 is a point that is nowhere: `0,1,nan`"), "{message}");
    let message = said(&|root| write(root, "bed/bed_0002.txt", "0,1,1e99\n"), 2);
    assert!(message.starts_with("ROOT/bed/bed_0002.txt: line 1 is a point that is nowhere: `0,1,1e99`"), "{message}");
    let message = said(&|root| write(root, "toy_shape_names.txt", "bed\nnight_stand\nbed\n"), 3);
    assert!(message.starts_with("ROOT/toy_shape_names.txt: line 3 names the class `bed` again"), "{message}");
    let message = said(&|root| write(root, "bed/bed_0002.txt", "0,1\n"), 2);
    assert!(message.starts_with("ROOT/bed/bed_0002.txt: line 1 is no point: `0,1`"), "{message}");
    let message = said(&|root| write(root, "bed/bed_0002.txt", "\n"), 2);
    assert!(message.starts_with("ROOT/bed/bed_0002.txt: the cloud `bed/bed_0002` has no points"), "{message}");
    let message = said(&|root| write(root, "toy_train_8192pts_fps.dat", "cos\nsystem\n."), 2);
    assert!(message.starts_with("ROOT/toy_train_8192pts_fps.dat: holds code (`os.system`) in its pickle"), "{message}");
}

/// A unit cube of six squares, the counts in the line of the word, as some of ModelNet's files have it.
const CUBE: &str = "OFF8 6 0
0 0 0\n1 0 0\n1 1 0\n0 1 0\n0 0 1\n1 0 1\n1 1 1\n0 1 1
4 0 1 2 3\n4 4 5 6 7\n4 0 1 5 4\n4 2 3 7 6\n4 1 2 6 5\n4 0 3 7 4
";

#[test]
fn points_lie_on_the_surface_of_a_mesh_evenly() {
    let mesh = Mesh::parse(CUBE).expect("a cube");
    assert_eq!((mesh.vertices.len(), mesh.triangles.len()), (8, 12));
    let points = mesh.sample(6000, &mut stream(0, "test", 0, 0)).expect("it has a surface");
    let mut on_sides = [0; 6];
    for point in points.chunks_exact(3) {
        let side = (0..6).find(|side| (point[side / 2] - (side % 2) as f32).abs() < 1e-6);
        on_sides[side.unwrap_or_else(|| panic!("{point:?} is on no side"))] += 1;
        assert!(point.iter().all(|x| (-1e-6..=1.0 + 1e-6).contains(x)), "{point:?}");
    }
    // A thousand each; five deviations of a binomial with p = 1/6 are 145.
    assert!(on_sides.iter().all(|n| (855..=1145).contains(n)), "{on_sides:?}");
    let flat = Mesh { vertices: vec![[0.0; 3]; 3], triangles: vec![[0, 1, 2]] };
    assert_eq!(flat.sample(1, &mut stream(0, "test", 0, 0)), None);
}

#[test]
fn a_mesh_that_is_none_says_why() {
    let said = |text: &str| Mesh::parse(text).expect_err("it is none");
    assert_eq!(said("PLY"), "does not begin with `OFF`");
    assert_eq!(said("OFF\n3 1"), "ends where the number of edges should be");
    assert_eq!(said("OFF\n3000000000 1 0\n"), "is too short for 3000000000 corners and 1 faces");
    assert_eq!(said("OFF 1 0 0\n0 0 infinity"), "has `infinity` where corner 0 should be");
    assert_eq!(said("OFF 3 1 0\n0 0 0 1 0 0 0 1 0\n3 0 1 3"), "has a face with corner 3, and the last is 2");
    assert_eq!(said("OFF 3 1 0\n0 0 0 1 0 0 0 1 0\n9 0 1 2 0 1 2"), "has a face of 9 corners, and 3 in all");
    for end in 0..CUBE.trim_end().len() {
        // An end inside of a number may leave a number.
        let _ = Mesh::parse(&CUBE[..end]);
    }
}

#[test]
fn meshes_are_the_same_points_in_every_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (class, split) in [("box", "train"), ("box", "test"), ("crate", "train"), ("crate", "test")] {
        write(folder.path(), &format!("{class}/{split}/{class}_0001.off"), CUBE);
    }
    let set = meshes(folder.path(), "train", 2, 50).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((set.len(), set.cloud(0).len(), set.classes()), (2, 150, &["box".to_owned(), "crate".to_owned()][..]));
    assert_eq!(set.cloud(0), meshes(folder.path(), "train", 2, 50).expect("the same").cloud(0));
    assert_ne!(set.cloud(0), set.cloud(1));
    let farthest = set.cloud(0).chunks_exact(3).map(|p| p.iter().map(|x| x * x).sum::<f32>()).fold(0.0, f32::max);
    assert!((farthest - 1.0).abs() < 1e-5);
}

#[test]
fn a_class_without_meshes_does_not_vanish() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    for file in ["box/train/a.off", "box/test/b.off", "crate/train/a.OFF", "crate/train/b.Off"] {
        write(root, file, CUBE);
    }
    let train = meshes(root, "train", 2, 50).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((train.len(), train.label(1), train.label(2)), (3, 1, 1), "the ending in any case");
    let said = || meshes(root, "test", 2, 50).expect_err("a class is missing").to_string();
    let missing = said();
    assert!(missing.contains("crate/test: is not there: the class `crate` has no meshes in `test`"), "{missing}");
    write(root, "crate/test/a.obj", CUBE);
    let empty = said();
    assert!(empty.contains("crate/test: holds no mesh of the class `crate`"), "{empty}");
}

/// Forty points on a line, 1 apart.
fn line() -> Vec<f32> {
    (0..40).flat_map(|x| [x as f32, 0.0, 0.0]).collect()
}

fn numbers(cloud: &[f32]) -> Vec<i32> {
    cloud.chunks_exact(3).map(|point| point[0] as i32).collect()
}

#[test]
fn a_recipe_keeps_points_as_it_says() {
    let random = &mut stream(1, "test", 0, 0);
    let shuffled = Augment::Shuffle.apply(line(), random);
    assert_ne!(shuffled, line());
    assert_eq!(numbers(&shuffled).into_iter().collect::<BTreeSet<_>>(), (0..40).collect());
    assert_eq!(numbers(&Augment::SampleFarthest(3).apply(line(), random)), [0, 39, 19]);
    let some = numbers(&Augment::SampleRandom(15).apply(line(), random));
    assert_eq!(some.iter().collect::<BTreeSet<_>>().len(), 15, "none twice");
    for step in [Augment::SampleFarthest(40), Augment::SampleRandom(41)] {
        assert_eq!(step.apply(line(), random), line(), "there are no more");
    }
    for step in [Augment::Shuffle, Augment::SampleFarthest(3), Augment::SampleRandom(41), Augment::Move(0.1)] {
        assert_eq!(step.keeps(40), step.apply(line(), random).len() / 3, "{step:?}");
    }
    // Of a squared distance of 1e-3 and less none is taken: 0.0316² is below it, 0.0317² above.
    assert_eq!(far_from_origin(&[0.0, 0.0, 0.0, 0.0, 0.0316, 0.0, 0.0, 0.0, 0.0317, -0.02, 0.02, 0.02]), 2);
}

#[test]
fn axes_are_scaled_and_moved_each_by_its_own() {
    let random = &mut stream(2, "test", 0, 0);
    let cloud = vec![1.0, 1.0, 1.0, -2.0, -2.0, -2.0];
    let mut seen = Vec::new();
    for _ in 0..200 {
        let scaled = Augment::Scale(0.5, 1.5).apply(cloud.clone(), random);
        assert!((0..3).all(|axis| scaled[3 + axis] == -2.0 * scaled[axis]), "{scaled:?}");
        let moved = Augment::Move(0.2).apply(cloud.clone(), random);
        assert!((0..3).all(|axis| (moved[axis] - 1.0 - (moved[3 + axis] + 2.0)).abs() < 1e-6), "{moved:?}");
        assert!(moved[..3].iter().all(|x| (x - 1.0).abs() <= 0.2 + 1e-6));
        seen.push(scaled[..3].to_vec());
    }
    let of = |axis: usize| seen.iter().map(move |factors| factors[axis]);
    for axis in 0..3 {
        let (least, most) = (of(axis).fold(9.0, f32::min), of(axis).fold(0.0, f32::max));
        assert!((0.5..0.55).contains(&least) && (1.45..=1.5).contains(&most), "{least} to {most}");
    }
    assert!(seen.iter().all(|factors| factors[0] != factors[1]));
}

#[test]
fn a_cloud_is_drawn_near_points_over_far_ones() {
    use super::picture::{View, draw};
    let view = View { side: 32, radius: 2.0, background: [255, 255, 255] };
    let picture = draw(&[0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -9.0, 9.0, 9.0], view, |index| {
        [Some([0, 0, 0]), Some([200, 0, 0]), None][index]
    });
    let drawn: Vec<(usize, usize)> = (0..32)
        .flat_map(|y| (0..32).map(move |x| (x, y)))
        .filter(|&(x, y)| picture.at(x, y) != [255, 255, 255])
        .collect();
    assert!(!drawn.is_empty());
    let top = drawn.iter().min_by_key(|(_, y)| *y).expect("something is drawn");
    assert!(picture.at(top.0, top.1)[0] > 100, "the red point lies higher: y points up");
    draw(&[], view, |_| None);
}
