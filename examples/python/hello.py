"""hello: a private cache in this process. The blocks of a prompt are named by its tokens, saved in
one op, matched, and read in place."""

import numpy as np
import weft

BLOCK_BYTES = 64 * 1024  # what 16 tokens leave behind in some model


def main() -> None:
    with weft.Store(memory="64MiB") as store:
        space = store.namespace("demo/hello", block_tokens=16, parts=1, part_bytes=BLOCK_BYTES)

        # A prompt of 70 tokens has 4 full blocks; each key stands for all tokens up to its
        # block's end.
        tokens = np.arange(1000, 1070)
        blocks = weft.keys(tokens, block_tokens=16)
        assert len(blocks) == 4
        assert space.match(blocks) == 0, "an empty cache matches nothing"

        # The engine computes them (here: a byte each) and saves all four.
        computed = np.repeat(np.arange(1, 5, dtype=np.uint8), BLOCK_BYTES).reshape(4, BLOCK_BYTES)
        saved = space.save_list(blocks, computed)
        assert saved == 4

        # The next prompt begins alike: its lead blocks are there, and are read where they lie.
        tokens[40] = 7
        following = weft.keys(tokens, block_tokens=16)
        hit = space.match(following)
        assert hit == 2, "the first 2 blocks are the same"
        with space.view_list(following[:hit]) as views:
            assert len(views) == 2
            for view, bytes_ in zip(views, computed, strict=False):
                assert np.array_equal(view.array, bytes_), "a view has the saved bytes"

        # What is not there is a miss, with its reason.
        assert space.load(following[3]) is None
        reason = space.find(following[3:]).reason
        assert reason == "absent"
        print(f"hello: {hit} of {len(following)} blocks reused, read in place; block 3: {reason}")


if __name__ == "__main__":
    main()
