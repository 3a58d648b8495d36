//! Ctrl-C and its like, for commands that end in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::context::Exit;

/// Set once the user presses Ctrl-C, or whoever schedules the machine asks for an end (SIGTERM, SIGHUP); a second time ends
/// the process at once. A process has one, however many runs it trains: a handler can be set once.
pub fn interruption() -> Arc<AtomicBool> {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let stop = STOP.get_or_init(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        // Without a handler Ctrl-C still ends the process, and what was written whole stands.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Failed as i32);
            }
        });
        stop
    });
    stop.clone()
}
