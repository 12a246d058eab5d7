//! The player in Rust: as player.c, through the crate `weft` wherever it has a call, so that this
//! is what is tested.
//!
//! Invariants: it decides nothing and compares nothing. Handles that it did not give itself
//! (garbage, closed) and the ABI's own lifetimes go to `weft::sys`. An unknown verb ends it with
//! status 2. Handles and addresses cross as numbers: a wrong one is the driver's word, not a
//! mistake here.

mod memory;
mod request;

use std::collections::HashMap;
use std::ffi::{c_char, CStr, CString};
use std::io::{BufRead, Read, Write};
use std::os::fd::FromRawFd;

use request::{hexed, items_text, Request};
use weft::sys;

#[derive(Default)]
struct Player {
    stores: HashMap<u64, weft::Store>,
    spaces: HashMap<(u64, u32), weft::Namespace>,
    queues: HashMap<u64, weft::Queue>,
    views: HashMap<u64, weft::Views<'static>>,
    views_made: u64,
}

/// What a call came to: the words behind the code, or the error.
type Answer = weft::Result<String>;

fn text(from: *const c_char) -> String {
    unsafe { CStr::from_ptr(from) }
        .to_string_lossy()
        .into_owned()
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(std::ptr::null(), |text| text.as_ptr())
}

fn error() -> sys::weft_error {
    sys::weft_error {
        struct_size: size_of::<sys::weft_error>() as u32,
        ..Default::default()
    }
}

fn with_words(code: i32, rest: &str, words: &sys::weft_error) -> String {
    format!(
        "code={code}{rest} message={}",
        hexed(text(words.message.as_ptr()).as_bytes())
    )
}

impl Player {
    fn open(&mut self, r: &Request) -> Answer {
        let Some(options) = r.text("options") else {
            let (mut store, mut words) = (std::ptr::null_mut(), error());
            let code = unsafe { sys::weft_open(std::ptr::null(), &raw mut store, &raw mut words) };
            return Ok(with_words(
                code,
                &format!(" store={}", store as u64),
                &words,
            ));
        };
        let store = weft::Store::open(&options)?;
        let number = store.handle() as u64;
        self.stores.insert(number, store);
        Ok(format!("code=0 store={number}"))
    }

    fn close(&mut self, r: &Request) -> String {
        let number = r.number("store");
        if let Some(store) = self.stores.get(&number) {
            unsafe { sys::weft_region_drop(store.handle(), store.memory()) };
        }
        format!("code={}", unsafe { sys::weft_close(number as *mut _) })
    }

    fn namespace_open(&mut self, r: &Request) -> Answer {
        let number = r.number("store");
        let (name, options) = (r.text("name"), r.text("options"));
        if let (Some(store), Some(name)) = (self.stores.get(&number), &name) {
            let made = store.namespace(name, options.as_deref().unwrap_or(""))?;
            let info = *made.info();
            self.spaces.insert((number, info.space), made);
            return Ok(format!(
                "code=0 space={} parts={} block_tokens={} layers={} alignment={} part_bytes={} \
                 version={} floor={}",
                info.space,
                info.parts,
                info.block_tokens,
                info.layers,
                info.alignment,
                info.part_bytes,
                info.version,
                info.floor
            ));
        }
        let (name, options) = (name.map(c_text), options.map(c_text));
        let size = size_of::<sys::weft_namespace>() as u32;
        let mut out = sys::weft_namespace {
            struct_size: size,
            ..Default::default()
        };
        let mut words = error();
        let (name, options) = (pointer(name.as_ref()), pointer(options.as_ref()));
        let code = unsafe {
            sys::weft_namespace_open(
                number as *mut _,
                name,
                options,
                &raw mut out,
                &raw mut words,
            )
        };
        Ok(with_words(code, &format!(" space={}", out.space), &words))
    }

