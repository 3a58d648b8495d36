//! How the C library's allocator treats the buffers of tensors.

/// Tells glibc to keep large freed buffers instead of handing them back to the kernel: a training step frees and asks for
/// the same few hundred megabytes over and over, and each return is paid for in page faults (docs/decisions.md).
pub fn keep_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // Freed memory at the top of the heap is kept up to this many bytes; blocks below the second number come from
        // the heap, which is what 32 MiB allows at the most.
        const KEPT: libc::c_int = i32::MAX;
        const FROM_HEAP: libc::c_int = 32 * 1024 * 1024;
        // SAFETY: `mallopt` takes two numbers and touches nothing but the allocator's own settings. It is called once,
        // at the start of `main`, before there is a second thread. An option that it does not know is ignored.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
            libc::mallopt(libc::M_MMAP_THRESHOLD, FROM_HEAP);
            libc::mallopt(libc::M_TOP_PAD, FROM_HEAP * 8);
        }
    }
}

/// Hands memory that is free back to the kernel, so that what is resident is what is held.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes a number and touches nothing but memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_asked_for_and_given_back_as_before() {
        super::keep_large_buffers();
        super::keep_large_buffers();
        for size in [0usize, 1, 31 << 20, 33 << 20, 80 << 20] {
            let buffer = vec![7u8; size];
            assert!(buffer.iter().step_by(4096).all(|&byte| byte == 7));
        }
    }
}
