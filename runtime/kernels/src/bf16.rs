//! Matrix products of operands that are rounded to `bf16`, summed up in `f32`, by the processor's own instruction for it
//! (AVX-512 BF16), which does twice as many of them as of products in `f32`.
//!
//! Operands are rounded while they are packed: of `a` all at once, of `b` a block at a time for each core. A block of the
//! sum is `DEPTH` terms, so each number of the output is the sum of the same terms in the same order, however the work is
//! spread. Where the processor has no such instruction the operands are rounded, and multiplied in `f32`.

use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::buffer::{Mat, MatMut, product as product_f32};

/// Numbers that are read as `bf16`.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

impl<'a> Numbers<'a> {
    /// The numbers of a tensor, from its first one on.
    pub(super) fn of(tensor: &'a FlexTensor) -> Self {
        let start = tensor.layout().start_offset();
        match tensor.dtype() {
            DType::F16 => Self::F16(tensor.storage::<f16>().get(start..).unwrap_or_default()),
            DType::BF16 => Self::Bf16(tensor.storage::<bf16>().get(start..).unwrap_or_default()),
            _ => Self::F32(tensor.storage::<f32>().get(start..).unwrap_or_default()),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
        }
    }

    /// All of them, rounded to `bf16`, in `f32`.
    fn rounded(self) -> Vec<f32> {
        let round = |x: f32| bf16::from_f32(x).to_f32();
        match self {
            Self::F32(numbers) => numbers.par_iter().map(|&x| round(x)).collect(),
            Self::Bf16(numbers) => numbers.to_f32_vec(),
            Self::F16(numbers) => numbers.par_iter().map(|x| round(x.to_f32())).collect(),
        }
    }
}

/// One side of a product: rows of the left matrix, or columns of the right one, each of `terms` numbers. One of the two
/// steps is 1.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    numbers: Numbers<'a>,
    lanes: usize,
    terms: usize,
    lane_step: usize,
    term_step: usize,
}

impl<'a> Side<'a> {
    /// The side whose lane i has as its term j number `i · lane_step + j · term_step`.
    pub(super) fn new(numbers: Numbers<'a>, lanes: usize, terms: usize, [lane_step, term_step]: [usize; 2]) -> Self {
        assert!(lane_step == 1 || term_step == 1, "lanes or terms beside each other");
        if lanes > 0 && terms > 0 {
            let last = (lanes - 1).checked_mul(lane_step).zip((terms - 1).checked_mul(term_step));
            let last = last.and_then(|(lane, term)| lane.checked_add(term));
            assert!(last.is_some_and(|last| last < numbers.len()), "a matrix inside its buffer");
        }
        Self { numbers, lanes, terms, lane_step, term_step }
    }
}

/// `out` `[rows, columns]` = `a` · `b`, or that added to what it holds; `a` has `rows` lanes and `b` `columns`.
pub(super) fn product(out: &mut [f32], a: Side, b: Side, accumulate: bool) {
    assert_eq!((Some(out.len()), a.terms), (a.lanes.checked_mul(b.lanes), b.terms), "matrices that fit each other");
    if a.lanes == 0 || b.lanes == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if wide::available() {
        return wide::product(out, a, b, accumulate);
    }
    narrowed(out, a, b, accumulate);
}

