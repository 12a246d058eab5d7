//! What a call holds for its caller until it is let go: pins, claims, reservations. Each lets go
//! when it is dropped, so that nothing is held for ever by an error or a dropped future.

use std::sync::Arc;

use weft_sys as sys;

use crate::call::{size_u32, Call};
use crate::error::{Error, MissReason, Result};
use crate::namespace::Space;
use crate::store::release;
use crate::views::{Hold, Span};

/// What [`find`](crate::Namespace::find) counted. With `pin()`, the counted blocks stay loadable by
/// every rank until this is dropped, or its time is over.
pub struct Found {
    /// How many lead blocks are whole and in reach.
    pub blocks: usize,
    /// Why the next one does not count; None: there is no next one.
    pub reason: Option<MissReason>,
    pub(crate) _pin: Hold<'static>,
}

/// The right to compute `keys[first..]`; others wait meanwhile. It ends block by block as they are
/// published, and wholly when this is dropped.
pub struct Claim {
    /// How many lead blocks are there already, or come from others.
    pub first: usize,
    pub(crate) _hold: Hold<'static>,
}

/// Parts opened for writing in place. [`commit`](Self::commit) publishes them; dropped before, they
/// are aborted.
///
/// Threads: one at a time, by `&mut`; the slices of [`rows_mut`](Self::rows_mut) may go to several.
pub struct Reservation {
    space: Arc<Space>,
    /// 0: it is over, or nothing was opened.
    handle: u64,
    /// Of each key; None: the block was there already.
    spans: Vec<Option<Span>>,
    /// Bytes that followers may see: nobody writes them any more.
    known: usize,
}

impl Reservation {
    pub(crate) fn new(space: &Arc<Space>, handle: u64, spans: Vec<Option<Span>>) -> Self {
        Self { space: space.clone(), handle, spans, known: 0 }
    }

    /// Of a list op's items, preset to be not opened.
    pub(crate) fn of_list(
        space: &Arc<Space>,
        event: &sys::weft_event,
        items: &[sys::weft_item],
    ) -> Self {
        let span = |item: &sys::weft_item| Span::new(item.offset, item.size as usize);
        let spans: Vec<_> =
            items.iter().map(|item| (item.status >= 0).then(|| span(item))).collect();
        let opened = event.status >= 0 || spans.iter().any(Option::is_some);
        Self::new(space, if opened { event.handle } else { 0 }, spans)
    }

    /// The bytes of the first part that is open; 0: none is.
    #[must_use]
    pub fn size(&self) -> usize {
        self.spans.iter().flatten().next().map_or(0, |span| span.len())
    }

    /// What is still to be written of the first open part: from where it is final.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.rows_mut().into_iter().flatten().next().unwrap_or_default()
    }

    /// The same of each key's part; None for a block that was there already.
    pub fn rows_mut(&mut self) -> Vec<Option<&mut [u8]>> {
        let known = self.known;
        // SAFETY: the spans are reserved for us until the handle is given back, which takes self;
        // they are of different blocks; followers see only what is before `known`, and the borrow
        // of self keeps everybody else away.
        self.spans.iter().map(|span| span.map(|span| unsafe { span.bytes_mut(known) })).collect()
    }

    /// Makes the bytes before `size` of each part final, for those who follow; from now on they
    /// cannot be written. Errors: `Invalid` where no part has as many.
    pub fn final_to(&mut self, size: usize) -> Call<'static, ()> {
        let mut call = self.op("final_to", sys::WEFT_OP_COMMIT, done).flag(sys::WEFT_MORE);
        let most = self.spans.iter().flatten().map(|span| span.len()).max().unwrap_or(0);
        if size > most && self.handle != 0 {
            let words = format!("final_to: {size} bytes of a part of {most}");
            return call.wrong(Error::Invalid(words));
        }
        self.known = self.known.max(size);
        match size_u32(size) {
            Ok(size) => call.kept.limit = Some(size),
            Err(error) => return call.wrong(error),
        }
        call
    }

    /// Publishes the parts. True: this published the last of the blocks; false: other parts lack,
    /// or nothing was open. Takes `ttl_s` and `reuse`.
    pub fn commit(self) -> Call<'static, bool> {
        let published = |call: &mut Call<'static, bool>, event: &sys::weft_event| {
            over(&mut call.kept.reservation);
            call.check(event, &[])?;
            Ok(Some(event.detail == 1))
        };
        let mut call = self.op("commit", sys::WEFT_OP_COMMIT, published);
        call.kept.reservation = Some(self);
        call
    }

    /// Drops what was written and gives the keys free, as dropping it does, and says when that is
    /// done.
    pub fn abort(self) -> Call<'static, ()> {
        let mut call = self.op("abort", sys::WEFT_OP_ABORT, done);
        call.kept.reservation = Some(self);
        call
    }

    fn op<T>(
        &self,
        what: &'static str,
        kind: i32,
        finish: crate::call::Finish<'static, T>,
    ) -> Call<'static, T> {
        let mut call = Call::new(&self.space, what, kind, finish);
        call.op.offset = self.handle;
        call.kept.idle = self.handle == 0;
        call
    }
}

/// COMMIT and ABORT, failed ones too, are the caller's last word.
fn over(reservation: &mut Option<Reservation>) {
    if let Some(mut reservation) = reservation.take() {
        reservation.handle = 0;
    }
}

fn done(call: &mut Call<'static, ()>, event: &sys::weft_event) -> Result<Option<()>> {
    over(&mut call.kept.reservation);
    call.check(event, &[])?;
    Ok(Some(()))
}

impl Drop for Reservation {
    fn drop(&mut self) {
        release(self.space.opened.handle, self.handle);
    }
}

/// One for each key, else an error that says both numbers.
pub(crate) fn same_count(rows: usize, keys: usize) -> Result<()> {
    if rows == keys {
        return Ok(());
    }
    Err(Error::Invalid(format!("{rows} rows for {keys} keys: each key has one")))
}
