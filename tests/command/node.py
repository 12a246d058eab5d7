"""The command and a node of it, as processes, for the tests beside this file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
WEFT = Path(os.environ.get("WEFT_BUILD", TOP / "build" / "release")) / "weft"
LIMIT_S = 120  # far above what any call takes, also under a sanitizer


def weft(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(WEFT), *arguments], input=stdin, capture_output=True, timeout=LIMIT_S, check=False
    )


class Node:
    """`weft serve` in a folder of its own; ready when the constructor returns."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="weft-"))
        self.address = f"unix:{self.folder}/w.sock"
        self.start(*arguments, environment=environment)

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(WEFT), "serve", "--json", "-m", "96MiB", "-l", self.address, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"no node: {(self.folder / 'log').read_text()}")
        self.ready: dict[str, Any] = json.loads(line)

    def end(self) -> int:
        """Ends it as a supervisor does; returns its status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def run(
        self, verb: str, *arguments: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        return weft(verb, "-c", self.address, *arguments, stdin=stdin)

    def json(self, verb: str, *arguments: str, stdin: bytes = b"") -> Any:
        done = self.run(verb, *arguments, "--json", stdin=stdin)
        if done.returncode != 0:
            raise AssertionError(f"weft {verb} {arguments}: {done.returncode}: {done.stderr!r}")
        return json.loads(done.stdout)
