"""A node that is stopped, killed, restarted: no call keeps its thread beyond its timeout, and the
client goes on by itself. Prints a line for each test, then `N passed, N failed`.

    run.py BUILD [--only PART_OF_A_NAME]

Invariants: every function that weft.map exports is timed while the node is stopped; whatever the
processes here held is given back when they end, as the node itself counts it; a deadline has
tenfold slack, since what is measured here is whether there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
LIMIT_S = 120
TIMEOUT_MS = 800  # of the client's stores, as stopped.cpp opens them
SLACK = 10
EINVAL, EMISS, ETIMEOUT, EPEER, EQUOTA, EBUSY = -1, -2, -6, -7, -9, -11
# What may come of a call whose node is stopped; all others have to do their work.
UNANSWERED = {ETIMEOUT, EPEER}


class Failed(Exception):
    """A test did not see what it has to see."""


class Node:
    def __init__(self, build: Path, folder: Path) -> None:
        self.build, self.folder = build, folder
        self.socket = folder / "s"
        self.log = (folder / "log").open("a+")
        self.start()

    def start(self) -> None:
        command = [self.build / "weft", "serve", "-m", "64MiB", "--json"]
        self.process = subprocess.Popen(
            [*command, "-l", f"unix:{self.socket}", "--state", self.folder / "state"],
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise Failed(f"no node: {self.words()}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def words(self) -> str:
        self.log.seek(0)
        return self.log.read()[-2000:]

    def ask(self, words: str) -> dict:
        done = subprocess.run(
            [self.build / "weft", "stats", *words.split(), "-c", f"unix:{self.socket}", "--json"],
            capture_output=True,
            timeout=LIMIT_S,
            check=True,
        )
        return json.loads(done.stdout)

    def settled(self) -> None:
        """Nobody holds anything any more, but for who asks."""
        until = time.monotonic() + LIMIT_S
        while True:
            stats, held = self.ask(""), self.ask("--processes")["processes"]
            # The node's own session, and that of who asks.
            if stats["sessions"] <= 2 and not held and stats["pins"] == 0:
                break
            if time.monotonic() > until:
                raise Failed(f"{stats['sessions']} sessions, {stats['pins']} pins, held: {held}")
            time.sleep(0.05)
        for space in stats["namespaces"]:
            for what in ["openings", "attempts", "quarantined", "claims", "waiting", "limbo"]:
                if space[what] != 0:
                    raise Failed(f"{space['name']}: {what} {space[what]}")

    def opens(self, pid: int, wanted: dict[str, int]) -> None:
        """This process has these namespaces open, so often, and no more: what it opened or closed
        in vain while the node did not answer is not left here.
        """
        until = time.monotonic() + LIMIT_S
        while True:
            rows = [row for row in self.ask("--processes")["processes"] if row["pid"] == pid]
            found = {row["namespace"]: row["openings"] for row in rows if row["openings"]}
            if found == wanted:
                return
            if time.monotonic() > until:
                raise Failed(f"openings {found}, expected {wanted}")
            time.sleep(0.05)


class Client:
    def __init__(self, node: Node, *arguments: str) -> None:
        mode, *more = arguments
        self.process = subprocess.Popen(
            [node.build / "tests/reconnect/reconnect_client", mode, node.socket, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=node.log,
        )
        self.node = node
        self.rest = b""
        self.last = ""

    def line(self) -> str:
        """The next line. A call that never returns is a failure with the one before it named."""
        assert self.process.stdout is not None
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
            if not ready:
                raise Failed(f"no line in {LIMIT_S} s after {self.last!r}")
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise Failed(f"the client ended after {self.last!r}: {self.node.words()}")
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        self.last = line.decode().strip()
        return self.last

    def until(self, word: str) -> list[str]:
        lines: list[str] = []
        while (line := self.line()) != word:
            lines.append(line)
        return lines

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.tell("end")
        if self.process.wait(LIMIT_S) != 0:
            raise Failed(f"the client ended with {self.process.returncode}")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def codes_of(name: str) -> set[int] | None:
    """The codes that a call may return while the node is stopped; None: what it returns is its
    work, any number of 0 or more.
    """
    if name in ("weft_namespace_open", "weft_query", "weft_query:space", "weft_open"):
        return UNANSWERED
    if name == "weft_open:full":
        return UNANSWERED
    if name == "weft_open:listen":
        return {EBUSY}
    if name in ("weft_reap:LOAD there", "weft_reap:LOAD", "weft_reap:VIEW"):
        return UNANSWERED | {EMISS}
    if name == "weft_reap:SAVE":
        return UNANSWERED | {0, 4096}  # from the stock, filled; the answer is what lacks
    if name.startswith("weft_reap:") and name != "weft_reap:closing":
        return UNANSWERED
    return None


def judge(line: str) -> str:
    """Of `NAME MILLISECONDS CODE`; returns the function's name."""
    found = re.fullmatch(r"(.+) ([0-9.]+) (-?[0-9]+)", line)
    if found is None:
        raise Failed(f"no measurement: {line}")
    name, took, code = found[1], float(found[2]), int(found[3])
    if took > TIMEOUT_MS * SLACK:
        raise Failed(f"{name} kept its thread {took:.0f} ms, with timeout_ms={TIMEOUT_MS}")
    allowed = codes_of(name)
    if code < 0 if allowed is None else code not in allowed:
        raise Failed(f"{name} returned {code}; allowed: {allowed or '0 and more'}")
    return name.split(":")[0].replace("submit", "weft_submit").replace("weft_weft_", "weft_")


