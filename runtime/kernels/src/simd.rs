//! Loops compiled for the widest vectors of the machine, and the elementary functions inside them.
//!
//! The crate is built for a baseline processor, where a plain loop gets vectors of 128 bits. A function declared in
//! [`wide!`] is compiled for AVX2 and AVX-512 too, and one of the three is picked at run time. Reductions keep
//! [`LANES`] running values in a fixed order, so that they vectorise, and so that a result does not depend on who
//! computes it.

/// Whether the processor has what `wide!` compiles for: AVX2 with FMA, and AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn features() -> (bool, bool) {
    let v3 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let v4 = v3
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    (v3, v4)
}

/// Declares functions that run compiled for the widest vectors of the machine.
///
/// What they call has to be inlined to profit; a large closure is not.
macro_rules! wide {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block)+) => {$(
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $type),*) {
            #[inline(always)]
            fn body($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn v3($($arg: $type),*) {
                    body($($arg),*)
                }

                #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
                fn v4($($arg: $type),*) {
                    body($($arg),*)
                }

                let (has_v3, has_v4) = $crate::simd::features();
                if has_v4 {
                    // SAFETY: the processor has every feature the function is compiled for.
                    return unsafe { v4($($arg),*) };
                }
                if has_v3 {
                    // SAFETY: as above.
                    return unsafe { v3($($arg),*) };
                }
            }
            body($($arg),*)
        }
    )+};
}
pub(crate) use wide;

/// Running values of a reduction: two vectors of 512 bits.
pub(super) const LANES: usize = 32;

/// Adds up `LANES` values in a fixed order.
#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Σ f(x).
#[inline(always)]
pub(super) fn sum(xs: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += f(chunk[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    fold(lanes)
}

/// Σ f(x, y) over two slices of one length.
#[inline(always)]
pub(super) fn sum2(xs: &[f32], ys: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((xs, xs_rest), (ys, ys_rest)) = (xs.as_chunks::<LANES>(), ys.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(xs_rest.iter().zip(ys_rest)) {
        *lane += f(x, y);
    }
    fold(lanes)
}

/// The greatest value, −∞ of nothing; NaN is passed over.
#[inline(always)]
pub(super) fn max(xs: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if x > *lane { x } else { *lane };
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = if lanes[i + width] > lanes[i] { lanes[i + width] } else { lanes[i] };
        }
        width /= 2;
    }
    lanes[0]
}

/// eˣ within 2 units in the last place for x in `[−87.3, 88.3]`, the value at the nearer end outside, NaN for NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with few bits, so that the difference is exact.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_2e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    y * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The standard normal distribution at `x`: the probability of a value below it, and the density.
///
/// The tail is eᶻ²·erfc(z) at z = |x|/√2, fitted by a polynomial in 1 / (1 + 0.35 z) to 7·10⁻⁹ of its value, times
/// e⁻ᶻ²; so both are good to a few units in the last place of their own size, however small they get.
#[inline(always)]
pub(super) fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let square = x * x;
    let rounded_off = x.mul_add(x, -square);
    let e = exp(-0.5 * square);
    let e = (-0.5 * rounded_off).mul_add(e, e);
    let t = 1.0 / z.mul_add(0.35, 1.0);
    let p = 0.038_401_353_f32;
    let p = p.mul_add(t, -0.158_929_91);
    let p = p.mul_add(t, 0.181_465_05);
    let p = p.mul_add(t, -0.027_710_745);
    let p = p.mul_add(t, 0.087_022_99);
    let p = p.mul_add(t, 0.146_039_92);
    let p = p.mul_add(t, 0.151_186_97);
    let p = p.mul_add(t, 0.187_902_23);
    let p = p.mul_add(t, 0.197_138_37);
    let p = p.mul_add(t, 0.197_483_78);
    let tail = 0.5 * e * (p * t);
    (if x < 0.0 { tail } else { 1.0 - tail }, e * 0.398_942_3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for i in -87_200..88_200 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
        assert!(exp(f32::INFINITY) > 1e38);
    }

    /// The normal distribution by its series or its continued fraction, in double precision.
    fn normal_f64(x: f64) -> f64 {
        let z = x.abs() / std::f64::consts::SQRT_2;
        let tail = if z < 3.0 {
            // erf z = 2/√π e⁻ᶻ² Σ 2ⁿ z²ⁿ⁺¹ / (2n+1)!!
            let (mut term, mut sum, mut n) = (z, z, 0.0);
            while term > 1e-20 * sum {
                n += 1.0;
                term *= 2.0 * z * z / (2.0 * n + 1.0);
                sum += term;
            }
            0.5 * (1.0 - std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() * sum)
        } else {
            let mut f = z;
            for k in (1..200).rev() {
                f = z + f64::from(k) / 2.0 / f;
            }
            0.5 * (-z * z).exp() / (f * std::f64::consts::PI.sqrt())
        };
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    #[test]
    fn normal_is_within_a_millionth_of_itself() {
        for i in -12_000..12_000 {
            let x = i as f32 * 1e-3;
            let (below, density) = normal(x);
            let (exact, e) = (normal_f64(f64::from(x)), (-0.5 * f64::from(x).powi(2)).exp() / 2.506_628_274_631_000_5);
            assert!((f64::from(below) - exact).abs() < 1e-6 * exact, "{x}: {below} for {exact}");
            assert!((f64::from(density) - e).abs() < 1e-6 * e, "{x}: density {density} for {e}");
        }
        assert_eq!(normal(0.0).0, 0.5);
        assert!(normal(f32::NAN).0.is_nan());
    }

    wide! {
        /// Every element times `by`.
        fn scale(xs: &mut [f32], by: f32) {
            xs.iter_mut().for_each(|x| *x = x.mul_add(by, 1.0));
        }
    }

    #[test]
    fn a_wide_function_takes_any_length() {
        for n in [0, 1, 15, 16, 17, 33, 100] {
            let mut xs: Vec<f32> = (0..n).map(|i| i as f32).collect();
            scale(&mut xs, 3.0);
            assert!(xs.iter().enumerate().all(|(i, &x)| x == 3.0 * i as f32 + 1.0));
        }
    }

    #[test]
    fn reductions_take_any_length() {
        for n in [0, 1, 31, 32, 33, 100] {
            let xs: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(sum(&xs, |x| x), (n * n.max(1) - n) as f32 / 2.0);
            assert_eq!(sum2(&xs, &xs, |x, y| x - y), 0.0);
            assert_eq!(max(&xs), if n == 0 { f32::NEG_INFINITY } else { n as f32 - 1.0 });
        }
    }
}
