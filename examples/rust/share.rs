//! share: two processes of a host, one cache. The first is the node: it owns the memory and
//! listens. The second connects, reads a block of the first in place, and saves one that the first
//! then reads.

mod process;

use process::{new_address, Process, Result};

const BLOCK_BYTES: usize = 1 << 20;
const LAYOUT: &str = "parts=1,part_bytes=1048576";

fn second(address: &str) -> Result {
    let store = weft::Store::open(&format!("connect={address}"))?;
    let space = store.namespace("demo/share", LAYOUT)?;
    let view = space
        .view("from the first")?
        .ok_or("the first one's block")?; // no copy, no system call
    assert!(view.len() == BLOCK_BYTES && view.iter().all(|&byte| byte == 1));
    let published = space.save("from the second", vec![2; BLOCK_BYTES]).run()?;
    assert!(published);
    println!("read the first one's block in place, saved another");
    Ok(())
}

fn first() -> Result {
    let address = new_address();
    let node = weft::Store::open(&format!("memory=64MiB,listen={address}"))?;
    let space = node.namespace("demo/share", LAYOUT)?;
    let published = space.save("from the first", vec![1; BLOCK_BYTES]).run()?;
    assert!(published);
    Process::start(&[&address])?.finish()?;
    // Its saver has ended; the block stays.
    let view = space
        .view("from the second")?
        .ok_or("the second one's block")?;
    assert!(view.len() == BLOCK_BYTES && view.iter().all(|&byte| byte == 2));
    println!("share: each process read what the other saved");
    Ok(())
}

fn main() -> Result {
    std::env::args()
        .nth(1)
        .map_or_else(first, |address| second(&address))
}