/// The same in `f32`, of rounded operands.
fn narrowed(out: &mut [f32], a: Side, b: Side, accumulate: bool) {
    let [left, right] = [a, b].map(|side| side.numbers.rounded());
    let left = Mat::new(&left, a.lanes, a.terms, a.lane_step, a.term_step);
    let right = Mat::new(&right, b.lanes, b.terms, b.lane_step, b.term_step).t();
    product_f32(&mut MatMut::new(out, a.lanes, b.lanes), left, right, 1.0, accumulate, true);
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;
    use std::cell::Cell;

    use rayon::prelude::*;

    use super::{Numbers, Side};

    /// Rows of the output that the innermost loop holds in registers, in two vectors each: 28 of 32 registers.
    const ROWS: usize = 14;
    /// Columns that it holds.
    const COLUMNS: usize = 32;
    /// Terms of a block of the sum: a block of `ROWS` lanes is in the first cache.
    const DEPTH: usize = 512;
    /// Columns that a core packs at a time: with `DEPTH` they are in its second cache.
    const PACKED: usize = 512;
    /// What packing may write behind a block of lanes: it writes sixteen at a time.
    const SLACK: usize = 16;

    thread_local! {
        /// Packed operands, whose memory stays: fresh memory would cost more than what is written to it.
        static LEFT: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
        static RIGHT: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
    }

    /// Whether the processor has what this module is compiled for.
    pub(super) fn available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16")
    }

    /// The lowest `count` of some bits; all from 32 on.
    fn lowest(count: usize) -> u32 {
        if count >= 32 { !0 } else { (1 << count) - 1 }
    }

    /// `count` numbers from number `at` on, at most 32, as `bf16` beside each other; zeros behind them.
    ///
    /// # Safety
    /// The numbers are there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn thirty_two(numbers: Numbers, at: usize, count: usize) -> __m512i {
        let mask = lowest(count);
        let joined = |low: __m512, high: __m512| -> __m512i {
            // SAFETY: both are 512 bits.
            unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
        };
        match numbers {
            Numbers::F32(numbers) => {
                let from = numbers.as_ptr().wrapping_add(at);
                // SAFETY: what the mask leaves out is not read.
                let [low, high] = unsafe {
                    [
                        _mm512_maskz_loadu_ps(mask as u16, from),
                        _mm512_maskz_loadu_ps((mask >> 16) as u16, from.wrapping_add(16)),
                    ]
                };
                joined(low, high)
            }
            // SAFETY: as above; a `bf16` is 16 bits.
            Numbers::Bf16(numbers) => unsafe {
                _mm512_maskz_loadu_epi16(mask, numbers.as_ptr().wrapping_add(at).cast())
            },
            Numbers::F16(numbers) => {
                // SAFETY: as above.
                let halves = unsafe { _mm512_maskz_loadu_epi16(mask, numbers.as_ptr().wrapping_add(at).cast()) };
                let low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
                joined(low, _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves)))
            }
        }
    }

    /// `count` numbers from number `at` on, at most 16, as `bf16` in the lower halves of 32 bits; zeros behind them.
    ///
    /// # Safety
    /// The numbers are there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn sixteen(numbers: Numbers, at: usize, count: usize) -> __m512i {
        let mask = lowest(count) as u16;
        let halves: __m256i = match numbers {
            // SAFETY: what the mask leaves out is not read; both types of the cast are 256 bits.
            Numbers::F32(numbers) => unsafe {
                std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(
                    mask,
                    numbers.as_ptr().wrapping_add(at),
                )))
            },
            // SAFETY: as above.
            Numbers::Bf16(numbers) => unsafe {
                _mm256_maskz_loadu_epi16(mask, numbers.as_ptr().wrapping_add(at).cast())
            },
            // SAFETY: as above.
            Numbers::F16(numbers) => unsafe {
                let halves = _mm256_maskz_loadu_epi16(mask, numbers.as_ptr().wrapping_add(at).cast());
                std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(_mm512_cvtph_ps(halves)))
            },
        };
        _mm512_cvtepu16_epi32(halves)
    }

    /// Transposes sixteen rows of sixteen numbers of 32 bits.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transpose(rows: &mut [__m512i; 16]) {
        let mut pairs = *rows;
        for i in 0..8 {
            pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
        }
        let mut fours = pairs;
        for i in 0..4 {
            fours[4 * i] = _mm512_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
            fours[4 * i + 1] = _mm512_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
            fours[4 * i + 2] = _mm512_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
            fours[4 * i + 3] = _mm512_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
        }
        let mut eights = fours;
        for i in 0..4 {
            eights[i] = _mm512_shuffle_i32x4::<0x88>(fours[i], fours[4 + i]);
            eights[4 + i] = _mm512_shuffle_i32x4::<0xdd>(fours[i], fours[4 + i]);
            eights[8 + i] = _mm512_shuffle_i32x4::<0x88>(fours[8 + i], fours[12 + i]);
            eights[12 + i] = _mm512_shuffle_i32x4::<0xdd>(fours[8 + i], fours[12 + i]);
        }
        for i in 0..4 {
            rows[i] = _mm512_shuffle_i32x4::<0x88>(eights[i], eights[8 + i]);
            rows[8 + i] = _mm512_shuffle_i32x4::<0xdd>(eights[i], eights[8 + i]);
            rows[4 + i] = _mm512_shuffle_i32x4::<0x88>(eights[4 + i], eights[12 + i]);
            rows[12 + i] = _mm512_shuffle_i32x4::<0xdd>(eights[4 + i], eights[12 + i]);
        }
    }

    /// Packs `terms` terms from term `term` on of `WIDTH` lanes from lane `lane` on: for each two terms, both of each lane.
    /// What is beyond the side is zero.
    ///
    /// # Safety
    /// The processor has what [`available`] asks for; lane and terms are of the side; there is room for `⌈terms / 2⌉ ·
    /// WIDTH + SLACK` numbers at `out`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pack<const WIDTH: usize>(side: &Side, lane: usize, term: usize, terms: usize, out: *mut u32) {
        let lanes = WIDTH.min(side.lanes - lane);
        let pairs = terms.div_ceil(2);
        for group in (0..WIDTH).step_by(16) {
            if side.term_step == 1 {
                for pair in (0..pairs).step_by(16) {
                    let mut rows = [_mm512_setzero_si512(); 16];
                    for (i, row) in rows.iter_mut().enumerate().take(lanes.saturating_sub(group)) {
                        let at = (lane + group + i) * side.lane_step + term + 2 * pair;
                        // SAFETY: no more terms are read than this lane has.
                        *row = unsafe { thirty_two(side.numbers, at, terms - 2 * pair) };
                    }
                    transpose(&mut rows);
                    for (i, row) in rows.iter().enumerate().take(pairs - pair) {
                        // SAFETY: at most `SLACK` numbers go beyond the last pair; what goes beyond another is written
                        // again by the pair behind it.
                        unsafe { _mm512_storeu_si512(out.add((pair + i) * WIDTH + group).cast(), *row) };
                    }
                }
            } else {
                let count = lanes.saturating_sub(group);
                for pair in 0..pairs {
                    let at = (term + 2 * pair) * side.term_step + lane + group;
                    let (mut both, second) = (_mm512_setzero_si512(), 2 * pair + 1 < terms);
                    if count > 0 {
                        // SAFETY: no more lanes are read than there are; the term is there.
                        both = unsafe { sixteen(side.numbers, at, count) };
                    }
                    if count > 0 && second {
                        // SAFETY: as above.
                        let high = unsafe { sixteen(side.numbers, at + side.term_step, count) };
                        both = _mm512_or_si512(both, _mm512_slli_epi32::<16>(high));
                    }
                    // SAFETY: as above.
                    unsafe { _mm512_storeu_si512(out.add(pair * WIDTH + group).cast(), both) };
                }
            }
        }
    }

    /// Where a block of the output lies, and how much of it there is.
    struct Block {
        start: *mut f32,
        row_step: usize,
        rows: usize,
        columns: usize,
    }

    /// A block of the output from packed operands of `pairs` pairs of terms each.
    ///
    /// # Safety
    /// The processor has what [`available`] asks for; the operands are packed in `ROWS` and `COLUMNS` lanes; nobody else
    /// sees the block.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn block(pairs: usize, left: *const u32, right: *const u32, out: &Block, accumulate: bool) {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for pair in 0..pairs {
            // SAFETY: `pairs` times `COLUMNS` numbers are there, and `ROWS`; all casts are between 512 bits.
            unsafe {
                let from: *const u32 = right.add(pair * COLUMNS);
                let columns: [__m512bh; 2] = [
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())),
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.add(16).cast())),
                ];
                for (i, sum) in sums.iter_mut().enumerate() {
                    let row: __m512bh = std::mem::transmute(_mm512_set1_epi32(*left.add(pair * ROWS + i) as i32));
                    sum[0] = _mm512_dpbf16_ps(sum[0], row, columns[0]);
                    sum[1] = _mm512_dpbf16_ps(sum[1], row, columns[1]);
                }
            }
        }
        let mask = lowest(out.columns);
        for (i, sums) in sums.iter().enumerate().take(out.rows) {
            for (half, &sum) in sums.iter().enumerate() {
                let mask = (mask >> (16 * half)) as u16;
                let to = out.start.wrapping_add(i * out.row_step + 16 * half);
                // SAFETY: what the mask leaves out is not touched, and the rest is of the block.
                unsafe {
                    let sum = if accumulate { _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, to)) } else { sum };
                    _mm512_mask_storeu_ps(to, mask, sum);
                }
            }
        }
    }

    /// A pointer that tasks share to write to places of their own.
    #[derive(Clone, Copy)]
    struct Shared<T>(*mut T);
    // SAFETY: it is dereferenced only in `product`, where each task writes what no other task touches.
    unsafe impl<T: Send> Send for Shared<T> {}
    // SAFETY: as above.
    unsafe impl<T: Send> Sync for Shared<T> {}

    impl<T> Shared<T> {
        /// The address `offset` elements on. A method, so that a closure captures the whole of `self`.
        fn at(self, offset: usize) -> *mut T {
            self.0.wrapping_add(offset)
        }
    }

    /// [`super::product`] of sides that are not empty and fit `out`, where it is [`available`].
    pub(super) fn product(out: &mut [f32], a: Side, b: Side, accumulate: bool) {
        let (rows, columns, terms) = (a.lanes, b.lanes, a.terms);
        assert!(available() && out.len() == rows * columns && b.terms == terms, "what the blocks below rely on");
        let blocks = terms.div_ceil(DEPTH).max(1);
        let depth = terms.div_ceil(blocks).next_multiple_of(2);
        let of_block = |block: usize| (block * depth, depth.min(terms - (block * depth).min(terms)));

        let panels = rows.div_ceil(ROWS);
        let panel = depth / 2 * ROWS + SLACK;
        let mut left = LEFT.take();
        left.resize(left.len().max(blocks * panels * panel), 0);
        let packed = Shared(left.as_mut_ptr());
        (0..panels).into_par_iter().with_min_len(4).for_each(|index| {
            for block in 0..blocks {
                let (term, count) = of_block(block);
                // SAFETY: the panel has a place of its own, as large as it needs.
                unsafe { pack::<ROWS>(&a, index * ROWS, term, count, packed.at((block * panels + index) * panel)) };
            }
        });

        let width = columns.div_ceil(columns.div_ceil(PACKED)).next_multiple_of(COLUMNS);
        let chunks = columns.div_ceil(width);
        // Some tasks for each core; who packs what for how many rows changes no sum.
        let shares = (4 * rayon::current_num_threads()).div_ceil(chunks).clamp(1, panels.div_ceil(8));
        let share = panels.div_ceil(shares);
        let start = Shared(out.as_mut_ptr());
        (0..chunks * shares).into_par_iter().with_max_len(1).for_each(|task| {
            let (first, panels_here) = (task % chunks * width, task / chunks * share..(task / chunks + 1) * share);
            let here = width.min(columns - first);
            let strip = depth / 2 * COLUMNS;
            let mut right = RIGHT.take();
            right.resize(right.len().max(here.div_ceil(COLUMNS) * strip + SLACK), 0);
            for number in 0..blocks {
                let (term, count) = of_block(number);
                for column in (0..here).step_by(COLUMNS) {
                    let to = right[column / COLUMNS * strip..].as_mut_ptr();
                    // SAFETY: the strip has its place; what goes beyond it is packed again by the next one, or is slack.
                    unsafe { pack::<COLUMNS>(&b, first + column, term, count, to) };
                }
                for index in panels_here.start..panels_here.end.min(panels) {
                    for column in (0..here).step_by(COLUMNS) {
                        let part = Block {
                            start: start.at(index * ROWS * columns + first + column),
                            row_step: columns,
                            rows: ROWS.min(rows - index * ROWS),
                            columns: COLUMNS.min(here - column),
                        };
                        let strip = right[column / COLUMNS * strip..].as_ptr();
                        // SAFETY: both sides are packed, and tasks have blocks of their own.
                        unsafe {
                            let panel = packed.at((number * panels + index) * panel);
                            block(count.div_ceil(2), panel, strip, &part, accumulate || number > 0);
                        }
                    }
                }
            }
            RIGHT.set(right);
        });
        LEFT.set(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, mut seed: u32) -> Vec<f32> {
        let next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    /// `[rows, columns]` transposed.
    fn transposed(of: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..of.len()).map(|i| of[i % rows * columns + i / rows]).collect()
    }

    const SIZES: [(usize, usize, usize); 10] = [
        (1, 1, 1),
        (3, 5, 7),
        (14, 32, 64),
        (15, 33, 65),
        (29, 70, 513),
        (40, 100, 1100),
        (1, 550, 30),
        (130, 3, 1),
        (2, 3, 0),
        (240, 17, 33),
    ];

    /// Every size, from every order in memory and every type, against sums in `f64` of rounded operands.
    #[test]
    fn products_of_any_size_order_and_type() {
        let round = |x: f32| bf16::from_f32(x).to_f32();
        for (rows, columns, terms) in SIZES {
            let (a, b) = (noise(rows * terms, 1), noise(columns * terms, 2));
            let (at, bt) = (transposed(&a, rows, terms), transposed(&b, columns, terms));
            let halves: Vec<bf16> = b.iter().map(|&x| bf16::from_f32(x)).collect();
            // Of a number in bf16 near one, an f16 holds all.
            let f16s: Vec<f16> = b.iter().map(|&x| f16::from_f32(round(x))).collect();
            let lefts = [
                Side::new(Numbers::F32(&a), rows, terms, [terms, 1]),
                Side::new(Numbers::F32(&at), rows, terms, [1, rows]),
            ];
            let rights = [
                Side::new(Numbers::F32(&b), columns, terms, [terms, 1]),
                Side::new(Numbers::F32(&bt), columns, terms, [1, columns]),
                Side::new(Numbers::Bf16(&halves), columns, terms, [terms, 1]),
                Side::new(Numbers::F16(&f16s), columns, terms, [terms, 1]),
            ];
            let sum = |i: usize, j: usize| -> f64 {
                (0..terms).map(|t| f64::from(round(a[i * terms + t])) * f64::from(round(b[j * terms + t]))).sum()
            };
            for (left, right) in lefts.iter().flat_map(|left| rights.iter().map(move |right| (*left, *right))) {
                for accumulate in [false, true] {
                    let mut out = vec![if accumulate { 1.0 } else { f32::NAN }; rows * columns];
                    let mut other = out.clone();
                    product(&mut out, left, right, accumulate);
                    narrowed(&mut other, left, right, accumulate);
                    for (at, (&one, &other)) in out.iter().zip(&other).enumerate() {
                        let exact = sum(at / columns, at % columns) + f64::from(u8::from(accumulate));
                        // A sum of so many terms below one, in f32; halves that are tiny may count as nothing.
                        let bound = 1e-6 * (terms + 1) as f64;
                        assert!((f64::from(one) - exact).abs() < bound, "{rows} {columns} {terms} {at}: {one} {exact}");
                        assert!((f64::from(other) - exact).abs() < bound, "in f32: {other} {exact}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_product_is_the_same_on_any_number_of_threads() {
        let (a, b) = (noise(300 * 1100, 1), noise(200 * 1100, 2));
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a small pool");
            let mut out = vec![0.0; 300 * 200];
            let side = |numbers, lanes| Side::new(Numbers::F32(numbers), lanes, 1100, [1100, 1]);
            pool.install(|| product(&mut out, side(&a, 300), side(&b, 200), false));
            out
        };
        assert_eq!(on(1), on(5));
    }

    #[test]
    #[should_panic(expected = "a matrix inside its buffer")]
    fn a_side_beyond_its_buffer_is_refused() {
        Side::new(Numbers::F32(&[0.0; 5]), 2, 3, [3, 1]);
    }
}
