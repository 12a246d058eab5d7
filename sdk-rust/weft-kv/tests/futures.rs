//! Calls as futures, without a runtime: they end, are woken by the thread that reaps, and can be
//! dropped at any moment.

mod common;

use std::future::IntoFuture;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use common::{block_on, poll_once, poll_pending, soon, space, store};
use weft::Error;

const FUTURES: usize = 4096; // in flight at once, by the README

#[test]
fn a_local_op_ends_in_the_first_poll() {
    let store = store();
    let space = space(&store);
    assert!(block_on(async { space.save("k", vec![3; 1000]).await }).unwrap());
    let mut load = space.load("k").into_future();
    assert!(matches!(poll_once(&mut load), Poll::Ready(Ok(Some(bytes))) if bytes == [3; 1000]));
    let mut large = space.save("large", vec![9; 300_000]).into_future();
    while poll_once(&mut large).is_pending() {}
    let loaded = block_on(space.load("large").into_future()).unwrap();
    assert_eq!(loaded, Some(vec![9; 300_000]), "in two ops: the first guess is too small");
}

#[test]
fn a_waiting_future_is_woken_from_another_thread() {
    let store = store();
    let space = space(&store);
    let mut block = space.reserve("k", 10).run().unwrap();
    let mut wait = space.wait("k").into_future();
    assert!(poll_once(&mut wait).is_pending());
    let writer = thread::spawn(move || {
        block.bytes_mut().fill(1);
        block_on(block.commit().into_future())
    });
    assert!(block_on(wait).unwrap());
    assert!(writer.join().unwrap().unwrap());
}

#[test]
fn a_full_queue_makes_futures_wait_for_room() {
    let store = store();
    let space = space(&store);
    let held = space.reserve("held", 10).run().unwrap();
    let mut waits: Vec<_> = (0..FUTURES).map(|_| space.wait("held").into_future()).collect();
    assert!(waits.iter_mut().all(|wait| poll_once(wait).is_pending()));
    let mut beyond = space.load("nobody").into_future();
    let woken = poll_pending(&mut beyond);
    assert!(held.commit().run().unwrap(), "its queue has room");
    woken.soon();
    assert_eq!(block_on(beyond).unwrap(), None);
    for wait in waits {
        assert!(block_on(wait).unwrap());
    }
}

#[test]
fn any_number_of_dropped_futures_is_cancelled() {
    let store = store();
    let _held = space(&store).reserve("held", 10).run().unwrap();
    let space = space(&store);
    let mut waits: Vec<_> =
        (0..FUTURES).map(|_| space.wait("held").timeout_ms(600_000).into_future()).collect();
    assert!(waits.iter_mut().all(|wait| poll_once(wait).is_pending()));
    drop((waits, space)); // more CANCELs than the queue takes at once
    let users = |count: &str| store.clone().close().unwrap_err().message().starts_with(count);
    soon(|| users("2 others"), "only the store and the reservation are left");
}

#[test]
fn what_came_for_a_dropped_future_is_given_back() {
    let store = store();
    let space = space(&store);
    let claim = space.claim("k").run().unwrap().unwrap();
    let mut second = space.claim("k").into_future();
    let woken = poll_pending(&mut second);
    drop(claim);
    woken.soon();
    drop(second); // it was never polled again: the claim is in its event
    let third = block_on(space.claim("k").timeout_ms(600_000).into_future()).unwrap();
    assert!(third.is_some());
}

#[test]
fn what_a_dropped_future_opened_is_given_back() {
    let store = store();
    let space = space(&store);
    for round in 0..200u128 {
        let mut reserve = space.reserve(round, 4096).into_future();
        let polled = poll_once(&mut reserve);
        drop(reserve);
        drop(polled); // where it has ended: a reservation, which is aborted
        soon(|| space.reserve(round, 4096).run().is_ok(), "the key is free again");
    }
}

#[test]
fn futures_are_dropped_while_their_block_is_being_published() {
    let store = store();
    let space = Arc::new(space(&store));
    for round in 0..100u128 {
        let mut block = space.reserve(round, 4096).run().unwrap();
        block.bytes_mut().fill(7);
        let mut loads: Vec<_> =
            (0..8).map(|_| space.load(round).size(4096).wait_writer().into_future()).collect();
        assert!(loads.iter_mut().all(|load| poll_once(load).is_pending()));
        let dropper = thread::spawn(move || drop(loads));
        assert!(block.commit().run().unwrap());
        dropper.join().unwrap();
        assert_eq!(block_on(space.load(round).into_future()).unwrap(), Some(vec![7; 4096]));
    }
}

#[test]
fn a_leaked_future_leaks_its_memory_and_no_more() {
    let store = store();
    let space = space(&store);
    let block = space.reserve("k", 100).run().unwrap();
    let mut load = space.load("k").size(100).wait_writer().into_future();
    assert!(poll_once(&mut load).is_pending());
    std::mem::forget(load); // its buffer is written after this
    assert!(block_on(block.commit().into_future()).unwrap());
    assert!(block_on(space.load("k").into_future()).unwrap().is_some());
}

#[test]
fn a_store_can_be_dropped_by_the_thread_that_reaps() {
    for _ in 0..50 {
        let store = store();
        let space = space(&store);
        let claim = space.claim("k").run().unwrap();
        let mut wait = space.wait("k").into_future();
        assert!(poll_once(&mut wait).is_pending());
        drop((wait, claim));
        drop((space, store)); // the abandoned op holds the last share
    }
}

#[test]
fn many_threads_share_one_queue() {
    let store = store();
    let space = Arc::new(space(&store));
    let threads: Vec<_> = (0..8u8)
        .map(|thread| {
            let space = space.clone();
            thread::spawn(move || {
                for round in 0..200u32 {
                    let key = format!("{thread}/{round}");
                    let content = vec![thread ^ round as u8; 512];
                    assert!(block_on(space.save(&key[..], content.clone()).into_future()).unwrap());
                    let loaded = block_on(space.load(&key[..]).into_future()).unwrap();
                    assert_eq!(loaded, Some(content));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn errors_come_out_of_futures_too() {
    let store = store();
    let small = store.namespace("test/small", "parts=1,part_bytes=16").unwrap();
    let error = block_on(small.save("k", vec![0; 17]).into_future()).unwrap_err();
    assert!(matches!(error, Error::Range(_)), "{error:?}");
}

/// What is sent to other threads, as runtimes do.
#[test]
fn everything_is_send() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<weft::Running<Option<Vec<u8>>>>();
    send::<weft::Running<weft::Reservation>>();
    send::<weft::Queue>();
    send::<weft::Array<f32>>();
    sync::<weft::Store>();
    sync::<weft::Namespace>();
    sync::<weft::View<'static>>();
    sync::<weft::Views<'static>>();
    sync::<weft::Following>();
    sync::<weft::Reservation>();
}
