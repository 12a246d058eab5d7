"""The quickstart's processes as its driver sees them: a node, and engines that take requests and
send events.

Each is a real process of its own. Whatever way the driver ends, the engines end with their standard
input and the node by SIGTERM. One thread (the driver's) uses all of this.
"""

import dataclasses
import json
import os
import pathlib
import selectors
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
SILENCE_S = 300
"""An engine that says nothing for so long is taken for hung."""


class Failed(Exception):
    """Something did not come out as it must; the message says what."""


class Node:
    """`weft serve` on a socket of its own."""

    def __init__(self, command: str, socket: str, memory: str) -> None:
        self.address = f"unix:{socket}"
        self.process = subprocess.Popen(
            [command, "serve", "--memory", memory, "--listen", self.address, "--json"],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        said = ""
        while "}" not in said:  # one JSON object: it is ready
            line = self.process.stdout.readline()
            if not line:
                raise Failed(f"{command} serve did not start: status {self.process.wait()}")
            said += line

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


@dataclasses.dataclass
class Engine:
    """One engine process: what it was asked and has said so far."""

    name: str
    language: str
    process: subprocess.Popen
    pages: int = 0
    of: int = 0
    result: dict | None = None
    fenced: str = ""
    killed: bool = False
    unread: bytes = b""

    def ask(self, prompt: bytes, generate: int, share: bool) -> None:
        self.pages, self.of, self.result, self.fenced = 0, 0, None, ""
        request = {"prompt": prompt.decode("latin-1"), "generate": generate, "share": share}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL: it gets no chance to say goodbye."""
        self.killed = True
        self.process.kill()
        self.process.wait()

    def hear(self) -> list[dict]:
        """Reads what has come; returns whole events and keeps the rest."""
        data = os.read(self.process.stdout.fileno(), 1 << 20)
        if not data:
            raise Failed(f"engine {self.name} ended with status {self.process.wait()}")
        *lines, self.unread = (self.unread + data).split(b"\n")
        events = [json.loads(line) for line in lines]
        for event in events:
            if event["event"] == "computed":
                self.pages, self.of = event["pages"], event["of"]
            elif event["event"] == "fenced":
                self.fenced = event["message"]
            elif event["event"] == "done":
                self.result = event
        return events


class Engines:
    """All engine processes of a run, in any language: they say the same lines."""

    def __init__(self, address: str, weights: str, runtime: str) -> None:
        """`weights` has {version} in it; `runtime` is the engine in Rust."""
        self.address, self.weights = address, weights
        self.commands = {"Python": [sys.executable, str(HERE / "engine.py")], "Rust": [runtime]}
        self.all: list[Engine] = []

    def start(self, names: list[str], version: int = 1, language: str = "Python") -> list[Engine]:
        """Starts one process for each name and returns when all are ready."""
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        command = [*self.commands[language], self.weights, str(version), self.address]
        started = [
            Engine(
                name,
                language,
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
                ),
            )
            for name in names
        ]
        self.all += started
        waiting = {engine.name for engine in started}
        for engine, event in self.events(started, lambda: not waiting):
            if event["event"] == "ready":
                waiting.discard(engine.name)
        return started

    def events(self, engines: list[Engine], done):
        """Yields (engine, event) as they come, until done() says so."""
        with selectors.DefaultSelector() as selector:
            for engine in engines:
                selector.register(engine.process.stdout, selectors.EVENT_READ, engine)
            while not done():
                ready = selector.select(SILENCE_S)
                if not ready:
                    raise Failed(
                        f"engines {', '.join(e.name for e in engines)}: silent for {SILENCE_S} s"
                    )
                for key, _ in ready:
                    engine = key.data
                    if engine.killed:
                        selector.unregister(engine.process.stdout)
                        continue
                    for event in engine.hear():
                        yield engine, event

    def run(self, engines: list[Engine], watch=lambda engine: None) -> None:
        """Waits until each engine that still lives has its result; `watch` sees an engine after
        each of its events."""
        for engine, _ in self.events(engines, lambda: all(e.result or e.killed for e in engines)):
            watch(engine)

    def close(self) -> None:
        for engine in self.all:
            if engine.process.poll() is None:
                engine.process.stdin.close()
        end = time.monotonic() + 10
        for engine in self.all:
            try:
                engine.process.wait(max(0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                engine.process.kill()
                engine.process.wait()
