//! Store: a node, or a connection to one; and the queues on which calls run.
//!
//! Invariants: the ABI's handle is closed by the last of those that hold `Opened` (the store, its
//! namespaces, views, calls), so nothing of Rust's ever names a closed one, and no view turns to
//! garbage. A thread that waits for its op has a queue of the pool for itself: a queue has one
//! reaper.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use weft_sys as sys;

use crate::error::{check, plain, story, text, Error, Result};
use crate::keys::c_text;
use crate::queue::{Queue, RawQueue};
use crate::reactor::Reactor;
use crate::{Namespace, Pool};

/// The ABI's store, and what all calls on it share.
pub(crate) struct Opened {
    pub(crate) handle: *mut sys::weft_store,
    /// The region that is all of this process: offsets are addresses.
    pub(crate) memory: u32,
    idle: Mutex<Vec<RawQueue>>,
    reactor: OnceLock<Arc<Reactor>>,
}

// SAFETY: the handle is a number that the library looks up, and any thread may make any call with
// it (weft.h, "Threads", "Handles"); the rest is Send and Sync by itself.
unsafe impl Send for Opened {}
unsafe impl Sync for Opened {}

/// Futures in flight at once; more wait for room.
const FUTURES: &str = "depth=4096";

/// Locks, whoever panicked before: nothing here is left half-changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Opened {
    /// Carries out one op and waits for its event, on a queue that no other thread has meanwhile.
    pub(crate) fn run(&self, op: &sys::weft_op) -> Result<sys::weft_event> {
        let idle = lock(&self.idle).pop();
        let queue = idle.map_or_else(|| RawQueue::open(self.handle, None), Ok)?;
        let event = queue.run(op)?;
        lock(&self.idle).push(queue);
        Ok(event)
    }

    /// What carries out futures; made by the first one.
    pub(crate) fn reactor(&self) -> Result<&Arc<Reactor>> {
        if let Some(reactor) = self.reactor.get() {
            return Ok(reactor);
        }
        let made = Reactor::new(RawQueue::open(self.handle, Some(FUTURES))?);
        Ok(self.reactor.get_or_init(|| made))
    }

    pub(crate) fn query(&self, words: &str, space: u32) -> Result<String> {
        let words = c_text(words)?;
        let mut answer = vec![0u8; 1 << 14];
        loop {
            let mut error = story();
            // SAFETY: answer has as many bytes as are said.
            let returned = unsafe {
                sys::weft_query(
                    self.handle,
                    space,
                    words.as_ptr(),
                    answer.as_mut_ptr().cast(),
                    answer.len() as u32,
                    &raw mut error,
                )
            };
            let length = check(returned, &error)? as usize;
            if length < answer.len() {
                answer.truncate(length);
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            answer.resize(length + 4096, 0);
        }
    }

    /// The error of a failed op, with the story that the library has kept of it.
    pub(crate) fn failure(&self, what: &str, event: &sys::weft_event) -> Error {
        let code = -event.status;
        let words = match code {
            sys::WEFT_ERANGE => format!("it would take {} bytes", event.handle),
            sys::WEFT_EMISS => crate::MissReason::of(event.detail)
                .map_or(String::new(), |reason| reason.to_string()),
            _ if event.handle == 0 => String::new(),
            // Only the last stories are kept: then the code's own sentence must do.
            _ => self
                .query(&format!("error id={}", event.handle), 0)
                .map_or(String::new(), |json| message(&json)),
        };
        let own = Error::new(code, "");
        let told = !words.is_empty() && words != own.name(); // the library may leave it to us
        let words = if told { &words } else { own.message() };
        Error::new(code, format!("{what}: {words}"))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(reactor) = self.reactor.take() {
            reactor.close();
        }
        lock(&self.idle).clear();
        // SAFETY: the last owner; what fails here (a forked child) has nothing left to give back.
        unsafe {
            sys::weft_region_drop(self.handle, self.memory);
            sys::weft_close(self.handle);
        }
    }
}

/// The text of "message" in a story's JSON; where there is none, the JSON.
fn message(json: &str) -> String {
    let Some((_, rest)) = json.split_once("\"message\":") else { return json.to_owned() };
    let mut out = String::new();
    let mut rest = rest.trim_start().trim_start_matches('"').chars();
    while let Some(next) = rest.next() {
        match next {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('u') => {
                    let digits: String = rest.by_ref().take(4).collect();
                    out.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                other => out.extend(other),
            },
            other => out.push(other),
        }
    }
    out
}

