//! The arithmetic that takes the time: matrix products and attention, as loops over small arrays
//! of a fixed size that the compiler turns into SIMD, once plain and once more for processors with
//! AVX2 and FMA, chosen at run time.
//!
//! Every result is summed in an order of its own that does not depend on the rows beside it: a
//! token's logits are the same bits, however its prompt was cut into calls.

use crate::shape::{HEAD_SIZE, PAGE};

/// Partial sums that run side by side where a row is summed up: a register of AVX2.
const LANES: usize = 8;

/// Multiplies row-major `a` [rows, inner] by `b` [inner, columns] into `out` [rows, columns]; the
/// columns are a multiple of 64.
pub fn multiply(a: &[f32], b: &[f32], out: &mut [f32], inner: usize, columns: usize) {
    assert!(columns % 64 == 0 && a.len() / inner == out.len() / columns, "{columns} columns");
    assert!(a.len() % inner == 0 && out.len() % columns == 0 && b.len() == inner * columns);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function asks for.
        return unsafe { multiply_avx2(a, b, out, inner, columns) };
    }
    multiply_by::<FUSED>(a, b, out, inner, columns);
}

/// The keys and values of one head, page by page where they lie, and how many tokens they reach.
pub struct Past<'a> {
    pub keys: Vec<&'a [f32]>,
    pub values: Vec<&'a [f32]>,
    pub length: usize,
}

/// Attends from the last `count` tokens of `past`: row r of `queries` [rows, HEAD_SIZE] is token
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

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_avx2(a: &[f32], b: &[f32], out: &mut [f32], inner: usize, columns: usize) {
    multiply_by::<true>(a, b, out, inner, columns);
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
fn multiply_by<const FUSE: bool>(
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    inner: usize,
    columns: usize,
) {
    let rows = a.len() / inner;
    let fours = rows / 4 * 4;
    for row in (0..fours).step_by(4) {
        for column in (0..columns).step_by(16) {
            tile::<FUSE, 4, 16>(a, b, out, [row, column, inner, columns]);
        }
    }
    for row in fours..rows {
        for column in (0..columns).step_by(64) {
            tile::<FUSE, 1, 64>(a, b, out, [row, column, inner, columns]);
        }
    }
}

/// A piece of the product that stays in registers: ROWS by COLUMNS sums.
#[inline(always)]
fn tile<const FUSE: bool, const ROWS: usize, const COLUMNS: usize>(
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    [row, column, inner, columns]: [usize; 4],
) {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    let rows: [&[f32]; ROWS] = std::array::from_fn(|i| &a[(row + i) * inner..][..inner]);
    for k in 0..inner {
        let line: &[f32; COLUMNS] = b[k * columns + column..][..COLUMNS].try_into().unwrap();
        for i in 0..ROWS {
            for j in 0..COLUMNS {
                sums[i][j] = multiply_add::<FUSE>(rows[i][k], line[j], sums[i][j]);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        out[(row + i) * columns + column..][..COLUMNS].copy_from_slice(sums);
    }
}

#[inline(always)]
fn attend_by<const FUSE: bool>(queries: &[f32], count: usize, past: &Past, out: &mut [f32]) {
    let mut scores = vec![0f32; past.length];
    let rows = queries.chunks_exact(HEAD_SIZE).zip(out.chunks_exact_mut(HEAD_SIZE));
    for (row, (query, out)) in rows.enumerate() {
        let sees = past.length - count + row % count + 1;
        let scores = &mut scores[..sees];
        for (scores, keys) in scores.chunks_mut(PAGE).zip(&past.keys) {
            for (score, key) in scores.iter_mut().zip(keys.chunks_exact(HEAD_SIZE)) {
                *score = dot::<FUSE>(query, key);
            }
        }
        let mut most = f32::NEG_INFINITY;
        for score in scores.iter() {
            most = if *score > most { *score } else { most };
        }
        for score in scores.iter_mut() {
            *score = (*score - most).exp();
        }
        let mut mixed = [0f32; HEAD_SIZE];
        for (shares, values) in scores.chunks(PAGE).zip(&past.values) {
            for (share, value) in shares.iter().zip(values.chunks_exact(HEAD_SIZE)) {
                for i in 0..HEAD_SIZE {
                    mixed[i] = multiply_add::<FUSE>(*share, value[i], mixed[i]);
                }
            }
        }
        let all = sum(scores);
        for (out, mixed) in out.iter_mut().zip(mixed) {
            *out = mixed / all;
        }
    }
}

#[inline(always)]
fn dot<const FUSE: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FUSE>(a[lane], b[lane], sums[lane]);
        }
    }
    add_up(sums)
}

/// The sum of any number of values, in lanes: exact to fewer roundings than one after another.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    for values in values.chunks(LANES) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
    add_up(sums)
}

#[inline(always)]
fn add_up(sums: [f32; LANES]) -> f32 {
    let fours: [f32; 4] = std::array::from_fn(|i| sums[i] + sums[i + 4]);
    (fours[0] + fours[2]) + (fours[1] + fours[3])
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
        multiply_by::<false>(&a, &b, &mut out, inner, columns);
        close(&out, &exact);
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
