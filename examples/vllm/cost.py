"""What Weft saves and what it costs: the time to the first token behind a shared prefix of 8,000
tokens, and throughput when nothing is ever reused.

Pairs: the same prompts go to an engine with Weft and to one without, in turns, each in its own
process, and of the ratios of the pairs the median counts. On a machine that does other work at the
time a ratio of a pair says little: then what the engine spends on Weft is the figure to look at."""

from __future__ import annotations

import random
import statistics
from pathlib import Path
from typing import Any

from figures import Figures, say
from processes import Engine, Failed, Node

HOW = {"block": 128, "length": 16384, "batched": 8192}
PREFIX = 8000
ROUNDS = 5


def _fresh(chance: random.Random, count: int) -> list[int]:
    return [chance.randrange(1024) for _ in range(count)]


def _first_token(engine: Engine, prompt: list[int]) -> tuple[float, int]:
    engine.ask("forget")
    answer = engine.ask("generate", prompts=[prompt], tokens=1)
    if answer["results"][0]["reason"] != "length":
        raise Failed(f"engine {engine.name}: a request ended with {answer['results'][0]}")
    return answer["seconds"], answer["results"][0]["cached"]


def run(node: Node, folder: Path, model: Path, figures: Figures, rounds: int = ROUNDS) -> None:
    """All of it, in about three minutes on two quiet cores."""
    say("starting vLLM with and without Weft, with the larger model")
    chance = random.Random(5)
    plain = Engine(folder, "plain-wide", model, address=None, **HOW)
    plain.ready()
    woven = Engine(folder, "weft-wide", model, address=node.address, **HOW)
    woven.ready()
    try:
        for engine in (plain, woven):  # what the first forward pass of a process does once
            _first_token(engine, _fresh(chance, 3000))
        _prefix(plain, woven, chance, figures, rounds)
        _nothing_reused(plain, woven, chance, figures, rounds)
    finally:
        plain.close()
        woven.close()


def _prefix(
    plain: Engine, woven: Engine, chance: random.Random, figures: Figures, rounds: int
) -> None:
    say(f"the time to the first token behind a shared prefix of {PREFIX:,} tokens")
    prefix = _fresh(chance, PREFIX)
    _first_token(woven, [*prefix, *_fresh(chance, 16)])  # computes and saves it
    woven.ask("forget")
    woven.ask("watch")
    before = woven.ask("times")["counters"]
    pairs = []
    for _ in range(rounds):
        prompt = prefix + _fresh(chance, 16)
        without, none = _first_token(plain, prompt)
        having, cached = _first_token(woven, prompt)
        if none or cached < PREFIX // HOW["block"] * HOW["block"]:
            raise Failed(f"cached tokens: {none} without Weft, {cached} with it")
        pairs.append((without, having))
    spent = woven.ask("times")
    counters = spent["counters"]
    without, having = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
    figures.add(
        f"time to first token, {PREFIX:,} shared tokens",
        1000 * having,
        "ms",
        reference=1000 * without,
        target="less than vLLM alone",
        met=having < without,
    )
    loads = max(1, counters["vllm:weft_loads"] - before["vllm:weft_loads"])
    seconds = counters["vllm:weft_load_seconds"] - before["vllm:weft_load_seconds"]
    figures.add("  of it: from a load's start to its end", 1000 * seconds / loads, "ms")
    _hooks(spent["hooks"], rounds, "a request that loads", figures)


def _hooks(spent: dict[str, float], count: int, of: str, figures: Figures) -> None:
    """The connector's hooks that took the most."""
    most = sorted(spent, key=lambda name: -spent[name])
    for name in most[:4]:
        figures.add(f"  in {name}, {of}", 1000 * spent[name] / count, "ms")


def _nothing_reused(
    plain: Engine, woven: Engine, chance: random.Random, figures: Figures, rounds: int
) -> None:
    say("throughput when nothing is ever reused")
    ratios: list[float] = []
    seconds: list[tuple[float, float]] = []
    processor: list[float] = []
    total = 0
    begun = woven.ask("times")
    count = 6 * rounds
    for at in range(count):
        prompts = [_fresh(chance, 1000) for _ in range(2)]
        total = sum(map(len, prompts)) + 2 * 16
        order = (plain, woven) if at % 2 else (woven, plain)
        took: dict[str, float] = {}
        worked: dict[str, float] = {}
        for engine in order:
            answer: dict[str, Any] = engine.ask(
                "generate", prompts=prompts, tokens=16, together=True
            )
            took[engine.name] = answer["seconds"]
            worked[engine.name] = answer["processor"]
        seconds.append((took[plain.name], took[woven.name]))
        ratios.append(took[plain.name] / took[woven.name])
        processor.append(worked[woven.name] / worked[plain.name])
    after = woven.ask("times")
    without, having = (statistics.median(pair[at] for pair in seconds) for at in (0, 1))
    figures.add("throughput, nothing reused", total / having, "tokens/s", reference=total / without)
    lost = 100 * (1 - statistics.median(ratios))
    figures.add("  less, median of the pairs", lost, "%")
    more = 100 * (statistics.median(processor) - 1)
    figures.add("  more processor time, median of the pairs", more, "%")
    # What the same cores do for Weft they do not do for vLLM. This is seen exactly, also where the
    # clock of a busy machine sees nothing.
    threads = (after["threads"] - begun["threads"]) / (after["processor"] - begun["processor"])
    hooks = sum(after["hooks"].values()) / sum(pair[1] for pair in seconds)
    share = 100 * (threads + hooks)
    figures.add(
        "  the engine's time that goes to Weft: hooks and threads",
        share,
        "%",
        target="<= 1",
        met=share <= 1,
    )
    figures.add("    of it in the connector's hooks", 100 * hooks, "%")
    spent = after["hooks"]
    _hooks(spent, 2 * count, "a request that saves", figures)
