"""The processes of a torture run: a node, four readers and four writers, storms, and what is asked
of the node by the command.

Invariants: who ends without having been ended is a failure, but for a node that the kernel killed
in a memory group that was made small; who ended is there again at once. A slot is one process's at
a time.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from board import NODE, STOP, Board
from machine import Group, is_stopped, prepare, story

HANG_S = 60  # ten times what an op may take
NODE_MEMORY = 24 << 20
GROUP_ROOM = 256 << 20  # of the node's group when nothing is made small
READER_ROOM = 16 << 20  # less than what the reader maps: that is the node's to pay
LANGUAGES = ("cpp", "python", "go", "rust")
SPACES = ("torture/any", "torture/parts")


class Failed(Exception):
    """The run did not see what it has to see."""


class Patience:
    """Time as it passes for the run: what the driver slept through, since others had the machine,
    was lost to its processes too, and is counted as one step."""

    def __init__(self):
        self.total, self.last = 0.0, time.monotonic()

    def seconds(self) -> float:
        now = time.monotonic()
        self.total, self.last = self.total + min(now - self.last, 0.25), now
        return self.total


class Worker:
    """One of the eight, over its lives."""

    def __init__(self, slot: int, language: str, role: str):
        self.slot, self.language, self.role = slot, language, role
        self.process: subprocess.Popen | None = None
        self.beat, self.beat_at, self.stopped, self.starts = 0, 0.0, False, 0

    def __str__(self) -> str:
        return f"{self.language} {self.role} (slot {self.slot})"


class Fleet:
    def __init__(self, build: Path, folder: Path, programs: dict, dice: random.Random):
        self.build, self.folder, self.programs, self.dice = build, folder, programs, dice
        self.board = Board(folder / "board")
        self.log = open(folder / "log", "a")
        self.socket = f"unix:{folder}/s"
        self.node: subprocess.Popen | None = None
        self.node_stopped = False
        self.patience = Patience()
        self.hungry = 0
        self.starved: subprocess.Popen | None = None  # the node that was left without descriptors
        self.node_group, self.reader_group = Group.make("node"), Group.make("reader")
        self.oom_seen = 0
        if self.node_group:
            self.node_group.limit(GROUP_ROOM)
        if self.reader_group:
            self.reader_group.limit(READER_ROOM)
        self.workers = [
            Worker(slot, LANGUAGES[slot % 4], "reader" if slot < 4 else "writer")
            for slot in range(8)
        ]
        self.storm: subprocess.Popen | None = None
        self.counts: Counter = Counter()

    def note(self, what: str) -> None:
        """A line of the log that the processes write into too."""
        self.log.write(f"{time.strftime('%H:%M:%S')} {what}\n")
        self.log.flush()

    def spawn(self, command: list, group: Group | None = None, **more) -> subprocess.Popen:
        small = self.dice.random() < 0.5
        self.counts["processes without huge pages"] += small
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=more.pop("stdout", self.log),
            stderr=self.log,
            preexec_fn=prepare(group, small),
            **more,
        )

    def end_of(self, name: str, process: subprocess.Popen) -> int:
        """The status with which it ends, in time."""
        until = self.patience.seconds() + 2 * HANG_S
        while (status := process.poll()) is None:
            if self.patience.seconds() > until:
                raise Failed(f"{name} does not end\n{story(process.pid)}")
            time.sleep(0.01)
        return status

    # The node.

    def touch_node(self, starved: int = 0) -> None:
        """Something is done to the node; starved: how many more have no descriptor left now."""
        self.hungry += starved
        self.board.put(NODE, (self.board.get(NODE) // 2 + 1) * 2 + (self.hungry > 0))

    def serve(self) -> None:
        self.touch_node()
        self.node_stopped = False
        command = [self.build / "weft", "serve", "--memory", NODE_MEMORY, "--listen", self.socket]
        self.node = self.spawn(
            [*command, "--state", self.folder / "state"], self.node_group, cwd=self.folder
        )
        self.note(f"the driver starts node {self.node.pid}")

    def end_node(self, number: int) -> None:
        """Ends it with this signal and starts the next one."""
        self.touch_node()
        self.node.send_signal(number)
        if number != signal.SIGKILL:
            self.node.send_signal(signal.SIGCONT)
        status = self.end_of("the node", self.node)
        if status == 1 and self.node is self.starved:
            self.counts["nodes that could not start"] += 1
        elif status not in (0, -number, -signal.SIGKILL):
            raise Failed(f"the node ended with {status} after signal {number}")
        self.serve()

    def ask(self, *words: str, patience: float = HANG_S) -> dict:
        """What `weft WORDS` says, asked again while there is no node."""
        until = self.patience.seconds() + patience
        command = [self.build / "weft", *words, "--connect", self.socket, "--json"]
        while True:
            done = subprocess.run(
                [str(word) for word in command], capture_output=True, text=True, timeout=10 * HANG_S
            )
            if done.returncode == 0:
                return json.loads(done.stdout)
            if self.patience.seconds() > until:
                raise Failed(f"weft {' '.join(words)}: {done.stderr or done.stdout}")
            self.look_after_node()
            time.sleep(0.1)

    def look_after_node(self) -> None:
        status = self.node.poll()
        if status is None:
            return
        killed = self.node_group.killed() if self.node_group else 0
        if status == -signal.SIGKILL and killed > self.oom_seen:
            self.oom_seen = killed
            self.counts["nodes killed for memory"] += 1
            self.node_group.limit(GROUP_ROOM)
            return self.serve()
        if status == 1 and self.node is self.starved:  # it could not even start
            self.counts["nodes that could not start"] += 1
            return self.serve()
        raise Failed(f"the node ended with {status}")

    # Workers.

    def start(self, worker: Worker) -> None:
        seed = self.dice.getrandbits(62)
        words = [worker.role, self.socket, self.board.path, worker.slot, seed]
        group = self.reader_group if worker.slot == 0 else None
        worker.process = self.spawn([*self.programs[worker.language], *words], group)
        worker.stopped, worker.beat_at = False, self.patience.seconds()
        worker.starts = self.board.of(worker.slot, "starts")

    def is_open(self, worker: Worker) -> bool:
        """It has opened its store since it was started."""
        return self.board.of(worker.slot, "starts") > worker.starts

    def kill(self, worker: Worker) -> None:
        worker.process.kill()
        worker.process.wait()
        self.counts[f"kill -9 of {worker.language} {worker.role}s"] += 1
        self.start(worker)

    def stop(self, worker: Worker) -> bool:
        """Stops it and waits until it stands; False: it has just ended."""
        worker.process.send_signal(signal.SIGSTOP)
        worker.stopped = True
        until = self.patience.seconds() + HANG_S
        try:
            while not is_stopped(worker.process.pid):
                if self.patience.seconds() > until:
                    raise Failed(f"{worker} does not stop\n{story(worker.process.pid)}")
                time.sleep(0.001)
        except FileNotFoundError:
            return False
        return True

    def go_on(self, worker: Worker) -> None:
        if worker.stopped:
            worker.process.send_signal(signal.SIGCONT)
        worker.stopped, worker.beat_at = False, self.patience.seconds()

    def check(self) -> None:
        """Everybody is alive and moves."""
        self.look_after_node()
        now = self.patience.seconds()
        for worker in self.workers:
            status = worker.process.poll()
            if status is not None:
                raise Failed(f"{worker} ended with {status}")
            beat = self.board.of(worker.slot, "beat")
            if beat != worker.beat or worker.stopped:
                worker.beat, worker.beat_at = beat, now
            elif now - worker.beat_at > HANG_S:
                raise Failed(f"{worker} hangs\n{story(worker.process.pid)}")
        if self.storm is not None and self.storm.poll() is not None:
            if self.storm.returncode != 0:
                raise Failed(f"a storm ended with {self.storm.returncode}")
            self.storm = None
        for name in ("wrong", "odd"):
            if self.board.total(name):
                raise Failed(f"{self.board.total(name)} {name}")
        if self.reader_group and self.reader_group.killed():
            raise Failed("a reader was killed for memory that the node should have paid for")

    def end_workers(self) -> None:
        """All end by themselves, well and in time."""
        self.board.put(STOP, 1)
        for worker in self.workers:
            self.go_on(worker)
        ending = [(str(worker), worker.process) for worker in self.workers]
        if self.storm is not None:
            ending.append(("a storm", self.storm))
        for name, process in ending:
            if status := self.end_of(name, process):
                raise Failed(f"{name} ended with {status}")
        self.storm = None
        self.board.put(STOP, 0)

    def kill_all(self) -> None:
        for process in [*(worker.process for worker in self.workers), self.storm, self.node]:
            if process is not None and process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
        for group in (self.node_group, self.reader_group):
            if group is not None:
                group.remove()
