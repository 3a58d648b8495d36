//! What clap is told beyond the derived options, and what is added to its answers.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Error, FromArgMatches};
use lmv_compiler::library;

use crate::Cli;

/// The command line. A number behind an option may be negative, so that the option itself says what it takes.
pub fn command() -> Command {
    with_negative_numbers(Cli::command())
}

fn with_negative_numbers(command: Command) -> Command {
    command
        .mut_args(|arg| match arg.get_action().takes_values() && !arg.is_positional() {
            true => arg.allow_negative_numbers(true),
            false => arg,
        })
        .mut_subcommands(with_negative_numbers)
}

/// What was typed, as clap understands it.
///
/// # Errors
/// What it does not understand; help and version, which are answers too.
pub fn parse(typed: impl IntoIterator<Item = OsString>) -> Result<Cli, Error> {
    let typed: Vec<OsString> = typed.into_iter().collect();
    let matches = command().try_get_matches_from(&typed).and_then(|mut found| Cli::from_arg_matches_mut(&mut found));
    matches.map_err(|error| with_the_setting(error, &typed))
}

/// An option that is not there and is called as an argument of a recipe or a dataset, `--lr 0.1`, with how that is set.
fn with_the_setting(mut error: Error, typed: &[OsString]) -> Error {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    let typed: Vec<_> = typed.iter().map(|word| word.to_string_lossy()).collect();
    let command = command();
    let can_set = typed
        .iter()
        .find_map(|word| command.find_subcommand(&**word))
        .is_some_and(|command| command.get_arguments().any(|arg| arg.get_long() == Some("set")));
    let name = option.trim_start_matches('-').replace('-', "_");
    let of = |sort: &str| library::parameter_names(sort).contains(name.as_str());
    let setting = match (error.kind(), can_set) {
        (ErrorKind::UnknownArgument, true) if of("dataset") => format!("data.{name}"),
        (ErrorKind::UnknownArgument, true) if of("recipe") => format!("train.{name}"),
        _ => return error,
    };
    let behind = |(at, word): (usize, &std::borrow::Cow<'_, str>)| match word.strip_prefix(option.as_str())? {
        "" => typed.get(at + 1).map(|value| value.to_string()),
        rest => rest.strip_prefix('=').map(str::to_owned),
    };
    let value = typed.iter().enumerate().find_map(behind).unwrap_or_else(|| "VALUE".to_owned());
    let tip = StyledStr::from(format!("set it by `--set {setting}={value}`"));
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(typed: &[&str]) -> String {
        let typed = std::iter::once("lmvc").chain(typed.iter().copied());
        match parse(typed.map(OsString::from)) {
            Ok(_) => "understood".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_negative_number_is_told_of_by_its_option() {
        let said = answer(&["bench", "a.lmv", "--batch", "-3"]);
        assert!(said.contains("invalid value '-3' for '--batch <N>'") && !said.contains("-- -3"), "{said}");
        assert_eq!(answer(&["train", "a.lmv", "--set", "train.lr=-1"]), "understood");
    }

    #[test]
    fn an_argument_of_a_recipe_is_set() {
        for (typed, setting) in [
            (&["train", "a.lmv", "--lr", "0.1"][..], "train.lr=0.1"),
            (&["train", "a.lmv", "--weight-decay=0.3"], "train.weight_decay=0.3"),
            (&["ablate", "a.lmv", "--lr"], "train.lr=VALUE"),
            (&["eval", "a.lmv", "--image", "64"], "data.image=64"),
        ] {
            let said = answer(typed);
            assert!(said.contains(&format!("set it by `--set {setting}`")), "{said}");
            assert!(!said.contains("as a value"), "{said}");
        }
        // What cannot set it, and what is no argument.
        for typed in [&["check", "a.lmv", "--lr", "0.1"][..], &["train", "a.lmv", "--colour", "red"]] {
            assert!(!answer(typed).contains("--set train"), "{}", answer(typed));
        }
    }
}
