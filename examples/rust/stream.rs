//! stream: a reader follows a writer layer by layer, so that decode can start on the first layers
//! while prefill still writes the last. Here they go in step, which proves that nothing waits for
//! the end: each layer is written only after the reader has read the one before.

mod process;

use process::{new_address, Process, Result};

const LAYERS: u8 = 8;
const LAYER_BYTES: usize = 128 * 1024;
const LAYOUT: &str = "parts=1,layers=8,part_bytes=1048576";
const NAME: &str = "a prompt's block";

/// Follows: opens a view of what is still being written, then waits for each layer to be final.
fn decode(address: &str) -> Result {
    let store = weft::Store::open(&format!("connect={address}"))?;
    let space = store.namespace("demo/stream", LAYOUT)?;
    let block = space
        .follow(NAME, 0)
        .run()?
        .ok_or("a view of a block being written")?;
    for layer in 0..LAYERS {
        let (start, end) = (
            usize::from(layer) * LAYER_BYTES,
            (usize::from(layer) + 1) * LAYER_BYTES,
        );
        let is_final = block.until(end).run()?;
        assert!(is_final, "the layer comes");
        let bytes = &block.bytes()[start..end];
        assert!(
            bytes.iter().all(|&byte| byte == layer + 1),
            "the layer's bytes"
        );
        println!("layer {layer} read");
    }
    // What was read counts only if the block was published: had the writer given up, this were
    // false.
    let whole = space.wait(NAME).run()?;
    assert!(whole);
    Ok(())
}

fn prefill() -> Result {
    let address = new_address();
    let node = weft::Store::open(&format!("memory=64MiB,listen={address}"))?;
    let space = node.namespace("demo/stream", LAYOUT)?;
    let mut block = space.reserve(NAME, 0).run()?;
    assert_eq!(
        block.size(),
        usize::from(LAYERS) * LAYER_BYTES,
        "memory to write in place"
    );
    let mut reader = Process::start(&[&address])?;
    for layer in 0..LAYERS {
        block.bytes_mut()[..LAYER_BYTES].fill(layer + 1); // behind what is final
        block
            .final_to((usize::from(layer) + 1) * LAYER_BYTES)
            .run()?;
        let line = reader.line()?;
        assert!(!line.is_empty(), "the reader reads it");
    }
    let published = block.commit().run()?;
    assert!(published);
    reader.finish()?;
    println!("stream: every layer was read before the next was written");
    Ok(())
}

fn main() -> Result {
    std::env::args()
        .nth(1)
        .map_or_else(prefill, |address| decode(&address))
}
