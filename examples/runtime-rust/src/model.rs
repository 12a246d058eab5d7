//! A small transformer that reads its keys and values from pages, wherever they lie.
//!
//! A page holds what all layers keep of PAGE tokens, laid out as `shape` says. A sequence is a list
//! of such pages; some are its own, others are memory that somebody else filled and that nobody
//! changes while the sequence holds it: attention reads each page where it is, one after another,
//! and never gathers them. A found page is only ever read.

use std::ops::Deref;

use crate::kernels::{attend, multiply, Past};
use crate::shape::*;
use crate::weights::Weights;
use crate::Failure;

/// One page: computed here, or found as the bytes that `F` keeps alive.
pub enum Page<F> {
    Own(Box<[f32]>),
    Found(F),
}

impl<F: Deref<Target = [u8]>> Page<F> {
    pub fn floats(&self) -> &[f32] {
        match self {
            Page::Own(floats) => floats,
            Page::Found(bytes) => bytemuck::cast_slice(bytes),
        }
    }
}

/// The tokens computed or found so far: how many, and their pages in order.
pub struct Sequence<F> {
    length: usize,
    pages: Vec<Page<F>>,
}

impl<F: Deref<Target = [u8]>> Default for Sequence<F> {
    fn default() -> Self {
        Sequence { length: 0, pages: Vec::new() }
    }
}

impl<F: Deref<Target = [u8]>> Sequence<F> {
    pub fn length(&self) -> usize {
        self.length
    }

    pub fn pages(&self) -> &[Page<F>] {
        &self.pages
    }

    /// Goes on behind a full page that somebody else computed; only between full pages.
    pub fn add_found(&mut self, page: F) {
        assert!(self.length == PAGE * self.pages.len(), "{} tokens end inside a page", self.length);
        assert!(page.len() == PAGE_BYTES, "a page of {} bytes, not {PAGE_BYTES}", page.len());
        self.pages.push(Page::Found(page));
        self.length += PAGE;
    }

    /// The page that the next token lies in, a new one where the last is full.
    fn page_to_write(&mut self) -> &mut [f32] {
        if self.length == PAGE * self.pages.len() {
            self.pages.push(Page::Own(vec![0.0; PAGE_FLOATS].into()));
        }
        match self.pages.last_mut() {
            Some(Page::Own(floats)) => floats,
            _ => unreachable!("found pages are full"),
        }
    }
}

/// The matrices of one layer, each [in, out].
struct Layer {
    norm_attention: Vec<f32>,
    attend: Vec<f32>,
    output: Vec<f32>,
    norm_mlp: Vec<f32>,
    gate_up: Vec<f32>,
    down: Vec<f32>,
}

/// The weights of one file, ready to compute with. Any thread may use it; it is not changed.
pub struct Model {
    layers: Vec<Layer>,
    embed: Vec<f32>,
    unembed: Vec<f32>,
    norm_final: Vec<f32>,
    frequencies: [f32; HEAD_SIZE / 2],
}

const QUERIES: usize = HEADS * HEAD_SIZE;
const KEYS: usize = KV_HEADS * HEAD_SIZE;
const ATTEND: usize = QUERIES + 2 * KEYS;

