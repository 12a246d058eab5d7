//! The arithmetic that takes the time: matrix products and attention, as loops over small arrays
//! of a fixed size that the compiler turns into SIMD, once plain and once more for processors with
//! AVX2 and FMA, chosen at run time.
//!
//! Every result is summed in an order of its own that does not depend on the rows beside it: a
//! token's logits are the same bits, however its prompt was cut into calls.

use crate::shape::{HEAD_FLOATS, HEAD_SIZE, PAGE};

/// Values that are looked at side by side: a register of AVX2.
const LANES: usize = 8;

/// Adds row-major `a` [rows, inner] times `b` [inner, columns] to `out` [rows, columns]; the
/// columns are a multiple of 32.
pub fn multiply(a: &[f32], b: &[f32], out: &mut [f32], inner: usize, columns: usize) {
    let rows = a.len() / inner;
    assert!(a.len() == rows * inner && b.len() == inner * columns && out.len() == rows * columns);
    assert!(columns % 32 == 0, "{columns} columns");
    let sizes = Sizes { rows, inner, columns, a_row: inner, out_row: columns };
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function asks for.
        return unsafe { multiply_avx2(a, b, out, sizes) };
    }
    multiply_by::<FUSED>(a, b, out, sizes);
}

/// The keys and values of one head, page by page where they lie, and how many tokens they reach.
pub struct Past<'a> {
    pub keys: Vec<&'a [f32]>,
    pub values: Vec<&'a [f32]>,
    pub length: usize,
}

/// Attends from the last `count` tokens of `past`: row r of `queries` [rows, `HEAD_SIZE`] is token
/// r % count of them and sees all up to itself. `out` is like `queries`.
pub fn attend(queries: &[f32], count: usize, past: &Past, out: &mut [f32]) {
    assert!(queries.len() == out.len() && queries.len() % (count * HEAD_SIZE) == 0);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function asks for.
        return unsafe { attend_avx2(queries, count, past, out) };
    }
    attend_by::<FUSED>(queries, count, past, out);
}

/// Whether every processor of this kind multiplies and adds in one step.
const FUSED: bool = cfg!(target_arch = "aarch64");

/// Of a product; `a_row` and `out_row` are the floats from one row to the next.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    inner: usize,
    columns: usize,
    a_row: usize,
    out_row: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_avx2(a: &[f32], b: &[f32], out: &mut [f32], sizes: Sizes) {
    multiply_by::<true>(a, b, out, sizes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn attend_avx2(queries: &[f32], count: usize, past: &Past, out: &mut [f32]) {
    attend_by::<true>(queries, count, past, out);
}

#[inline(always)]
fn multiply_add<const FUSE: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if FUSE {
        a.mul_add(b, sum)
    } else {
        a * b + sum
    }
}

#[inline(always)]
fn multiply_by<const FUSE: bool>(a: &[f32], b: &[f32], out: &mut [f32], sizes: Sizes) {
    let fours = sizes.rows / 4 * 4;
    for row in (0..fours).step_by(4) {
        for column in (0..sizes.columns).step_by(16) {
            tile::<FUSE, 4, 16>(a, b, out, sizes, row, column);
        }
    }
    for row in fours..sizes.rows {
        for column in (0..sizes.columns).step_by(32) {
            tile::<FUSE, 1, 32>(a, b, out, sizes, row, column);
        }
    }
}

/// A piece of the product that stays in registers: ROWS by COLUMNS sums.
#[inline(always)]
fn tile<const FUSE: bool, const ROWS: usize, const COLUMNS: usize>(
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    sizes: Sizes,
    row: usize,
    column: usize,
) {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
    for i in 0..ROWS {
        rows[i] = &a[(row + i) * sizes.a_row..][..sizes.inner];
        sums[i].copy_from_slice(&out[(row + i) * sizes.out_row + column..][..COLUMNS]);
    }
    for k in 0..sizes.inner {
        let line: &[f32; COLUMNS] = b[k * sizes.columns + column..][..COLUMNS].try_into().unwrap();
        for i in 0..ROWS {
            for j in 0..COLUMNS {
                sums[i][j] = multiply_add::<FUSE>(rows[i][k], line[j], sums[i][j]);
            }
        }
    }
    for i in 0..ROWS {
        out[(row + i) * sizes.out_row + column..][..COLUMNS].copy_from_slice(&sums[i]);
    }
}

#[inline(always)]
fn attend_by<const FUSE: bool>(queries: &[f32], count: usize, past: &Past, out: &mut [f32]) {
    let rows = queries.len() / HEAD_SIZE;
    let width = past.keys.len() * PAGE;
    let mut scores = vec![0f32; rows * width];
    let sizes = Sizes { rows, inner: HEAD_SIZE, columns: PAGE, a_row: HEAD_SIZE, out_row: width };
    for (page, keys) in past.keys.iter().enumerate() {
        multiply_by::<FUSE>(queries, &turned(keys), &mut scores[page * PAGE..], sizes);
    }
    let mut sums = vec![0f32; rows];
    for (row, scores) in scores.chunks_exact_mut(width).enumerate() {
        let (seen, later) = scores.split_at_mut(past.length - count + row % count + 1);
        let most = largest(seen);
        for score in seen.iter_mut() {
            *score = exp::<FUSE>(*score - most);
        }
        later.fill(0.0);
        sums[row] = sum(seen);
    }
    out.fill(0.0);
    let sizes = Sizes { rows, inner: PAGE, columns: HEAD_SIZE, a_row: width, out_row: HEAD_SIZE };
    for (page, values) in past.values.iter().enumerate() {
        multiply_by::<FUSE>(&scores[page * PAGE..], values, out, sizes);
    }
    for (out, sum) in out.chunks_exact_mut(HEAD_SIZE).zip(sums) {
        for out in out {
            *out /= sum;
        }
    }
}

/// A page's keys of one head with their tokens innermost: what its place in a product needs.
#[inline(always)]
fn turned(keys: &[f32]) -> [f32; HEAD_FLOATS] {
    let mut turned = [0f32; HEAD_FLOATS];
    for (token, key) in keys.chunks_exact(HEAD_SIZE).enumerate() {
        for (i, value) in key.iter().enumerate() {
            turned[i * PAGE + token] = *value;
        }
    }
    turned
}

#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (eights, rest) = values.split_at(values.len() / LANES * LANES);
    for values in eights.chunks_exact(LANES) {
        for lane in 0..LANES {
            most[lane] = if values[lane] > most[lane] { values[lane] } else { most[lane] };
        }
    }
    rest.iter().chain(&most).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of any number of values, in lanes: fewer roundings than one after another.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (eights, rest) = values.split_at(values.len() / LANES * LANES);
    for values in eights.chunks_exact(LANES) {
        for lane in 0..LANES {
            sums[lane] += values[lane];
        }
    }
    rest.iter().chain(&sums).sum()
}

