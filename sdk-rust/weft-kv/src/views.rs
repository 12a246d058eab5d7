//! Views: the cache's own memory, read in place.
//!
//! Invariants: a view keeps its namespace, and so the store, open; the library keeps a published
//! block's bytes as they are until the view is released, whatever becomes of the block. A block
//! that is still being written has no `View`: of [`Following`] only bytes that are final can be
//! seen.

use std::ops::{Deref, Index};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::Arc;

use weft_sys as sys;

use crate::call::Call;
use crate::error::{Error, Result};
use crate::namespace::Space;
use crate::store::release;
use crate::Key;

/// What a hold keeps open: lent by the namespace, or owned.
pub(crate) enum Keeper<'a> {
    Lent(&'a Arc<Space>),
    Owned(Arc<Space>),
}

impl Deref for Keeper<'_> {
    type Target = Arc<Space>;
    fn deref(&self) -> &Arc<Space> {
        match self {
            Self::Lent(space) => space,
            Self::Owned(space) => space,
        }
    }
}

/// Memory of the store, for as long as something holds it.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    data: NonNull<u8>,
    len: usize,
}

// SAFETY: shared memory that any thread may read; who writes it has it alone (`Reservation`, by
// &mut).
unsafe impl Send for Span {}
unsafe impl Sync for Span {}

impl Span {
    pub(crate) fn new(address: u64, len: usize) -> Self {
        let data =
            NonNull::new(address as *mut u8).filter(|_| len > 0).unwrap_or(NonNull::dangling());
        Self { data, len }
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// # Safety
    /// The span is held, and its first `len` bytes are final, for all of `'a`.
    pub(crate) unsafe fn bytes<'a>(self, len: usize) -> &'a [u8] {
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), len.min(self.len)) }
    }

    /// # Safety
    /// The span is reserved, and nobody else sees its bytes from `start` on, for all of `'a`.
    pub(crate) unsafe fn bytes_mut<'a>(self, start: usize) -> &'a mut [u8] {
        let start = start.min(self.len);
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr().add(start), self.len - start) }
    }
}

/// A part read in place: `&[u8]` without a copy, unchanged until it is dropped, whatever becomes of
/// the block.
///
/// It borrows its [`Namespace`](crate::Namespace), or owns its share of it
/// ([`into_owned`](Self::into_owned), and what [`fetch`](crate::Namespace::fetch) gives). Threads:
/// any.
pub struct View<'a> {
    span: Span,
    hold: Hold<'a>,
}

/// Ends a view, pin or claim when it is dropped.
pub(crate) struct Hold<'a> {
    pub(crate) space: Keeper<'a>,
    pub(crate) handle: u64,
}

impl Hold<'_> {
    fn into_owned(mut self) -> Hold<'static> {
        let space = Keeper::Owned((*self.space).clone());
        Hold { space, handle: std::mem::take(&mut self.handle) }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        release(self.space.opened.handle, self.handle);
    }
}

impl<'a> View<'a> {
    pub(crate) fn new(space: Keeper<'a>, handle: u64, address: u64, len: usize) -> Self {
        Self { span: Span::new(address, len), hold: Hold { space, handle } }
    }

    /// The same view, that may outlive the namespace and the store that it came from.
    #[must_use]
    pub fn into_owned(self) -> View<'static> {
        View { span: self.span, hold: self.hold.into_owned() }
    }

    /// Lets the block go now, as dropping it does.
    pub fn release(self) {}
}

impl Deref for View<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: a published block, held until self is dropped. Who could still write it is a
        // process that breaks the protocol of weft.h.
        unsafe { self.span.bytes(self.span.len) }
    }
}

impl AsRef<[u8]> for View<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View({} bytes)", self.len())
    }
}

/// Views of a list's lead blocks, under one handle.
pub struct Views<'a> {
    spans: Vec<Span>,
    hold: Hold<'a>,
}