    fn namespace_close(&mut self, r: &Request) -> String {
        let (number, space) = (r.number("store"), r.number("space") as u32);
        std::mem::forget(self.spaces.remove(&(number, space))); // closed by its number
        format!("code={}", unsafe {
            sys::weft_namespace_close(number as *mut _, space)
        })
    }

    fn queue_open(&mut self, r: &Request) -> Answer {
        let number = r.number("store");
        let options = r.text("options");
        if let Some(store) = self.stores.get(&number) {
            let queue = store.queue(options.as_deref().unwrap_or(""))?;
            let handle = queue.handle() as u64;
            self.queues.insert(handle, queue);
            return Ok(format!("code=0 queue={handle}"));
        }
        let (mut queue, mut words) = (std::ptr::null_mut(), error());
        let code = unsafe {
            sys::weft_queue_open(
                number as *mut _,
                std::ptr::null(),
                &raw mut queue,
                &raw mut words,
            )
        };
        Ok(with_words(
            code,
            &format!(" queue={}", queue as u64),
            &words,
        ))
    }

    fn queue_close(&mut self, r: &Request) -> Answer {
        let number = r.number("queue");
        match self.queues.get_mut(&number) {
            Some(queue) => Ok(format!("code={}", queue.close()?)),
            None => Ok(format!("code={}", unsafe {
                sys::weft_queue_close(number as *mut _)
            })),
        }
    }

    fn queue_fd(&mut self, r: &Request) -> Answer {
        let number = r.number("queue");
        let fd = match self.queues.get(&number) {
            Some(queue) => queue.fd()?,
            None => unsafe { sys::weft_queue_fd(number as *mut _) },
        };
        if fd < 0 {
            return Ok(format!("code={fd} readable=0"));
        }
        let mut polled = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let readable = unsafe { libc::poll(&raw mut polled, 1, r.number("timeout_ms") as i32) };
        Ok(format!("code=0 readable={readable}"))
    }

    fn submit(&mut self, r: &Request) -> Answer {
        let ops = r.ops();
        let number = r.number("queue");
        if let Some(queue) = self.queues.get(&number) {
            return Ok(format!("code={}", unsafe { queue.submit(&ops) }?));
        }
        let count = ops.len() as u32;
        Ok(format!("code={}", unsafe {
            sys::weft_submit(number as *mut _, ops.as_ptr(), count)
        }))
    }

    fn reap(&mut self, r: &Request) -> Answer {
        let mut events = vec![sys::weft_event::default(); r.number("capacity") as usize];
        let (number, timeout_ms) = (r.number("queue"), r.number("timeout_ms") as i32);
        let code = if let Some(queue) = self.queues.get_mut(&number) {
            queue.reap(&mut events, timeout_ms)? as i32
        } else {
            let (at, room) = (events.as_mut_ptr(), events.len() as u32);
            unsafe { sys::weft_reap(number as *mut _, at, room, timeout_ms) }
        };
        let rows: Vec<_> = events[..code.max(0) as usize]
            .iter()
            .map(|e| {
                format!(
                    "{}:{}:{}:{}:{}",
                    e.tag, e.value, e.handle, e.status, e.detail
                )
            })
            .collect();
        Ok(format!("code={code} events={}", rows.join(",")))
    }

    fn match_(&mut self, r: &Request) -> Answer {
        let (number, space) = (r.number("store"), r.number("space") as u32);
        if let Some(found) = self.spaces.get(&(number, space)) {
            return Ok(format!("code={}", found.match_(&r.keys())?));
        }
        let items = r.items();
        let count = items.len() as u32;
        let code = unsafe { sys::weft_match(number as *mut _, space, items.as_ptr(), count) };
        Ok(format!("code={code}"))
    }

