//! An engine's paged memory: a page becomes a block and comes back in another page.

mod common;

use common::store;
use weft::sys;

#[test]
fn pages_of_a_pool_are_saved_and_loaded() {
    let store = store();
    let space = store.namespace("tests/pool", "part_bytes=128").unwrap();
    let mut queue = store.queue("").unwrap();
    // Two layers of four pages of 64 bytes each.
    let mut memory = vec![0_u8; 2 * 4 * 64];
    memory[64..128].fill(1);
    memory[5 * 64..6 * 64].fill(2);
    let base = memory.as_mut_ptr() as u64;
    // SAFETY: memory stays, and is read below only when no op names it.
    let pool = unsafe { store.pool("pages=4,bytes=64", &[base, base + 4 * 64]) }.unwrap();
    let mut run = |kind: i32, page: u64| {
        let op = sys::weft_op {
            kind: kind as u16,
            space: space.info().space,
            region: pool.region(),
            offset: page,
            key_lo: 7,
            ..Default::default()
        };
        let mut events = [sys::weft_event::default(); 1];
        // SAFETY: what the op names is the pool's.
        assert_eq!(unsafe { queue.submit(&[op]) }.unwrap(), 1);
        assert_eq!(queue.reap(&mut events, 10_000).unwrap(), 1);
        (events[0].status, events[0].value)
    };
    assert_eq!(run(sys::WEFT_OP_SAVE, 1), (0, 128));
    assert_eq!(run(sys::WEFT_OP_LOAD, 3), (0, 128));
    assert_eq!(memory[3 * 64..4 * 64], [1; 64]);
    assert_eq!(memory[7 * 64..], [2; 64]);
    assert_eq!(memory[2 * 64..3 * 64], [0; 64]);
    // SAFETY: it is refused, and nothing is described.
    let refused = unsafe { store.pool("pages=4,bytes=64,colour=red", &[base]) };
    assert!(refused.err().unwrap().to_string().contains("colour=red"));
}