impl<'a> Views<'a> {
    pub(crate) fn new(space: Keeper<'a>, handle: u64, items: &[sys::weft_item]) -> Self {
        let spans = items.iter().map(|item| Span::new(item.offset, item.size as usize)).collect();
        Self { spans, hold: Hold { space, handle } }
    }

    /// The same views, that may outlive the namespace and the store that they came from.
    #[must_use]
    pub fn into_owned(self) -> Views<'static> {
        Views { spans: self.spans, hold: self.hold.into_owned() }
    }

    /// How many blocks are viewed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of the key at `index`, None behind the last.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        // SAFETY: as for View.
        self.spans.get(index).map(|span| unsafe { span.bytes(span.len) })
    }

    /// The blocks' bytes in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| &self[index])
    }
}

impl Index<usize> for Views<'_> {
    type Output = [u8];
    fn index(&self, index: usize) -> &[u8] {
        self.get(index).unwrap_or_else(|| panic!("view {index} of {}", self.len()))
    }
}

/// A part that is still being written, followed: [`until`](Self::until) waits,
/// [`bytes`](Self::bytes) are what is final. What was read counts once
/// [`wait`](crate::Namespace::wait) says that the block is published.
pub struct Following {
    view: View<'static>,
    key: Key,
    part: u16,
    /// Its own among the followers of this process.
    number: u32,
    known: Arc<AtomicUsize>,
}

impl Following {
    pub(crate) fn new(view: View<'static>, key: Key, part: u16, number: u32) -> Self {
        Self { view, key, part, number, known: Arc::default() }
    }

    /// A number that no other follower of this process has, counted down so that users' small ones
    /// stay free.
    pub(crate) fn number() -> u32 {
        static LAST: AtomicU32 = AtomicU32::new(0);
        LAST.fetch_sub(1, Ordering::Relaxed).wrapping_sub(1)
    }

    /// The bytes of the whole part.
    #[must_use]
    pub fn size(&self) -> usize {
        self.view.span.len
    }

    /// Waits until the part's bytes before `end` are final. False: its writer gave up, drop what
    /// was read.
    pub fn until(&self, end: usize) -> Call<'static, bool> {
        let space = &self.view.hold.space;
        let call = Call::new(space, "until", sys::WEFT_OP_WAIT, |call, event| {
            let went = call.check(event, &[sys::WEFT_EMISS])?;
            if let (true, Some((known, _))) = (went, &call.kept.watermark) {
                known.fetch_max(event.value as usize, Ordering::AcqRel);
            }
            Ok(Some(went))
        });
        let call = call.key(self.key).part(self.part);
        let mut call = call.follower(self.number);
        call.kept.watermark = Some((self.known.clone(), self.part));
        if end > self.size() {
            let words = format!("until: {end} bytes of a part of {}", self.size());
            return call.wrong(Error::Invalid(words));
        }
        call.kept.idle = end == 0; // to an op it would mean all
        call.size(end as u32) // a part has less than 4 GiB
    }

    /// The bytes from the part's begin that are known to be final, by [`until`](Self::until): none
    /// before the first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the view is held; the library has said that these are final (the watermark's
        // Acquire pairs with the Release of `until`, which is after the library's own).
        unsafe { self.view.span.bytes(self.known.load(Ordering::Acquire)) }
    }
}

/// Views of a list op: the items that it opened.
pub(crate) fn viewed(
    call: &mut Call<'_, Views<'static>>,
    event: &sys::weft_event,
) -> Result<Option<Views<'static>>> {
    let opened = call.kept.items.iter().any(|item| item.status >= 0);
    if event.status < 0 && !opened {
        call.check(event, &[sys::WEFT_EMISS])?;
    }
    let handle = if opened || event.status >= 0 { event.handle } else { 0 }; // else a story's
    let lead = (event.value as usize).min(call.kept.items.len());
    Ok(Some(Views::new(Keeper::Owned(call.space.clone()), handle, &call.kept.items[..lead])))
}
