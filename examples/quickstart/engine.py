"""One serving process: a model, its paged KV cache, and Weft between it and the others.

What any engine does to use Weft stands in `Engine.attach`: key the prompt's full pages, read in
place what is there, claim what is not, compute it and save it page by page. The rest is this
example's own: requests come as lines of JSON on standard input, events go as lines of JSON to
standard output (`ready`, `computed` after each page, `done`).

Invariants: a page found in Weft is only read, and stays whole while this process holds its view;
the last token is always computed here, because Weft keeps keys and values, not logits; a page is
saved once it is complete.
"""

import base64
import contextlib
import dataclasses
import json
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np  # noqa: E402
import weft  # noqa: E402
from model import PAGE, PAGE_BYTES, Model, Sequence, page_shape  # noqa: E402
from shape import SHAPE  # noqa: E402

NAMESPACE = "quickstart/bytes"
LAYOUT = {
    "model": "quickstart",
    "dtype": "float32",
    "layout": "layer/kv/head/token/size:" + "x".join(str(size) for size in page_shape()),
    "block_tokens": PAGE,
    "layers": SHAPE.layers,
    "part_bytes": PAGE_BYTES,
}
"""What the bytes of a block mean; Weft stores it and refuses an engine that thinks otherwise."""

CLAIM_S = 60
"""How long a process that claimed pages may take for them before another gets the claim,
seconds."""


def say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


@dataclasses.dataclass
class Counts:
    """Of one request: tokens reused and prefilled, bytes copied to Weft and read in its memory, and
    how often the next page was not there, by reason."""

    reused: int = 0
    prefilled: int = 0
    bytes_copied: int = 0
    bytes_in_place: int = 0
    misses: dict[str, int] = dataclasses.field(default_factory=dict)


class Engine:
    """A model of one version and the namespace of its blocks. One thread."""

    def __init__(self, store: weft.Store, weights: str, version: int | None) -> None:
        """`weights` has {version} in it; `version` None: the one that the namespace allows now, its
        floor."""
        self.store, self.weights = store, weights
        self.open(version)

    def open(self, version: int | None) -> None:
        at = {} if version is None else {"version": version}
        self.space = self.store.namespace(NAMESPACE, **at, **LAYOUT)
        self.model = Model(self.weights.format(version=self.space.version))

    def attach(self, prompt: bytes, sequence: Sequence, counts: Counts) -> list[weft.Views]:
        """Brings all full pages of the prompt but the last token's into the sequence; returns the
        views to release.

        Of the processes that ask for one prompt at the same time, one computes and the others wait
        for its pages; if it dies, one of them gets its claim and goes on behind the last page that
        it saved.
        """
        full = (len(prompt) - 1) // PAGE
        keys = weft.keys(list(prompt), block_tokens=PAGE)[:full]
        held = []
        while len(sequence.pages) < full:
            self.take(keys, sequence, held, counts)
            if (found := len(sequence.pages)) == full:
                break
            if reason := self.space.find(keys[found:]).reason:
                counts.misses[reason] = counts.misses.get(reason, 0) + 1
            claim = self.space.claim(keys[found:], ttl_s=CLAIM_S, timeout_ms=2000 * CLAIM_S)
            if claim is None:
                continue  # whoever computed them has published them all
            with claim:
                if claim.first > 0:  # some came between the look and the claim
                    self.take(keys, sequence, held, counts)
                if len(sequence.pages) == found + claim.first:
                    self.compute(prompt, keys, sequence, counts)
        return held

    def take(
        self, keys: weft.Keys, sequence: Sequence, held: list[weft.Views], counts: dict
    ) -> None:
        """Takes the pages that are there, in place: no byte is copied."""
        views = self.space.view_list(keys[len(sequence.pages) :])
        held.append(views)
        for view in views:
            sequence.add_found(view.array.view(np.float32))
        counts.reused += len(views) * PAGE
        counts.bytes_in_place += len(views) * PAGE_BYTES

    def compute(self, prompt: bytes, keys: weft.Keys, sequence: Sequence, counts: dict) -> None:
        """Computes the rest of the full pages and saves each when it is complete."""
        for page in range(len(sequence.pages), len(keys)):
            self.model.forward(prompt[page * PAGE : (page + 1) * PAGE], sequence)
            counts.prefilled += PAGE
            if self.space.save(keys[page], sequence.pages[page]):
                counts.bytes_copied += PAGE_BYTES
            say("computed", pages=page + 1, of=len(keys))

    def answer(self, prompt: bytes, generate: int, share: bool) -> dict[str, object]:
        """Continues a prompt by the likeliest bytes. Returns text, logits (float32 [generate, 256],
        base64), counts, times."""
        begin = time.monotonic()
        sequence, held, counts = Sequence(), [], Counts()
        if share:
            held = self.attach(prompt, sequence, counts)
        counts.prefilled += len(prompt) - sequence.length
        logits = [self.model.prefill(prompt, sequence)[-1]]
        text = bytes([int(logits[0].argmax())])
        first_token_s = time.monotonic() - begin
        while len(text) < generate:
            logits.append(self.model.forward(text[-1:], sequence)[-1])
            text += bytes([int(logits[-1].argmax())])
        total_s = time.monotonic() - begin
        sequence.pages.clear()
        for views in held:
            views.release()
        return {
            "text": text.decode("latin-1"),
            "logits": base64.b64encode(np.stack(logits).tobytes()).decode(),
            "first_token_s": first_token_s,
            "total_s": total_s,
            "version": self.space.version,
            **dataclasses.asdict(counts),
        }

    def serve(self, request: dict) -> dict[str, object]:
        """Answers one request; where the weights have changed meanwhile, with the new ones."""
        prompt = request["prompt"].encode("latin-1")
        fenced = False
        while True:
            try:
                return {
                    **self.answer(prompt, request["generate"], request["share"]),
                    "fenced": fenced,
                }
            except weft.FencedError as error:
                if fenced:
                    raise
                fenced = True
                say("fenced", message=str(error))
                self.open(None)


def main() -> None:
    weights, version, address = sys.argv[1:4]
    with weft.Store(connect=address) as store:
        engine = Engine(store, weights, int(version))
        say("ready")
        for line in sys.stdin:
            say("done", **engine.serve(json.loads(line)))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # the driver says what became of it
        main()
