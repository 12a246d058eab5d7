//! Errors have their variant and the library's words; whatever is dropped in whatever order gives
//! back what it had.

mod common;

use common::{space, store};
use weft::{Error, Store};

#[test]
fn an_unknown_option_is_named() {
    let error = Store::open("memory=64MiB,colour=red").unwrap_err();
    assert!(matches!(&error, Error::Invalid(words) if words.contains("colour=red")), "{error}");
    assert_eq!((error.code(), error.name()), (1, "EINVAL"));
    assert!(matches!(Store::open("a\0b"), Err(Error::Invalid(_))));
}

#[test]
fn a_node_that_is_not_there_is_a_peer_error() {
    let error = Store::open("connect=unix:/nowhere/weft.sock,timeout_ms=50").unwrap_err();
    assert!(
        matches!(&error, Error::Peer(words) if words.contains("/nowhere/weft.sock")),
        "{error:?}"
    );
}

#[test]
fn a_failed_op_has_its_story() {
    let store = store();
    let small = store.namespace("test/small", "parts=1,part_bytes=16").unwrap();
    let error = small.save("k", vec![0; 17]).run().unwrap_err();
    assert_eq!(error.name(), "ERANGE");
    let error = small.save("k", vec![0; 16]).part(3).run().unwrap_err();
    let key = weft::Key::from("k");
    let words = format!("save of {key} in test/small: part=3: the namespace has 1 parts");
    assert!(error.message().starts_with(&words), "{error}");
    let _held = small.reserve("k", 0).run().unwrap();
    let error = small.save("k", vec![0; 16]).run().unwrap_err();
    let words = format!("save of {key} in test/small: ");
    assert!(error.message().starts_with(&words), "{error}");
    assert!(error.message().contains("is being written"), "{error}");
    let error = small.view_part("k", 3).unwrap_err();
    let words = "view in test/small: part=3: the namespace has 1 parts, counted from 0";
    assert_eq!(error, Error::Invalid(words.into()));
    assert_eq!(small.view_list("k", 3).err(), Some(error));
    let error = small.load("k").pin().run().unwrap_err();
    assert_eq!(error.name(), "EINVAL", "a flag that means nothing to a load: {error}");
    let other = store.namespace("test/small", "parts=1,part_bytes=32").unwrap_err();
    assert!(
        other.message().contains("16") && other.message().contains("32"),
        "names both: {other}"
    );
}

#[test]
fn a_fenced_namespace_says_so() {
    let store = store();
    let before = store.namespace("test/fence", "part_bytes=0,version=1").unwrap();
    before.save("k", b"x").run().unwrap();
    assert_eq!(before.advance(2).run().unwrap(), 2);
    assert!(matches!(before.save("k2", b"x").run(), Err(Error::Fenced(_))));
    let error = before.match_("k").unwrap_err();
    assert!(matches!(&error, Error::Fenced(words) if words.starts_with("match in test/fence: ")));
    let after = store.namespace("test/fence", "").unwrap();
    assert_eq!(after.info().version, 2);
    assert_eq!(after.find("k").run().unwrap().reason, Some(weft::MissReason::Fenced));
}

#[test]
fn a_store_closes_when_nothing_uses_it() {
    let store = store();
    let space = space(&store);
    let error = store.close().unwrap_err();
    assert!(matches!(&error, Error::Busy(words) if words.starts_with("1 others")), "{error}");
    space.save("k", b"still").run().unwrap();
    let view = space.view("k").unwrap().unwrap().into_owned();
    drop(space);
    assert_eq!(&view[..], b"still", "a view keeps its store");
    drop(view);
    self::store().close().unwrap();
}

#[test]
fn a_dropped_reservation_keeps_no_store_open() {
    let place = std::env::temp_dir().join(format!("weft-errors-{}.sock", std::process::id()));
    let options = format!("memory=16MiB,listen=unix:{}", place.display());
    for _ in 0..3 {
        let store = Store::open(&options).expect("the one before has closed");
        let space = space(&store);
        let made = space.reserve("r", 64).run().unwrap();
        drop((space, store));
        drop(made); // the last that keeps the store
    }
}

#[test]
fn calls_that_are_never_begun_do_nothing() {
    let store = store();
    let space = space(&store);
    drop(space.save("k", b"x"));
    drop(std::future::IntoFuture::into_future(space.save("k", vec![1])));
    assert!(space.view("k").unwrap().is_none());
}

#[test]
fn a_queue_of_ones_own_moves_raw_ops() {
    use weft::sys;
    let store = store();
    let space = space(&store);
    let mut queue = store.queue("depth=2").unwrap();
    let content = [5u8; 32];
    let op = |tag| sys::weft_op {
        tag,
        kind: sys::WEFT_OP_SAVE as u16,
        space: space.info().space,
        region: store.memory(),
        offset: content.as_ptr() as u64,
        size: 32,
        key_lo: tag,
        ..Default::default()
    };
    // SAFETY: content outlives the queue's ops, which are reaped below.
    let taken = unsafe { queue.submit(&[op(1), op(2), op(3)]) }.unwrap();
    assert_eq!(taken, 2, "as many as its depth");
    assert!(matches!(unsafe { queue.submit(&[op(3)]) }, Err(Error::Again(_))));
    let mut events = [sys::weft_event::default(); 4];
    let mut tags = Vec::new();
    while tags.len() < 2 {
        let count = queue.reap(&mut events, -1).unwrap();
        tags.extend(events[..count].iter().map(|event| (event.tag, event.status, event.detail)));
    }
    tags.sort_unstable();
    assert_eq!(tags, [(1, 0, 1), (2, 0, 1)]);
    assert!(queue.fd().unwrap() > 0);
    assert_eq!(space.load(2u128).run().unwrap(), Some(content.to_vec()));
    drop(store);
    assert_eq!(queue.close().unwrap(), 0);
}
