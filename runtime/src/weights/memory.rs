//! Room for a tensor.

use std::path::Path;

use crate::error::{Failure, Result};

/// `len` zeros, or a failure where the machine has no room for them. They take no memory before they are written to, so
/// that whoever fills them, on several cores, also waits for the memory on several cores.
pub(super) fn zeroed<T: Copy + Default>(path: &Path, len: usize) -> Result<Vec<T>> {
    // The only way to ask without aborting; what it asks for is given back at once.
    Vec::<T>::new().try_reserve_exact(len).map_err(|_| {
        let bytes = len.saturating_mul(size_of::<T>());
        Failure::at(path, format!("holds a tensor that takes {bytes} bytes, and there is no memory for it"))
    })?;
    let mut zeros = vec![T::default(); len];
    in_large_pages(&mut zeros);
    Ok(zeros)
}

/// Asks for pages of 2 MB where the kernel has them at hand: a block of LLaMA-7B takes 200,000 small ones, and to be
/// given them takes longer than to read the block. Where it has none, it would make some by moving others about, which
/// takes longer still.
#[cfg(target_os = "linux")]
fn in_large_pages<T>(memory: &mut [T]) {
    /// Less than this has too few of them to pay.
    const LEAST: usize = 16 << 20;
    /// `madvise` wants the beginning of a page; they have 4 KiB, 16 KiB or 64 KiB.
    const PAGE: usize = 64 << 10;
    let bytes = size_of_val(memory);
    if bytes < LEAST {
        return;
    }
    let free = std::fs::read_to_string("/proc/buddyinfo").map_or(0, |text| free_in_large_pages(&text));
    if free / 2 < bytes as u64 {
        return;
    }
    let begin = memory.as_mut_ptr().cast::<u8>();
    let skipped = begin.align_offset(PAGE).min(bytes);
    // SAFETY: the range lies in `memory`, which is borrowed for writing. Advice changes no byte of it, and a kernel that
    // does not want to follow it says so by a number that nobody needs.
    unsafe { libc::madvise(begin.add(skipped).cast(), bytes - skipped, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn in_large_pages<T>(_: &mut [T]) {}

/// The bytes of all free pieces of memory of 2 MB and more, out of the kernel's table: for each zone its name, and how
/// many pieces it has of one page, two, four and so on.
#[cfg(target_os = "linux")]
fn free_in_large_pages(table: &str) -> u64 {
    let zone = |line: &str| -> Option<u64> {
        let counts = line.split_once("zone")?.1.split_whitespace().skip(1);
        Some(
            counts.zip(0..).skip(9).filter_map(|(count, order)| Some(count.parse::<u64>().ok()? << (12 + order))).sum(),
        )
    };
    table.lines().filter_map(zone).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_there_is_not() {
        assert_eq!(zeroed::<u8>(Path::new("w"), 3).unwrap(), [0; 3]);
        assert!(zeroed::<f32>(Path::new("w"), 8 << 20).unwrap().iter().all(|x| *x == 0.0));
        let failure = zeroed::<f32>(Path::new("w"), usize::MAX / 8).unwrap_err();
        assert!(failure.what.ends_with("bytes, and there is no memory for it"), "{failure}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernels_table_of_free_memory() {
        let table = "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3 \n\
            Node 0, zone   Normal  17034  61083  35413  16881   7481   2717    741    266     70      2      6 \n";
        assert_eq!(free_in_large_pages(table), (3 * (2 << 20)) + 9 * (4 << 20));
        assert_eq!(free_in_large_pages("something else"), 0);
    }
}
