"""Are vLLM's answers the same with Weft? Real engines, one node, sixty prompts with shared
prefixes, forks, and lengths around block boundaries; an engine that is killed; a node that is.

A token is compared by its log probability. Fewer tokens computed at once are matrices of other
shapes, whose sums round differently: that is why it is not compared bit by bit. Bytes of KV are,
with those in vLLM's own memory."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from figures import Figures, say
from processes import Engine, Failed, Node

BLOCK = 32
TOKENS = 12
HOW: dict[str, Any] = {"block": BLOCK, "length": 4096, "threads": 1}  # three engines at a time
CLOSE = 1e-5


def prompts() -> list[list[int]]:
    """Two trunks, forks from them at many lengths, turns that go on, and short ones."""
    chance = random.Random(11)

    def fresh(count: int) -> list[int]:
        return [chance.randrange(512) for _ in range(count)]

    trunks = [fresh(900), fresh(640)]
    made = [list(trunk) for trunk in trunks]
    for at, length in enumerate(range(0, 896, 48)):
        made.append(trunks[at % 2][:length] + fresh(5 + 7 * at % 60))
    for blocks in (1, 2, 5, 10, 20):
        for apart in (-1, 0, 1):
            made.append(trunks[0][: blocks * BLOCK + apart])
            made.append(trunks[1][: blocks * BLOCK - 8] + fresh(8 + apart))
    made += [made[at] + fresh(40) for at in (3, 7, 20)]
    made += [fresh(length) for length in (1, 2, 31, 33, 700)]
    return made


def compare(results: list[dict[str, Any]], wanted: list[dict[str, Any]], who: str) -> float:
    """The largest difference of a token's log probability. Errors: Failed where a request failed;
    tokens may differ only where two were as likely."""
    worst = 0.0
    for at, (one, other) in enumerate(zip(results, wanted, strict=True)):
        if one["reason"] != "length":
            raise Failed(f"{who}: prompt {at} ended with {one['reason']!r}")
        for mine, theirs, p, q in zip(
            one["tokens"], other["tokens"], one["logprobs"], other["logprobs"], strict=True
        ):
            worst = max(worst, abs(p - q))
            if mine != theirs:
                break
    return worst


def run(node: Node, folder: Path, model: Path, figures: Figures) -> None:
    """All of it, in about three minutes on two quiet cores."""
    asked = prompts()
    what = {"prompts": asked, "tokens": TOKENS}
    say(f"starting vLLM without Weft, and two engines with it; {len(asked)} prompts")
    plain = Engine(folder, "plain", model, address=None, **HOW)
    plain.ready()
    wanted = plain.ask("generate", **what)["results"]
    plain.close()
    first = Engine(folder, "first", model, address=node.address, **HOW)
    second = Engine(folder, "second", model, address=node.address, **HOW)
    try:
        first.ready()
        second.ready()
        _reuse(node, first, second, what, wanted, figures)
        _kills(node, first, second, what, wanted, figures)
    finally:
        first.close()
        second.close()


def _reuse(
    node: Node,
    first: Engine,
    second: Engine,
    what: dict[str, Any],
    wanted: list[dict[str, Any]],
    figures: Figures,
) -> None:
    asked = what["prompts"]
    say("the first engine computes and saves, the second loads")
    saved = first.ask("generate", **what)["results"]
    figures.add(
        "log probabilities, engine that saves",
        (worst := compare(saved, wanted, "first")),
        "nats",
        target=f"<= {CLOSE:g} from vLLM alone",
        met=worst <= CLOSE,
    )
    name = first.ask("namespace")["name"]
    checked = first.ask("check", address=node.address, name=name)
    figures.add(
        "blocks in Weft equal to vLLM's own, byte by byte",
        checked["same"],
        "blocks",
        reference=checked["blocks"] + checked["missing"],
        target="all",
        met=checked["same"] == checked["blocks"] > 100 and not checked["missing"],
    )
    loaded = second.ask("generate", **what, forget=True)["results"]
    figures.add(
        "log probabilities, engine that loads",
        (worst := compare(loaded, wanted, "second")),
        "nats",
        target=f"<= {CLOSE:g} from vLLM alone",
        met=worst <= CLOSE,
    )
    full = sum((len(prompt) - 1) // BLOCK * BLOCK for prompt in asked)
    cached = sum(one["cached"] for one in loaded)
    figures.add(
        "tokens not computed by the second engine",
        cached,
        "tokens",
        reference=full,
        target="all of full blocks",
        met=cached == full,
    )
    counted = second.ask("times")["counters"]
    from_weft = counted["vllm:weft_hit_blocks"] * BLOCK
    figures.add("  of them from Weft", from_weft, "tokens", target="all", met=from_weft == full)
    for engine in (first, second):
        if not engine.ask("forget")["forgotten"]:
            raise Failed(f"engine {engine.name} could not forget its own cache")
    together = second.ask("generate", **{**what, "together": True})["results"]
    figures.add(
        "log probabilities, loads while others run (batches of 16)",
        (worst := compare(together, wanted, "second, together")),
        "nats",
        target="<= 0.0001 from vLLM alone, one by one",
        met=worst <= 1e-4,
    )


def _kills(
    node: Node,
    first: Engine,
    second: Engine,
    what: dict[str, Any],
    wanted: list[dict[str, Any]],
    figures: Figures,
) -> None:
    say("both engines work, one is killed")
    for engine in (first, second):
        engine.ask("forget")
        engine.tell("generate", **{**what, "together": True})
    time.sleep(1.0)
    second.kill()
    worst = compare(first.answer()["results"], wanted, "first, while the second is killed")
    say("the node is killed while the engine works, and started again")
    first.ask("forget")
    first.tell("generate", **what)
    time.sleep(1.0)
    node.kill()
    worst = max(worst, compare(first.answer()["results"], wanted, "first, without a node"))
    first.ask("forget")
    worst = max(worst, compare(first.ask("generate", **what)["results"], wanted, "first, alone"))
    node.start()
    end = time.monotonic() + 120
    while True:
        first.ask("forget")
        results = first.ask("generate", **what)["results"]
        worst = max(worst, compare(results, wanted, "first, after the restart"))
        external = first.ask("times")["counters"]["vllm:weft_hit_blocks"]
        first.ask("forget")
        again = first.ask("generate", **what)["results"]
        worst = max(worst, compare(again, wanted, "first, after the restart"))
        if first.ask("times")["counters"]["vllm:weft_hit_blocks"] > external:
            break
        if time.monotonic() > end:
            raise Failed("nothing is reused after the node's restart")
    figures.add(
        "log probabilities over an engine's and a node's kill",
        worst,
        "nats",
        target="<= 0.0001, and no request fails",
        met=worst <= 1e-4,
    )
