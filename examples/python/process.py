"""What the examples need beside Weft: this program once more as a second process. A store does not
cross fork, so it is started anew, as engines' workers are; what it prints, the first one reads."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from types import TracebackType


def new_address() -> str:
    """unix:PATH, the path new to this process."""
    return f"unix:{tempfile.gettempdir()}/weft-example-{os.getpid()}.sock"


class Process:
    """A program with these arguments; `with` waits until it has ended, and ended well."""

    def __init__(self, program: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, program, *arguments], stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        """The next line it prints, which is printed here too; "" when there are no more."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            print(f"  {self.process.pid}: {line}", end="")
        return line

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.process.kill()
        while self.line():
            pass
        status = self.process.wait()
        if kind is None and status != 0:
            raise RuntimeError(f"the second process ended with status {status}")
