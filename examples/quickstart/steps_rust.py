"""The step in which a runtime in Rust goes on behind Python's blocks, and Python behind its.

Blocks are read in place in either direction, and what comes out is compared with Python alone: the
same text, and logits that differ by less than the tolerance of all steps.
"""

from model import PAGE
from steps import PROMPT, Quickstart, check

WAY = b"\n\ndef main() -> None:\n    "
"""What R adds to the file that A has read."""


def rust_goes_on(run: Quickstart) -> None:
    run.begin(
        "R, in Rust, goes on behind Python's blocks of that file, and C behind R's of another"
    )
    rust, alone = run.engines.start(["R", "(alone)"], language="Rust")
    run.others.append(rust)
    shared = (PROMPT - 1) // PAGE * PAGE

    way = run.prompt + WAY
    run.answer("Rust goes on", [rust], [way])
    check(
        rust.result["reused"] == shared,
        f"R reused {rust.result['reused']} of the {shared} tokens that Python computed",
    )
    run.without("Rust goes on", alone, way)
    run.compare(rust, run.without("Rust goes on", run.plain, way), across=True)
    run.show.line(f"     R writes {rust.result['text']!r}, as Python does")

    prompt = run.text("ssl.py")[:PROMPT]
    run.answer("Rust prefills", [rust], [prompt])
    check(
        rust.result["reused"] == 0 and rust.result["prefilled"] == PROMPT,
        f"R reused {rust.result['reused']} tokens of a new prompt",
    )
    run.without("Rust prefills", alone, prompt)
    run.answer("Python goes on", [run.c], [prompt + WAY])
    check(
        run.c.result["reused"] == shared,
        f"C reused {run.c.result['reused']} of the {shared} tokens that Rust computed",
    )
    run.compare(run.c, run.without("Python goes on", run.plain, prompt + WAY), across=True)
    run.show.line(f"     C writes {run.c.result['text']!r} behind R's blocks, as Python alone does")
