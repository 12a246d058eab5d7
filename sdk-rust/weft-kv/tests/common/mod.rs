//! What the tests share: stores, an executor of a few lines, and a deadline for what must not hang.
#![allow(dead_code)] // each test file uses its own part

use std::future::Future;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn store() -> weft::Store {
    weft::Store::open("memory=64MiB").expect("a private store")
}

/// Blocks of any size.
pub fn space(store: &weft::Store) -> weft::Namespace {
    store.namespace("test/model", "part_bytes=0").expect("a namespace")
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future in this thread; fails when it takes longer than the deadline.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let until = Instant::now() + DEADLINE;
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        thread::park_timeout(until.saturating_duration_since(Instant::now()));
        assert!(Instant::now() < until, "a future was not woken in {DEADLINE:?}");
    }
}

/// Polls it once.
pub fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Whether a future was woken.
#[derive(Default)]
pub struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls what is not ready yet; its waker sets the flag.
pub fn poll_pending(future: &mut (impl Future + Unpin)) -> Arc<Flag> {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    assert!(Pin::new(future).poll(&mut Context::from_waker(&waker)).is_pending());
    flag
}

impl Flag {
    pub fn soon(&self) {
        soon(|| self.0.load(Ordering::SeqCst), "a future is woken");
    }
}

/// Asks again until it holds.
pub fn soon(mut holds: impl FnMut() -> bool, what: &str) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "not in {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
