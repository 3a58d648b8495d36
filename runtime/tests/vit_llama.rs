//! The paper's ViT-LLaMA at toy size, from a checkpoint with the reference's names: logits, features, loss, gradients and
//! five steps of AdamW against PyTorch. The block inside is frozen.

mod golden_support;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use golden_support::{compile, difference, golden_folders, infer, read, write};
use lmv_compiler::config::{Call, Config, On};
use lmv_compiler::passes::Passes;
use lmv_compiler::plan::Plan;
use lmv_runtime::data::Normalize;
use lmv_runtime::evaluation::Attacked;
use lmv_runtime::events::Event;
use lmv_runtime::examples::{Batch, Examples, Values};
use lmv_runtime::kernels::{AdamW, Kernels};
use lmv_runtime::layers::Pass;
use lmv_runtime::losses::{Losses, Use};
use lmv_runtime::metrics::attack::Attack;
use lmv_runtime::network::{Network, TapedNetwork, tensor, values};
use lmv_runtime::parameters;
use lmv_runtime::places::Places;
use lmv_runtime::training::seeds::Seeds;
use lmv_runtime::training::step::{Step, Stepped};

/// The spec of a golden folder's model; both folders hold their sizes in the shapes of the tensors.
fn spec(golden: &Path) -> String {
    let own = golden.join("vit_llama/cases.safetensors");
    let (image, features) = (read(&own, "image"), read(&own, "features"));
    let (d, classes) = (features.shape[2], read(&own, "logits").shape[1]);
    let side = image.shape[2];
    // 17 tokens are 4 × 4 patches and the class token, 5 are 2 × 2.
    let patch = side / ((features.shape[1] - 1) as f64).sqrt() as usize;
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(golden.join("llama_hf/config.json")).expect("config"))
            .expect("JSON");
    let (dim, heads) = (&config["hidden_size"], &config["num_attention_heads"]);
    let (ffn, layers) = (&config["intermediate_size"], &config["num_hidden_layers"]);
    let last = layers.as_i64().expect("a number") - 1;
    format!(
        "llm toy = llama(dim = {dim}, heads = {heads}, ffn = {ffn}, layers = {layers}, eps = 1e-6)
model(image : [3, {side}, {side}]) {{
  let tokens = image >> vit(image = {side}, patch = {patch}, d = {d}, depth = 2, heads = 3, drop_path = 0.0)
    >> linear({d}, {dim}, bias = false) >> frozen(toy.layer[{last}]) >> rms_norm({dim}, affine = false, eps = 1e-6)
    >> linear({dim}, {d}, bias = false)
  let features = tokens >> layer_norm({d}, eps = 1e-6) as norm
  features >> token(0) >> linear({d}, {classes}) as head
}}"
    )
}

/// Cross entropy of the model's only output, held against the labels.
fn loss() -> Config {
    Config::Call(Box::new(Call {
        kind: "loss".into(),
        name: "cross_entropy".into(),
        arguments: BTreeMap::new(),
        with: BTreeMap::new(),
        on: Some(On { outputs: vec!["output".into()], fields: vec!["label".into()] }),
    }))
}

/// Our name of a parameter that the reference calls `theirs`, in the spec above.
fn ours(theirs: &str) -> String {
    match theirs {
        "cls_token" => "vit.cls.token.weight".into(),
        "pos_embed" => "vit.pos.embed.weight".into(),
        "llama_dim_mapper1.weight" => "linear.weight".into(),
        "llama_dim_mapper2.weight" => "linear_2.weight".into(),
        _ => match theirs.strip_prefix("patch_embed.proj.") {
            Some(rest) => format!("vit.patch_embed.{rest}"),
            None if theirs.starts_with("blocks.") => format!("vit.{theirs}"),
            None => theirs.to_owned(),
        },
    }
}

#[test]
fn logits_and_features_are_those_of_the_reference() {
    for golden in golden_folders() {
        let cases = golden.join("vit_llama/cases.safetensors");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let input = folder.path().join("in.safetensors");
        write(&input, &[("image", &read(&cases, "image"))]);
        let checkpoint = golden.join("vit_llama/checkpoint.pth");
        for passes in [Passes::NONE, Passes::ALL] {
            let outputs = infer(&spec(&golden), passes, &[], Some(&checkpoint), &input, &["features"]);
            let off = difference(&outputs["output"], &read(&cases, "logits"));
            assert!(off <= 1e-4, "{}: logits off by {off:e}", golden.display());
            let off = difference(&outputs["features"], &read(&cases, "features"));
            assert!(off <= 1e-4, "{}: features off by {off:e}", golden.display());
        }
    }
}

