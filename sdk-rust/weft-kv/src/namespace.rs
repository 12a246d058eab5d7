//! Namespace: `tenant/model` at one version, and all calls on its blocks.

use std::borrow::Cow;
use std::sync::Arc;

use weft_sys as sys;

use crate::call::{size_u32, Call, Finish};
use crate::error::{check, plain, story, Error, MissReason, Result};
use crate::holds::same_count;
use crate::keys::{c_text, Keys};
use crate::store::Opened;
use crate::views::{viewed, Following, Hold, Keeper, Span, View, Views};
use crate::{Claim, Found, Key, Reservation};

/// What namespaces, views and calls of one opening share; closed by the last of them.
pub(crate) struct Space {
    pub(crate) opened: Arc<Opened>,
    pub(crate) info: sys::weft_namespace,
    pub(crate) name: String,
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: numbers only; there are no views and no ops of it left, since they keep it.
        unsafe { sys::weft_namespace_close(self.opened.handle, self.info.space) };
    }
}

/// An open namespace. Cheap to clone. Threads: any.
///
/// [`match_`](Self::match_), [`view`](Self::view) and [`view_list`](Self::view_list) only look, in
/// this host's memory, and never wait. They miss while the node is gone, and are
/// [`Error::Fenced`](crate::Error::Fenced) below the floor. What gives a [`Call`] may wait:
/// `.run()` it or `.await` it.
#[derive(Clone)]
pub struct Namespace {
    space: Arc<Space>,
}

/// Bytes for a list of blocks: one buffer of equal rows, or one for each.
pub struct Rows<'a>(Vec<Cow<'a, [u8]>>);

impl<'a> From<&'a [u8]> for Rows<'a> {
    fn from(rows: &'a [u8]) -> Self {
        Self(vec![rows.into()])
    }
}
impl<'a> From<&'a Vec<u8>> for Rows<'a> {
    fn from(rows: &'a Vec<u8>) -> Self {
        Self(vec![rows.into()])
    }
}
impl From<Vec<u8>> for Rows<'_> {
    fn from(rows: Vec<u8>) -> Self {
        Self(vec![rows.into()])
    }
}
impl<'a> From<Vec<&'a [u8]>> for Rows<'a> {
    fn from(rows: Vec<&'a [u8]>) -> Self {
        Self(rows.into_iter().map(Cow::from).collect())
    }
}
impl From<Vec<Vec<u8>>> for Rows<'_> {
    fn from(rows: Vec<Vec<u8>>) -> Self {
        Self(rows.into_iter().map(Cow::from).collect())
    }
}

const MISS: &[i32] = &[sys::WEFT_EMISS];
const EXISTS: &[i32] = &[sys::WEFT_EEXISTS];

impl Namespace {
    pub(crate) fn open(opened: &Arc<Opened>, name: &str, options: &str) -> Result<Self> {
        let (c_name, options) = (c_text(name)?, c_text(options)?);
        let mut words = story();
        let mut info = sys::weft_namespace {
            struct_size: size_of::<sys::weft_namespace>() as u32,
            ..Default::default()
        };
        // SAFETY: terminated strings, and values of this frame.
        let returned = unsafe {
            sys::weft_namespace_open(
                opened.handle,
                c_name.as_ptr(),
                options.as_ptr(),
                &raw mut info,
                &raw mut words,
            )
        };
        check(returned, &words)?;
        Ok(Self { space: Arc::new(Space { opened: opened.clone(), info, name: name.to_owned() }) })
    }

