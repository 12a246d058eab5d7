//! Arrays saved by name: their type and shape are `NumPy`'s .npy header in the part, so that every
//! language reads them. For namespaces with `part_bytes=0`.
//!
//! Invariant: an [`Array`] was checked when it was made: its type is `T`, its bytes are as many as
//! its shape says, and aligned.

use std::marker::PhantomData;
use std::ops::Deref;

use weft_sys as sys;

use crate::call::Call;
use crate::error::{Error, Result};
use crate::views::{Keeper, View};
use crate::{Key, Namespace};

const MAGIC: &[u8] = b"\x93NUMPY";
const ALIGNMENT: usize = 64; // of the data in the file, as NumPy pads

/// What an array may be of: numbers of which any bytes are a value.
pub trait Element: Copy + sealed::Sealed + 'static {
    /// Its name in a .npy header: "<f4".
    const DESCR: &'static str;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty: $descr:literal),*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DESCR: &'static str = $descr;
        }
    )*};
}
elements! {
    f32: "<f4", f64: "<f8",
    i8: "|i1", i16: "<i2", i32: "<i4", i64: "<i8",
    u8: "|u1", u16: "<u2", u32: "<u4", u64: "<u8"
}
#[cfg(not(target_endian = "little"))]
compile_error!("arrays are little-endian");

/// An array in the cache's own memory: `&[T]` in C order without a copy, and its shape. It keeps
/// its block.
pub struct Array<T: Element> {
    view: View<'static>,
    start: usize,
    shape: Vec<usize>,
    of: PhantomData<T>,
}

impl<T: Element> Array<T> {
    fn new(view: View<'static>) -> Result<Self> {
        let wrong = |what: &str| Error::Invalid(format!("a part of {} bytes: {what}", view.len()));
        let (start, header) = header_of(&view).ok_or_else(|| wrong("no .npy array"))?;
        let descr = between(header, "'descr': '", "'").ok_or_else(|| wrong(header))?;
        if descr != T::DESCR || !header.contains("'fortran_order': False") {
            return Err(wrong(&format!("an array {header}, not {} in C order", T::DESCR)));
        }
        let sizes = between(header, "'shape': (", ")").ok_or_else(|| wrong(header))?;
        let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(str::parse).collect::<std::result::Result<Vec<usize>, _>>();
        let shape = shape.map_err(|_| wrong(header))?;
        let bytes = shape.iter().try_fold(size_of::<T>(), |all, &size| all.checked_mul(size));
        if bytes != Some(view.len() - start) || !view[start..].as_ptr().cast::<T>().is_aligned() {
            return Err(wrong(&format!(
                "{} bytes from {start} on are not {header}",
                view.len() - start
            )));
        }
        Ok(Self { view, start, shape, of: PhantomData })
    }

    /// Rows, columns, ...
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

impl<T: Element> Deref for Array<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        let data = &self.view[self.start..];
        // SAFETY: aligned and as long as checked; any bytes are a T.
        unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), data.len() / size_of::<T>()) }
    }
}

/// Where the data begins, and the header's text.
fn header_of(part: &[u8]) -> Option<(usize, &str)> {
    let rest = part.strip_prefix(MAGIC)?;
    let (begin, length) = match *rest.first()? {
        1 => (10, usize::from(u16::from_le_bytes(part.get(8..10)?.try_into().ok()?))),
        _ => (12, u32::from_le_bytes(part.get(8..12)?.try_into().ok()?) as usize),
    };
    let header = std::str::from_utf8(part.get(begin..begin + length)?).ok()?;
    Some((begin + length, header.trim_end()))
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

fn npy<T: Element>(data: &[T], shape: &[usize]) -> Vec<u8> {
    let sizes: Vec<_> = shape.iter().map(ToString::to_string).collect();
    let sizes = sizes.join(", ") + if shape.len() == 1 { "," } else { "" };
    let dict = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({sizes}), }}", T::DESCR);
    let begin = (10 + dict.len() + 1).next_multiple_of(ALIGNMENT);
    // SAFETY: numbers without padding are bytes.
    let data = unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<u8>(), size_of_val(data)) };
    let mut part = Vec::with_capacity(begin + data.len());
    part.extend_from_slice(MAGIC);
    part.extend_from_slice(&[1, 0]);
    part.extend_from_slice(&((begin - 10) as u16).to_le_bytes());
    part.extend_from_slice(format!("{dict:<width$}\n", width = begin - 11).as_bytes());
    part.extend_from_slice(data);
    part
}

impl Namespace {
    /// Saves an array in C order as a .npy part. True: this call published it. Takes what
    /// [`save`](Self::save) takes.
    pub fn save_array<T: Element>(
        &self,
        key: impl Into<Key>,
        data: &[T],
        shape: &[usize],
    ) -> Call<'static, bool> {
        let mut call = self.save(key, npy(data, shape));
        if shape.iter().product::<usize>() != data.len() {
            let words = format!("{} numbers are no array of {shape:?}", data.len());
            call.kept.error = Some(Error::Invalid(words));
        }
        call
    }

    /// What `save_array` saved, in this or any language, in place; None: a miss. Errors: `Invalid`,
    /// where it is no array of `T`.
    pub fn fetch_array<T: Element>(&self, key: impl Into<Key>) -> Call<'static, Option<Array<T>>> {
        let call = self.call("fetch_array", sys::WEFT_OP_VIEW, |call, event| {
            if !call.check(event, &[sys::WEFT_EMISS])? {
                return Ok(Some(None));
            }
            let space = Keeper::Owned(call.space.clone());
            let view = View::new(space, event.handle, event.value, event.detail as usize);
            Array::new(view).map(|array| Some(Some(array)))
        });
        call.key(key.into())
    }
}
