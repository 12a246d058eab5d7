//! Calls that may wait: an op with what it needs, carried out by [`Call::run`] or by `.await`.
//!
//! Invariants:
//! - Memory that the op names is in `Kept`, on the heap, or is borrowed for `'a`. `run` returns
//!   only after the op's event, so it may borrow. A future may be leaked while its op runs, so only
//!   a call that borrows nothing (`'static`) is one.
//! - What an event has opened is taken over by `finish`, also when nobody waits any more, and so is
//!   given back.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::Arc;
use std::task::{Context, Poll};

use weft_sys as sys;

use crate::error::{Error, Result};
use crate::namespace::Space;
use crate::Reservation;

/// What an op's memory and its result need until its event.
#[derive(Default)]
pub(crate) struct Kept<'a> {
    pub(crate) items: Vec<sys::weft_item>,
    pub(crate) data: Vec<Cow<'a, [u8]>>,
    /// Own memory to load into, of `room` bytes where that is known.
    pub(crate) out: Option<Vec<u8>>,
    pub(crate) room: u64,
    pub(crate) reservation: Option<Reservation>,
    /// Of a follower: how far its part is final, and which part that is.
    pub(crate) watermark: Option<(Arc<AtomicUsize>, u16)>,
    /// The most that `size` may say, and what 0 stands for: the memory's, or what was given up for
    /// good.
    pub(crate) limit: Option<u32>,
    /// What was wrong with the arguments.
    pub(crate) error: Option<Error>,
    /// There is nothing to do: no op is submitted.
    pub(crate) idle: bool,
    pub(crate) borrows: PhantomData<&'a mut [u8]>,
}

/// Makes the result of an event; None: the op is to run again.
pub(crate) type Finish<'a, T> = fn(&mut Call<'a, T>, &sys::weft_event) -> Result<Option<T>>;

/// A hint on when a chain returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// At once: a tool call.
    Soon,
    /// Never: it is closed.
    None,
    /// Perhaps: a turn ended.
    Maybe,
}

/// An operation on blocks, not yet begun: `.run()` carries it out and waits; `.await` does it in
/// any executor.
///
/// The methods before that set what [`Namespace`](crate::Namespace)'s calls have in common; one
/// that means nothing to an operation is [`Error::Invalid`]. A dropped future cancels its op, and
/// what the op opened all the same is given back. A call that borrows memory can only `run`: give
/// it owned memory, or `'static`, to await it.
#[must_use = "nothing is done before .run() or .await"]
pub struct Call<'a, T> {
    pub(crate) space: Arc<Space>,
    pub(crate) what: &'static str,
    pub(crate) op: sys::weft_op,
    pub(crate) kept: Kept<'a>,
    finish: Finish<'a, T>,
}

const GUESS: u64 = 1 << 16; // bytes first tried for a part of unknown size

impl<'a, T> Call<'a, T> {
    pub(crate) fn new(
        space: &Arc<Space>,
        what: &'static str,
        kind: i32,
        finish: Finish<'a, T>,
    ) -> Self {
        let op = sys::weft_op { kind: kind as u16, space: space.info.space, ..Default::default() };
        Self { space: space.clone(), what, op, kept: Kept::default(), finish }
    }

    pub(crate) fn key(mut self, key: crate::Key) -> Self {
        (self.op.key_hi, self.op.key_lo) = (key.hi, key.lo);
        self
    }

    /// The same call, that fails.
    pub(crate) fn wrong(mut self, error: Error) -> Self {
        self.kept.error = Some(error);
        self
    }

    pub(crate) fn list(mut self, items: Vec<sys::weft_item>, flags: i32) -> Self {
        self.kept.idle = items.is_empty();
        self.kept.items = items;
        self.flag(sys::WEFT_LIST | flags)
    }

    pub(crate) fn flag(mut self, flags: i32) -> Self {
        self.op.flags |= flags as u32;
        self
    }

