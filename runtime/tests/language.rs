//! A causal language model against Hugging Face's: scores, loss, gradients, steps of training, and how it goes on with a
//! beginning.

mod golden_support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;
use golden_support::{compile, device, read};
use lmv_compiler::passes::Passes;
use lmv_compiler::plan::Plan;
use lmv_runtime::device::run;
use lmv_runtime::events::Event;
use lmv_runtime::examples::{Batch, Examples};
use lmv_runtime::generation::{Generation, vocabulary};
use lmv_runtime::kernels::{AdamW, Kernels};
use lmv_runtime::layers::Pass;
use lmv_runtime::losses::{Losses, Use};
use lmv_runtime::metrics::{Meters, Output};
use lmv_runtime::network::{Network, TapedNetwork, tensor, values};
use lmv_runtime::parameters;
use lmv_runtime::places::Places;
use lmv_runtime::training::recipe;
use lmv_runtime::training::seeds::Seeds;
use lmv_runtime::training::step::{Step, Stepped};

const SPEC: &str = "use data.text { text_folder }
use measures.language { perplexity }
use training.language { next_token }
llm toy = llama(dim = 32, heads = 4, ffn = 96, layers = 2, eps = 1e-6, rope = true, causal = true)
model(tokens : [T?] of class(256)) {
  tokens
    >> pretrained(\"toy\", embedding(256, 32) as embed)
    >> trainable(toy.layer[0..2])
    >> pretrained(\"toy\", rms_norm(32) as norm)
    >> pretrained(\"toy\", linear(32, 256, bias = false) as output)
}
data  = text_folder(window = 11)
train = next_token
eval  = [top1, perplexity]
";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The spec for the golden model, which knows 40 tokens.
fn spec() -> String {
    SPEC.replace("256", "40")
        .replace("data  = text_folder(window = 11)\ntrain = next_token\neval  = [top1, perplexity]\n", "")
}

fn places() -> Places {
    let mut places = Places::from_environment();
    places.weights = places.weights.with_flag("toy", golden().join("llama_hf"));
    places
}

fn ids(name: &str) -> (Vec<usize>, Vec<i32>) {
    let found = read(&golden().join("language.safetensors"), name);
    (found.shape, found.values.into_iter().map(|x| x as i32).collect())
}

#[test]
fn scores_loss_gradients_and_steps() {
    let file = golden().join("language.safetensors");
    let plan = Passes::NONE.plan(&compile(&spec()).graph);
    let device = Default::default();
    let loaded = parameters::load::<Flex>(&plan, &Seeds::new(0), &places(), None, &device, &mut |_: Event| {});
    let mut tensors = loaded.unwrap_or_else(|failure| panic!("{failure}")).tensors;
    let batch = |name: &str| {
        let (dims, ids) = ids(name);
        Batch::classes(dims, ids)
    };
    let examples = Examples {
        samples: 3,
        fields: BTreeMap::from([("tokens".to_owned(), batch("tokens")), ("next".to_owned(), batch("next"))]),
    };
    // What a spec with data says of loss and metrics, over this model's outputs.
    let whole = compile(&SPEC.replace("tokens : [T?] of class(256)", "tokens"));
    let train = whole.train.expect("a recipe");
    let losses = Losses::new(recipe::loss(&train.fields).expect("a loss"), &plan.outputs, Use::Training);
    let losses = losses.expect("a loss that runs");

    let network = Network::<Flex>::new(&plan, &[]).expect("the layers are there");
    let inputs = examples.inputs::<Flex>(&plan.inputs, &device).expect("tokens");
    let output = network.forward(inputs, &tensors, &mut Pass::evaluating()).remove(0);
    let output = Output { dims: output.dims(), values: values::<Flex>(output.into_numbers()) };
    let expected = read(&file, "logits");
    assert_eq!(output.dims, expected.shape);
    let off = output.values.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= 1e-4, "logits off by {off:e}");
    let mut meters = Meters::new(&whole.eval, &plan.outputs).expect("metrics that run");
    meters.add(&[output], &examples).expect("tokens are classes");
    let measured: BTreeMap<String, f64> =
        meters.scores().expect("three samples").into_iter().map(|score| (score.name, score.value)).collect();
    let first = f64::from(read(&file, "losses").values[0]);
    assert!((measured["perplexity"] - first.exp()).abs() <= 1e-3 * first.exp(), "{measured:?}");
    let rows = expected.values.chunks_exact(40).zip(ids("next").1);
    let right = rows.filter(|(row, next)| row.iter().all(|&score| score <= row[*next as usize])).count();
    assert!((measured["top1"] - 100.0 * right as f64 / 33.0).abs() < 1e-9, "{measured:?}");

    let taped = TapedNetwork::<Flex>::new(&plan, &[]).expect("the layers are there");
    let trained: Vec<usize> = plan.trained().map(|(index, _)| index).collect();
    let mut moments: BTreeMap<usize, [FloatTensor<Flex>; 2]> = BTreeMap::new();
    for (number, expected) in read(&file, "losses").values.into_iter().enumerate() {
        let step =
            Step { network: &taped, losses: &losses, trained: &trained, scale: 1.0, norm: false, device: &device }.of(
                &tensors,
                &examples,
                &mut Pass::evaluating(),
            );
        let Stepped { loss, gradients, .. } = step.expect("the model gives something");
        assert!((loss - f64::from(expected)).abs() <= 1e-4, "step {number}: {loss}, expected {expected}");
        if number == 0 {
            compare_gradients(&file, &plan, &trained, &gradients);
        }
        for (&index, gradient) in trained.iter().zip(gradients) {
            let dims = plan.tensors[index].shape.numbers().expect("known");
            let zeros = || tensor::<Flex>(vec![0.0; dims.iter().product()], &dims, &device);
            let [m, v] = moments.remove(&index).unwrap_or_else(|| [zeros(), zeros()]);
            let weight_decay = if dims.len() > 1 { 0.1 } else { 0.0 };
            let settings = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay };
            let (before, gradient) = (tensors[index].clone(), gradient.expect("a gradient reaches it"));
            let [after, m, v] = Flex::fused_adamw_step(before, gradient, m, v, number as u32 + 1, settings);
            tensors[index] = after;
            moments.insert(index, [m, v]);
        }
    }
}

fn compare_gradients(file: &Path, plan: &Plan, trained: &[usize], found: &[Option<FloatTensor<Flex>>]) {
    for (ours, theirs) in [
        ("embed.weight", "model.embed_tokens.weight"),
        ("output.weight", "lm_head.weight"),
        ("norm.weight", "model.norm.weight"),
        ("toy.layer.0.attention.wq.weight", "model.layers.0.self_attn.q_proj.weight"),
        ("toy.layer.1.feed_forward.w2.weight", "model.layers.1.mlp.down_proj.weight"),
    ] {
        let at = trained.iter().position(|&index| plan.tensors[index].path == ours);
        let at = at.unwrap_or_else(|| panic!("{ours} is trained"));
        let gradient = values::<Flex>(found[at].clone().expect("a gradient reaches it"));
        let expected = read(file, &format!("grad.{theirs}")).values;
        assert_eq!(gradient.len(), expected.len(), "{ours}");
        let off = gradient.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-5, "the gradient of {ours} is off by {off:e}");
    }
}