impl Model {
    pub fn load(path: &str) -> Result<Model, Failure> {
        let mut file = Weights::read(path)?;
        let mut stack = |name: &str, rows: usize, columns: usize| {
            let array = file.take(name, &[LAYERS, rows, columns])?;
            Ok::<_, Failure>(array.chunks(rows * columns).map(<[f32]>::to_vec).collect::<Vec<_>>())
        };
        let attend = [
            stack("query", WIDTH, QUERIES)?,
            stack("key", WIDTH, KEYS)?,
            stack("value", WIDTH, KEYS)?,
        ];
        let output = stack("output", QUERIES, WIDTH)?;
        let gate_up = [stack("gate", WIDTH, HIDDEN)?, stack("up", WIDTH, HIDDEN)?];
        let down = stack("down", HIDDEN, WIDTH)?;
        let norm_attention = file.take("norm_attention", &[LAYERS, WIDTH])?;
        let norm_mlp = file.take("norm_mlp", &[LAYERS, WIDTH])?;
        let layers = (0..LAYERS).map(|layer| Layer {
            norm_attention: norm_attention[layer * WIDTH..][..WIDTH].to_vec(),
            attend: side_by_side(WIDTH, &attend.each_ref().map(|matrices| &matrices[layer][..])),
            output: output[layer].clone(),
            norm_mlp: norm_mlp[layer * WIDTH..][..WIDTH].to_vec(),
            gate_up: side_by_side(WIDTH, &gate_up.each_ref().map(|matrices| &matrices[layer][..])),
            down: down[layer].clone(),
        });
        let layers = layers.collect();
        let embed = file.take("embed", &[VOCABULARY, WIDTH])?;
        Ok(Model {
            layers,
            unembed: transposed(&embed, WIDTH),
            embed,
            norm_final: file.take("norm_final", &[WIDTH])?,
            frequencies: std::array::from_fn(|i| {
                ROPE_BASE.powf(-((2 * i) as f64 / HEAD_SIZE as f64)) as f32
            }),
        })
    }

    /// Computes the next tokens of a sequence and writes their keys and values to its last page.
    ///
    /// `tokens` must not cross a page's end nor the context. Returns the logits behind each:
    /// [tokens, VOCABULARY].
    pub fn forward<F>(&self, tokens: &[u8], sequence: &mut Sequence<F>) -> Result<Vec<f32>, Failure>
    where
        F: Deref<Target = [u8]>,
    {
        let (begin, count) = (sequence.length, tokens.len());
        if count == 0 || count > PAGE - begin % PAGE || begin + count > CONTEXT {
            let what = format!("cross a page of {PAGE} or the context {CONTEXT}");
            return Err(format!("{count} tokens at {begin} {what}").into());
        }
        let turns = self.turns(begin, count);
        let embedding = |token: &u8| &self.embed[usize::from(*token) * WIDTH..][..WIDTH];
        let mut x: Vec<f32> = tokens.iter().flat_map(embedding).copied().collect();
        for (index, layer) in self.layers.iter().enumerate() {
            let h = product(&normed(&x, &layer.norm_attention), &layer.attend, ATTEND);
            let mixed = attention(index, h, &turns, sequence);
            add(&mut x, &product(&mixed, &layer.output, WIDTH));
            let h = product(&normed(&x, &layer.norm_mlp), &layer.gate_up, 2 * HIDDEN);
            add(&mut x, &product(&gated(&h), &layer.down, WIDTH));
        }
        sequence.length += count;
        Ok(product(&normed(&x, &self.norm_final), &self.unembed, VOCABULARY))
    }

    /// Computes `tokens[sequence.length()..]` page by page; returns the logits behind the last.
    pub fn prefill<F>(&self, tokens: &[u8], sequence: &mut Sequence<F>) -> Result<Vec<f32>, Failure>
    where
        F: Deref<Target = [u8]>,
    {
        let mut logits = Vec::new();
        while sequence.length < tokens.len() {
            let end = tokens.len().min((sequence.length / PAGE + 1) * PAGE);
            logits = self.forward(&tokens[sequence.length..end], sequence)?;
        }
        Ok(logits.split_off(logits.len().saturating_sub(VOCABULARY)))
    }

    /// The cosine and sine of each angle of the positions from `begin` on.
    fn turns(&self, begin: usize, count: usize) -> Vec<[(f32, f32); HEAD_SIZE / 2]> {
        let of = |position: usize| {
            self.frequencies.map(|frequency| {
                let (sin, cos) = (position as f32 * frequency).sin_cos();
                (cos, sin)
            })
        };
        (begin..begin + count).map(of).collect()
    }
}

/// The likeliest byte; of equals the first, as numpy's argmax.
pub fn likeliest(logits: &[f32]) -> u8 {
    let mut best = 0;
    for (byte, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = byte;
        }
    }
    best as u8
}

