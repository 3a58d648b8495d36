use std::collections::BTreeMap;

use super::*;
use crate::data::{Pixels, draws};

fn call(name: &str, arguments: &[(&str, Config)]) -> Config {
    let arguments: BTreeMap<String, Config> =
        arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let (kind, name) = ("augment".to_owned(), name.to_owned());
    Config::Call(Box::new(Call { kind, name, arguments, with: BTreeMap::new(), on: None }))
}

fn channels(levels: [f64; 3]) -> Config {
    Config::List(levels.map(Config::Float).to_vec())
}

fn flip() -> Config {
    call("horizontal_flip", &[("p", Config::Float(1.0))])
}

fn clip_normalize() -> Config {
    call("normalize", &[("mean", channels([0.5, 0.0, 0.25])), ("std", channels([0.5, 1.0, 2.0]))])
}

fn erasing() -> Config {
    call("random_erasing", &[("p", Config::Float(1.0))])
}

fn from(list: Vec<Config>) -> Result<Pipeline> {
    pipeline(Some(&Config::List(list)))
}

fn refused(list: Vec<Config>) -> String {
    from(list).expect_err("refused").to_string()
}

#[test]
fn own_numbers_take_the_place_of_imagenets() {
    let pixel = Pixels { width: 1, height: 1, data: vec![255, 0, 255] };
    let pipeline = from(vec![flip(), clip_normalize(), erasing()]).expect("a pipeline");
    assert_eq!((pipeline.transforms.len(), pipeline.after.len()), (1, 1));
    assert_eq!(pipeline.normalize.apply(&pixel), [1.0, 0.0, 0.375]);
}

#[test]
fn pixels_come_before_numbers() {
    assert!(refused(vec![erasing(), flip()]).contains("`horizontal_flip` takes pixels"));
    assert!(refused(vec![clip_normalize(), flip()]).contains("`horizontal_flip` takes pixels"));
    assert!(refused(vec![clip_normalize(), clip_normalize()]).contains("`normalize` takes pixels"));
    assert!(refused(vec![erasing(), clip_normalize()]).contains("`normalize` takes pixels"));
}

#[test]
fn what_normalize_cannot_take_is_named() {
    let std = |numbers: Config| call("normalize", &[("mean", channels([0.0; 3])), ("std", numbers)]);
    let text = refused(vec![std(channels([1.0, 0.0, 1.0]))]);
    assert!(text.contains("`std` of normalize is [1, 0, 1], expected three numbers, each above 0"), "{text}");
    assert!(refused(vec![std(Config::Float(1.0))]).contains("is 1, expected three numbers"));
}

#[test]
fn operations_run_alone_and_drawn() {
    let image = Pixels::from_fn(8, 8, |x, y| [x as u8, y as u8, 200]);
    let mut rng = draws::stream(0, "test", 0, 0);
    let invert = |p: f64| call("invert", &[("p", Config::Float(p))]);
    let negative = Pixels::from_fn(8, 8, |x, y| [255 - x as u8, 255 - y as u8, 55]);
    let alone = from(vec![invert(1.0)]).expect("a pipeline");
    assert_eq!(alone.transforms[0].apply(image.clone(), &mut rng), negative);
    let drawn = |from: Vec<Config>| {
        let numbers = [("ops", Config::Int(1)), ("magnitude", Config::Int(9)), ("std", Config::Float(0.5))];
        let list = [("p", Config::Float(1.0)), ("from", Config::List(from))];
        call("rand_augment", &[numbers.as_slice(), &list].concat())
    };
    let one = from(vec![drawn(vec![invert(1.0)])]).expect("a pipeline");
    assert_eq!(one.transforms[0].apply(image.clone(), &mut rng), negative);
    let never = from(vec![drawn(vec![invert(0.0)])]).expect("a pipeline");
    assert_eq!(never.transforms[0].apply(image.clone(), &mut rng), image);
    assert!(refused(vec![drawn(vec![flip()])]).contains("`from` of rand_augment is no list of operations"));
    assert!(refused(vec![drawn(Vec::new())]).contains("`from` of rand_augment is no list of operations"));
}
