//! weft-bench PROGRAMS [--quick]: what the crate `weft` adds to the C ABI. PROGRAMS is the folder
//! of `weft_bench_node`, the process whose blocks are read.
//!
//! Each row's reference is the same work by the ABI's own functions, in this program, on the same
//! store, in turns; what they read is checked by content. Runs of 64 are timed together where one
//! takes nanoseconds.

mod figure;
mod node;

use std::future::{Future, IntoFuture};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use figure::{in_turns, Figure};
use node::{is_block, key_of, Node};
use weft::sys;

const RUN: usize = 64;
const BATCH: usize = 32;
const SMALL: usize = 256;
const LARGE: usize = 1 << 20;

/// Indices of blocks, the same in every run of the program.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
    fn keys(&mut self, count: usize, below: u64) -> Vec<weft::Key> {
        (0..count).map(|_| key_of(self.next(below))).collect()
    }
}

fn item(key: weft::Key) -> sys::weft_item {
    sys::weft_item {
        key_hi: key.hi,
        key_lo: key.lo,
        ..Default::default()
    }
}

fn since_ns(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64
}

/// View and release of one block, ns.
fn views(space: &weft::Namespace, store: &weft::Store, rounds: usize) -> Figure {
    let (handle, number) = (store.handle(), space.info().space);
    for index in [0, 499, 999] {
        let view = space
            .view(key_of(index))
            .unwrap()
            .expect("a block of the node");
        assert!(is_block(&view, index), "block {index} has other bytes");
    }
    let (mut draw, mut same) = (Draw(42), Draw(42));
    let bare = || {
        let mut items: Vec<_> = draw.keys(RUN, 1000).into_iter().map(item).collect();
        let start = Instant::now();
        for item in &mut items {
            let mut view = 0;
            // SAFETY: one item, one handle.
            unsafe {
                assert_eq!(sys::weft_view(handle, number, 0, item, 1, &raw mut view), 1);
                sys::weft_release(handle, &raw const view, 1);
            }
        }
        since_ns(start) / RUN as f64
    };
    let ours = || {
        let keys = same.keys(RUN, 1000);
        let start = Instant::now();
        for key in &keys {
            black_box(&*space.view(key).unwrap().expect("a block of the node"));
        }
        since_ns(start) / RUN as f64
    };
    let pair = in_turns(rounds, bare, ours);
    Figure::new(
        "view + release, 1,000 blocks, Rust",
        "ns",
        &pair,
        "the same calls of the C ABI",
    )
    .ratio_at_most(1.3)
}

/// A queue of the ABI for the references: one op at a time.
struct Bare {
    queue: *mut sys::weft_queue,
    memory: u32,
    space: u32,
}

impl Bare {
    fn new(store: &weft::Store, space: &weft::Namespace) -> Self {
        let mut queue = std::ptr::null_mut();
        let (none, nobody) = (std::ptr::null(), std::ptr::null_mut());
        // SAFETY: the queue is a value of this frame; no options, no story.
        let code = unsafe { sys::weft_queue_open(store.handle(), none, &raw mut queue, nobody) };
        assert_eq!(code, 0, "weft_queue_open");
        Self {
            queue,
            memory: store.memory(),
            space: space.info().space,
        }
    }

    fn load(&self) -> sys::weft_op {
        let (kind, region) = (sys::WEFT_OP_LOAD as u16, self.memory);
        sys::weft_op {
            kind,
            space: self.space,
            region,
            ..Default::default()
        }
    }

    fn run(&self, op: &sys::weft_op) -> sys::weft_event {
        let mut event = sys::weft_event::default();
        // SAFETY: the op's memory outlives this call, which returns after its event.
        unsafe {
            assert_eq!(sys::weft_submit(self.queue, op, 1), 1);
            assert_eq!(sys::weft_reap(self.queue, &raw mut event, 1, 60_000), 1);
        }
        assert_eq!(event.status, 0, "a load failed");
        event
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // SAFETY: nothing is in flight.
        unsafe { sys::weft_queue_close(self.queue) };
    }
}

