//! With the feature `tokio`: a runtime's event loop reaps, and when it ends the thread takes over.
#![cfg(feature = "tokio")]

mod common;

use std::future::IntoFuture;

use common::{block_on, poll_once, space, store, DEADLINE};
use tokio::runtime::Builder;
use weft::Error;

fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .filter(|comm| comm.trim() == name)
        .count()
}

#[test]
fn a_runtime_reaps_and_the_thread_takes_over_when_it_ends() {
    let store = store();
    let space = space(&store);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let reaping = tokio::spawn(store.reap_in_tokio());
        tokio::task::yield_now().await;
        for round in 0..200u128 {
            let mut block = space.reserve(round, 64).await.unwrap();
            let waits: Vec<_> =
                (0..10).map(|_| tokio::spawn(space.wait(round).into_future())).collect();
            let load = tokio::spawn(space.load(round).size(64).wait_writer().into_future());
            tokio::task::yield_now().await;
            block.bytes_mut().fill(8);
            assert!(block.commit().await.unwrap());
            for wait in waits {
                assert!(tokio::time::timeout(DEADLINE, wait).await.unwrap().unwrap().unwrap());
            }
            assert_eq!(load.await.unwrap().unwrap(), Some(vec![8; 64]));
        }
        assert_eq!(threads_named("weft-reaper"), 0, "no thread of Weft's own");
        let second = store.reap_in_tokio().await;
        assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
        assert!(!reaping.is_finished());
    });
    let block = space.reserve("later", 64).run().unwrap();
    let mut wait = space.wait("later").into_future();
    assert!(poll_once(&mut wait).is_pending());
    drop(runtime); // with an op in flight
    let writer = std::thread::spawn(|| block.commit().run());
    assert!(block_on(wait).unwrap());
    assert!(writer.join().unwrap().unwrap());
}

#[test]
fn reaping_ends_with_the_store() {
    let store = store();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let reaping = tokio::spawn(store.reap_in_tokio());
        tokio::task::yield_now().await;
        store.close().unwrap();
        let ended = tokio::time::timeout(DEADLINE, reaping).await.unwrap().unwrap();
        assert_eq!(ended, Ok(()));
    });
}

#[test]
fn cancels_that_found_no_room_are_made_up_for() {
    let store = store();
    let _held = space(&store).reserve("held", 10).run().unwrap();
    let space = space(&store);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::spawn(store.reap_in_tokio());
        tokio::task::yield_now().await;
        let mut waits: Vec<_> =
            (0..4096).map(|_| space.wait("held").timeout_ms(600_000).into_future()).collect();
        assert!(waits.iter_mut().all(|wait| poll_once(wait).is_pending()));
        drop((waits, space)); // nobody reaps meanwhile: the queue takes a few CANCELs and no more
        let users = |count: &str| store.clone().close().unwrap_err().message().starts_with(count);
        assert!(!users("2 others"));
        let gone = async {
            while !users("2 others") {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(DEADLINE, gone).await.expect("all ops are cancelled");
    });
}
