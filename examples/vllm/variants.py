"""The same question as answers.py, with fewer prompts, of other engines: ranks in processes of
their own, a LoRA, layers with sliding windows, loads and saves layer by layer. Each time a first
engine saves and a second one, another process, loads. And of one that must not use Weft: where vLLM
itself cannot go on from a prefix, as with one latent KV for all heads (MLA) on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from answers import CLOSE, compare, prompts
from figures import Figures, say
from processes import Engine, Failed, Node, written

BLOCK, TOKENS = 32, 12
HOW: dict[str, Any] = {"block": BLOCK, "length": 4096, "threads": 1}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "two ranks, each a process": ("tiny", {"ranks": 2}),
    "a LoRA": ("tiny", {"adapter": "adapter"}),
    "sliding windows": ("windows", {}),
    "loads and saves by layers": ("tiny", {"extra": {"load": "sync", "save": "layers"}}),
    "MLA, which steps aside": ("latent", {"block": 16, "aside": True}),
}


def run(node: Node, folder: Path, _: Path, figures: Figures) -> None:
    """All of it, in about four minutes on two quiet cores."""
    for name, (model, more) in VARIANTS.items():
        say(f"{name}: vLLM alone, an engine that saves, one that loads")
        how = {**HOW, **more}
        if "adapter" in how:
            how["adapter"] = str(written("adapter", folder))
        _variant(node, folder, name, written(model, folder), how, figures)


def _variant(
    node: Node, folder: Path, name: str, model: Path, how: dict[str, Any], figures: Figures
) -> None:
    what = {"prompts": prompts()[:30], "tokens": TOKENS}
    kinds = (False, True) if "adapter" in how else (False,)
    answers: list[list[dict[str, Any]]] = []
    for at, address in enumerate((None, node.address, node.address)):
        engine = Engine(folder, f"{name.split()[0]}-{at}", model, address=address, **how)
        try:
            engine.ready()
            answers.append([])
            for adapted in kinds:
                asked = {**what, "adapted": adapted, "forget": at == 2}
                answers[-1] += engine.ask("generate", **asked)["results"]
            # What is under way ends with the next questions.
            engine.ask("forget")
        finally:
            engine.close()
    alone, saved, loaded = answers
    if len(kinds) > 1 and compare(alone[: len(alone) // 2], alone[len(alone) // 2 :], name) < CLOSE:
        raise Failed(f"{name}: answers are the same with and without it")
    worst = max(compare(saved, alone, f"{name}, saving"), compare(loaded, alone, name))
    block, full = how["block"], 0
    if "aside" not in how:
        full = len(kinds) * sum((len(one) - 1) // block * block for one in what["prompts"])
    cached = sum(one["cached"] for one in loaded)
    figures.add(
        f"{name}: tokens that the second engine had not to compute",
        cached,
        "tokens",
        reference=full,
        target="all of full blocks" if full else "none",
        met=cached == full,
    )
    figures.add(
        "  log probabilities, both engines",
        worst,
        "nats",
        target=f"<= {CLOSE:g} from vLLM alone",
        met=worst <= CLOSE,
    )