/// Loads of a batch of 1 MiB blocks, GB/s.
fn loads(store: &weft::Store, space: &weft::Namespace, blocks: u64, rounds: usize) -> Figure {
    let bare_queue = Bare::new(store, space);
    let mut place = vec![1u8; BATCH * LARGE];
    let address = place.as_mut_ptr() as u64;
    let mut at = 0;
    let mut batch = || -> (Vec<u64>, Vec<weft::Key>) {
        at += BATCH as u64;
        let indices: Vec<u64> = (0..BATCH as u64).map(|i| (at + i) * 37 % blocks).collect();
        let keys = indices.iter().map(|&index| key_of(index)).collect();
        (indices, keys)
    };
    let mut next = batch();
    let batches = std::cell::RefCell::new(&mut batch);
    let bare = || {
        let (_, keys) = batches.borrow_mut()();
        let mut items: Vec<_> = keys.into_iter().map(item).collect();
        for (row, item) in items.iter_mut().enumerate() {
            (item.offset, item.size) = (address + (row * LARGE) as u64, LARGE as u32);
        }
        let mut op = bare_queue.load();
        op.flags = (sys::WEFT_LIST | sys::WEFT_CHAIN) as u32;
        (op.key_hi, op.key_lo) = (BATCH as u64, bare_queue.memory.into());
        op.offset = items.as_ptr() as u64;
        let start = Instant::now();
        let event = bare_queue.run(&op);
        let took = since_ns(start);
        assert_eq!(event.value, BATCH as u64);
        took
    };
    let mut checked = 0;
    let ours = || {
        next = batches.borrow_mut()();
        let start = Instant::now();
        let loaded = space.load_list(&next.1, &mut place).run().unwrap();
        let took = since_ns(start);
        assert_eq!(loaded, BATCH);
        for (row, &index) in place
            .chunks(LARGE)
            .zip(&next.0)
            .take(usize::from(checked < 4) * BATCH)
        {
            assert!(is_block(row, index), "block {index} has other bytes");
        }
        checked += 1;
        took
    };
    let pair = in_turns(rounds, bare, ours);
    Figure::new(
        "load 1 MiB, batch of 32, node, Rust",
        "ns",
        &pair,
        "the same op of the C ABI",
    )
    .rate_of(BATCH * LARGE)
    .ratio_at_least(0.97)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// One load of 256 B: a future from its first poll to its end, us.
fn small(store: &weft::Store, space: &weft::Namespace, rounds: usize) -> Figure {
    let bare_queue = Bare::new(store, space);
    let (mut draw, mut same) = (Draw(7), Draw(7));
    let bare = || {
        let keys = draw.keys(RUN, 1000);
        let mut out = [0u8; SMALL];
        let start = Instant::now();
        for key in keys {
            let mut op = bare_queue.load();
            (op.key_hi, op.key_lo) = (key.hi, key.lo);
            (op.offset, op.size) = (out.as_mut_ptr() as u64, SMALL as u32);
            bare_queue.run(&op);
        }
        since_ns(start) / RUN as f64 / 1000.0
    };
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let ours = || {
        let keys = same.keys(RUN, 1000);
        let mut memory = Vec::with_capacity(SMALL);
        let start = Instant::now();
        for key in keys {
            let mut load = pin!(space.load(key).with(memory).into_future());
            memory = loop {
                match load.as_mut().poll(&mut context) {
                    Poll::Ready(loaded) => break loaded.unwrap().expect("a block of the node"),
                    Poll::Pending => std::thread::park(),
                }
            };
        }
        since_ns(start) / RUN as f64 / 1000.0
    };
    let pair = in_turns(rounds, bare, ours);
    Figure::new(
        "load 256 B, submit to event, node, Rust future",
        "us",
        &pair,
        "submit and reap in C",
    )
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let programs = arguments.get(1).expect("weft-bench PROGRAMS [--quick]");
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let open = |node: &Node, bytes: usize| {
        let store = weft::Store::open(&format!("connect={}", node.address)).expect("the node");
        let layout = format!("parts=1,block_tokens=16,part_bytes={bytes}");
        let space = store
            .namespace("bench/model", &layout)
            .expect("its namespace");
        (store, space)
    };
    {
        let node = Node::start(programs, "256MiB", 1000, SMALL);
        let (store, space) = open(&node, SMALL);
        views(&space, &store, if quick { 1000 } else { 8000 }).print();
        small(&store, &space, if quick { 300 } else { 3000 }).print();
    }
    let node = Node::start(programs, "384MiB,prefault=yes", 256, LARGE);
    let (store, space) = open(&node, LARGE);
    loads(&store, &space, 256, if quick { 40 } else { 150 }).print();
}
