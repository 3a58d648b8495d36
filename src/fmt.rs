//! `lmvc fmt FILE…`

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use lmv_grammar::FormatError;

use crate::context::{Context, Exit, Message};
use crate::rewrite::rewrite;
use crate::spec;
use crate::units::counted;

/// Lay specs out in the one way that the language has
///
/// What a spec means does not change, and every comment stays. A file with errors of syntax is left as it is.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The files; `-` reads from stdin and writes to stdout
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Writes nothing; names the files that would change, and ends with exit code 1 if there are any
    #[arg(long)]
    check: bool,
}

/// Formats all files, also those after a wrong one.
pub fn run(args: &Args, context: &Context) -> Exit {
    let (mut worst, mut read, mut changed) = (Exit::Done, 0, 0);
    for path in &args.files {
        let done = match path.as_os_str() == "-" {
            true => stdin(args.check, context),
            false => file(path, args.check, context),
        };
        match done {
            Ok(change) => {
                read += 1;
                changed += usize::from(change);
            }
            // The reader of the output has left.
            Err(Exit::Done) => return Exit::Done,
            Err(exit) => worst = worst.max(exit),
        }
    }
    if args.check && changed > 0 {
        worst = worst.max(Exit::WrongSpec);
    }
    let files = counted(read, "file", "files");
    if args.files.iter().all(|path| path.as_os_str() != "-") {
        context.remark(&match (args.check, changed) {
            (_, 0) => format!("{files} read: nothing to change"),
            (true, _) => format!("{files} read: {changed} would change"),
            (false, _) => format!("{files} read: {changed} changed"),
        });
    }
    worst
}

/// Formats the file at `path`; whether it changed, or would.
fn file(path: &Path, check: bool, context: &Context) -> Result<bool, Exit> {
    let before = spec::read(path, context)?;
    let after = formatted(&path.display().to_string(), &before, context)?;
    match (after == before, check) {
        (true, _) => return Ok(false),
        (false, true) => context.print(&format!("{}\n", path.display()))?,
        (false, false) => rewrite(path, &before, &after, context)?,
    }
    Ok(true)
}

fn stdin(check: bool, context: &Context) -> Result<bool, Exit> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(spec::LARGEST + 1).read_to_end(&mut bytes);
    let text = read.and_then(|_| String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData.into()));
    let before = match text {
        Ok(text) if text.len() as u64 <= spec::LARGEST => text,
        Ok(_) => return Err(context.wrong_command(&Message::error("stdin is too large to be a spec"))),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(context.wrong_command(&Message::error("stdin is not UTF-8 text")));
        }
        Err(error) => {
            context.tell(&Message::error(format!("stdin cannot be read: {error}")));
            return Err(Exit::Failed);
        }
    };
    let after = formatted("<stdin>", &before, context)?;
    match check {
        true if after != before => context.print("<stdin>\n")?,
        true => {}
        false => context.print(&after)?,
    }
    Ok(after != before)
}

/// The text of the file `name` laid out; what keeps it from that is told.
fn formatted(name: &str, text: &str, context: &Context) -> Result<String, Exit> {
    lmv_grammar::format(text).map_err(|error| match error {
        FormatError::Syntax(_) => match spec::tell_all(&lmv_compiler::read(name, text), context) {
            Ok(()) => Exit::WrongSpec,
            Err(exit) => exit,
        },
        FormatError::Fault => {
            let message = Message::error("this file was left as it is: laid out, it would not have said the same");
            context.tell(&message.about(name).help("please report it with the file: it is a fault of lmvc"));
            Exit::Failed
        }
    })
}
