"""share: two processes of a host, one cache. The first is the node: it owns the memory and listens.
The second connects, reads a block of the first in place, and saves one that the first then
reads."""

import sys

import numpy as np
import process
import weft

BLOCK_BYTES = 1 << 20
LAYOUT = {"parts": 1, "part_bytes": BLOCK_BYTES}


def second(address: str) -> None:
    with weft.Store(connect=address) as store:
        space = store.namespace("demo/share", **LAYOUT)
        view = space.view("from the first")  # no copy, no system call
        assert view is not None
        with view:
            assert len(view) == BLOCK_BYTES and (view.array == 1).all()
        published = space.save("from the second", np.full(BLOCK_BYTES, 2, np.uint8))
        assert published
        print("read the first one's block in place, saved another")


def first() -> None:
    address = process.new_address()
    with weft.Store(memory="64MiB", listen=address) as node:
        space = node.namespace("demo/share", **LAYOUT)
        published = space.save("from the first", np.full(BLOCK_BYTES, 1, np.uint8))
        assert published
        with process.Process(__file__, address):
            pass  # until it has ended
        # Its saver has ended; the block stays.
        view = space.view("from the second")
        assert view is not None
        with view:
            assert len(view) == BLOCK_BYTES and (view.array == 2).all()
        print("share: each process read what the other saved")


if __name__ == "__main__":
    second(sys.argv[1]) if len(sys.argv) > 1 else first()