    /// A rank's share of the block, from 0.
    pub fn part(mut self, part: u16) -> Self {
        self.op.part = part;
        self
    }
    /// The first byte of the part that is meant.
    pub fn start(mut self, bytes: u32) -> Self {
        self.op.start = bytes;
        self
    }
    /// How many bytes of the part; 0: all from `start`.
    pub fn size(mut self, bytes: u32) -> Self {
        self.op.size = bytes;
        self
    }
    /// Seconds until the block expires, or how long a pin or claim is held; 0: the namespace's.
    pub fn ttl_s(mut self, seconds: u32) -> Self {
        self.op.ttl_s = seconds;
        self
    }
    /// Milliseconds until [`Error::TimedOut`]; 0: the store's.
    pub fn timeout_ms(mut self, milliseconds: u32) -> Self {
        self.op.timeout_ms = milliseconds;
        self
    }
    /// A new generation of the block; until it is published readers have the old one.
    pub fn replace(self) -> Self {
        self.flag(sys::WEFT_REPLACE)
    }
    /// Waits for whoever writes the block, instead of [`Error::Held`] or a miss.
    pub fn wait_writer(self) -> Self {
        self.flag(sys::WEFT_WAIT_WRITER)
    }
    /// Whole parts: checks the checksum, [`Error::Corrupt`].
    pub fn verify(self) -> Self {
        self.flag(sys::WEFT_VERIFY)
    }
    /// Of [`find`](crate::Namespace::find): what was counted stays loadable by every rank until
    /// released, or `ttl_s`.
    pub fn pin(self) -> Self {
        self.flag(sys::WEFT_PIN)
    }
    /// The list is no chain: a failure does not end the rest.
    pub fn unchained(mut self) -> Self {
        self.op.flags &= !(sys::WEFT_CHAIN as u32);
        self
    }
    /// When the chain returns.
    pub fn reuse(self, reuse: Reuse) -> Self {
        self.flag(match reuse {
            Reuse::Soon => sys::WEFT_REUSE_SOON,
            Reuse::None => sys::WEFT_REUSE_NONE,
            Reuse::Maybe => sys::WEFT_REUSE_MAYBE,
        })
    }

    /// True where the op succeeded, false where its status is one of `answers`; else its error.
    pub(crate) fn check(&self, event: &sys::weft_event, answers: &[i32]) -> Result<bool> {
        if event.status < 0 && !answers.contains(&-event.status) {
            let key = crate::Key { hi: self.op.key_hi, lo: self.op.key_lo };
            let of =
                if key == crate::Key::default() { String::new() } else { format!(" of {key}") };
            let what = format!("{}{of} in {}", self.what, self.space.name);
            return Err(self.space.opened.failure(&what, event));
        }
        Ok(event.status >= 0)
    }

    /// The op to submit, its memory in place; None where there is nothing to do.
    fn begin(&mut self) -> Result<Option<sys::weft_op>> {
        if let Some(error) = self.kept.error.take() {
            return Err(error);
        }
        if self.kept.idle {
            return Ok(None);
        }
        let mut op = self.op;
        self.within_limits(&mut op)?;
        let unknown = self.unknown_size();
        if op.flags & sys::WEFT_LIST as u32 != 0 {
            op.key_hi = self.kept.items.len() as u64;
            op.key_lo = self.space.opened.memory.into();
            op.offset = self.kept.items.as_mut_ptr() as u64;
        } else if let Some(out) = &mut self.kept.out {
            let whole = self.space.info.part_bytes.saturating_sub(op.start.into());
            if self.kept.room == 0 && unknown {
                op.flags &= !(sys::WEFT_VERIFY as u32); // of whole parts: this finds the size
            }
            let given = [u64::from(op.size), self.kept.room, whole, out.capacity() as u64];
            let room = given.into_iter().find(|&bytes| bytes > 0).unwrap_or(GUESS);
            out.clear();
            out.reserve_exact(room as usize);
            op.size = size_u32(room as usize)?;
            op.offset = out.as_mut_ptr() as u64;
            op.region = self.space.opened.memory;
        }
        Ok(Some(op))
    }

    /// What the methods above have set must not lead the op out of the memory that it was made for.
    fn within_limits(&self, op: &mut sys::weft_op) -> Result<()> {
        let list = op.flags & sys::WEFT_LIST as u32 != 0;
        let wrong = match (self.kept.limit, &self.kept.watermark) {
            (Some(limit), _) if op.size > limit => format!("size {} exceeds {limit}", op.size),
            (_, Some((_, part))) if op.part != *part => {
                format!("part {} is not the followed one, {part}", op.part)
            }
            _ if list && op.region != 0 && op.size != 0 => "the rows have their sizes".into(),
            (Some(limit), _) if op.size == 0 => {
                op.size = limit;
                return Ok(());
            }
            _ => return Ok(()),
        };
        Err(Error::Invalid(format!("{}: {wrong}", self.what)))
    }

