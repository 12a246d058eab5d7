//! How futures are carried out: a store has one queue for all of them.
//!
//! Who submits an op looks at once for its event, since a local op has often ended within the
//! submit; no other thread is involved then. Otherwise the future leaves its waker, and a thread,
//! which sleeps while nothing is in flight, reaps; or, with the feature `tokio`, whoever awaits
//! [`Store::reap_in_tokio`](crate::Store::reap_in_tokio).
//!
//! Invariants:
//! - One thread at a time reaps: `reaping` is true from before its `weft_reap` until its events are
//!   taken over.
//! - A tag is never used twice, so that a CANCEL can only end the op that it is meant for.
//! - What an op names lives until its event: in its future, on the heap; a future that is dropped
//!   leaves it in its slot (`Abandoned`); one that is leaked leaks it.
//! - Wakers and abandoned calls run without the lock: they may come back here, and may drop the
//!   store.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use weft_sys as sys;

use crate::error::{Error, Result};
use crate::queue::RawQueue;
use crate::store::lock;

/// What becomes of the event of an op whose future is gone.
type Abandoned = Box<dyn FnOnce(sys::weft_event) + Send>;

enum Slot {
    Waiting(Option<Waker>),
    Done(sys::weft_event),
    Abandoned(Abandoned),
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
struct State {
    slots: HashMap<u64, Slot>,
    last_tag: u64,
    /// Ops taken less events reaped; an event may be counted before its op.
    in_flight: i64,
    reaping: bool,
    /// There is a thread that reaps.
    thread: bool,
    /// A tokio runtime reaps instead; it is woken by a write to this, the queue's own eventfd.
    runtime: Option<File>,
    /// The runtime came while somebody else was reaping.
    skipped: bool,
    closed: bool,
    /// Who found the queue full.
    room: Vec<Waker>,
    /// Tags of abandoned ops whose CANCEL found the queue full.
    cancels: Vec<u64>,
}

impl State {
    fn wake_runtime(&mut self) {
        if let Some(event) = &mut self.runtime {
            let _ = event.write(&1u64.to_ne_bytes()); // fails only where it is readable already
        }
    }
}

pub(crate) struct Reactor {
    pub(crate) queue: RawQueue,
    state: Mutex<State>,
    /// Something is in flight, nobody reaps any more, or the reactor is closed.
    changed: Condvar,
}

const EVENTS: usize = 64;

impl Reactor {
    pub(crate) fn new(queue: RawQueue) -> Arc<Self> {
        Arc::new(Self { queue, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Submits one op; its tag. Pending where the queue is full: the waker is called when there is
    /// room.
    pub(crate) fn submit(self: &Arc<Self>, op: &sys::weft_op, waker: &Waker) -> Poll<Result<u64>> {
        let mut op = *op;
        let mut waits = false;
        {
            let mut state = lock(&self.state);
            state.last_tag += 1;
            op.tag = state.last_tag;
            state.slots.insert(op.tag, Slot::Waiting(None));
        }
        loop {
            let taken = self.queue.submit(std::slice::from_ref(&op));
            let mut state = lock(&self.state);
            match taken {
                Ok(_) => {
                    state.in_flight += 1;
                    return Poll::Ready(Ok(op.tag));
                }
                // Once more with the waker in place: else the last event could have been reaped in
                // between.
                Err(Error::Again(_)) if !waits => {
                    state.room.push(waker.clone());
                    waits = true;
                }
                Err(error) => {
                    state.slots.remove(&op.tag);
                    if matches!(error, Error::Again(_)) {
                        self.need_reaper(state)?;
                        return Poll::Pending;
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// The event of the op of this tag.
    pub(crate) fn poll(
        self: &Arc<Self>,
        tag: u64,
        context: &Context<'_>,
    ) -> Poll<Result<sys::weft_event>> {
        let mut state = lock(&self.state);
        match state.slots.get_mut(&tag) {
            Some(Slot::Waiting(waker)) => {
                match waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waker = Some(context.waker().clone()),
                }
                self.need_reaper(state)?;
                Poll::Pending
            }
            Some(Slot::Done(event)) => {
                let event = *event;
                state.slots.remove(&tag);
                Poll::Ready(Ok(event))
            }
            _ => unreachable!("a future polls only the op that it waits for"),
        }
    }

    /// The future of this tag is gone: cancels its op, and gives `call` the event, now or when it
    /// comes.
    pub(crate) fn abandon(self: &Arc<Self>, tag: u64, call: Abandoned) {
        let mut state = lock(&self.state);
        if let Some(Slot::Done(event)) = state.slots.remove(&tag) {
            drop(state);
            return call(event);
        }
        state.slots.insert(tag, Slot::Abandoned(call));
        state.cancels.push(tag);
        self.cancel(&mut state);
        let _ = self.need_reaper(state); // else the next call does
    }

    /// Submits what CANCELs there is room for. Never waits.
    fn cancel(&self, state: &mut State) {
        let cancel = |&tag: &u64| sys::weft_op {
            kind: sys::WEFT_OP_CANCEL as u16,
            offset: tag,
            ..Default::default()
        };
        let ops: Vec<_> = state.cancels.iter().take(EVENTS).map(cancel).collect();
        if let Ok(count @ 1..) = self.queue.submit(&ops) {
            state.cancels.drain(..count);
            state.in_flight += count as i64;
        }
    }

    /// Takes over the events that are there, unless somebody reaps already. How many.
    pub(crate) fn look(&self) -> usize {
        let mut state = lock(&self.state);
        if state.reaping || state.closed {
            return 0;
        }
        state.reaping = true;
        drop(state);
        self.reap(0)
    }

    /// By whom has set `reaping`.
    fn reap(&self, timeout_ms: i32) -> usize {
        let mut events = [sys::weft_event::default(); EVENTS];
        let reaped = self.queue.reap(&mut events, timeout_ms);
        let count = *reaped.as_ref().unwrap_or(&0);
        let (mut wakers, mut calls) = (Vec::new(), Vec::new());
        let mut state = lock(&self.state);
        state.reaping = false;
        state.in_flight -= count as i64;
        if reaped.is_err() {
            state.in_flight = 0; // a queue that is gone, as in a forked child: nothing to wait for
        }
        for event in &events[..count] {
            match state.slots.remove(&event.tag) {
                Some(Slot::Waiting(waker)) => {
                    wakers.extend(waker);
                    state.slots.insert(event.tag, Slot::Done(*event));
                }
                Some(Slot::Abandoned(call)) => calls.push((call, *event)),
                _ => {} // a CANCEL's
            }
        }
        if count > 0 {
            wakers.append(&mut state.room);
            if !state.cancels.is_empty() {
                self.cancel(&mut state);
            }
        }
        if state.in_flight > 0 || state.closed {
            self.changed.notify_all();
        }
        if std::mem::take(&mut state.skipped) {
            state.wake_runtime();
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        for (call, event) in calls {
            call(event);
        }
        count
    }

    /// Sees to it that what is in flight is reaped. Errors: `NoMemory`, where the machine gives no
    /// thread.
    fn need_reaper(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> Result<()> {
        if !state.thread && state.runtime.is_none() {
            let reactor = self.clone();
            let thread = std::thread::Builder::new().name("weft-reaper".into());
            thread.spawn(move || reactor.serve()).map_err(|error| {
                Error::NoMemory(format!("a thread that wakes futures: {error}"))
            })?;
            state.thread = true;
        }
        self.changed.notify_all();
        Ok(())
    }

    /// From now on a runtime reaps (`Some`), or the thread again. False: another runtime does, or
    /// the queue is closed.
    #[cfg(feature = "tokio")]
    pub(crate) fn hand_over(self: &Arc<Self>, runtime: Option<File>) -> bool {
        let mut state = lock(&self.state);
        if state.closed || runtime.is_some() && state.runtime.is_some() {
            return false;
        }
        state.runtime = runtime;
        if state.runtime.is_none() && state.in_flight > 0 {
            let _ = self.need_reaper(state); // else the next call does
        }
        true
    }

    /// The runtime's work: takes over all events that are there. Never waits. False: the reactor is
    /// closed.
    #[cfg(feature = "tokio")]
    pub(crate) fn drain(&self) -> bool {
        loop {
            let mut state = lock(&self.state);
            if state.closed || state.reaping {
                state.skipped = true;
                return !state.closed;
            }
            state.reaping = true;
            drop(state);
            if self.reap(0) < EVENTS {
                return true;
            }
        }
    }

    /// The thread's work, until the reactor is closed.
    fn serve(&self) {
        loop {
            let mut state = lock(&self.state);
            while !state.closed
                && (state.reaping || state.runtime.is_some() || state.in_flight <= 0)
            {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return;
            }
            state.reaping = true;
            drop(state);
            self.reap(-1);
        }
    }

    /// Ends what is in flight (only what nobody waits for: calls keep the store open) and the
    /// queue. Also by a thread that is within `reap`'s calls.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.wake_runtime();
        self.changed.notify_all();
        drop(state);
        let _ = self.queue.close(); // whoever reaps comes back
        let mut state = lock(&self.state);
        while state.reaping {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.reaping = true;
        drop(state);
        self.queue.end();
    }
}
