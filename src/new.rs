//! `lmvc new NAME`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use crate::context::{Context, Exit, Message};

const TEMPLATE: &str = include_str!("new.lmv");

/// Write a small spec to start from
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The spec's name: `mine` writes mine.lmv
    name: PathBuf,
}

/// Writes the file; one that is there is kept.
pub fn run(args: &Args, context: &Context) -> Exit {
    let mut path = args.name.clone();
    if path.file_name().is_none() {
        return context.wrong_command(&Message::error(format!("`{}` is no name for a spec", path.display())));
    }
    if path.extension().is_none_or(|extension| extension != "lmv") {
        path.as_mut_os_string().push(".lmv");
    }
    let shown = path.display();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
    match written {
        Ok(()) => {
            context.remark(&format!("wrote {shown}; try `lmvc show {shown}`, then `lmvc train {shown}`"));
            Exit::Done
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            context.wrong_command(&Message::error(format!("`{shown}` is there already")).help("choose another name"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => context
            .wrong_command(&Message::error(format!("there is no folder for `{shown}`")).help("make the folder first")),
        Err(error) => {
            context.tell(&Message::error(format!("the spec cannot be written: {error}")).about(shown.to_string()));
            Exit::Failed
        }
    }
}