def no_call_outlives_its_timeout_while_the_node_is_stopped(build: Path, folder: Path) -> str:
    node = Node(build, folder)
    client = Client(node, "stopped")
    try:
        client.until("ready")
        node.process.send_signal(signal.SIGSTOP)
        time.sleep(1.2)  # until its index is believed no more
        client.tell("stopped")
        lines = client.until("done")
        timed = {judge(line) for line in lines}
        exported = set(re.findall(r"weft_\w+", (TOP / "capi/weft.map").read_text()))
        if timed != exported:
            raise Failed(f"not timed: {exported - timed}; not exported: {timed - exported}")
        node.process.send_signal(signal.SIGCONT)
        client.tell("go on")
        client.until("gone on")
        node.opens(client.process.pid, {"t/main": 1})
        client.end()
        node.settled()
        node.end()
        slowest = max(float(line.split()[-2]) for line in lines)
        return f"{len(lines)} calls, the slowest {slowest:.0f} ms of timeout_ms={TIMEOUT_MS}"
    finally:
        client.kill()
        node.process.kill()
        node.process.wait()


def a_client_survives_restarts(build: Path, folder: Path) -> str:
    restarts = 24
    node = Node(build, folder)
    client = Client(node, "restarts", str(restarts))
    try:
        client.until("ready")
        for i in range(restarts):
            # Every sixth is killed: its successor waits a second for its last promise to pass.
            node.end(signal.SIGKILL if i % 6 == 5 else signal.SIGTERM)
            node.start()
            client.tell("restarted")
            client.until("works")
        client.until("as before")
        client.end()
        node.settled()
        node.end()
        return f"{restarts} restarts, {restarts // 6} of them kills"
    finally:
        client.kill()
        node.process.kill()
        node.process.wait()


def copies_under_way_outlive_their_node_and_keep_nobody(build: Path, folder: Path) -> str:
    node = Node(build, folder)
    client = Client(node, "held")
    try:
        for _ in ("a load and a view", "a save"):
            client.until("held")
            node.end(signal.SIGKILL)
            node.start()
            client.tell("restarted")
        client.until("gone on")
        client.end()
        node.settled()
        node.end()
        return "a load, a view and a save across two kills"
    finally:
        client.kill()
        node.process.kill()
        node.process.wait()


def kill_by_pid(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def a_forked_child_keeps_nothing_of_a_node_that_its_parent_was(build: Path, folder: Path) -> str:
    node = Node(build, folder)
    node.end()  # the next one is a program's own, in its process
    owner = Client(node, "forks")
    client = None
    children: list[int] = []

    def child() -> None:
        if not owner.line().startswith("child "):
            raise Failed(owner.last)
        children.append(int(owner.last.split()[1]))

    try:
        child()
        owner.until("ready")
        client = Client(node, "restarts", "1")
        client.until("ready")
        owner.tell("fork")
        child()  # beside the client's connections
        kill_by_pid(owner.process.pid)
        owner.process.wait(LIMIT_S)
        node.start()
        client.tell("restarted")
        client.until("as before")
        client.end()
        for pid in children:
            os.kill(pid, 0)
        node.end()
        return "a successor and a client while two children live"
    finally:
        for pid in children:  # they have the owner's output open
            kill_by_pid(pid)
        for process in [owner, client]:
            if process is not None:
                process.kill()
        node.process.kill()
        node.process.wait()


def a_client_leaves_who_accepts_and_never_answers(build: Path, folder: Path) -> str:
    node = Node(build, folder)
    client = Client(node, "restarts", "1")
    try:
        client.until("ready")
        node.end()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(node.socket))
            silent.listen()
            silent.settimeout(LIMIT_S)
            accepted, _ = silent.accept()
        os.unlink(node.socket)
        with accepted:
            node.start()
            since = time.monotonic()
            client.tell("restarted")
            client.until("as before")
            client.end()
        node.end()
        return f"after {time.monotonic() - since:.1f} s of 10"
    finally:
        client.kill()
        node.process.kill()
        node.process.wait()


TESTS: list[Callable[[Path, Path], str]] = [
    no_call_outlives_its_timeout_while_the_node_is_stopped,
    a_client_survives_restarts,
    copies_under_way_outlive_their_node_and_keep_nobody,
    a_forked_child_keeps_nothing_of_a_node_that_its_parent_was,
    a_client_leaves_who_accepts_and_never_answers,
]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    passed = failed = 0
    for test in TESTS:
        if options.only not in test.__name__:
            continue
        since = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="weft.") as folder:
            try:
                told = test(options.build.absolute(), Path(folder))
                passed += 1
                print(f"passed {test.__name__} ({time.monotonic() - since:.1f} s) {told}")
            except Failed as failure:
                failed += 1
                print(f"FAILED {test.__name__} ({time.monotonic() - since:.1f} s): {failure}")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
