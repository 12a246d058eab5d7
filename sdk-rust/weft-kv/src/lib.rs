// The crate's page is the README of its folder, whose code runs as tests; here is what it exports.
#![doc = include_str!("../README.md")]

mod array;
mod call;
mod error;
mod holds;
mod keys;
mod namespace;
mod pool;
mod queue;
mod reactor;
mod store;
#[cfg(feature = "tokio")]
mod tokio;
mod views;

pub use array::{Array, Element};
pub use call::{Call, Follows, Reuse, Running};
pub use error::{Error, MissReason, Result};
pub use holds::{Claim, Found, Reservation};
pub use keys::{keys, keys_from, Key, Keys};
pub use namespace::{Namespace, Rows};
pub use pool::Pool;
pub use queue::Queue;
pub use store::{version, Store};
pub use views::{Following, View, Views};
/// The C ABI itself.
pub use weft_sys as sys;
