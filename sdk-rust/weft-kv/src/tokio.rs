//! tokio: a runtime's event loop reaps, and no thread of Weft's own is needed.
//!
//! Invariant: however the future ends (the store is closed, its task is aborted, the runtime is
//! shut down), the thread takes over, so that no other future waits in vain.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use tokio::io::unix::AsyncFd;
use tokio::io::Interest;

use crate::error::{Error, Result};
use crate::reactor::Reactor;
use crate::Store;

struct Reaping(Arc<Reactor>);

impl Drop for Reaping {
    fn drop(&mut self) {
        self.0.hand_over(None);
    }
}

#[allow(clippy::needless_pass_by_value)] // as map_err passes it
fn machine(error: io::Error) -> Error {
    Error::Internal(format!("the queue's eventfd: {error}"))
}

impl Store {
    /// While this is awaited, its runtime's event loop wakes the store's futures, and not a thread;
    /// it ends when the store is closed, which it does not delay. Errors: `Busy`, where another one
    /// is awaited.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> weft::Result<()> {
    /// let store = weft::Store::open("memory=64MiB")?;
    /// tokio::spawn(store.reap_in_tokio());
    /// let space = store.namespace("me/model", "part_bytes=0")?;
    /// space.save("a name", vec![1; 4096]).await?;
    /// assert_eq!(space.load("a name").await?, Some(vec![1; 4096]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn reap_in_tokio(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let reactor = self.opened.reactor().cloned();
        async move {
            let reactor = reactor?;
            // SAFETY: the queue is open, or the call fails; what is kept is a descriptor of its
            // own.
            let fd = unsafe { BorrowedFd::borrow_raw(reactor.queue.fd()?) };
            let own = fd.try_clone_to_owned().map_err(machine)?;
            let woken_by = File::from(own.try_clone().map_err(machine)?);
            if !reactor.hand_over(Some(woken_by)) {
                return Err(Error::Busy("the store is closed, or another runtime reaps".into()));
            }
            let reaping = Reaping(reactor);
            #[allow(deprecated)] // the descriptor is owned, so that its safety is not in question
            let events = AsyncFd::with_interest(own, Interest::READABLE).map_err(machine)?;
            loop {
                let mut ready = events.readable().await.map_err(machine)?;
                ready.clear_ready();
                if !reaping.0.drain() {
                    return Ok(());
                }
            }
        }
    }
}
