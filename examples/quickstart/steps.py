"""The steps that the quickstart shows of Python alone, and what must hold in each.

Every answer that used Weft is compared with that of an engine which did not; `Failed` says what is
not as it must be. The driver's own store only looks, and advances. One thread.
"""

import base64
import dataclasses
import time

import corpus
import numpy as np
import weft
from engine import LAYOUT, NAMESPACE
from model import PAGE
from processes import Engine, Engines, Failed, Node
from show import Show

PROMPT, GENERATE = 2060, 64
"""Bytes of the long file, and bytes of each answer; all within the trained context."""

WAYS = (b"\n\nclass RequestHandler(", b'\n"""\n\nimport ')
"""What B and C add to it."""

LOGITS_TOLERANCE = 1e-4
"""The same arithmetic on the same shapes should differ by nothing, two languages add up in
different orders; logits reach about 20, so this is rounding."""


def check(condition: bool, message: str) -> None:
    if not condition:
        raise Failed(message)


def logits_of(result: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(result["logits"]), np.float32).reshape(-1, 256)


@dataclasses.dataclass
class Closeness:
    """How near answers with Weft are to those without: of all logits the largest difference, of
    all tokens the smallest margin between the two likeliest."""

    difference: float = 0.0
    margin: float = float("inf")


class Quickstart:
    """One run. The driver's own store only looks, and advances."""

    def __init__(self, show: Show, node: Node, engines: Engines, gateway: str) -> None:
        """`gateway` is the program that the step of Go runs."""
        self.show, self.node, self.engines, self.gateway = show, node, engines, gateway
        self.store = weft.Store(connect=node.address)
        self.space = self.store.namespace(NAMESPACE, version=1, **LAYOUT)
        self.rows: list[dict] = []
        self.number = 0
        self.one_language, self.across_languages = Closeness(), Closeness()
        self.others: list[Engine] = []  # in other languages, from the step on that starts them
        self.advance_s = 0.0

    def begin(self, title: str) -> None:
        """Begins the next step."""
        self.number += 1
        self.show.line(f"{self.number}  {title}")

    def text(self, name: str) -> bytes:
        files = corpus.files()
        check(name in files, f"this machine's Python has no {name}")
        check(
            corpus.is_held_out(name) and len(files[name]) > PROMPT,
            f"{name}: not held out, or too short",
        )
        return files[name]

    def answer(
        self, what: str, engines: list[Engine], prompts: list[bytes], share: bool = True, watch=None
    ) -> None:
        """Asks each engine its prompt at once and waits for all answers; keeps a row of each for
        the table, where `what` is done in this step."""
        for engine, prompt in zip(engines, prompts, strict=True):
            engine.ask(prompt, GENERATE, share)

        def seen(engine: Engine) -> None:
            self.show.progress(engines)
            if watch:
                watch(engine)

        self.engines.run(engines, seen)
        for engine in engines:
            if engine.result:
                self.keep(what, engine.language, share, {"engine": engine.name, **engine.result})

    def keep(self, what: str, language: str, share: bool, result: dict) -> None:
        """Keeps a request's row."""
        row = {key: value for key, value in result.items() if key not in ("event", "logits")}
        step = f"{self.number} {what}"
        self.rows.append({"step": step, "language": language, "share": share, **row})

    def compare(self, engine: Engine, reference: dict, across: bool = False) -> None:
        """The answer with Weft against the one without; `across`: where some of it may have been
        computed in another language than the reference."""
        result = engine.result
        check(
            result["text"] == reference["text"],
            f"{engine.name}: with Weft it writes {result['text']!r}, without {reference['text']!r}",
        )
        ours, theirs = logits_of(result), logits_of(reference)
        difference = float(np.abs(ours - theirs).max())
        top = np.sort(theirs, axis=1)
        margin = float((top[:, -1] - top[:, -2]).min())
        seen = self.across_languages if across else self.one_language
        seen.difference, seen.margin = max(seen.difference, difference), min(seen.margin, margin)
        check(difference <= LOGITS_TOLERANCE, f"{engine.name}: logits differ by {difference}")

    def without(self, what: str, engine: Engine, prompt: bytes) -> dict:
        """The answer of an engine that does not use Weft."""
        self.answer(what, [engine], [prompt], share=False)
        return dict(engine.result)

    def prefill(self) -> None:
        self.begin(f"A reads the first {PROMPT:,} bytes of http/server.py and saves its blocks")
        self.prompt = self.text("http/server.py")[:PROMPT]
        (self.a, self.plain) = self.engines.start(["A", "(alone)"])
        self.answer("A prefills", [self.a], [self.prompt])
        blocks = (PROMPT - 1) // PAGE
        keys = weft.keys(list(self.prompt), block_tokens=PAGE)
        check(
            self.space.match(keys) == blocks,
            f"{self.space.match(keys)} blocks of {blocks} are there",
        )
        self.compare(self.a, self.without("A prefills", self.plain, self.prompt))
        self.show.line(f"     {blocks} blocks of {LAYOUT['part_bytes']:,} bytes")

    def share(self) -> None:
        self.begin("B and C go on with the same file in two ways at the same time")
        ways = [self.prompt + more for more in WAYS]
        both = self.engines.start(["B", "C"])
        self.answer("B and C go on", both, ways)
        shared = (PROMPT - 1) // PAGE * PAGE
        for engine, way in zip(both, ways, strict=True):
            check(
                engine.result["reused"] == shared,
                f"{engine.name} reused {engine.result['reused']} of {shared} tokens",
            )
            self.compare(engine, self.without("B and C go on", self.plain, way))
            self.show.line(f"     {engine.name} writes {engine.result['text']!r}")
        self.b, self.c = both
        self.way, self.old = ways[0], dict(both[0].result)

    def once(self) -> None:
        self.begin("eight processes ask one new prompt at the same time")
        eight = self.engines.start([f"P{i}" for i in range(1, 9)])
        prompt = self.text("copy.py")[:PROMPT]
        self.answer("eight at once", eight, [prompt] * 8)
        full = (PROMPT - 1) // PAGE * PAGE
        tail = PROMPT - full
        computed = {
            e.name: e.result["prefilled"] - tail for e in eight if e.result["prefilled"] > tail
        }
        check(
            list(computed.values()) == [full],
            f"computed by {computed}, and not {full} tokens by one",
        )
        reference = self.without("eight at once", self.plain, prompt)
        for engine in eight:
            self.compare(engine, reference)
        self.show.line(
            f"     {list(computed)[0]} computed, seven waited and read its blocks in place"
        )
        self.takeover(eight, full, tail)

    def takeover(self, eight: list[Engine], full: int, tail: int) -> None:
        prompt = self.text("shutil.py")[:PROMPT]
        victims: list[Engine] = []

        def watch(engine: Engine) -> None:
            if not victims and engine.of and engine.pages >= engine.of // 2:
                victims.append(engine)
                engine.kill()
                done = f"{engine.pages} of {engine.of} blocks"
                self.show.line(f"     {engine.name} killed (SIGKILL) after {done}")

        self.answer("one killed", eight, [prompt] * 8, watch=watch)
        check(len(victims) == 1, "nobody computed half of the prompt")
        self.living = [engine for engine in eight if not engine.killed]
        heirs = [engine for engine in self.living if engine.result["prefilled"] > tail]
        check(
            len(heirs) == 1, f"computed on by {[engine.name for engine in heirs]}, and not by one"
        )
        heir, kept = heirs[0], victims[0].pages * PAGE
        reused, computed = heir.result["reused"], heir.result["prefilled"] - tail
        check(
            reused >= kept,
            f"{heir.name} reused {reused} tokens; the killed process had saved {kept}",
        )
        check(
            reused + computed == full,
            f"{heir.name} reused {reused} and computed {computed} of {full} tokens",
        )
        reference = self.without("one killed", self.plain, prompt)
        for engine in self.living:
            self.compare(engine, reference)
        self.show.line(
            f"     {heir.name} took over: {reused:,} tokens reused, {computed:,} computed"
        )

    def change_weights(self) -> None:
        self.begin("the weights change: advance to version 2")
        keys = weft.keys(list(self.prompt), block_tokens=PAGE)
        begin = time.monotonic()
        floor = self.space.advance(2)
        self.advance_s = time.monotonic() - begin
        check(floor == 2, f"advance(2) says that floor {floor} holds")
        try:
            found = self.space.match(keys)
            raise Failed(f"version 1 still matches {found} blocks")
        except weft.FencedError:
            pass
        space = self.store.namespace(NAMESPACE, version=2, **LAYOUT)
        check(space.match(keys) == 0, "version 2 sees blocks of version 1")
        reason = space.find(keys).reason
        check(reason == "fenced", f"the blocks are missing as {reason}, not as fenced")
        everyone = [self.a, self.b, self.c, *self.living, *self.others]
        self.answer("new weights", everyone, [self.way] * len(everyone))
        for language in sorted({engine.language for engine in self.others}):
            (plain,) = self.engines.start(["(alone)"], version=2, language=language)
            self.without("new weights", plain, self.way)  # for its time
        (plain,) = self.engines.start(["(alone)"], version=2)
        reference = self.without("new weights", plain, self.way)
        full = (len(self.way) - 1) // PAGE * PAGE
        new = sum(engine.result["prefilled"] - (len(self.way) - full) for engine in everyone)
        check(new == full, f"{new} tokens computed anew, and not {full}")
        for engine in everyone:
            check(
                bool(engine.fenced) and engine.result["version"] == 2,
                f"{engine.name} was not told of the fence",
            )
            self.compare(engine, reference, across=bool(self.others))
        change = float(np.abs(logits_of(reference)[0] - logits_of(self.old)[0]).max())
        check(
            change > 100 * LOGITS_TOLERANCE,
            f"the new weights change logits by {change} only: nothing is shown",
        )
        self.show.line(
            f"     advance took {1e3 * self.advance_s:.1f} ms; all {len(everyone)} engines were "
            f"told, one computed the same prompt anew, nobody saw an old block"
        )
        self.show.line(f"     B now writes {self.b.result['text']!r}")
        space.close()

    def close(self) -> None:
        self.store.close()
