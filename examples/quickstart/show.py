"""What the quickstart prints: a line of progress while engines work, plain lines, a table. One
thread uses it.

With --json the same goes to standard error, so that standard output holds one JSON value and
nothing else.
"""

import sys
import time

BAR = 24
"""Width of a progress bar in characters."""


class Show:
    def __init__(self, to_stderr: bool) -> None:
        self.out = sys.stderr if to_stderr else sys.stdout
        self.live = self.out.isatty()
        self.pending = False
        self.last = 0.0

    def line(self, text: str = "") -> None:
        if self.pending:
            self.out.write("\r\033[K")
            self.pending = False
        print(text, file=self.out, flush=True)

    def progress(self, engines: list) -> None:
        """Shows how many pages of how many each engine has computed; rewritten in place on a
        terminal."""
        now = time.monotonic()
        if now - self.last < (0.1 if self.live else 1.0):
            return
        self.last = now
        parts = []
        for engine in engines:
            if engine.of and not engine.killed and not engine.result:
                full = BAR * engine.pages // engine.of
                bar = "#" * full + "." * (BAR - full)
                parts.append(f"{engine.name} [{bar}] {engine.pages}/{engine.of} pages")
        if not parts:
            return
        if self.live:
            self.out.write("\r\033[K     " + "  ".join(parts))
            self.out.flush()
            self.pending = True
        else:
            self.line("     " + "  ".join(parts))

    def table(self, head: list[str], rows: list[list[str]]) -> None:
        """Prints rows under a head, the first two columns to the left, numbers to the right."""
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

        def put(row: list[str]) -> None:
            cells = [
                c.ljust(w) if i < 2 else c.rjust(w)
                for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            self.line("  ".join(cells).rstrip())

        put(head)
        put(["-" * width for width in widths])
        for row in rows:
            put(row)