    /// `tenant/model`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.space.name
    }
    /// The layout as stored, the version opened, the floor at that time, and `space`, the number
    /// that ops name.
    #[must_use]
    pub fn info(&self) -> &sys::weft_namespace {
        &self.space.info
    }

    // These only look.

    /// How many of these lead blocks this host's memory holds, whole. No lock, no system call.
    pub fn match_(&self, keys: impl Keys) -> Result<usize> {
        let items = keys.items();
        // SAFETY: items are as many as are said.
        let matched = unsafe {
            sys::weft_match(
                self.space.opened.handle,
                self.space.info.space,
                items.as_ptr(),
                items.len() as u32,
            )
        };
        Ok(self.looked("match", matched)? as usize)
    }

    /// What a call that only looks has returned, or its error: it has no story, so these are our
    /// words.
    fn looked(&self, what: &str, returned: i32) -> Result<i32> {
        plain(returned).map_err(|error| {
            Error::new(error.code(), format!("{what} in {}: {error}", self.space.name))
        })
    }

    /// A block of this host's memory, part 0, read in place; None: then [`fetch`](Self::fetch) may
    /// still bring it. It borrows this namespace; [`View::into_owned`] lets it outlive it.
    pub fn view(&self, key: impl Into<Key>) -> Result<Option<View<'_>>> {
        self.view_part(key, 0)
    }

    /// The same of another part.
    pub fn view_part(&self, key: impl Into<Key>, part: u16) -> Result<Option<View<'_>>> {
        let mut item = key.into().item();
        let (count, handle) = self.look(std::slice::from_mut(&mut item), part)?;
        Ok((count == 1)
            .then(|| View::new(Keeper::Lent(&self.space), handle, item.offset, item.size as usize)))
    }

    /// Views of the lead blocks that this host's memory holds; fewer at the limit of views.
    pub fn view_list(&self, keys: impl Keys, part: u16) -> Result<Views<'_>> {
        let mut items = keys.items();
        let (count, handle) = self.look(&mut items, part)?;
        Ok(Views::new(Keeper::Lent(&self.space), handle, &items[..count]))
    }

    fn look(&self, items: &mut [sys::weft_item], part: u16) -> Result<(usize, u64)> {
        let parts = self.space.info.parts;
        if u32::from(part) >= parts {
            let name = &self.space.name;
            return Err(Error::Invalid(format!(
                "view in {name}: part={part}: the namespace has {parts} parts, counted from 0"
            )));
        }
        let mut handle = 0;
        let (store, space) = (self.space.opened.handle, self.space.info.space);
        // SAFETY: items are as many as are said.
        let viewed = unsafe {
            sys::weft_view(
                store,
                space,
                part.into(),
                items.as_mut_ptr(),
                items.len() as u32,
                &raw mut handle,
            )
        };
        match self.looked("view", viewed)? as usize {
            0 => Ok((0, 0)),
            count => Ok((count, handle)),
        }
    }

    // Reading.

    /// A copy of a part's bytes; None: a miss. Takes `part`, `start`, `size`, `verify`, `follow`,
    /// `wait_writer`, `reuse`, and `with` memory to fill instead of new one.
    pub fn load(&self, key: impl Into<Key>) -> Call<'static, Option<Vec<u8>>> {
        let mut call = self
            .call("load", sys::WEFT_OP_LOAD, |call, event| {
                if !call.check(event, MISS)? {
                    return Ok(Some(None));
                }
                let there = event.handle.saturating_sub(call.op.start.into());
                let unverified =
                    call.op.flags & sys::WEFT_VERIFY as u32 != 0 && call.kept.room == 0;
                if call.unknown_size() && there > 0 && (event.value < there || unverified) {
                    call.kept.room = there;
                    return Ok(None); // once more, with room for all of it
                }
                let mut out = call.kept.out.take().unwrap_or_default();
                // SAFETY: as many bytes were written, within what was reserved.
                unsafe { out.set_len(event.value as usize) };
                Ok(Some(Some(out)))
            })
            .key(key.into());
        call.kept.out = Some(Vec::new());
        call
    }

    /// The same into `out`: how many bytes were loaded. Of a part longer than `out` those that fit,
    /// without an error.
    pub fn load_into<'a>(&self, key: impl Into<Key>, out: &'a mut [u8]) -> Call<'a, Option<usize>> {
        let call = self.call("load", sys::WEFT_OP_LOAD, |call, event| {
            Ok(Some(call.check(event, MISS)?.then_some(event.value as usize)))
        });
        self.at(call.key(key.into()), out.as_mut_ptr(), out.len())
    }

    /// Copies parts of a chain, each to its row of `out`, which has as many equal rows; how many
    /// lead blocks were loaded. Of a part longer than its row the bytes that fit, without an error.
    /// Takes what [`load`](Self::load) takes.
    pub fn load_list<'a>(&self, keys: impl Keys, out: &'a mut [u8]) -> Call<'a, usize> {
        let items = keys.items();
        match equal_rows("load_list", out.len(), items.len()) {
            Ok(row) => self.load_rows_of(items, out.chunks_mut(row).collect()),
            Err(error) => self.load_rows_of(items, Vec::new()).wrong(error),
        }
    }

    /// The same into rows that lie apart.
    pub fn load_rows<'a>(&self, keys: impl Keys, out: Vec<&'a mut [u8]>) -> Call<'a, usize> {
        self.load_rows_of(keys.items(), out)
    }

    fn load_rows_of<'a>(
        &self,
        items: Vec<sys::weft_item>,
        mut rows: Vec<&'a mut [u8]>,
    ) -> Call<'a, usize> {
        let places = rows.iter_mut().map(|row| (row.as_mut_ptr() as u64, row.len())).collect();
        let call = self.call("load_list", sys::WEFT_OP_LOAD, counted_lead);
        place(call, items, places)
    }

    /// A view that is brought to this host first if need be; None: a miss. Takes `part`, `verify`,
    /// `wait_writer`.
    pub fn fetch(&self, key: impl Into<Key>) -> Call<'static, Option<View<'static>>> {
        let call = self.call("fetch", sys::WEFT_OP_VIEW, |call, event| {
            let space = || Keeper::Owned(call.space.clone());
            let view = || View::new(space(), event.handle, event.value, event.detail as usize);
            Ok(Some(call.check(event, MISS)?.then(view)))
        });
        call.key(key.into())
    }

    /// Views of a chain's lead blocks, brought to this host first if need be. Takes what
    /// [`fetch`](Self::fetch) takes.
    pub fn fetch_list(&self, keys: impl Keys) -> Call<'static, Views<'static>> {
        let call = self.call("fetch_list", sys::WEFT_OP_VIEW, viewed);
        call.list(unopened(keys), sys::WEFT_CHAIN)
    }

    /// A part that is still being written, or is published: to be read as far as it is final. None:
    /// nobody writes it.
    pub fn follow(&self, key: impl Into<Key>, part: u16) -> Call<'static, Option<Following>> {
        let call = self.call("follow", sys::WEFT_OP_VIEW, |call, event| {
            if !call.check(event, MISS)? {
                return Ok(Some(None));
            }
            let space = Keeper::Owned(call.space.clone());
            let view = View::new(space, event.handle, event.value, event.detail as usize);
            let key = Key { hi: call.op.key_hi, lo: call.op.key_lo };
            Ok(Some(Some(Following::new(view, key, call.op.part, call.op.ttl_s))))
        });
        call.key(key.into()).part(part).ttl_s(Following::number()).flag(sys::WEFT_FOLLOW)
    }

    /// Counts the lead blocks that are whole and in reach, over all tiers, and says why the next
    /// one is not. Takes `pin`, `ttl_s`, `unchained`, and `follow`: those being written count too.
    pub fn find(&self, keys: impl Keys) -> Call<'static, Found> {
        let call = self.call("find", sys::WEFT_OP_MATCH, |call, event| {
            call.check(event, &[])?;
            let blocks = event.value as usize;
            let reason =
                (blocks < call.kept.items.len()).then(|| MissReason::of(event.detail)).flatten();
            Ok(Some(Found { blocks, reason, _pin: held(call, event) }))
        });
        call.list(keys.items(), sys::WEFT_CHAIN)
    }

    // Writing.

    /// Copies a part's bytes, or those from `start`, into the cache. True: this published the
    /// block; false: it was there already, or parts or bytes lack. Where `part_bytes` of the
    /// namespace is more than `data`, the block is a miss until `start` has brought the rest;
    /// [`drop_unfinished`](Self::drop_unfinished) gives it up. Takes `part`, `start`, `ttl_s`,
    /// `replace`, `wait_writer`, `reuse`. Errors: `Held` (it is being written), `Range` (larger
    /// than the part).
    pub fn save<'a>(&self, key: impl Into<Key>, data: impl Into<Cow<'a, [u8]>>) -> Call<'a, bool> {
        let data = data.into();
        let call = self.call("save", sys::WEFT_OP_SAVE, |call, event| {
            Ok(Some(call.check(event, EXISTS)? && event.detail == 1))
        });
        let mut call = self.at(call.key(key.into()), data.as_ptr(), data.len());
        call.kept.data.push(data);
        call
    }

    /// Saves a chain's parts; how many lead blocks are done, those that were there already among
    /// them. Rows shorter than `part_bytes` count too, and publish nothing, as in
    /// [`save`](Self::save). Takes what that takes, and `unchained`.
    pub fn save_list<'a>(&self, keys: impl Keys, rows: impl Into<Rows<'a>>) -> Call<'a, usize> {
        let (items, rows) = (keys.items(), rows.into().0);
        let mut wrong = None;
        let places = match &rows[..] {
            [all] => match equal_rows("save_list", all.len(), items.len()) {
                Ok(row) => all.chunks(row).map(spot).collect(),
                Err(error) => {
                    wrong = Some(error);
                    Vec::new()
                }
            },
            rows => rows.iter().map(|row| spot(row)).collect(),
        };
        let call = self.call("save_list", sys::WEFT_OP_SAVE, |call, event| {
            call.check(event, EXISTS)?;
            Ok(Some(event.value as usize))
        });
        let mut call = place(call, items, places);
        call.kept.data = rows;
        match wrong {
            Some(error) => call.wrong(error),
            None => call,
        }
    }

    /// Opens a part of `size` bytes (0: the namespace's) for writing in place. Takes `part`,
    /// `replace`, `wait_writer`. Errors: `Exists`, `Held`, `Quota` (no free slot).
    pub fn reserve(&self, key: impl Into<Key>, size: u32) -> Call<'static, Reservation> {
        let call = self.call("reserve", sys::WEFT_OP_RESERVE, |call, event| {
            call.check(event, &[])?;
            let span = Some(Span::new(event.value, event.detail as usize));
            Ok(Some(Reservation::new(&call.space, event.handle, vec![span])))
        });
        call.key(key.into()).size(size)
    }

    /// Opens the parts of many blocks under one reservation; its row is None for a block that is
    /// there already.
    pub fn reserve_list(&self, keys: impl Keys, size: u32) -> Call<'static, Reservation> {
        let call = self.call("reserve_list", sys::WEFT_OP_RESERVE, |call, event| {
            let made = Reservation::of_list(&call.space, event, &call.kept.items);
            call.check(event, EXISTS)?;
            Ok(Some(made))
        });
        call.list(unopened(keys), sys::WEFT_CHAIN).size(size)
    }

    /// Drops what this namespace's writer has saved of these blocks and not published; how many
    /// lead ones.
    pub fn drop_unfinished(&self, keys: impl Keys) -> Call<'static, usize> {
        self.call("drop_unfinished", sys::WEFT_OP_ABORT, counted).list(keys.items(), 0)
    }

    // Together with others.

    /// Waits until the blocks are published; false: a writer gave up, or nobody writes. Takes
    /// `part`, `start`, `size`, `unchained`, and `follow`: only until these bytes are final.
    pub fn wait(&self, keys: impl Keys) -> Call<'static, bool> {
        let call =
            self.call("wait", sys::WEFT_OP_WAIT, |call, event| Ok(Some(call.check(event, MISS)?)));
        let items = keys.items();
        match items[..] {
            [one] => call.key(Key { hi: one.key_hi, lo: one.key_lo }),
            _ => call.list(items, sys::WEFT_CHAIN),
        }
    }

    /// Single flight: waits for those who compute these blocks, and claims what nobody does. None:
    /// all are there; else compute `keys[claim.first..]`. Takes `ttl_s`, `unchained`.
    pub fn claim(&self, keys: impl Keys) -> Call<'static, Option<Claim>> {
        let call = self.call("claim", sys::WEFT_OP_WAIT, |call, event| {
            let there = call.check(event, MISS)?;
            let claim = || Claim { first: event.value as usize, _hold: held(call, event) };
            Ok(Some((!there).then(claim)))
        });
        call.list(keys.items(), sys::WEFT_CHAIN | sys::WEFT_CLAIM)
    }

    /// Says that a request used the blocks; `ttl_s` sets their expiry anew. How many lead ones are
    /// there.
    pub fn touch(&self, keys: impl Keys) -> Call<'static, usize> {
        self.call("touch", sys::WEFT_OP_TOUCH, counted).list(keys.items(), sys::WEFT_CHAIN)
    }

    /// Removes blocks: gets that start afterwards miss. How many lead ones were there.
    pub fn remove(&self, keys: impl Keys) -> Call<'static, usize> {
        self.call("remove", sys::WEFT_OP_REMOVE, counted).list(keys.items(), 0)
    }

    /// Fences the namespace below `version`: once it returns nobody can read older blocks. The
    /// floor that holds now.
    pub fn advance(&self, version: u64) -> Call<'static, u64> {
        let mut call = self.call("advance", sys::WEFT_OP_ADVANCE, |call, event| {
            call.check(event, &[])?;
            Ok(Some(event.value))
        });
        call.op.offset = version;
        call
    }

    /// Asks in words ("layout", "blocks after=KEY,limit=N", "explain key=KEY") or does ("drop",
    /// "flush version=N"), answers in JSON.
    pub fn query(&self, words: &str) -> Result<String> {
        self.space.opened.query(words, self.space.info.space)
    }

    pub(crate) fn call<'a, T>(
        &self,
        what: &'static str,
        kind: i32,
        finish: Finish<'a, T>,
    ) -> Call<'a, T> {
        Call::new(&self.space, what, kind, finish)
    }

    fn at<'a, T>(&self, mut call: Call<'a, T>, memory: *const u8, size: usize) -> Call<'a, T> {
        (call.op.offset, call.op.region) = (memory as u64, self.space.opened.memory);
        match size_u32(size) {
            Ok(size) => call.kept.limit = Some(size),
            Err(error) => call.kept.error = Some(error),
        }
        call
    }
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Namespace({:?}, version {})", self.space.name, self.space.info.version)
    }
}

