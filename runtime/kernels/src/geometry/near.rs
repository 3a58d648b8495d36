//! Neighbours of a centre.

use super::{BLOCK, Planes, squared_distance};
use crate::wide;

/// Points whose comparison fits one word.
const WORD: usize = u32::BITS as usize;

wide! {
    /// The squared distances of a block from `from`, and a bit for each that is below `limit`.
    fn below(found: &mut [f32; BLOCK], bits: &mut [u32; BLOCK / WORD], block: [&[f32; BLOCK]; 3], from: [f32; 3], limit: f32) {
        for (word, bits) in bits.iter_mut().enumerate() {
            let mut set = 0;
            for bit in 0..WORD {
                let i = word * WORD + bit;
                let d = squared_distance([block[0][i], block[1][i], block[2][i]], from);
                found[i] = d;
                set |= u32::from(d < limit) << bit;
            }
            *bits = set;
        }
    }
}

/// The places of the bits that are set.
fn set(bits: [u32; BLOCK / WORD]) -> impl Iterator<Item = usize> {
    bits.into_iter().enumerate().flat_map(|(word, mut bits)| {
        std::iter::from_fn(move || {
            let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
            bits &= bits - 1;
            Some(word * WORD + bit)
        })
    })
}

/// The numbers of the `count` points of a cloud that are nearest to `centre`, the nearest first; of equally near ones the
/// first.
pub fn nearest(cloud: &Planes, centre: [f32; 3], count: usize) -> Vec<i32> {
    // Distance and number in one: a distance is never below zero, so that its bits have its order.
    let mut found: Vec<u64> = Vec::with_capacity(4 * count + BLOCK);
    let mut worst = f32::INFINITY;
    let (mut near, mut bits) = ([0.0; BLOCK], [0; BLOCK / WORD]);
    for (first, block) in cloud.blocks() {
        // An equally near point that comes later is no nearer.
        below(&mut near, &mut bits, block, centre, worst);
        found.extend(set(bits).map(|i| u64::from(near[i].to_bits()) << 32 | (first + i) as u64));
        if found.len() >= 4 * count {
            let (_, last, _) = found.select_nth_unstable(count - 1);
            worst = f32::from_bits((*last >> 32) as u32);
            found.truncate(count);
        }
    }
    found.sort_unstable();
    found.truncate(count);
    let mut numbers: Vec<i32> = found.into_iter().map(|one| one as u32 as i32).collect();
    if numbers.len() < count.min(cloud.len()) {
        // Points that are no numbers are nowhere; they come last, in their order.
        let rest: Vec<i32> = (0..cloud.len() as i32).filter(|index| !numbers.contains(index)).collect();
        numbers.extend(rest.into_iter().take(count - numbers.len()));
    }
    numbers
}

/// The first `count` points within `radius` of `centre`; where there are fewer, the first one fills the places up, and
/// where there is none, point 0 does.
pub fn within(cloud: &Planes, centre: [f32; 3], radius: f64, count: usize) -> Vec<i32> {
    let limit = (radius * radius) as f32;
    let mut found = Vec::with_capacity(count);
    let (mut near, mut bits) = ([0.0; BLOCK], [0; BLOCK / WORD]);
    for (first, block) in cloud.blocks() {
        below(&mut near, &mut bits, block, centre, limit);
        found.extend(set(bits).map(|i| (first + i) as i32).take(count - found.len()));
        if found.len() == count {
            break;
        }
    }
    let first = found.first().copied().unwrap_or(0);
    found.resize(count, first);
    found
}
