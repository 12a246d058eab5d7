"""Runs the example: `--weft COMMAND` is the command that serves, `--only answers|variants|serving|
cost` a part.

Its status is 0 only where all targets are met."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import answers
import cost
import serving
import variants
from figures import Figures, say
from processes import Failed, Node, written

PARTS: tuple[tuple[Any, str], ...] = (
    (answers, "tiny"),
    (variants, "tiny"),
    (serving, "tiny"),
    (cost, "wide"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weft", required=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=("answers", "variants", "serving", "cost"))
    parser.add_argument("--rounds", type=int, default=cost.ROUNDS)
    parser.add_argument("--keep", type=Path, help="a folder for models and logs that stays")
    given = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="weft-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for part, model in PARTS:
                if given.only not in (None, part.__name__):
                    continue
                path = written(model, folder)
                node = Node(given.weft, Path(temporary), "512MiB")
                try:
                    if part is cost:
                        cost.run(node, folder, path, figures, given.rounds)
                    else:
                        part.run(node, folder, path, figures)
                finally:
                    node.close()
        except Failed as failure:
            print(f"vllm.sh: FAILED: {failure}", file=sys.stderr)
            figures.show(given.json)
            return 1
    figures.show(given.json)
    if figures.missed:
        say("not met: " + "; ".join(figures.missed))
    return 1 if figures.missed else 0


if __name__ == "__main__":
    sys.exit(main())
