"""Rows of compare.py, as JSON lines on standard input, in short.

    summary.py              how many are met, and the names of those that are not
    summary.py --markdown   a line for each peer and size, as RESULTS.md has it, and the same below

In the lines stand Weft's median, the peer's, and how many times as fast Weft is; a figure that is
behind is bold. The 99 % columns are slowest calls of one run, told with how many were made.

Invariants: no row is left out, met or not; a run that gave no row is no run that met all.
"""

from __future__ import annotations

import json
import sys
from typing import Any

SINGLES = ("put", "get", "put, batch of 32,", "get, batch of 32,")
HEADS = ("put", "get", "put of 32", "get of 32", "put, 99 %", "get, 99 %")
P99 = ", p99"
Figure = dict[str, Any]


def digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    more = figure["target"].startswith("ratio >")
    times = figure["ratio"] if more else 1 / figure["ratio"]
    values = f"{digits(figure['value'])} / {digits(figure['reference'])}"
    text = f"{values}, {times:.2f}x" if times < 10 else f"{values}, {digits(times)}x"
    return text if figure["met"] else f"**{text}**"


def split(name: str) -> tuple[str, str, str]:
    """What is done, with which size, and by which peer."""
    for what in sorted(SINGLES, key=len, reverse=True):
        if name.startswith(what + " "):
            size, peer = name[len(what) + 1 :].split(", ", 1)
            return what, size, peer
    what = "hit" if name.startswith("hit ") else "exists"
    rest = name.split(", ")
    return what, "", ", ".join(rest[2:] if what == "hit" else rest[1:])


def table(heads: tuple[str, ...], lines: list[list[str]]) -> None:
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for line in lines:
        print("| " + " | ".join(line) + " |")


def markdown(figures: list[Figure]) -> None:
    sizes: dict[tuple[str, str], dict[str, Figure]] = {}
    others: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        tail = figure["name"].endswith(P99)
        what, size, peer = split(figure["name"].removesuffix(P99))
        of = sizes.setdefault((peer, size), {}) if size else others.setdefault(peer, {})
        of[what + (P99 if tail else "")] = figure
    columns = (*SINGLES, "put" + P99, "get" + P99)
    lines = [[*key, *(cell(of.get(each)) for each in columns)] for key, of in sizes.items()]
    units = tuple(f"{head}, {'us' if '%' in head else 'GB/s'}" for head in HEADS)
    table(("peer", "blocks of", *units), lines)
    print()
    lines = [[peer, cell(of.get("hit")), cell(of.get("exists"))] for peer, of in others.items()]
    table(("peer", "hit of 1 MiB, readable, us", "exists of 1,000 keys, us"), lines)
    print()


def main() -> None:
    figures = [json.loads(line) for line in sys.stdin if line.strip()]
    if "--markdown" in sys.argv[1:]:
        markdown(figures)
    tails = [figure for figure in figures if figure["name"].endswith(P99)]
    medians = [figure for figure in figures if not figure["name"].endswith(P99)]
    for words, some in (("medians", medians), ("slowest of a hundred", tails)):
        behind = [figure["name"] for figure in some if not figure["met"]]
        names = ": " + "; ".join(behind) if behind else ""
        print(f"{words}: {len(some) - len(behind)} met, {len(behind)} not met{names}")
    met = sum(figure["met"] for figure in figures)
    print(f"{met} met, {len(figures) - met} not met")


if __name__ == "__main__":
    main()
