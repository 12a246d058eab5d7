//! The model's shape and the layout of its blocks, as `shape.py` and `model.py` of the quickstart
//! have them: a block that one language saved is a page for the other.

pub const VOCABULARY: usize = 256;
pub const WIDTH: usize = 128;
pub const LAYERS: usize = 6;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const HEAD_SIZE: usize = 32;
pub const HIDDEN: usize = 288;
pub const ROPE_BASE: f64 = 10_000.0;

/// Tokens that the model was trained to look back on.
pub const CONTEXT: usize = 2304;

/// Tokens a page.
pub const PAGE: usize = 32;

/// A page's array, float32: layers, keys then values, heads, tokens, their size.
pub const PAGE_SHAPE: [usize; 5] = [LAYERS, 2, KV_HEADS, PAGE, HEAD_SIZE];

/// Floats of a page, and of one head's keys (or values) in it.
pub const PAGE_FLOATS: usize = LAYERS * 2 * KV_HEADS * HEAD_FLOATS;
pub const HEAD_FLOATS: usize = PAGE * HEAD_SIZE;

pub const PAGE_BYTES: usize = PAGE_FLOATS * size_of::<f32>();

/// Where in a page the keys (`kind` 0) or values (1) of a head begin, in floats.
pub const fn head_at(layer: usize, kind: usize, head: usize) -> usize {
    ((layer * 2 + kind) * KV_HEADS + head) * HEAD_FLOATS
}
