//! A spec replaced by a better text of itself, without a moment at which it could be lost.

use std::fs;
use std::path::Path;

use lmv_runtime::training::atomic_file::write_atomic;

use crate::context::{Context, Exit, Message};

/// Replaces the text of a spec, which was `before` when it was read. A link stays one, and permissions stay.
pub fn rewrite(path: &Path, before: &str, after: &str, context: &Context) -> Result<(), Exit> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let (permissions, now) = (fs::metadata(&target).map(|data| data.permissions()), fs::read(&target));
    let failed = |message: Message| {
        context.tell(&message.about(path.display().to_string()));
        Exit::Failed
    };
    if now.is_ok_and(|now| now != before.as_bytes()) {
        return Err(failed(Message::error("this file was changed by somebody else just now, and was left as it is")));
    }
    if permissions.as_ref().is_ok_and(fs::Permissions::readonly) {
        let message = Message::error("this file may not be written, and was left as it is");
        return Err(failed(message.help("make it writable")));
    }
    write_atomic(&target, |out| out.write_all(after.as_bytes())).map_err(|failure| context.failed(&failure))?;
    match permissions.and_then(|permissions| fs::set_permissions(&target, permissions)) {
        Ok(()) => Ok(()),
        Err(error) => Err(failed(Message::error(format!("it was written, and lost its permissions: {error}")))),
    }
}
