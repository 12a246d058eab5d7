//! What each call does, blocking: in a private store, every byte by content.

mod common;

use common::{space, store};
use weft::{Error, Key, MissReason, Reuse};

fn rows(count: u8, size: usize) -> Vec<u8> {
    (0..count).flat_map(|byte| vec![byte; size]).collect()
}

#[test]
fn a_block_is_saved_once_and_loaded_in_every_way() {
    let store = store();
    let space = space(&store);
    let content: Vec<u8> = (0..100_000u32).map(|at| (at * 7) as u8).collect();
    assert!(space.save("a", &content).run().unwrap());
    assert!(!space.save("a", &content).run().unwrap(), "it is there already");
    assert_eq!(
        space.load("a").run().unwrap(),
        Some(content.clone()),
        "larger than the first guess"
    );
    assert_eq!(space.load("a").start(10).size(5).run().unwrap(), Some(content[10..15].to_vec()));
    let with = space.load("a").with(Vec::with_capacity(200_000)).verify().run().unwrap().unwrap();
    assert!(with == content && with.capacity() >= 200_000, "into memory of ours");
    let mut place = vec![0; 50];
    assert_eq!(space.load_into("a", &mut place).run().unwrap(), Some(50));
    assert_eq!(place, content[..50]);
    assert_eq!(*space.view("a").unwrap().unwrap(), content);
    assert_eq!(*space.fetch("a").run().unwrap().unwrap(), content);
    assert!(space.save("a", vec![1; 3]).replace().run().unwrap());
    assert_eq!(space.load("a").run().unwrap(), Some(vec![1; 3]), "the new generation");
}

#[test]
fn lists_are_rows_of_one_buffer_or_of_many() {
    let store = store();
    let space = store.namespace("test/rows", "parts=1,part_bytes=4096").unwrap();
    let keys = weft::keys("", &(0..80).collect::<Vec<_>>(), 16).unwrap();
    let all = rows(5, 4096);
    assert_eq!(space.save_list(&keys[..3], &all[..3 * 4096]).run().unwrap(), 3);
    let apart: Vec<&[u8]> = all.chunks(4096).collect();
    assert_eq!(space.save_list(&keys, apart).reuse(Reuse::Soon).run().unwrap(), 5);
    assert_eq!(space.match_(&keys).unwrap(), 5);
    let mut loaded = vec![9; all.len()];
    assert_eq!(space.load_list(&keys, &mut loaded).run().unwrap(), 5);
    assert!(loaded == all);
    let (first, second) = loaded.split_at_mut(4096);
    let swapped = vec![&mut second[..4096], first];
    assert_eq!(space.load_rows(&keys[..2], swapped).run().unwrap(), 2);
    assert!(loaded[..4096] == all[4096..8192] && loaded[4096..8192] == all[..4096]);
    let views = space.view_list(&keys, 0).unwrap();
    assert!(views.iter().eq(all.chunks(4096)) && views.get(5).is_none());
    assert_eq!(space.fetch_list(&keys).run().unwrap().len(), 5);
    let error =
        space.save_list(&keys[..2], all.chunks(4096).collect::<Vec<_>>()).run().unwrap_err();
    assert_eq!(error, Error::Invalid("5 rows for 2 keys: each key has one".into()));
    let one = space.save_list(&keys[..4], &all[..4097]).run().unwrap_err();
    let words = "a buffer of 4097 bytes is not 4 equal rows";
    assert_eq!(one, Error::Invalid(format!("save_list: {words}")));
    let one = space.load_list(&keys[..4], &mut loaded[..4097]).run().unwrap_err();
    assert_eq!(one, Error::Invalid(format!("load_list: {words}")));
    assert!(matches!(space.load_list(&keys, &mut [0; 3]).run(), Err(Error::Invalid(_))));
    assert_eq!(space.load_list(&[] as &[Key], &mut []).run().unwrap(), 0, "nothing to do");
    assert_eq!(space.save_list(&[] as &[Key], Vec::<u8>::new()).run().unwrap(), 0, "nothing to do");
    assert_eq!(space.remove(&keys[..2]).run().unwrap(), 2);
    assert_eq!(space.touch(&keys[2..]).run().unwrap(), 3);
}