/// A store: `memory=64MiB` private, with `listen=unix:PATH` a node, with `connect=unix:PATH` a
/// client of one.
///
/// Cheap to clone; closed when the last of its clones, namespaces, views and calls is gone.
/// Threads: any. A store does not cross fork: [`Error::Forked`] in the child.
#[derive(Clone)]
pub struct Store {
    pub(crate) opened: Arc<Opened>,
}

impl Store {
    /// Opens what `options` say: `key=value`, separated by commas or newlines, as in `weft.h`.
    ///
    /// Errors: `Invalid` names an unknown key; `NotSupported` says what to install where there is
    /// no library or one too old. It waits, up to `timeout_ms=`.
    pub fn open(options: &str) -> Result<Self> {
        sys::load().map_err(Error::NotSupported)?;
        let options = c_text(options)?;
        let (mut handle, mut memory, mut words) = (std::ptr::null_mut(), 0, story());
        // SAFETY: all pointers are to values of this frame.
        check(
            unsafe { sys::weft_open(options.as_ptr(), &raw mut handle, &raw mut words) },
            &words,
        )?;
        let adopted =
            unsafe { sys::weft_region_adopt(handle, 0, 0, -1, &raw mut memory, &raw mut words) };
        let opened = Opened { handle, memory, idle: Mutex::default(), reactor: OnceLock::new() };
        check(adopted, &words)?; // or `opened` closes the store again
        Ok(Self { opened: Arc::new(opened) })
    }

    /// Opens `tenant/model`, and creates it where there is none and the token allows.
    ///
    /// Options: `version=`, `create=no`, `parts=2`, `part_bytes=2097152` (or one a part,
    /// `4096/1024`; 0: any size), `block_tokens=`, `layers=`, `dtype=`, `layout=`, `quota=`,
    /// `policy=`, `ttl_s=`, `pin_s=`, `write_s=`, `writer=NAME`. Errors: `Invalid` where what is
    /// stored differs, `Miss` where there is none and it may not be created, `Denied`, `Fenced`.
    pub fn namespace(&self, name: &str, options: &str) -> Result<Namespace> {
        Namespace::open(&self.opened, name, options)
    }

    /// A queue of one's own, for ops of [`sys`](crate::sys) by the thousand. Options: `depth=`,
    /// `priority=`, `inline_bytes=`.
    pub fn queue(&self, options: &str) -> Result<Queue> {
        let queue = RawQueue::open(self.opened.handle, Some(options))?;
        Ok(Queue::new(queue, self.opened.clone()))
    }

    /// Describes an engine's paged KV memory as `weft_pool_open` of weft.h says: `pages=`, `bytes=`
    /// (of a head and token in one tensor), `tensors=` 1 or 2, `heads=`, `tokens=`, strides in
    /// bytes. `bases`: an address for each layer and tensor.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong.
    ///
    /// # Safety
    /// All the memory that this describes must stay, and be nobody else's to write, while ops name
    /// the pool.
    pub unsafe fn pool(&self, layout: &str, bases: &[u64]) -> Result<Pool> {
        Pool::open(&self.opened, layout, bases)
    }

    /// Asks in words ("about", "stats", "namespaces", ...), answers in JSON.
    pub fn query(&self, words: &str) -> Result<String> {
        self.opened.query(words, 0)
    }

    /// Closes it. Errors: `Busy` where clones, namespaces, queues, views or calls are left; the
    /// last of them closes it.
    pub fn close(self) -> Result<()> {
        let left = Arc::strong_count(&self.opened) - 1;
        match Arc::into_inner(self.opened) {
            Some(_) => Ok(()),
            None => {
                Err(Error::Busy(format!("{left} others use the store: the last of them closes it")))
            }
        }
    }

    /// The ABI's handle, for [`sys`](crate::sys). It is the store's: do not close it.
    #[must_use]
    pub fn handle(&self) -> *mut sys::weft_store {
        self.opened.handle
    }

    /// The region that is all of this process, for ops of one's own: offsets are addresses, and ops
    /// give a size.
    #[must_use]
    pub fn memory(&self) -> u32 {
        self.opened.memory
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({:?})", self.opened.handle)
    }
}

/// The version of the library: "0.1.0".
///
/// # Panics
/// With the feature `dlopen`, where no library can be loaded.
#[must_use]
pub fn version() -> String {
    // SAFETY: no arguments; the string is static.
    text(unsafe { sys::weft_version() })
}

/// Ends a view, a pin, a claim or a reservation; 0 is none. Never waits.
pub(crate) fn release(store: *mut sys::weft_store, handle: u64) {
    if handle != 0 {
        // SAFETY: one handle. A failure (a forked child) leaves nothing to be done.
        let _ = plain(unsafe { sys::weft_release(store, &raw const handle, 1) });
    }
}
