//! `lmvc weights add NAME PLACE`

use std::path::{Path, PathBuf};

use lmv_compiler::{Experiment, Which, library};
use lmv_runtime::error::Failure;
use lmv_runtime::parameters::used::{Use, uses};
use lmv_runtime::places::Places;
use lmv_runtime::weights::{Checkpoint, HubCache, Repository};
use serde_json::json;

use super::described;
use crate::config::Config;
use crate::context::{Context, Exit, Message};
use crate::spec;

/// Say in lmv.toml where weights are, after opening them
///
/// The checkpoint is opened, and held against the library's language model of that name, or against the spec that --for
/// gives. What does not fit is refused. Then the nearest lmv.toml, in this folder or above it, says where it is; where there is none, one is written here. Nothing
/// is fetched without --download.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The name in specs: `llama7b`
    name: String,
    /// A folder or a file, or a repository of the Hugging Face Hub as `hf:ORG/NAME` or `hf:ORG/NAME@REVISION`; without it
    /// the repository that the library knows
    #[arg(value_name = "PATH|hf:REPO")]
    place: Option<PathBuf>,
    /// Fetches the repository into the Hugging Face cache first, where it is not there yet; goes on where it was stopped
    #[arg(long)]
    download: bool,
    /// The spec that the weights are for: they must fit it, and of files in parts only those with its tensors are fetched
    #[arg(long = "for", value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// Of --for, one of its variants: `mlp`, or `layer.31` of a family
    #[arg(long, value_name = "NAME", requires = "spec")]
    variant: Option<String>,
}

/// Opens, says what it is, and writes.
pub fn add(args: &Args, context: &Context) -> Result<(), Exit> {
    let failed = |failure: Failure| context.failed(&failure);
    // The folder of the spec may have an lmv.toml of its own, which is the one that the spec is run by.
    let beside = args.spec.clone().unwrap_or_else(|| PathBuf::from("here"));
    let config = Config::beside(&beside, context)?;
    let variant = spec::Variant { variant: args.variant.clone(), of_run: None };
    let for_spec = match &args.spec {
        Some(spec) => Some(spec::checked(spec, &variant, &[], context)?.experiment),
        None => declared(&args.name),
    };
    let mut all = for_spec.iter().flat_map(|experiment| uses(&experiment.graph, |_| true));
    let used = all.find(|used| used.weights == args.name);
    if let (None, Some(spec)) = (&used, &args.spec) {
        let message = Message::error(format!("this spec has no weights `{}`", args.name));
        return Err(context.wrong_command(&message.about(spec.display().to_string())));
    }
    let place = match &args.place {
        Some(place) => place.clone(),
        None => known(&args.name).ok_or_else(|| {
            let message =
                Message::error(format!("the library knows no repository with the weights of `{}`", args.name));
            context.wrong_command(&message.help(format!("say where they are: `lmvc weights add {} PLACE`", args.name)))
        })?,
    };
    let opened = match Repository::of_place(&place) {
        Some(Err(wrong)) => return Err(context.wrong_command(&Message::error(wrong))),
        Some(Ok(repository)) => {
            let cache = HubCache::by(|name| std::env::var(name).ok()).ok_or_else(|| {
                let message = Message::error("nothing says where the Hugging Face cache is");
                context.wrong_command(&message.help("say it: `export HF_HUB_CACHE=/path/to/hub`"))
            })?;
            if args.download {
                fetch(&cache, &repository, used.as_ref(), context)?
            } else {
                cache.snapshot(&repository).map_err(|mut failure| {
                    failure.help = failure.help.map(|help| help.replace(" NAME ", &format!(" {} ", args.name)));
                    failed(failure)
                })?
            }
        }
        None if args.download => {
            let message =
                Message::error(format!("`{}` is a place on this disk: there is nothing to fetch", place.display()));
            return Err(context.wrong_command(&message.help("name a repository: `hf:ORG/NAME`")));
        }
        None => place.clone(),
    };
    let checkpoint = Checkpoint::open(&opened).map_err(failed)?;
    checkpoint.check_files().map_err(failed)?;
    if let Some(used) = &used
        && let Err(failure) = used.tensors(&checkpoint)
    {
        return Err(failed(match args.spec.is_some() {
            true => failure,
            false => failure.note(format!("it was held against the library's `{}`", args.name)).help(format!(
                "give the checkpoint of that model; where a spec has a `{}` of its own, `--for SPEC` holds it against that",
                args.name
            )),
        }));
    }
    let what = described(&checkpoint);
    let written = write(config, args.spec.as_deref(), &args.name, &place, context)?;
    context.remark(&format!("{}: {what}", args.name));
    context.remark(&format!("{} says where: {}", written.file.display(), written.place));
    if let Some(before) = &written.before {
        context.remark(&format!("before it was {before}"));
    }
    context.event(
        "added",
        json!({
            "weights": args.name, "place": written.place, "opened": opened.display().to_string(), "what": what,
            "file": written.file.display().to_string(), "before": written.before,
        }),
    );
    Ok(())
}

