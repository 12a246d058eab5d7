//! An engine's paged KV memory, described once, for ops of a [`Queue`](crate::Queue).

use std::sync::Arc;

use weft_sys as sys;

use crate::error::{check, story, Result};
use crate::keys::c_text;
use crate::store::Opened;

/// Made by [`Store::pool`](crate::Store::pool); dropping it forgets the memory. Threads: any.
///
/// Ops name it in `region`, a page's first token (page times tokens of a page) in `offset`, and
/// layers in `start` and `size`.
pub struct Pool {
    opened: Arc<Opened>,
    region: u32,
}

impl Pool {
    pub(crate) fn open(opened: &Arc<Opened>, layout: &str, bases: &[u64]) -> Result<Self> {
        let (layout, mut region, mut words) = (c_text(layout)?, 0, story());
        let count = u32::try_from(bases.len()).unwrap_or(u32::MAX);
        // SAFETY: a terminated string, count addresses that are only kept, values of this frame.
        let code = unsafe {
            sys::weft_pool_open(
                opened.handle,
                layout.as_ptr(),
                bases.as_ptr(),
                count,
                -1,
                &raw mut region,
                &raw mut words,
            )
        };
        check(code, &words)?;
        Ok(Self { opened: opened.clone(), region })
    }

    /// What ops name.
    #[must_use]
    pub fn region(&self) -> u32 {
        self.region
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: numbers only. Where ops still name it, it stays until they and the store end.
        unsafe { sys::weft_region_drop(self.opened.handle, self.region) };
    }
}