#[test]
fn a_miss_is_none_and_has_a_reason() {
    let store = store();
    let space = space(&store);
    assert_eq!(space.load("nobody").run().unwrap(), None);
    assert_eq!(space.load_into("nobody", &mut [0; 4]).run().unwrap(), None);
    assert!(space.view("nobody").unwrap().is_none());
    assert!(space.fetch("nobody").run().unwrap().is_none());
    assert!(space.follow("nobody", 0).run().unwrap().is_none());
    assert!(space.fetch_list("nobody").run().unwrap().is_empty());
    assert!(!space.wait("nobody").run().unwrap());
    assert_eq!(space.find("nobody").run().unwrap().reason, Some(MissReason::Absent));
    space.save("some", b"x").run().unwrap();
    assert_eq!(space.find("some").run().unwrap().reason, None);
    space.remove("some").run().unwrap();
    assert!(space.query(&format!("explain key={}", Key::from("some"))).unwrap().starts_with('{'));
}

#[test]
fn reservations_publish_on_commit_and_vanish_on_drop() {
    let store = store();
    let space = space(&store);
    let mut made = space.reserve("r", 1000).run().unwrap();
    assert_eq!(made.size(), 1000);
    assert!(matches!(space.reserve("r", 1000).run(), Err(Error::Held(_))));
    made.bytes_mut()[..10].fill(1);
    made.final_to(10).run().unwrap();
    assert_eq!(made.bytes_mut().len(), 990, "what followers may see cannot be written");
    made.bytes_mut().fill(2);
    assert!(made.commit().run().unwrap());
    assert!(matches!(space.reserve("r", 1000).run(), Err(Error::Exists(_))));
    assert_eq!(space.load("r").run().unwrap().unwrap()[9..11], [1, 2]);

    drop(space.reserve("dropped", 64).run().unwrap());
    drop(space.reserve("dropped", 64).run().expect("the key is free again"));
    space.reserve("aborted", 64).run().unwrap().abort().run().unwrap();
    drop(space.reserve("aborted", 64).run().unwrap().commit()); // a call that was never begun

    let names = [Key::from("r"), Key::from("l1"), Key::from("l2")];
    let mut list = space.reserve_list(&names, 256).run().unwrap();
    let rows = list.rows_mut();
    assert!(rows[0].is_none(), "it is there");
    rows.into_iter().flatten().for_each(|row| row.fill(7));
    assert!(list.commit().run().unwrap());
    assert_eq!(space.load("l2").run().unwrap(), Some(vec![7; 256]));
}

#[test]
fn a_follower_sees_only_what_is_final() {
    let store = store();
    let space = space(&store);
    let mut made = space.reserve("f", 100).run().unwrap();
    let followers: Vec<_> = (0..2).map(|_| space.follow("f", 0).run().unwrap().unwrap()).collect();
    assert_eq!((followers[0].size(), followers[0].bytes().len()), (100, 0));
    made.bytes_mut()[..40].fill(4);
    made.final_to(40).run().unwrap();
    for follower in &followers {
        assert!(follower.until(40).run().unwrap());
        assert_eq!(follower.bytes(), [4; 40]);
    }
    assert!(followers[0].until(0).run().unwrap(), "nothing to wait for");
    made.final_to(0).run().unwrap();
    let words = |error: Error| error.message().to_owned();
    let beyond = words(made.final_to(101).run().unwrap_err());
    assert_eq!(beyond, "final_to: 101 bytes of a part of 100");
    let beyond = words(followers[0].until(101).run().unwrap_err());
    assert_eq!(beyond, "until: 101 bytes of a part of 100");
    assert_eq!(made.bytes_mut().len(), 60, "neither changed what is final");
    let late = followers[0].until(41).timeout_ms(20).run();
    assert!(matches!(late, Err(Error::TimedOut(_))), "{late:?}");
    drop(made);
    assert!(!followers[0].until(100).run().unwrap(), "its writer gave up");
}

