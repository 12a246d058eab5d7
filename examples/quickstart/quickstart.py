"""Weft's main job on real text, step by step, with real processes: prefill once, reuse everywhere,
never wrongly.

    python quickstart.py --weft COMMAND --runtime PROGRAM --gateway PROGRAM [--json]

Starts a node (`weft serve`) and engines (engine.py, and the one in Rust), each a process. Every
answer that used Weft is compared with the answer of an engine that did not: the same text, and
logits whose largest difference is printed beside the smallest margin between the two likeliest
bytes. Ends with status 1 and says why where anything is not as it must be. Nothing is left behind,
so it can be run again.
"""

import argparse
import dataclasses
import json
import pathlib
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter

from engine import NAMESPACE
from processes import Engines, Failed, Node
from show import Show
from steps import Quickstart
from steps_gateway import go_routes
from steps_rust import rust_goes_on

HEAD = "step,language,requests,reused,prefilled,first token,alone,copied,in place,misses".split(",")
STEPS = (
    Quickstart.prefill,
    Quickstart.share,
    Quickstart.once,
    rust_goes_on,
    go_routes,
    Quickstart.change_weights,
)
"""In order, each a function of the run; the last one wants what those before it have started."""

LEGEND = """\
     tokens reused and prefilled; median time to the first token, and that of one engine alone on
     the machine without Weft; bytes copied to Weft and bytes read in its memory; why a request's
     next block was not there when it looked"""


def in_words(misses: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in misses.items() if count) or "none"


def median_ms(rows: list[dict]) -> float | None:
    return 1e3 * statistics.median(row["first_token_s"] for row in rows) if rows else None


def in_ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} ms"


def summary_of(run: Quickstart) -> dict:
    """Returns what the run showed, for programs: sums for each step, and each request."""
    steps = []
    spaces = run.store.stats()["namespaces"]
    for step, language in dict.fromkeys((row["step"], row["language"]) for row in run.rows):
        rows = [row for row in run.rows if (row["step"], row["language"]) == (step, language)]
        shared, alone = ([row for row in rows if row["share"] == share] for share in (True, False))
        if not shared:
            continue
        sums = ("reused", "prefilled", "bytes_copied", "bytes_in_place")
        steps.append(
            {
                "step": step,
                "language": language,
                "requests": len(shared),
                **{name: sum(row[name] for row in shared) for name in sums},
                "misses": sum((Counter(row["misses"]) for row in shared), Counter()),
                "first_token_ms": median_ms(shared),
                "first_token_alone_without_weft_ms": median_ms(alone),
            }
        )
    return {
        "steps": steps,
        "one_language": dataclasses.asdict(run.one_language),
        "across_languages": dataclasses.asdict(run.across_languages),
        "advance_ms": 1e3 * run.advance_s,
        "node": next(space for space in spaces if space["name"] == NAMESPACE),
        "requests": run.rows,
    }


def print_table(show: Show, summary: dict) -> None:
    rows = [
        [
            row["step"],
            row["language"],
            str(row["requests"]),
            f"{row['reused']:,}",
            f"{row['prefilled']:,}",
            in_ms(row["first_token_ms"]),
            in_ms(row["first_token_alone_without_weft_ms"]),
            f"{row['bytes_copied']:,}",
            f"{row['bytes_in_place']:,}",
            in_words(row["misses"]),
        ]
        for row in summary["steps"]
    ]
    show.table(HEAD, rows)
    show.line(LEGEND)
    saved, hits = summary["node"]["saved"], summary["node"]["hits"]
    show.line(f"     the node counted {saved:,} blocks saved, {hits:,} hits")
    for name in ("one_language", "across_languages"):
        difference, margin = summary[name]["difference"], summary[name]["margin"]
        show.line(
            f"     {name.replace('_', ' ')}: logits differ from those without Weft by at most "
            f"{difference:.2g}; smallest margin between the two likeliest bytes: {margin:.2g}"
        )


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--weft", default="weft", help="the command")
    options.add_argument(
        "--runtime", default="quickstart-runtime", help="the engine in Rust, built"
    )
    options.add_argument("--gateway", default="gateway", help="the gateway in Go, built")
    options.add_argument("--memory", default="256MiB", help="of the node")
    options.add_argument(
        "--json", action="store_true", help="the result for programs, on standard output"
    )
    args = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: nothing is left
    show = Show(to_stderr=args.json)
    here = pathlib.Path(__file__).parent
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weft-quickstart-") as folder:
        node = Node(args.weft, f"{folder}/weft.sock", args.memory)
        engines = Engines(node.address, str(here / "weights-{version}.npz"), args.runtime)
        run = None
        try:
            run = Quickstart(show, node, engines, args.gateway)
            for step in STEPS:
                step(run)
            summary = summary_of(run)
            run.begin("what it saved")
            print_table(show, summary)
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