    fn view(&mut self, r: &Request) -> Answer {
        let (number, space) = (r.number("store"), r.number("space") as u32);
        let part = r.number("part");
        let known = self.spaces.get(&(number, space));
        if let (Some(found), Ok(part)) = (known, u16::try_from(part)) {
            let views = found.view_list(&r.keys(), part)?.into_owned();
            let rows: Vec<_> = views
                .iter()
                .map(|view| format!("0:0:{}:{}:0", view.as_ptr() as u64, view.len()))
                .collect();
            let count = views.len();
            self.views_made += u64::from(count > 0);
            let handle = if count > 0 { self.views_made } else { 0 };
            self.views.insert(handle, views);
            return Ok(format!(
                "code={count} handle={handle} items={}",
                rows.join(",")
            ));
        }
        let (mut items, mut handle) = (r.items(), 0);
        let count = items.len() as u32;
        let at = items.as_mut_ptr();
        let code = unsafe {
            sys::weft_view(
                number as *mut _,
                space,
                part as u32,
                at,
                count,
                &raw mut handle,
            )
        };
        Ok(format!(
            "code={code} handle={handle} items={}",
            items_text(&items)
        ))
    }

    fn release(&mut self, r: &Request) -> String {
        let mut code = 0;
        let mut others = Vec::new();
        for handle in r.numbers("handles") {
            if self.views.remove(&handle).is_none() {
                others.push(handle);
            }
        }
        if !others.is_empty() {
            let (store, count) = (r.number("store") as *mut _, others.len() as u32);
            code = unsafe { sys::weft_release(store, others.as_ptr(), count) };
        }
        format!("code={code}")
    }

    fn answer(&mut self, r: &Request) -> String {
        let made = match r.verb.as_str() {
            "open" => self.open(r),
            "close" => Ok(self.close(r)),
            "namespace_open" => self.namespace_open(r),
            "namespace_close" => Ok(self.namespace_close(r)),
            "queue_open" => self.queue_open(r),
            "queue_close" => self.queue_close(r),
            "queue_fd" => self.queue_fd(r),
            "submit" => self.submit(r),
            "reap" => self.reap(r),
            "match" => self.match_(r),
            "view" => self.view(r),
            "release" => Ok(self.release(r)),
            "query" => Ok(query(r)),
            "region_map" => Ok(region_map(r)),
            "region_adopt" => Ok(region_adopt(r)),
            "pool_open" => Ok(pool_open(r)),
            "region_drop" => Ok(region_drop(r)),
            "keys" => keys(r),
            "key_of" => Ok(key_of(r)),
            "about" => Ok(about(r)),
            "fork" => Ok(self.in_child(r)),
            _ => Ok(memory::answer(r).unwrap_or_else(|| std::process::exit(2))),
        };
        made.unwrap_or_else(|error| {
            let words = hexed(error.message().as_bytes());
            format!(
                "code={} store=0 queue=0 region=0 message={words}",
                -error.code()
            )
        })
    }

    /// The rest of the line in a forked child, whose answer is passed on.
    fn in_child(&mut self, r: &Request) -> String {
        let mut ends = [0; 2];
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0, "a pipe");
        let child = unsafe { libc::fork() };
        if child == 0 {
            let told = self.answer(&r.rest());
            unsafe {
                libc::write(ends[1], told.as_ptr().cast(), told.len());
                libc::_exit(0)
            }
        }
        unsafe { libc::close(ends[1]) };
        let mut told = String::new();
        let read = unsafe { std::fs::File::from_raw_fd(ends[0]) }.read_to_string(&mut told);
        let mut status = 0;
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        if status == 0 && read.is_ok() {
            told
        } else {
            format!("code=-16 child={status}")
        }
    }
}

fn c_text(text: String) -> CString {
    CString::new(text).expect("the driver sends no NUL")
}

