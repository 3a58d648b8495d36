//! A file of weights that is cut short while a run has it mapped: the kernel then sends SIGBUS, and this says what that means.

/// Makes SIGBUS end in a message and the code of a failed run. On Linux nothing else of this program raises it: Rust looks
/// for stack overflows in SIGSEGV there.
pub fn tell() {
    #[cfg(target_os = "linux")]
    {
        extern "C" fn told(_signal: libc::c_int) {
            const MESSAGE: &[u8] = b"error: a file of weights became shorter, or its disk failed, while its numbers were in use\n\
                help: nothing that was saved before is harmed; put the file back, and go on with `lmvc train --resume`\n";
            // SAFETY: `write` and `_exit` may be called in a handler of signals, and nothing else is. The message is static.
            unsafe {
                libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
                libc::_exit(crate::context::Exit::Failed as libc::c_int);
            }
        }
        // SAFETY: the action is zeroed, which is an empty mask and no flags, and then given a handler of the right kind,
        // which lives as long as the program.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = told as extern "C" fn(libc::c_int) as libc::sighandler_t;
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    }
}
