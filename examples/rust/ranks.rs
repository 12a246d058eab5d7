//! ranks: a block of two parts, each saved by a process of its own, as the ranks of a
//! tensor-parallel engine do. They name one writer, so that their parts join; nobody sees the block
//! before both are in.

mod process;

use process::{new_address, Process, Result};

const PART_BYTES: usize = 512 * 1024;
const LAYOUT: &str = "parts=2,part_bytes=524288,writer=engine-0";
const NAME: &str = "a block of two parts";

fn part_is_right(space: &weft::Namespace, part: u8) -> Result<bool> {
    let view = space.fetch(NAME).part(part.into()).run()?;
    Ok(view.is_some_and(|view| view.len() == PART_BYTES && view.iter().all(|&b| b == part + 1)))
}

fn rank(address: &str, part: u8) -> Result {
    let store = weft::Store::open(&format!("connect={address}"))?;
    let space = store.namespace("demo/ranks", LAYOUT)?;
    let published = space
        .save(NAME, vec![part + 1; PART_BYTES])
        .part(part.into())
        .run()?;
    // A rank that ended here would take its part along: the block belongs to nobody until it is
    // whole.
    let whole = space.wait(NAME).run()?;
    assert!(whole, "the other part comes");
    assert!(part_is_right(&space, 1 - part)?, "the other rank's part");
    let done = if published {
        ", which published the block"
    } else {
        ""
    };
    println!("part {part} saved{done}, the other's read");
    Ok(())
}

fn engine() -> Result {
    let address = new_address();
    let node = weft::Store::open(&format!("memory=64MiB,listen={address}"))?;
    let space = node.namespace("demo/ranks", LAYOUT)?;
    let ranks = [
        Process::start(&[&address, "0"])?,
        Process::start(&[&address, "1"])?,
    ];
    for rank in ranks {
        rank.finish()?;
    }
    assert!(part_is_right(&space, 0)? && part_is_right(&space, 1)?);
    println!("ranks: two processes saved one block together");
    Ok(())
}

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[1..] {
        [address, part] => rank(address, part.parse()?),
        _ => engine(),
    }
}
