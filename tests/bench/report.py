"""The benchmark's rows, from the JSON lines of its programs on standard input.

report.py            a table for people
report.py --json     one line a figure: name, value, unit, reference, ratio, target, met
"""

import json
import sys

SHOWN = ("name", "value", "unit", "reference", "ratio", "target", "met")
HEAD = ("what", "value", "10 % .. 90 %", "reference", "ratio", "target", "met")


def digits(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def row(figure: dict) -> tuple[str, ...]:
    against = figure["against"]
    words = against
    if figure["reference"] is not None:
        words = f"{digits(figure['reference'])} {figure['unit']}, {against}"
    met = {True: "yes", False: "NO", None: "-"}[figure["met"]]
    return (
        figure["name"],
        f"{digits(figure['value'])} {figure['unit']}",
        f"{digits(figure['low'])} .. {digits(figure['high'])}",
        words,
        digits(figure["ratio"]),
        (figure["target"] or "printed").replace("<=", "≤").replace(">=", "≥"),
        met,
    )


def main() -> None:
    rows = []
    for line in sys.stdin:
        figure = json.loads(line)
        if "--json" in sys.argv[1:]:
            print(json.dumps({name: figure[name] for name in SHOWN}), flush=True)
        else:
            rows.append(row(figure))
    if not rows:
        return
    widths = [max(len(line[i]) for line in [HEAD, *rows]) for i in range(len(HEAD))]
    for line in [HEAD, tuple("-" * width for width in widths), *rows]:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("| " + " | ".join(cells) + " |")


main()
