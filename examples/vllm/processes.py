"""The example's processes as its driver sees them: a node, and vLLM engines that answer questions.

Whatever way the driver ends, they end with it. One thread uses all of this; an engine that was
asked works while others are asked."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SILENCE_S = 900
"""An engine that is silent for so long is taken for hung: a first start inspects the model."""


class Failed(Exception):  # noqa: N818 - it reads as what it is
    """Something did not come out as it must; the message says what."""


def written(model: str, folder: Path) -> Path:
    """The folder of a model of models.py, written there first if need be."""
    path = folder / model
    if not path.exists():
        command = [sys.executable, str(HERE / "models.py"), model, str(path)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return path


class Node:
    """`weft serve` on a socket, started again on the same one after a kill."""

    def __init__(self, command: str, folder: Path, memory: str) -> None:
        self.command, self.memory = command, memory
        self.address = f"unix:{folder}/w"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.command, "serve", "-m", self.memory, "-l", self.address, "--prefault", "--json"],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        if "ready" not in line:
            raise Failed(f"{self.command} serve did not start: status {self.process.wait()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Engine:
    """An engine process. Its log is NAME.log in the folder."""

    def __init__(self, folder: Path, name: str, model: Path, threads: int = 0, **how: Any) -> None:
        """threads: of its forward pass, 0: as many as vLLM takes. how: see engine.py."""
        self.name = name
        more = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "engine.py"), str(model), json.dumps(how)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **more},
                text=True,
            )

    def ready(self) -> Engine:
        """Waits until it can be asked."""
        self.answer()
        return self

    def tell(self, do: str, **what: Any) -> None:
        """Asks without waiting for the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._ended()) from None

    def answer(self) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], SILENCE_S)[0]:
            raise Failed(f"engine {self.name}: silent for {SILENCE_S} s; its log: {self.log}")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(self._ended())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> str:
        status = self.process.wait()
        tail = self.log.read_text(errors="replace")[-3000:]
        return f"engine {self.name} ended with status {status}; its log ends:\n{tail}"

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Asks and waits."""
        self.tell(do, **what)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()  # type: ignore[union-attr]
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
