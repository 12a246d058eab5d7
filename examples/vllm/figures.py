"""The example's figures: a table for people, or with --json a line each. Progress goes to standard
error."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

HEAD = ("what", "value", "reference", "ratio", "target", "met")
_begun = time.monotonic()


def say(words: str) -> None:
    """A line of progress."""
    print(f"vllm.sh: {words} ({time.monotonic() - _begun:.0f} s)", file=sys.stderr, flush=True)


def _digits(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


class Figures:
    """What was measured, in order."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        reference: float | None = None,
        target: str | None = None,
        met: bool | None = None,
    ) -> None:
        """target: words; met: whether the value reaches it, None where it is only printed."""
        ratio = value / reference if reference else None
        row = {"name": name, "value": value, "unit": unit, "reference": reference, "ratio": ratio}
        self.all.append({**row, "target": target, "met": met})

    def show(self, as_json: bool) -> None:
        """Prints all of them."""
        if as_json:
            for figure in self.all:
                print(json.dumps(figure), flush=True)
            return
        rows = [
            (
                one["name"],
                f"{_digits(one['value'])} {one['unit']}".strip(),
                _digits(one["reference"]),
                _digits(one["ratio"]),
                one["target"] or "printed",
                {True: "yes", False: "NO", None: "-"}[one["met"]],
            )
            for one in self.all
        ]
        widths = [max(len(row[at]) for row in [HEAD, *rows]) for at in range(len(HEAD))]
        for row in [HEAD, tuple("-" * width for width in widths), *rows]:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            print("| " + " | ".join(cells) + " |")

    @property
    def missed(self) -> list[str]:
        """The names of those that did not reach their target."""
        return [one["name"] for one in self.all if one["met"] is False]
