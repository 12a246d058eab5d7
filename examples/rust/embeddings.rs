//! embeddings: objects of any size by content. An image is encoded once; whoever has the same image
//! again finds its embedding by the image's own bytes, with its type and shape, and reads it in
//! place.

const WIDTH: usize = 256; // numbers per patch

/// Stands for a vision encoder: 1 row of WIDTH numbers for each 1,024 bytes of image.
fn encode(image: &[u8]) -> Vec<f32> {
    let count = image.len().div_ceil(1024) * WIDTH;
    (0..count)
        .map(|at| ((at % 1000) as f32 + f32::from(image[at % image.len()])).sin())
        .collect()
}

/// The embedding of an image; `encoded` counts how many were not in the cache.
fn embedding(
    space: &weft::Namespace,
    image: &[u8],
    encoded: &mut u32,
) -> weft::Result<weft::Array<f32>> {
    let key = weft::Key::of(image);
    loop {
        if let Some(found) = space.fetch_array(key).run()? {
            return Ok(found);
        }
        *encoded += 1;
        let rows = encode(image);
        space
            .save_array(key, &rows, &[rows.len() / WIDTH, WIDTH])
            .run()?;
    }
}

fn main() -> weft::Result<()> {
    let store = weft::Store::open("memory=64MiB")?;
    let space = store.namespace("demo/vision", "parts=1,part_bytes=0")?;
    let mut encoded = 0;
    for image in [vec![b'a'; 300_000], vec![b'b'; 5_000], vec![b'a'; 300_000]] {
        let rows = embedding(&space, &image, &mut encoded)?;
        assert!(*rows == encode(&image), "the embedding is the image's own");
        let (size, shape) = (image.len(), rows.shape());
        println!("image of {size} bytes: {} x {} numbers", shape[0], shape[1]);
    }
    assert_eq!(encoded, 2, "the third image is the first one again");
    println!("embeddings: 3 images, 2 encoded");
    Ok(())
}
