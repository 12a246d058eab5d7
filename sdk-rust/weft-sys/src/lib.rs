//! The C ABI of Weft as Rust declarations: `weft.h`, item by item, with its comments. The crate
//! `weft-kv` is what most programs want; this one is for those who build ops themselves.
//!
//! Invariants: `bindings.rs` is generated and nobody edits it; whether the library is linked or,
//! with the feature `dlopen`, loaded at run time, names and types are the same. Call [`load`]
//! before any other function.
//!
//! # Safety
//! Pointers must be valid as `weft.h` says. Handles need not: garbage and closed ones give a code.
//! Memory that an op names must stay until the op's event has been reaped.

#[allow(
    missing_docs,
    non_camel_case_types,
    clippy::pedantic,
    clippy::doc_lazy_continuation,
    clippy::doc_overindented_list_items
)]
mod bindings;
#[cfg(feature = "dlopen")]
mod dlopen;

#[cfg(not(feature = "dlopen"))]
pub use bindings::*;
#[cfg(feature = "dlopen")]
pub use dlopen::functions::*;

/// Whether there is a libweft and it speaks this crate's ABI; else one sentence that says what to
/// install. Any thread; the first call of a program with the feature `dlopen` loads the library,
/// which is never unloaded.
pub fn load() -> Result<(), String> {
    #[cfg(feature = "dlopen")]
    dlopen::load()?;
    // SAFETY: no pointers; loaded.
    let (abi, built_with) = unsafe { (weft_abi(), WEFT_ABI as u32) };
    if abi >= built_with {
        return Ok(());
    }
    Err(format!(
        "libweft.so.1 speaks ABI {abi}, this program was built with {built_with}: install a newer \
         Weft"
    ))
}