#[test]
fn one_block_of_a_checkpoint_does_not_fill_two() {
    let golden = &golden_folders()[0];
    let experiment = compile(&spec(golden).replace(".layer[1]", ".layer[0..2]"));
    let checkpoint = golden.join("vit_llama/checkpoint.pth");
    let loaded = parameters::load::<Flex>(
        &Passes::ALL.plan(&experiment.graph),
        &Seeds::new(0),
        &Places::from_environment(),
        Some(checkpoint.as_path().into()),
        &Default::default(),
        &mut |_: Event| {},
    );
    let message = loaded.err().expect("two blocks, and one in the file").to_string();
    assert!(message.contains("one tensor for two") && message.contains("checkpoint.pth"), "{message}");
}

#[test]
fn loss_gradients_and_five_steps_are_those_of_the_reference() {
    for (golden, passes) in golden_folders()
        .into_iter()
        .flat_map(|golden| [Passes::NONE, Passes::ALL].map(|passes| (golden.clone(), passes)))
    {
        let cases = golden.join("vit_llama/cases.safetensors");
        let experiment = compile(&spec(&golden));
        let plan = &passes.plan(&experiment.graph);
        let device = Default::default();
        let checkpoint = golden.join("vit_llama/checkpoint.pth");
        let mut parameters = parameters::load::<Flex>(
            plan,
            &Seeds::new(0),
            &Places::from_environment(),
            Some(checkpoint.as_path().into()),
            &device,
            &mut |_: Event| {},
        )
        .unwrap_or_else(|failure| panic!("{failure}"))
        .tensors;
        let network = TapedNetwork::<Flex>::new(plan, &[]).expect("the layers are there");
        let image = read(&cases, "image");
        let labels: Vec<usize> = read(&cases, "label").values.iter().map(|&label| label as usize).collect();
        let examples = Examples {
            samples: labels.len(),
            fields: BTreeMap::from([
                ("image".to_owned(), Batch::numbers(image.shape.clone(), image.values.clone())),
                ("label".to_owned(), Batch::labels(&labels)),
            ]),
        };
        let losses = Losses::new(&loss(), &plan.outputs, Use::Training).expect("a loss that runs");
        let trained: Vec<usize> = plan.trained().map(|(index, _)| index).collect();
        let step = |parameters: &[_]| {
            Step { network: &network, losses: &losses, trained: &trained, scale: 1.0, norm: false, device: &device }
                .of(parameters, &examples, &mut Pass::evaluating())
                .expect("the model gives something")
        };
        let Stepped { loss, gradients: found, .. } = step(&parameters);
        assert!((loss - f64::from(read(&cases, "loss").values[0])).abs() <= 1e-4, "{}: loss {loss}", golden.display());
        let file = lmv_runtime::weights::Checkpoint::open(&cases).expect("the cases open");
        let mut compared = 0;
        for name in file.names().filter_map(|name| name.strip_prefix("grad.")) {
            let path = ours(name);
            let at = trained.iter().position(|&i| plan.tensors[i].path == path);
            let at = at.unwrap_or_else(|| panic!("{name} is {path} here, and is trained"));
            let gradient = values::<Flex>(found[at].clone().expect("a gradient reaches it"));
            let expected = read(&cases, &format!("grad.{name}"));
            let off = gradient.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(gradient.len(), expected.values.len());
            assert!(off <= 1e-4, "{}: gradient of {name} off by {off:e}", golden.display());
            compared += 1;
        }
        assert!(compared >= 5, "{compared} gradients compared");

        let frozen_before: Vec<Vec<f32>> = bytes(plan, &parameters);
        let expected = read(&cases, "losses_adamw_lr1e-3_wd0.05").values;
        let mut moments: Vec<_> = trained
            .iter()
            .map(|&i| {
                let dims = plan.tensors[i].shape.numbers().expect("known");
                let zeros = tensor::<Flex>(vec![0.0; dims.iter().product()], &dims, &device);
                (zeros.clone(), zeros)
            })
            .collect();
        for (number, expected) in expected.iter().enumerate() {
            let Stepped { loss, gradients: found, .. } = step(&parameters);
            assert!((loss - f64::from(*expected)).abs() <= 2e-4, "{}: step {number}: {loss}", golden.display());
            for ((&i, gradient), (m, v)) in trained.iter().zip(found).zip(&mut moments) {
                let decay = if plan.tensors[i].shape.0.len() > 1 { 0.05 } else { 0.0 };
                let settings = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: decay };
                let gradient = gradient.expect("a gradient reaches it");
                let [p, new_m, new_v] = Flex::fused_adamw_step(
                    parameters[i].clone(),
                    gradient,
                    m.clone(),
                    v.clone(),
                    number as u32 + 1,
                    settings,
                );
                (parameters[i], *m, *v) = (p, new_m, new_v);
            }
        }
        assert_eq!(frozen_before, bytes(plan, &parameters), "the frozen block is as it was, to the bit");
        assert!(!frozen_before.is_empty());
    }
}

