//! `lmvc show SPEC`

mod dot;
mod outline;
mod table;

use std::path::PathBuf;

use clap::{ValueEnum, value_parser};
use lmv_compiler::Recipe;
use lmv_compiler::drawing;
use lmv_compiler::passes::count::{self, Counter};
use lmv_compiler::passes::peak::peak;
use lmv_runtime::device::{self, DeviceChoice};

use crate::build::json;
use crate::context::{Context, Exit, Message};
use crate::spec::{self, Variant};

/// How many levels the table has where nothing else is said.
const TABLE_DEPTH: u16 = 2;

/// Show a spec's model: layers, shapes, parameters, what is frozen, FLOPs, memory
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec
    spec: PathBuf,
    #[command(flatten)]
    variant: Variant,
    /// As what
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// How many levels of layers within layers are shown; of blocks that are alike the first one is opened. A table has
    /// two; a picture opens what the spec itself writes out
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..))]
    depth: Option<u16>,
    /// Reckons with this many samples a step, in place of the recipe's
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    batch: Option<u32>,
}

/// As what a model is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for the terminal
    Table,
    /// A drawing for Graphviz: `lmvc show SPEC --format dot | dot -Tsvg`
    Dot,
    /// A picture, for a page: `lmvc show SPEC --format svg > model.svg`
    Svg,
    /// The typed graph
    Json,
}

/// Shows the model.
pub fn run(args: &Args, context: &Context) -> Exit {
    show(args, context).into()
}

fn show(args: &Args, context: &Context) -> Result<(), Exit> {
    let overrides: Vec<_> = args.batch.iter().map(|batch| ("train.batch".to_owned(), batch.to_string())).collect();
    let checked = spec::checked(&args.spec, &args.variant, &overrides, context)?;
    let experiment = &checked.experiment;
    let text = match args.format {
        Format::Json => {
            let mut graph = serde_json::to_value(&experiment.graph).unwrap_or_default();
            let total = Counter::new(&experiment.graph).total();
            let (trained, frozen) = experiment.graph.parameter_counts();
            let flops = (!total.flops_unknown).then_some(total.flops);
            let recipe = experiment.train.as_ref();
            let batch = batch(args, recipe);
            let plan = device::passes(DeviceChoice::Cpu).plan(&experiment.graph);
            let (held, most) = (count::memory(&plan, recipe, batch), peak(&plan, recipe, batch));
            graph["memory"] = serde_json::json!({
                "batch": batch, "trained": held.trained, "gradients": held.gradients, "optimizer": held.optimizer,
                "frozen": held.frozen, "kept": held.kept, "peak": most.bytes(), "unknown": most.unknown,
            });
            graph["totals"] = serde_json::json!({ "trained": trained, "frozen": frozen, "flops": flops });
            json(&graph)
        }
        Format::Dot => dot::draw(&experiment.graph),
        Format::Svg => {
            let file =
                args.spec.file_name().map_or_else(|| args.spec.display().to_string(), |n| n.to_string_lossy().into());
            let title = args.variant.behind(file);
            let options = drawing::Options { title: &title, depth: args.depth.map(usize::from) };
            drawing::draw(&experiment.graph, &checked.compiled, &options).map_err(|boxes| {
                let message = Message::error(format!("{boxes} boxes are too many for a picture"));
                let message = message.note(format!("it has at most {}", drawing::MOST_BOXES));
                context.wrong_command(&message.help("show fewer levels by `--depth 1`, or take `--format dot`"))
            })?
        }
        Format::Table => {
            let batch = batch(args, experiment.train.as_ref());
            let name = args.variant.behind(args.spec.display().to_string());
            table::draw(&name, &checked, usize::from(args.depth.unwrap_or(TABLE_DEPTH)), batch, context.stdout_color)
        }
    };
    context.print(&text)
}

/// The samples that are reckoned with.
fn batch(args: &Args, recipe: Option<&Recipe>) -> usize {
    let given = args.batch.and_then(|batch| usize::try_from(batch).ok());
    given.or(recipe.map(|recipe| recipe.batch)).unwrap_or(1)
}