    /// Whether only a load tells how much there is to load.
    pub(crate) fn unknown_size(&self) -> bool {
        self.op.size == 0 && self.space.info.part_bytes == 0
    }

    fn end(&mut self, event: &sys::weft_event) -> Result<Option<T>> {
        (self.finish)(self, event)
    }

    /// Carries it out and waits for it. Threads: any, each with its own call.
    pub fn run(mut self) -> Result<T> {
        loop {
            let event = match self.begin()? {
                Some(op) => self.space.opened.run(&op)?,
                None => sys::weft_event::default(),
            };
            if let Some(result) = self.end(&event)? {
                return Ok(result);
            }
        }
    }
}

/// What may be asked of a block that is still being written.
pub trait Follows {}
impl Follows for bool {}
impl Follows for usize {}
impl Follows for Option<usize> {}
impl Follows for Option<Vec<u8>> {}
impl Follows for crate::Found {}

impl<T: Follows> Call<'_, T> {
    /// Takes a block that is still being written, as soon as the bytes asked for are final. Drop
    /// what was loaded where its writer gives up later.
    pub fn follow(self) -> Self {
        self.flag(sys::WEFT_FOLLOW)
    }
    /// The same as a follower of this number: of several that may follow one block at a time in
    /// this process, each has its own, so that bytes of two writers never reach one of them.
    pub fn follower(mut self, number: u32) -> Self {
        self.op.ttl_s = number;
        self.follow()
    }
}

impl Call<'_, Option<Vec<u8>>> {
    /// Loads into this memory instead of new one; its content is dropped.
    pub fn with(mut self, memory: Vec<u8>) -> Self {
        self.kept.out = Some(memory);
        self
    }
}

impl<T: 'static> IntoFuture for Call<'static, T> {
    type Output = Result<T>;
    type IntoFuture = Running<T>;
    fn into_future(self) -> Running<T> {
        Running { call: Some(self), tag: 0 }
    }
}

/// A [`Call`] as a future of any executor. It is begun by the first poll.
#[must_use = "futures do nothing unless polled"]
pub struct Running<T: 'static> {
    /// Until it has ended.
    call: Option<Call<'static, T>>,
    /// Of the op in flight; 0: none.
    tag: u64,
}

impl<T: 'static> Running<T> {
    fn drive(&mut self, context: &Context<'_>) -> Poll<Result<T>> {
        let call = self.call.as_mut().expect("a future is not polled after its end");
        loop {
            let mut event = sys::weft_event::default();
            if self.tag == 0 {
                if let Some(op) = call.begin()? {
                    let reactor = call.space.opened.reactor()?;
                    match reactor.submit(&op, context.waker()) {
                        Poll::Ready(tag) => self.tag = tag?,
                        Poll::Pending => return Poll::Pending,
                    }
                    reactor.look(); // a local op may have ended within submit
                }
            }
            if self.tag != 0 {
                match call.space.opened.reactor()?.poll(self.tag, context) {
                    Poll::Ready(ended) => event = ended?,
                    Poll::Pending => return Poll::Pending,
                }
                self.tag = 0;
            }
            if let Some(result) = call.end(&event)? {
                return Poll::Ready(Ok(result));
            }
        }
    }
}

impl<T: 'static> Running<T> {
    /// Gives the call up: at once, or to its op that is still in flight.
    fn leave(&mut self) {
        let Some(mut call) = self.call.take() else { return };
        if self.tag != 0 {
            let opened = call.space.opened.clone();
            if let Ok(reactor) = opened.reactor() {
                reactor.abandon(self.tag, Box::new(move |event| drop(call.end(&event))));
            }
        }
    }
}

impl<T: 'static> Future for Running<T> {
    type Output = Result<T>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let ended = self.drive(context);
        if ended.is_ready() {
            self.leave();
        }
        ended
    }
}

impl<T: 'static> Drop for Running<T> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A size as ops carry it.
pub(crate) fn size_u32(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| Error::Invalid(format!("size {size} exceeds {}", u32::MAX)))
}
