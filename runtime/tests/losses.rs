//! Losses by hand, alone, weighted and summed over several outputs.

use std::collections::BTreeMap;

use burn_flex::Flex;
use lmv_compiler::config::{Call, Config, On};
use lmv_compiler::graph::{Port, StreamId};
use lmv_runtime::examples::{Batch, Examples};
use lmv_runtime::losses::{Losses, Use};
use lmv_runtime::network::{tensor, values};
use lmv_runtime::stream::Stream;

fn loss(name: &str, output: &str, field: &str) -> Config {
    Config::Call(Box::new(Call {
        kind: "loss".into(),
        name: name.into(),
        arguments: BTreeMap::new(),
        with: BTreeMap::new(),
        on: Some(On { outputs: vec![output.into()], fields: vec![field.into()] }),
    }))
}

/// Two samples of two numbers from each of two outputs, held against the data's fields.
fn worth(loss: &Config) -> f64 {
    let ports = ["pose", "answer"].map(|name| Port { name: name.into(), stream: StreamId(0) });
    let stream = |numbers: Vec<f32>| Stream::<Flex>::new(tensor::<Flex>(numbers, &[2, 2], &Default::default()));
    let outputs = [stream(vec![1.0, 2.0, 3.0, 4.0]), stream(vec![0.0, 2.0, -1.0, 50.0])];
    let fields = [("place", vec![0.0, 2.0, 5.0, 3.0]), ("score", vec![0.5, 1.0, 0.0, 1.0])];
    let fields = fields.map(|(name, numbers)| (name.to_owned(), Batch::numbers(vec![2, 2], numbers)));
    let examples = Examples { samples: 2, fields: BTreeMap::from(fields) };
    let losses = Losses::<Flex>::new(loss, &ports, Use::Training).expect("losses that run");
    f64::from(values::<Flex>(losses.of(&outputs, &examples).expect("they fit"))[0])
}

/// (1 + 0 + 4 + 1) / 4.
const SQUARES: f64 = 1.5;

/// The sum over the classes, the mean over two samples, of log(1 + e^x) - x · y.
fn crossed() -> f64 {
    let each = [(0.0, 0.5), (2.0, 1.0), (-1.0, 0.0), (50.0, 1.0)];
    each.map(|(x, y): (f64, f64)| x.exp().ln_1p() - x * y).iter().sum::<f64>() / 2.0
}

#[test]
fn each_alone() {
    assert!((worth(&loss("mse", "pose", "place")) - SQUARES).abs() < 1e-6);
    assert!((worth(&loss("binary_cross_entropy", "answer", "score")) - crossed()).abs() < 1e-6);
}

#[test]
fn several_outputs_with_weights_and_sums() {
    let pose = || loss("mse", "pose", "place");
    let answer = || loss("binary_cross_entropy", "answer", "score");
    let tenth = Config::Scaled(0.1, Box::new(pose()));
    let of_both = Config::Record(BTreeMap::from([("answer".into(), answer()), ("pose".into(), tenth)]));
    assert!((worth(&of_both) - (crossed() + 0.1 * SQUARES)).abs() < 1e-6);
    let sum = Config::Sum(vec![pose(), Config::Scaled(2.0, Box::new(Config::Sum(vec![pose(), answer()])))]);
    assert!((worth(&sum) - (3.0 * SQUARES + 2.0 * crossed())).abs() < 1e-5);
}