#[test]
fn no_setting_leads_out_of_the_memory_of_a_call() {
    let store = store();
    let space = space(&store);
    space.save("k", vec![7; 100]).run().unwrap();
    let invalid = |result: weft::Result<()>| assert!(matches!(result, Err(Error::Invalid(_))));
    let mut place = [0; 20];
    invalid(space.load_into("k", &mut place).size(21).run().map(drop));
    assert_eq!(space.load_into("k", &mut place).size(5).run().unwrap(), Some(5));
    assert_eq!(place[..6], [7, 7, 7, 7, 7, 0]);
    invalid(space.load_list("k", &mut place).size(100).run().map(drop));
    invalid(space.save("other", vec![0; 3]).size(4).run().map(drop));
    invalid(space.save_list("other", vec![0; 3]).size(4).run().map(drop));
    invalid(space.save("other", vec![]).run().map(drop));
    let mut made = space.reserve("f", 100).run().unwrap();
    invalid(made.final_to(10).size(11).run());
    let follower = space.follow("f", 0).run().unwrap().unwrap();
    invalid(follower.until(10).part(1).run().map(drop));
    assert!(follower.bytes().is_empty());
}

#[test]
fn claims_are_single_flight_and_end_with_their_value() {
    let store = store();
    let space = space(&store);
    let keys = [Key::from("c1"), Key::from("c2")];
    let claim = space.claim(&keys).run().unwrap().expect("nobody computes it");
    assert_eq!(claim.first, 0);
    let refused = space.claim(&keys).timeout_ms(20).run();
    assert!(matches!(refused, Err(Error::TimedOut(_))));
    space.save("c1", b"1").run().unwrap();
    drop(claim);
    let rest = space.claim(&keys).run().unwrap().expect("the second is still to be computed");
    assert_eq!(rest.first, 1);
    space.save("c2", b"2").run().unwrap();
    assert!(space.claim(&keys).run().unwrap().is_none());
    assert!(space.wait(&keys).run().unwrap());
    let pinned = space.find(&keys).pin().ttl_s(5).run().unwrap();
    assert_eq!(pinned.blocks, 2);
}

#[test]
fn arrays_keep_type_and_shape() {
    let store = store();
    let space = space(&store);
    let numbers: Vec<f32> = (0..6u8).map(|at| f32::from(at) / 3.0).collect();
    assert!(space.save_array("m", &numbers, &[2, 3]).run().unwrap());
    let found = space.fetch_array::<f32>("m").run().unwrap().unwrap();
    assert!(*found == numbers && found.shape() == [2, 3]);
    let part = space.view("m").unwrap().unwrap();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    assert_eq!(&part[..8], b"\x93NUMPY\x01\0");
    assert_eq!(std::str::from_utf8(&part[10..128]).unwrap().trim_end(), header);
    let wrong = space.fetch_array::<f64>("m").run().err().unwrap();
    assert!(wrong.message().contains("'<f4'") && wrong.message().contains("not <f8"), "{wrong}");
    space.save("bytes", b"no array").run().unwrap();
    assert!(matches!(space.fetch_array::<u8>("bytes").run(), Err(Error::Invalid(_))));
    assert!(matches!(space.save_array("m2", &numbers, &[4]).run(), Err(Error::Invalid(_))));
    space.save_array("v", &[1u8, 2], &[2]).run().unwrap();
    assert_eq!(space.fetch_array::<u8>("v").run().unwrap().unwrap().shape(), [2]);
}

#[test]
fn keys_go_on_from_a_digest() {
    let tokens: Vec<u32> = (0..64).collect();
    let whole = weft::keys("", &tokens, 16).unwrap();
    let mut chain = [0; 32];
    let mut parts = weft::keys_from(&mut chain, "", &tokens[..32], 16).unwrap();
    parts.extend(weft::keys_from(&mut chain, "start=32", &tokens[32..], 16).unwrap());
    assert_eq!(whole, parts);
    assert_ne!(whole, weft::keys("salt=x", &tokens, 16).unwrap());
    assert!(matches!(weft::keys("scheme=none", &tokens, 16), Err(Error::Invalid(_))));
    assert!(matches!(weft::keys("", &tokens, 0), Err(Error::Invalid(_))));
    assert!("xyz".parse::<Key>().is_err());
    assert_eq!(Key::from(5u128), Key { hi: 0, lo: 5 });
}