/// A model with one block of the language model that the library calls `name`, to hold a checkpoint against.
fn declared(name: &str) -> Option<Experiment> {
    let known = library::language_models().any(|known| known == name);
    let text = format!("model(x : [4, {name}.dim]) {{ x >> frozen({name}.layer[0]) }}");
    known.then(|| spec::compile_text(Path::new("block.lmv"), &text, Which::Base, &[]).experiment).flatten()
}

/// The repository that the library knows for a name: the one that is here, else the first.
fn known(name: &str) -> Option<PathBuf> {
    let places = Places::from_environment();
    let here =
        |repository: &&Repository| places.weights.cache().is_some_and(|cache| cache.weights(repository).is_some());
    let found = places.weights.repositories(name).find(here).or_else(|| places.weights.repositories(name).next());
    found.map(|repository| PathBuf::from(format!("hf:{repository}")))
}

#[cfg(feature = "download")]
fn fetch(
    cache: &HubCache,
    repository: &Repository,
    used: Option<&Use<'_>>,
    context: &Context,
) -> Result<PathBuf, Exit> {
    super::download::fetch(cache, repository, used, context).map_err(|failure| context.failed(&failure))
}

#[cfg(not(feature = "download"))]
fn fetch(_: &HubCache, repository: &Repository, _: Option<&Use<'_>>, context: &Context) -> Result<PathBuf, Exit> {
    let message = Message::error(format!("this lmvc was built without the part that fetches `{repository}`"));
    Err(context.wrong_command(&message.help("build it with `--features download`, or fetch it by other means")))
}

/// What was written to an `lmv.toml`.
struct Written {
    file: PathBuf,
    place: String,
    before: Option<String>,
}

/// Writes the place of `name` into `config`, or into a new file: here, where the spec lies below, else beside the spec.
fn write(
    config: Option<Config>,
    spec: Option<&Path>,
    name: &str,
    place: &Path,
    context: &Context,
) -> Result<Written, Exit> {
    let here = std::path::absolute(".").unwrap_or_default();
    let spec = spec.and_then(|spec| std::path::absolute(spec).ok());
    let beside = spec.filter(|spec| !spec.starts_with(&here)).and_then(|spec| Some(spec.parent()?.to_path_buf()));
    let config = config.unwrap_or_else(|| Config::new(beside.unwrap_or(here).join(crate::config::NAME)));
    let file = config.file.clone();
    let place = match Repository::of_place(place) {
        Some(_) => place.display().to_string(),
        None => {
            let place = std::path::absolute(place).unwrap_or_else(|_| place.to_path_buf());
            // What lies below lmv.toml may move with it.
            let below =
                file.parent().and_then(|folder| place.strip_prefix(folder).ok()).filter(|p| *p != Path::new(""));
            below.unwrap_or(&place).display().to_string()
        }
    };
    let before = config.weights.get(name).filter(|before| **before != place).cloned();
    config.write_weights(name, &place, context)?;
    Ok(Written { file, place, before })
}