fn query(r: &Request) -> String {
    let capacity = r.number("capacity") as usize;
    let mut answer = vec![0u8; capacity.max(1)];
    let (words, mut why) = (r.text("text").map(c_text), error());
    let code = unsafe {
        sys::weft_query(
            r.number("store") as *mut _,
            r.number("space") as u32,
            pointer(words.as_ref()),
            answer.as_mut_ptr().cast(),
            capacity as u32,
            &raw mut why,
        )
    };
    if code < 0 {
        return with_words(code, "", &why);
    }
    let end = answer
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(capacity);
    format!("code={code} message={}", hexed(&answer[..end]))
}

fn region_map(r: &Request) -> String {
    let (options, mut why) = (r.text("options").map(c_text), error());
    let (mut region, mut address) = (0, 0);
    let code = unsafe {
        sys::weft_region_map(
            r.number("store") as *mut _,
            r.number("size"),
            pointer(options.as_ref()),
            &raw mut region,
            &raw mut address,
            &raw mut why,
        )
    };
    with_words(code, &format!(" region={region} address={address}"), &why)
}

fn region_adopt(r: &Request) -> String {
    let (mut region, mut why) = (0, error());
    let (store, device) = (r.number("store") as *mut _, r.number("device") as i32);
    let (at, size) = (r.number("address"), r.number("size"));
    let code =
        unsafe { sys::weft_region_adopt(store, at, size, device, &raw mut region, &raw mut why) };
    with_words(code, &format!(" region={region}"), &why)
}

fn pool_open(r: &Request) -> String {
    let (mut region, mut why, bases) = (0, error(), r.numbers("bases"));
    let layout = r.text("layout").map(c_text);
    let code = unsafe {
        sys::weft_pool_open(
            r.number("store") as *mut _,
            pointer(layout.as_ref()),
            bases.as_ptr(),
            bases.len() as u32,
            r.number("device") as i32,
            &raw mut region,
            &raw mut why,
        )
    };
    with_words(code, &format!(" region={region}"), &why)
}

fn region_drop(r: &Request) -> String {
    let (store, region) = (r.number("store") as *mut _, r.number("region") as u32);
    format!("code={}", unsafe { sys::weft_region_drop(store, region) })
}

fn keys(r: &Request) -> Answer {
    let tokens: Vec<u32> = r
        .numbers("tokens")
        .into_iter()
        .map(|token| token as u32)
        .collect();
    let (options, block_tokens) = (
        r.text("options").unwrap_or_default(),
        r.number("block_tokens"),
    );
    let mut chain = r
        .bytes("chain")
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let mut made = match &mut chain {
        Some(chain) => weft::keys_from(chain, &options, &tokens, block_tokens as u32)?,
        None => weft::keys(&options, &tokens, block_tokens as u32)?,
    };
    made.truncate(r.number("capacity") as usize);
    let rows: Vec<_> = made
        .iter()
        .map(|key| format!("{}:{}", key.hi, key.lo))
        .collect();
    let chain = chain.map_or(String::new(), |chain| format!(" chain={}", hexed(&chain)));
    Ok(format!(
        "code={} keys={}{chain}",
        made.len(),
        rows.join(",")
    ))
}

fn key_of(r: &Request) -> String {
    let key = weft::Key::of(r.bytes("bytes").unwrap_or_default());
    format!("code=0 key={}:{}", key.hi, key.lo)
}

fn about(r: &Request) -> String {
    let name = text(unsafe { sys::weft_code_name(r.number("number") as i32) });
    let (abi, version) = (unsafe { sys::weft_abi() }, weft::version());
    format!(
        "abi={abi} version={} name={}",
        hexed(version.as_bytes()),
        hexed(name.as_bytes())
    )
}

fn main() {
    let mut player = Player::default();
    for line in std::io::stdin().lock().lines() {
        let told = player.answer(&Request::new(&line.expect("lines of text")));
        let mut out = std::io::stdout().lock();
        writeln!(out, "{told}")
            .and_then(|()| out.flush())
            .expect("a driver that reads");
    }
    std::process::exit(0); // what scenarios leave open ends with the process, as in C
}