fn bytes(plan: &Plan, parameters: &[burn::tensor::ops::FloatTensor<Flex>]) -> Vec<Vec<f32>> {
    let frozen = plan.tensors.iter().zip(parameters).filter(|(parameter, _)| parameter.frozen);
    frozen.map(|(_, tensor)| values::<Flex>(tensor.clone())).collect()
}

/// FGSM and PGD go back through the frozen block to the pixels. Where the gradient is next to nothing its sign is anybody's;
/// there is no such pixel among these.
#[test]
fn images_are_changed_against_the_model_as_by_the_reference() {
    let golden = &golden_folders()[0];
    let cases = golden.join("attacks.safetensors");
    let experiment = compile(&spec(golden));
    let device = Default::default();
    let (dims, pixels) = (read(&cases, "pixels").shape, read(&cases, "pixels").values);
    let labels: Vec<i32> = read(&cases, "label").values.iter().map(|label| *label as i32).collect();
    let normalize = Normalize::default();
    let plane = dims[2] * dims[3];
    for passes in [Passes::NONE, Passes::ALL] {
        let plan = passes.plan(&experiment.graph);
        let checkpoint = golden.join("vit_llama/checkpoint.pth");
        let places = Places::from_environment();
        let checkpoint = Some(checkpoint.as_path().into());
        let loaded = parameters::load::<Flex>(&plan, &Seeds::new(0), &places, checkpoint, &device, &mut |_: Event| {});
        let loaded = loaded.expect("the checkpoint of the golden model").tensors;
        let network = Network::<Autodiff<Flex>>::new(&plan, &[]).expect("its layers are there");
        let taped: Vec<_> = loaded.iter().map(|tensor| Autodiff::<Flex>::from_inner(tensor.clone())).collect();
        let attacked = Attacked { network: &network, parameters: &taped, output: 0 };
        let gradient = attacked.gradient(normalize.forward(&pixels, plane), &dims, &labels, &device).expect("classes");
        // By pixels: the deviation stands between.
        let theirs = normalize.backward(&read(&cases, "gradient").values, plane);
        let mean = normalize.backward(&vec![0.0; pixels.len()], plane);
        let theirs: Vec<f32> = theirs.iter().zip(&mean).map(|(a, b)| a - b).collect();
        let off = gradient.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-5, "the gradient is off by {off:e}");
        let plain = Network::<Flex>::new(&plan, &[]).expect("its layers are there");
        let one = 1.0 / 255.0;
        let noise = read(&cases, "noise").values;
        for (name, attack) in [
            ("fgsm", Attack { eps: one, step: one, steps: 1, random_start: false }),
            ("pgd", Attack { eps: one, step: 0.5 * one, steps: 5, random_start: true }),
        ] {
            let image = Batch::numbers(dims.clone(), normalize.forward(&pixels, plane));
            let label = Batch::classes(vec![labels.len()], labels.clone());
            let fields = BTreeMap::from([("image".to_owned(), image), ("label".to_owned(), label)]);
            let start = |pixels: &[f32]| match name {
                "pgd" => pixels.iter().zip(&noise).map(|(pixel, noise)| (pixel + noise).clamp(0.0, 1.0)).collect(),
                _ => pixels.to_vec(),
            };
            let examples = Examples { samples: labels.len(), fields };
            let changed = attacked.against(examples, "label", &normalize, attack, start, &device).expect("images");
            let Values::Numbers(numbers) = &changed.fields["image"].values else { panic!("images are numbers") };
            let at = normalize.backward(numbers, plane);
            let off = at.iter().zip(&read(&cases, name).values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-5, "{name}: pixels off by {off:e}");
            let inputs = changed.inputs::<Flex>(&plan.inputs, &device).expect("images");
            let logits = plain.forward(inputs, &loaded, &mut Pass::evaluating()).remove(0).into_numbers();
            let logits = values::<Flex>(logits);
            let theirs = read(&cases, &format!("{name}_logits")).values;
            let off = logits.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-3, "{name}: logits off by {off:e}");
        }
    }
}
