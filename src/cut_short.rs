//! A file of weights that is cut short while a run has it mapped: the kernel then sends SIGBUS, and this says what that means.

/// Makes SIGBUS end in a message, which names the file, and the code of a failed run. On Linux nothing else of this program
/// raises it: Rust looks for stack overflows in SIGSEGV there.
pub fn tell() {
    #[cfg(target_os = "linux")]
    {
        use lmv_runtime::weights::mapped::ranges;

        extern "C" fn told(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
            let say = |text: &[u8]| {
                // SAFETY: `write` may be called in a handler of signals, and the text is there.
                unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
            };
            // SAFETY: the kernel gives a handler with SA_SIGINFO a valid `info`, which has an address for this signal.
            let address = unsafe { (*info).si_addr() }.addr();
            // A line of progress may be unfinished.
            say(b"\nerror: ");
            match ranges::file_at(address) {
                Some(path) => {
                    say(path);
                    say(b": became shorter, or its disk failed, while its weights were in use\n");
                }
                None => say(b"a page of memory could not be read from its disk\n"),
            }
            say(b"help: put the file back and start again; `lmvc train --resume RUN` goes on from the last checkpoint\n");
            // SAFETY: `_exit` may be called in a handler of signals.
            unsafe { libc::_exit(crate::context::Exit::Failed as libc::c_int) };
        }
        // SAFETY: the action is zeroed, which is an empty mask and no flags, and then given a handler of the kind that
        // SA_SIGINFO asks for, which lives as long as the program.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_flags = libc::SA_SIGINFO;
            action.sa_sigaction = told as *const () as libc::sighandler_t;
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    }
}
