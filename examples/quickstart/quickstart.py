"""Weft's main job on real text, in five steps, with real processes: prefill once, reuse everywhere,
never wrongly.

    python quickstart.py --weft build/release/weft [--json]

Starts a node (`weft serve`) and engines (engine.py), each a process. Every answer that used Weft is
compared with the answer of an engine that did not: the same text, and logits whose largest
difference is printed beside the smallest margin between the two likeliest bytes. Ends with status 1
and says why where anything is not as it must be. Nothing is left behind, so it can be run again.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time

import numpy as np
from processes import Engines, Failed, Node
from show import Show
from steps import Quickstart

HEAD = ["step", "engine", "version", "reused", "prefilled", "first token", "copied", "in place"]
"""Of the table: tokens reused and prefilled, bytes copied to Weft and read in its memory."""


def summary_of(run: Quickstart) -> dict:
    """Returns what the run showed, for programs."""
    stats = run.store.stats()
    with_weft = [row for row in run.rows if row["share"] and row["step"] == 2]
    without = [row for row in run.rows if not row["share"] and row["step"] == 2]
    return {
        "requests": run.rows,
        "first_token_with_ms": 1e3 * float(np.median([row["first_token_s"] for row in with_weft])),
        "first_token_without_ms": 1e3 * float(np.median([row["first_token_s"] for row in without])),
        "largest_logit_difference": run.largest_difference,
        "smallest_top_two_margin": run.smallest_margin,
        "advance_ms": 1e3 * run.advance_s,
        "stats": stats,
    }


def print_table(show: Show, run: Quickstart, summary: dict) -> None:
    show.line("5  what it saved")
    rows = [
        [
            str(row["step"]),
            f"{row['engine']}{'' if row['share'] else ' without Weft'}",
            str(row["version"]),
            f"{row['reused']:,}",
            f"{row['prefilled']:,}",
            f"{1e3 * row['first_token_s']:,.0f} ms",
            f"{row['bytes_copied']:,}",
            f"{row['bytes_in_place']:,}",
        ]
        for row in run.rows
    ]
    show.table(HEAD, rows)
    show.line()
    ratio = summary["first_token_without_ms"] / summary["first_token_with_ms"]
    show.line(
        f"time to first token of B and C: {summary['first_token_with_ms']:.0f} ms with Weft, "
        f"{summary['first_token_without_ms']:.0f} ms without: {ratio:.0f} times"
    )
    show.line(
        f"largest logit difference to the runs without Weft: {run.largest_difference:g}; "
        f"smallest margin between the two likeliest bytes: {run.smallest_margin:.2g}"
    )


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--weft", default="weft", help="the command")
    options.add_argument("--memory", default="256MiB", help="of the node")
    options.add_argument(
        "--json", action="store_true", help="the result for programs, on standard output"
    )
    args = options.parse_args()
    show = Show(to_stderr=args.json)
    here = pathlib.Path(__file__).parent
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weft-") as folder:
        node = Node(args.weft, f"{folder}/weft.sock", args.memory)
        engines = Engines(node.address, str(here / "weights-{version}.npz"))
        run = None
        try:
            run = Quickstart(show, node, engines)
            for step in (run.prefill, run.share, run.once, run.change_weights):
                step()
            summary = summary_of(run)
            print_table(show, run, summary)
        except Failed as problem:
            show.line(f"quickstart: {problem}")
            return 1
        except KeyboardInterrupt:
            show.line("quickstart: interrupted")
            return 130
        finally:
            engines.close()
            if run:
                run.close()
            node.close()
    seconds = time.monotonic() - begin
    show.line(f"all as it must be, in {seconds:.0f} s")
    if args.json:
        print(json.dumps({**summary, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
