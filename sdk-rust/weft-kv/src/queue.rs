//! Queues as the ABI has them: ops in, events out.
//!
//! Invariant: a queue is closed only when it has no event left, so that no op writes into memory
//! after it.

use std::os::fd::RawFd;
use std::sync::Arc;

use weft_sys as sys;

use crate::error::{check, plain, story, Result};
use crate::keys::c_text;
use crate::store::Opened;

/// An open queue. Who has it keeps the store open, and lets one thread at a time reap.
pub(crate) struct RawQueue(*mut sys::weft_queue);

// SAFETY: the handle is a number that the library looks up; any thread may submit, and the owners
// see to one reaper.
unsafe impl Send for RawQueue {}
unsafe impl Sync for RawQueue {}

impl RawQueue {
    pub(crate) fn open(store: *mut sys::weft_store, options: Option<&str>) -> Result<Self> {
        let options = options.map(c_text).transpose()?;
        let (mut queue, mut words) = (std::ptr::null_mut(), story());
        let text = options.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        // SAFETY: a terminated string or null, and values of this frame.
        check(
            unsafe { sys::weft_queue_open(store, text, &raw mut queue, &raw mut words) },
            &words,
        )?;
        Ok(Self(queue))
    }

    /// How many ops were taken. Never waits.
    pub(crate) fn submit(&self, ops: &[sys::weft_op]) -> Result<usize> {
        let count = ops.len().min(i32::MAX as usize) as u32;
        // SAFETY: ops is count ops long; what they name is their maker's to keep.
        Ok(plain(unsafe { sys::weft_submit(self.0, ops.as_ptr(), count) })? as usize)
    }

    /// How many events came; 0 at the timeout. One thread at a time.
    pub(crate) fn reap(&self, events: &mut [sys::weft_event], timeout_ms: i32) -> Result<usize> {
        let room = events.len().min(i32::MAX as usize) as u32;
        // SAFETY: events has that much room.
        Ok(plain(unsafe { sys::weft_reap(self.0, events.as_mut_ptr(), room, timeout_ms) })?
            as usize)
    }

    /// One op and its event, on a queue without others. An error: the op was not taken.
    pub(crate) fn run(&self, op: &sys::weft_op) -> Result<sys::weft_event> {
        self.submit(std::slice::from_ref(op))?;
        let mut event = [sys::weft_event::default()];
        loop {
            match self.reap(&mut event, -1) {
                Ok(0) => {}
                Ok(_) => return Ok(event[0]),
                // The library promises each op its event. Without it nobody may use the op's memory
                // again.
                Err(error) => {
                    eprintln!("weft: an op was taken and has no event: {error}");
                    std::process::abort()
                }
            }
        }
    }

    pub(crate) fn fd(&self) -> Result<RawFd> {
        plain(unsafe { sys::weft_queue_fd(self.0) })
    }

    /// Ends what is in flight and drops the events; the queue is gone then. Twice is once. By the
    /// one who reaps.
    pub(crate) fn end(&self) {
        let mut events = [sys::weft_event::default(); 16];
        while self.close().is_ok_and(|left| left > 0) && self.reap(&mut events, -1).is_ok() {}
    }

    /// Takes no more ops and ends those in flight. How many events are left; 0: the queue is gone.
    pub(crate) fn close(&self) -> Result<usize> {
        Ok(plain(unsafe { sys::weft_queue_close(self.0) })? as usize)
    }
}

impl Drop for RawQueue {
    fn drop(&mut self) {
        self.end();
    }
}

/// A queue of one's own: ops of [`sys`](crate::sys), thousands at a time.
pub struct Queue {
    queue: RawQueue, // before the store
    _opened: Arc<Opened>,
}

impl Queue {
    pub(crate) fn new(queue: RawQueue, opened: Arc<Opened>) -> Self {
        Self { queue, _opened: opened }
    }

    /// Takes ops in order and says how many; `Again` where none. Threads: any. Never waits.
    ///
    /// # Safety
    /// Memory that an op names (data, items) must stay, and must not be used, until its event has
    /// been reaped or the queue is gone.
    pub unsafe fn submit(&self, ops: &[sys::weft_op]) -> Result<usize> {
        self.queue.submit(ops)
    }

    /// How many events came; 0 at the timeout of `timeout_ms`, and -1 waits for good. Threads: one
    /// at a time.
    pub fn reap(&mut self, events: &mut [sys::weft_event], timeout_ms: i32) -> Result<usize> {
        self.queue.reap(events, timeout_ms)
    }

    /// An eventfd, readable while there are events; it is the queue's, and only
    /// [`reap`](Self::reap) clears it.
    pub fn fd(&self) -> Result<RawFd> {
        self.queue.fd()
    }

    /// Takes no more ops and ends those in flight; how many events are left to reap.
    pub fn close(&mut self) -> Result<usize> {
        self.queue.close()
    }

    /// The ABI's handle, for [`sys`](crate::sys). It is the queue's: do not close it.
    #[must_use]
    pub fn handle(&self) -> *mut sys::weft_queue {
        self.queue.0
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({:?})", self.queue.0)
    }
}
