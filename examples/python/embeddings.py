"""embeddings: objects of any size by content. An image is encoded once; whoever has the same image
again finds its embedding by the image's own bytes, with its type and shape, and reads it in
place."""

import numpy as np
import numpy.typing as npt
import weft

WIDTH = 256  # numbers per patch
encoded = 0


def encode(image: bytes) -> npt.NDArray[np.float32]:
    """Stands for a vision encoder: 1 row of WIDTH numbers for each 1,024 bytes of image."""
    rows = -(-len(image) // 1024)
    return np.sin(np.arange(rows * WIDTH, dtype=np.float32) + image[0]).reshape(rows, WIDTH)


def embedding(space: weft.Namespace, image: bytes) -> npt.NDArray[np.float32]:
    global encoded
    key = weft.key_of(image)
    found = space.fetch_array(key)
    if found is not None:
        return found
    encoded += 1
    rows = encode(image)
    space.save_array(key, rows)
    return rows


def main() -> None:
    with weft.Store(memory="64MiB") as store:
        space = store.namespace("demo/vision", parts=1, part_bytes=0)
        for image in (b"a" * 300_000, b"b" * 5_000, b"a" * 300_000):
            rows = embedding(space, image)
            assert np.array_equal(rows, encode(image)), "the embedding is the image's own"
            print(f"image of {len(image)} bytes: {rows.shape[0]} x {rows.shape[1]} {rows.dtype}")
        assert not rows.flags.writeable, "the last one is the cache's own memory"
        assert encoded == 2, "the third image is the first one again"
        print("embeddings: 3 images, 2 encoded")


if __name__ == "__main__":
    main()