/// e to the `x`, for x at most 0, to the last bit but one, in steps that SIMD has: 2 to the whole
/// part of x / ln 2 is an exponent, and the rest is a polynomial (Cephes' expf).
#[inline(always)]
fn exp<const FUSE: bool>(x: f32) -> f32 {
    const HALVES: f32 = (3 << 22) as f32; // added, the last bit of a float32 counts ones
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let x = if x > -87.0 { x } else { -87.0 };
    let counted = multiply_add::<FUSE>(x, std::f32::consts::LOG2_E, HALVES);
    let whole = counted - HALVES;
    let rest = multiply_add::<FUSE>(whole, -LN_2.0, x);
    let rest = multiply_add::<FUSE>(whole, -LN_2.1, rest);
    let mut sum = 1.987_569_1e-4;
    for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0] {
        sum = multiply_add::<FUSE>(sum, rest, factor);
    }
    sum * f32::from_bits((counted.to_bits() << 23).wrapping_add(127 << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between -1 and 1 without a pattern.
    fn some(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) as f32).sin()).collect()
    }

    fn close(ours: &[f32], exact: &[f64]) {
        assert_eq!(ours.len(), exact.len());
        for (ours, exact) in ours.iter().zip(exact) {
            assert!((f64::from(*ours) - exact).abs() < 1e-4, "{ours} for {exact}");
        }
    }

    #[test]
    fn products_with_and_without_simd_are_those_of_the_definition() {
        let (rows, inner, columns) = (7, 50, 128);
        let (a, b) = (some(rows * inner, 1), some(inner * columns, 2));
        let at = |row: usize, column: usize| -> f64 {
            let term = |k| f64::from(a[row * inner + k]) * f64::from(b[k * columns + column]);
            (0..inner).map(term).sum()
        };
        let exact: Vec<f64> = (0..rows * columns).map(|i| at(i / columns, i % columns)).collect();
        let mut out = vec![0.0; rows * columns];
        multiply(&a, &b, &mut out, inner, columns);
        close(&out, &exact);
        let sizes = Sizes { rows, inner, columns, a_row: inner, out_row: columns };
        out.fill(0.0);
        multiply_by::<false>(&a, &b, &mut out, sizes);
        close(&out, &exact);
    }

    #[test]
    fn exp_is_right_to_the_last_bit_but_one() {
        for step in 0..8_700 {
            let x = step as f32 * -0.01;
            let exact = f64::from(x).exp();
            for ours in [exp::<true>(x), exp::<false>(x)] {
                let error = (f64::from(ours) - exact).abs() / exact;
                assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {ours} for {exact}");
            }
        }
        assert!(exp::<true>(f32::NEG_INFINITY) < 2e-38);
        assert_eq!(exp::<false>(0.0), 1.0);
    }

    #[test]
    fn attention_with_and_without_simd_is_that_of_the_definition() {
        let (count, length) = (3, PAGE + 9);
        let queries = some(2 * count * HEAD_SIZE, 3);
        let (keys, values) = (some(2 * PAGE * HEAD_SIZE, 4), some(2 * PAGE * HEAD_SIZE, 5));
        let mut exact = Vec::new();
        for (row, query) in queries.chunks(HEAD_SIZE).enumerate() {
            let sees = length - count + row % count + 1;
            let score = |key: &[f32]| {
                let terms = query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k));
                terms.sum::<f64>().exp()
            };
            let scores: Vec<f64> = keys.chunks(HEAD_SIZE).take(sees).map(score).collect();
            let mixed = |i: usize| -> f64 {
                let value = |token: usize| f64::from(values[token * HEAD_SIZE + i]);
                scores.iter().enumerate().map(|(token, score)| score * value(token)).sum()
            };
            exact.extend((0..HEAD_SIZE).map(|i| mixed(i) / scores.iter().sum::<f64>()));
        }
        let (keys, values) = (keys.chunks(PAGE * HEAD_SIZE), values.chunks(PAGE * HEAD_SIZE));
        let past = Past { keys: keys.collect(), values: values.collect(), length };
        let mut out = vec![0.0; queries.len()];
        attend(&queries, count, &past, &mut out);
        close(&out, &exact);
        attend_by::<false>(&queries, count, &past, &mut out);
        close(&out, &exact);
    }
}