/// How long each of `count` equal rows of one buffer is; 1 where there are none.
fn equal_rows(what: &str, bytes: usize, count: usize) -> Result<usize> {
    if bytes == 0 && count == 0 {
        return Ok(1);
    }
    if count == 0 || bytes % count != 0 || bytes == 0 {
        let words = format!("{what}: a buffer of {bytes} bytes is not {count} equal rows");
        return Err(Error::Invalid(words));
    }
    Ok(bytes / count)
}

fn spot(row: &[u8]) -> (u64, usize) {
    (row.as_ptr() as u64, row.len())
}

/// A list whose items have their places in this process's memory.
fn place<T>(
    call: Call<'_, T>,
    mut items: Vec<sys::weft_item>,
    places: Vec<(u64, usize)>,
) -> Call<'_, T> {
    let mut wrong = same_count(places.len(), items.len()).err();
    for (item, (address, size)) in items.iter_mut().zip(places) {
        item.offset = address;
        match size_u32(size) {
            Ok(size) => item.size = size,
            Err(error) => wrong = Some(error),
        }
    }
    let mut call = call.list(items, sys::WEFT_CHAIN);
    call.op.region = call.space.opened.memory;
    call.kept.error = wrong;
    call
}

/// Items of which those that a failure leaves out can be told from those that are opened.
fn unopened(keys: impl Keys) -> Vec<sys::weft_item> {
    let mut items = keys.items();
    for item in &mut items {
        item.status = -sys::WEFT_ECANCELED;
    }
    items
}

fn held<T>(call: &Call<'_, T>, event: &sys::weft_event) -> Hold<'static> {
    Hold { space: Keeper::Owned(call.space.clone()), handle: event.handle }
}

fn counted(call: &mut Call<'static, usize>, event: &sys::weft_event) -> Result<Option<usize>> {
    counted_lead(call, event)
}

fn counted_lead(call: &mut Call<'_, usize>, event: &sys::weft_event) -> Result<Option<usize>> {
    call.check(event, MISS)?;
    Ok(Some(event.value as usize))
}
