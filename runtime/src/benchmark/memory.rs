//! The peak of a process's memory, as Linux counts it.

/// Lets the kernel count the peak from what is held now. Where it does not, the peak stays that of the process so far.
pub fn forget_peak() {
    // 5 resets the peak resident set size: proc_pid_clear_refs(5). A system without it leaves the count as it is.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that was resident since [`forget_peak`], in bytes: `VmHWM` of proc_pid_status(5).
pub fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_in_the_peak() {
        forget_peak();
        let before = peak().expect("Linux tells");
        let held = vec![1u8; 64 << 20];
        assert!(held.iter().step_by(4096).all(|&byte| byte == 1));
        let after = peak().expect("Linux tells");
        // Other tests may free while this one runs, never more than they had.
        assert!(after >= 64 << 20 && after >= before, "{before} {after}");
    }
}
