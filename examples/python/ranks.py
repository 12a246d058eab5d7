"""ranks: a block of two parts, each saved by a process of its own, as the ranks of a
tensor-parallel engine do. They name one writer, so that their parts join; nobody sees the block
before both are in."""

import sys

import numpy as np
import process
import weft

PART_BYTES = 512 * 1024
LAYOUT: dict[str, int | str] = {"parts": 2, "part_bytes": PART_BYTES, "writer": "engine-0"}
NAME = "a block of two parts"


def part_is_right(space: weft.Namespace, part: int) -> bool:
    view = space.fetch(NAME, part=part)
    if view is None:
        return False
    with view:
        return len(view) == PART_BYTES and bool((view.array == part + 1).all())


def rank(address: str, part: int) -> None:
    with weft.Store(connect=address) as store:
        space = store.namespace("demo/ranks", **LAYOUT)
        published = space.save(NAME, np.full(PART_BYTES, part + 1, np.uint8), part=part)
        # A rank that ended here would take its part along: the block belongs to nobody until it
        # is whole.
        whole = space.wait(NAME)
        assert whole, "the other part comes"
        assert part_is_right(space, 1 - part), "the other rank's part"
        done = ", which published the block" if published else ""
        print(f"part {part} saved{done}, the other's read")


def engine() -> None:
    address = process.new_address()
    with weft.Store(memory="64MiB", listen=address) as node:
        space = node.namespace("demo/ranks", **LAYOUT)
        with process.Process(__file__, address, "0"), process.Process(__file__, address, "1"):
            pass  # until both have ended
        assert part_is_right(space, 0) and part_is_right(space, 1)
        print("ranks: two processes saved one block together")


if __name__ == "__main__":
    rank(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 2 else engine()
