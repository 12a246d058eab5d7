//! hello: a private cache in this process. The blocks of a prompt are named by its tokens, saved in
//! one op, matched, and read in place.

const BLOCK_BYTES: usize = 64 * 1024; // what 16 tokens leave behind in some model

fn main() -> weft::Result<()> {
    let store = weft::Store::open("memory=64MiB")?;
    let layout = format!("block_tokens=16,parts=1,part_bytes={BLOCK_BYTES}");
    let space = store.namespace("demo/hello", &layout)?;

    // A prompt of 70 tokens has 4 full blocks; each key stands for all tokens up to its block's
    // end.
    let mut tokens: Vec<u32> = (1000..1070).collect();
    let blocks = weft::keys("scheme=vllm-sha256-cbor", &tokens, 16)?;
    assert_eq!(blocks.len(), 4);
    assert_eq!(space.match_(&blocks)?, 0, "an empty cache matches nothing");

    // The engine computes them (here: a byte each) and saves all four.
    let computed: Vec<u8> = (1..=4).flat_map(|byte| vec![byte; BLOCK_BYTES]).collect();
    let saved = space.save_list(&blocks, &computed).run()?;
    assert_eq!(saved, 4);

    // The next prompt begins alike: its lead blocks are there, and are read where they lie.
    tokens[40] = 7;
    let following = weft::keys("scheme=vllm-sha256-cbor", &tokens, 16)?;
    let hit = space.match_(&following)?;
    assert_eq!(hit, 2, "the first 2 blocks are the same");
    let views = space.view_list(&following[..hit], 0)?;
    assert_eq!(views.len(), 2);
    for (view, bytes) in views.iter().zip(computed.chunks(BLOCK_BYTES)) {
        assert!(view == bytes, "a view has the saved bytes");
    }

    // What is not there is a miss, with its reason.
    assert_eq!(space.load(following[3]).run()?, None);
    let reason = space.find(&following[3..]).run()?.reason;
    assert_eq!(reason, Some(weft::MissReason::Absent));
    let (of, reason) = (following.len(), reason.unwrap());
    println!("hello: {hit} of {of} blocks reused, read in place; block 3: {reason}");
    Ok(())
}
