//! The quickstart's transformer in Rust, on the same weights and the same blocks as its Python
//! engines: `shape` is what both agree on, `weights` reads the file, `kernels` computes, `model`
//! puts them together over pages that lie anywhere. None of these knows Weft: the program does.

pub mod kernels;
pub mod model;
pub mod shape;
pub mod weights;

/// What went wrong, in words for whoever started the program.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
