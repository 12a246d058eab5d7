//! libweft.so.1 loaded at run time, for programs that also run without it.
//!
//! Invariants: all functions are found or the load fails; it is tried once; each signature is the
//! generated one, which the compiler checks. Threads: any.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::OnceLock;

use crate::bindings::{
    weft_error, weft_event, weft_item, weft_namespace, weft_op, weft_queue, weft_store,
};

extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}
const RTLD_NOW: c_int = 2;

fn why() -> String {
    // SAFETY: dlerror gives null or a string that stays until this thread's next call of the kind.
    let words = unsafe { dlerror() };
    if words.is_null() {
        return "no reason given".into();
    }
    unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
}

fn library() -> Result<*mut c_void, String> {
    // SAFETY: a C string; what the library's constructors do is nothing.
    let library = unsafe { dlopen(c"libweft.so.1".as_ptr(), RTLD_NOW) };
    if !library.is_null() {
        return Ok(library);
    }
    Err(format!(
        "Weft is not installed where the loader looks ({}): install it (cmake --install) and run \
         ldconfig, or add its folder to LD_LIBRARY_PATH",
        why()
    ))
}

/// name: terminated.
fn symbol(library: *mut c_void, name: &str) -> Result<*mut c_void, String> {
    // SAFETY: an open library and a C string.
    let found = unsafe { dlsym(library, name.as_ptr().cast()) };
    if !found.is_null() {
        return Ok(found);
    }
    Err(format!("libweft.so.1 is too old ({}): install a newer Weft", why()))
}

static TABLE: OnceLock<Result<Table, String>> = OnceLock::new();

pub(crate) fn load() -> Result<&'static Table, String> {
    TABLE.get_or_init(find).as_ref().map_err(Clone::clone)
}

fn table() -> &'static Table {
    load().unwrap_or_else(|words| panic!("{words}"))
}

macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        pub(crate) struct Table { $($name: unsafe extern "C" fn($($type),*) -> $result),* }

        fn find() -> Result<Table, String> {
            let library = library()?;
            Ok(Table { $($name: {
                type Function = unsafe extern "C" fn($($type),*) -> $result;
                let found = symbol(library, concat!(stringify!($name), "\0"))?;
                // SAFETY: libweft.so.1 has it of this type, by weft.h and its soname.
                unsafe { std::mem::transmute::<*mut c_void, Function>(found) }
            }),* })
        }

        $(const _: unsafe extern "C" fn($($type),*) -> $result = crate::bindings::$name;)*

        /// All of weft.h, each function by its name: these hide the linked ones.
        pub(crate) mod functions {
            pub use crate::bindings::*;
            use super::{c_char, table};
            $(
                #[doc = concat!("`", stringify!($name), "` of weft.h.")]
                ///
                /// # Safety
                /// As the crate's page says.
                ///
                /// # Panics
                /// Where the library cannot be loaded: see [`crate::load`].
                #[allow(clippy::too_many_arguments)]
                pub unsafe fn $name($($argument: $type),*) -> $result {
                    unsafe { (table().$name)($($argument),*) }
                }
            )*
        }
    };
}

functions! {
    weft_abi() -> u32;
    weft_version() -> *const c_char;
    weft_code_name(code: i32) -> *const c_char;
    weft_open(options: *const c_char, out: *mut *mut weft_store, error: *mut weft_error) -> i32;
    weft_close(store: *mut weft_store) -> i32;
    weft_query(store: *mut weft_store, space: u32, query: *const c_char, json_out: *mut c_char,
        capacity: u32, error: *mut weft_error) -> i32;
    weft_namespace_open(store: *mut weft_store, name: *const c_char, options: *const c_char,
        out: *mut weft_namespace, error: *mut weft_error) -> i32;
    weft_namespace_close(store: *mut weft_store, space: u32) -> i32;
    weft_region_map(store: *mut weft_store, size: u64, options: *const c_char, region_out: *mut
        u32, address_out: *mut u64, error: *mut weft_error) -> i32;
    weft_region_adopt(store: *mut weft_store, address: u64, size: u64, device: i32, region_out:
        *mut u32, error: *mut weft_error) -> i32;
    weft_pool_open(store: *mut weft_store, layout: *const c_char, bases: *const u64, count: u32,
        device: i32, region_out: *mut u32, error: *mut weft_error) -> i32;
    weft_region_drop(store: *mut weft_store, region: u32) -> i32;
    weft_queue_open(store: *mut weft_store, options: *const c_char, out: *mut *mut weft_queue,
        error: *mut weft_error) -> i32;
    weft_queue_close(queue: *mut weft_queue) -> i32;
    weft_queue_fd(queue: *mut weft_queue) -> i32;
    weft_submit(queue: *mut weft_queue, ops: *const weft_op, count: u32) -> i32;
    weft_reap(queue: *mut weft_queue, events: *mut weft_event, capacity: u32, timeout_ms: i32)
        -> i32;
    weft_match(store: *mut weft_store, space: u32, items: *const weft_item, count: u32) -> i32;
    weft_view(store: *mut weft_store, space: u32, part: u32, items: *mut weft_item, count: u32,
        handle_out: *mut u64) -> i32;
    weft_release(store: *mut weft_store, handles: *const u64, count: u32) -> i32;
    weft_keys(options: *const c_char, chain: *mut u8, tokens: *const u32, token_count: u32,
        block_tokens: u32, items: *mut weft_item, capacity: u32, error: *mut weft_error) -> i32;
    weft_key_of(bytes: *const u8, size: u64, item: *mut weft_item) -> i32;
}