/// Attends from new tokens, `h` their queries, keys and values, to all before and among themselves.
fn attention<F>(
    layer: usize,
    mut h: Vec<f32>,
    turns: &[[(f32, f32); HEAD_SIZE / 2]],
    sequence: &mut Sequence<F>,
) -> Vec<f32>
where
    F: Deref<Target = [u8]>,
{
    let (begin, count) = (sequence.length, turns.len());
    let page = sequence.page_to_write();
    for (token, (heads, turns)) in h.chunks_exact_mut(ATTEND).zip(turns).enumerate() {
        for head in heads[..QUERIES + KEYS].chunks_exact_mut(HEAD_SIZE) {
            rotate(head, turns);
        }
        let kept = heads[QUERIES..].chunks_exact(HEAD_SIZE);
        for (at, values) in kept.enumerate() {
            let place = head_at(layer, at / KV_HEADS, at % KV_HEADS);
            let place = place + (begin + token) % PAGE * HEAD_SIZE;
            page[place..][..HEAD_SIZE].copy_from_slice(values);
        }
    }
    let mut mixed = vec![0.0; count * QUERIES];
    let group = HEADS / KV_HEADS;
    for kv_head in 0..KV_HEADS {
        let of = |kind: usize| {
            let place = head_at(layer, kind, kv_head);
            sequence.pages.iter().map(move |page| &page.floats()[place..][..HEAD_FLOATS])
        };
        let past = Past { keys: of(0).collect(), values: of(1).collect(), length: begin + count };
        // Rows are (query head of the group, token).
        let places = (0..group * count).map(|row| {
            let (head, token) = (kv_head * group + row / count, row % count);
            (token * ATTEND + head * HEAD_SIZE, token * QUERIES + head * HEAD_SIZE)
        });
        let scale = (HEAD_SIZE as f32).powf(-0.5);
        let query = |(from, _): (usize, usize)| h[from..][..HEAD_SIZE].iter();
        let queries: Vec<f32> = places.clone().flat_map(query).map(|value| value * scale).collect();
        let mut out = vec![0.0; queries.len()];
        attend(&queries, count, &past, &mut out);
        for ((_, to), out) in places.zip(out.chunks_exact(HEAD_SIZE)) {
            mixed[to..][..HEAD_SIZE].copy_from_slice(out);
        }
    }
    mixed
}

/// Turns a head's first half against its second by the angles of its position.
fn rotate(head: &mut [f32], turns: &[(f32, f32); HEAD_SIZE / 2]) {
    let (first, second) = head.split_at_mut(HEAD_SIZE / 2);
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

fn normed(x: &[f32], scale: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(WIDTH) {
        let mean = row.iter().map(|value| value * value).sum::<f32>() / WIDTH as f32;
        let root = (mean + 1e-5).sqrt();
        out.extend(row.iter().zip(scale).map(|(value, scale)| value / root * scale));
    }
    out
}

/// SwiGLU of rows [gate, up].
fn gated(h: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(h.len() / 2);
    for row in h.chunks_exact(2 * HIDDEN) {
        let (gate, up) = row.split_at(HIDDEN);
        out.extend(gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up));
    }
    out
}

fn add(x: &mut [f32], more: &[f32]) {
    x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
}

fn product(a: &[f32], b: &[f32], columns: usize) -> Vec<f32> {
    let inner = b.len() / columns;
    let mut out = vec![0.0; a.len() / inner * columns];
    multiply(a, b, &mut out, inner, columns);
    out
}

/// Joins matrices of as many rows along their columns.
fn side_by_side(rows: usize, matrices: &[&[f32]]) -> Vec<f32> {
    let row = |row: usize| {
        matrices.iter().flat_map(move |matrix| {
            let columns = matrix.len() / rows;
            &matrix[row * columns..][..columns]
        })
    };
    (0..rows).flat_map(row).copied().collect()
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column]))
        .collect()
}