/// The prompt and what follows it.
fn continued(spec: &str, places: &Places, prompt: &[i32], tokens: usize) -> Vec<i32> {
    let experiment = compile(spec);
    let mut told = Vec::new();
    let generation = Generation {
        experiment: &experiment,
        passes: Passes::ALL,
        places,
        checkpoint: None,
        prompt: prompt.to_vec(),
        tokens,
        seed: 0,
        each: &mut |token| {
            told.push(token);
            true
        },
        observer: &mut |_: Event| {},
    };
    let all = run(device(), generation).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(all[prompt.len()..], told);
    all
}

#[test]
fn a_beginning_is_gone_on_with_as_hugging_face_does() {
    let expected = ids("continued").1;
    assert_eq!(continued(&spec(), &places(), &expected[..4], 12), expected);
    // In a window that the text just fills, the same; in one that it runs out of, only what is seen counts.
    let windowed = |window: usize| spec().replace("[T?]", &format!("[{window}]"));
    assert_eq!(continued(&windowed(16), &places(), &expected[..4], 12), expected);
    assert_ne!(continued(&windowed(2), &places(), &expected[..4], 12), expected);
}

#[test]
fn what_is_no_language_model_says_why() {
    let failure = vocabulary(&compile("model(x : [4]) { x >> linear(4, 4) }").graph).expect_err("no tokens");
    assert!(failure.to_string().contains("it takes `[4]` and gives `[4]`"), "{failure}");
}

/// The really pretrained model beside the project, as transformers goes on from its start token: "Once upon a time, there
/// was a little girl named Lily. …"
#[test]
fn stories() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var("LMV_SHARED").map_or_else(|_| here.join("../../shared"), PathBuf::from);
    let folder = shared.join("weights/stories260K");
    if !folder.is_dir() {
        println!("skipped: no weights at {}", folder.display());
        return;
    }
    let spec = "llm stories = llama(dim = 64, heads = 8, kv_heads = 4, ffn = 172, layers = 5, eps = 1e-5, rope = true, causal = true)
model(tokens : [T?] of class(512)) {
  tokens
    >> frozen(pretrained(\"stories\", embedding(512, 64) as embed))
    >> frozen(stories.layer[0..5])
    >> frozen(pretrained(\"stories\", rms_norm(64, eps = 1e-5) as norm))
    >> frozen(pretrained(\"stories\", linear(64, 512, bias = false) as output))
}";
    let mut places = Places::from_environment();
    places.weights = places.weights.with_flag("stories", folder);
    let expected = [
        1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267, 337, 410,
        408, 419, 292, 411, 322, 265, 282, 295, 433, 426, 385, 328, 432, 358, 394, 261, 370, 432, 352, 266, 268, 388,
        426, 338, 391, 266, 267, 337, 335, 312, 432, 398, 312, 286, 267, 414, 270, 333, 415,
    ];
    assert_eq!(continued(spec, &places, &[1], 60), expected);
}
