"""stream: a reader follows a writer layer by layer, so that decode can start on the first layers
while prefill still writes the last. Here they go in step, which proves that nothing waits for the
end: each layer is written only after the reader has read the one before."""

import sys

import process
import weft

LAYERS = 8
LAYER_BYTES = 128 * 1024
LAYOUT = {"parts": 1, "layers": LAYERS, "part_bytes": LAYERS * LAYER_BYTES}
NAME = "a prompt's block"


def decode(address: str) -> None:
    """Opens a view of what is still being written, then waits for each layer to be final."""
    with weft.Store(connect=address) as store:
        space = store.namespace("demo/stream", **LAYOUT)
        view = space.fetch(NAME, follow=True)
        assert view is not None, "a view of a block being written"
        with view:
            for layer in range(LAYERS):
                at = layer * LAYER_BYTES
                final = space.wait(NAME, follow=True, start=at, size=LAYER_BYTES)
                assert final, "the layer comes"
                assert (view[at : at + LAYER_BYTES] == layer + 1).all(), "the layer's bytes"
                print(f"layer {layer} read", flush=True)
            # What was read counts only if the block was published: had the writer given up, this
            # were False.
            whole = space.wait(NAME)
            assert whole


def prefill() -> None:
    address = process.new_address()
    with weft.Store(memory="64MiB", listen=address) as node:
        space = node.namespace("demo/stream", **LAYOUT)
        block = space.reserve(NAME)
        assert len(block.array) == LAYERS * LAYER_BYTES, "memory to write in place"
        with process.Process(__file__, address) as reader:
            for layer in range(LAYERS):
                block.array[layer * LAYER_BYTES : (layer + 1) * LAYER_BYTES] = layer + 1
                block.final((layer + 1) * LAYER_BYTES)
                line = reader.line()
                assert line, "the reader reads it"
            published = block.commit()
            assert published
        print("stream: every layer was read before the next was written")


if __name__ == "__main__":
    decode(sys.argv[1]) if len(sys.argv) > 1 else prefill()
