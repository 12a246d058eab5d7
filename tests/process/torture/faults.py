"""What happens to the processes of a torture run, and when: one seed decides.

Invariants: faults overlap; whatever is taken away (a processor, descriptors, memory) is given back
by an event of its own, at the latest when the epoch ends (`settle`). The board's node word changes
before anything is done to the node.
"""

import heapq
import random
import resource
import signal
import subprocess
import time

from board import FLOOR
from fleet import GROUP_ROOM, SPACES, Failed, Fleet, Worker
from machine import descriptors

WRITE_S = 1.0  # after which an unfinished block is given up
STORM_RATE, STORM_SLOT = 100, 8
KINDS = (  # how often, of a thousand; the last column: of the node
    (720, "kill", False),
    (120, "pause", False),
    (60, "stop_in_mid_copy", False),
    (30, "starve", False),
    (15, "kill_node", True),
    (5, "end_node", True),
    (20, "pause_node", True),
    (15, "starve_node", True),
    (15, "squeeze_node", True),
)
WEIGHTS = {"cpp": 4, "go": 4, "rust": 4, "python": 1}  # as fast as they start


class Faults:
    def __init__(self, fleet: Fleet, dice: random.Random, rate: float):
        self.fleet, self.dice, self.rate = fleet, dice, rate
        self.events: list = []
        self.number = 0
        self.next = self.next_storm = self.next_advance = 0.0
        self.advancing: list[subprocess.Popen] = []
        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    def after(self, seconds: float, what) -> None:
        self.number += 1
        heapq.heappush(self.events, (time.monotonic() + seconds, self.number, what))

    def run(self, until: float, node_too: bool) -> None:
        """Faults until then."""
        now = time.monotonic()
        self.next, self.next_storm = now + 0.5, now + self.dice.uniform(1, 5)
        while (now := time.monotonic()) < until:
            self.fleet.check()
            while self.events and self.events[0][0] <= now:
                heapq.heappop(self.events)[2]()
            if now >= self.next:
                self.next = max(self.next + self.dice.expovariate(self.rate), now - 1)
                kinds = [kind for kind in KINDS if node_too or not kind[2]]
                ((_, name, _),) = self.dice.choices(kinds, [kind[0] for kind in kinds])
                getattr(self, name)()
            if now >= self.next_storm and self.fleet.storm is None:
                self.next_storm = now + self.dice.uniform(6, 12)
                self.blow()
            self.advance(now)
            time.sleep(0.005)
        self.settle()

    def settle(self) -> None:
        while self.events:
            heapq.heappop(self.events)[2]()
        if self.fleet.node_stopped:
            self.go_on_node(self.fleet.node)
        for process in self.advancing:
            process.wait()
        self.advancing = []

    def count(self, what: str) -> None:
        self.fleet.counts[what] += 1
        self.fleet.note(f"the driver: {what}")

    def victim(self, role: str | None = None) -> Worker:
        of = [worker for worker in self.fleet.workers if role in (None, worker.role)]
        return self.dice.choices(of, [WEIGHTS[worker.language] for worker in of])[0]

    # Of readers and writers.

    def kill(self) -> None:
        self.fleet.kill(self.victim())

    def pause(self) -> None:
        worker = self.victim()
        if worker.stopped or not self.fleet.stop(worker):
            return
        self.count("pauses of workers")
        self.after(self.dice.uniform(0.02, 1.5), self.end_of_pause(worker, 0.3))

    def end_of_pause(self, worker: Worker, killed: float):
        process = worker.process

        def end() -> None:
            if worker.process is not process:
                return
            if self.dice.random() < killed:
                return self.fleet.kill(worker)
            self.fleet.go_on(worker)

        return end

    def stop_in_mid_copy(self) -> None:
        """A writer stands for longer than its timeout, in the middle of a block."""
        worker = self.victim("writer")
        if worker.stopped:
            return
        until = time.monotonic() + 1
        while time.monotonic() < until:
            if not self.fleet.board.of(worker.slot, "copying"):
                time.sleep(0.0005)
                continue
            if not self.fleet.stop(worker):
                return
            if copying := self.fleet.board.of(worker.slot, "copying"):
                kind = "in place" if copying == 1 else "in SAVE"
                self.count(f"writers stopped in mid-copy, {kind}")
                return self.after(
                    self.dice.uniform(1.2, 2.5) * WRITE_S, self.end_of_pause(worker, 0.25)
                )
            self.fleet.go_on(worker)

    def starve(self) -> None:
        """Not one more descriptor for a while."""
        worker = self.victim()
        if self.fleet.is_open(worker):  # who is still being loaded is not Weft's
            self.count("workers without a descriptor left")
            self.no_descriptors(worker.process)

    def no_descriptors(self, process: subprocess.Popen) -> None:
        self.fleet.touch_node(+1)
        try:
            count = len(descriptors(process.pid))
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (count, self.limit[1]))
        except (FileNotFoundError, ProcessLookupError):
            pass

        def give_back() -> None:
            if process.poll() is None:
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, self.limit)
            self.after(1, lambda: self.fleet.touch_node(-1))

        self.after(self.dice.uniform(0.2, 1.5), give_back)

    # Of the node.

    def kill_node(self) -> None:
        self.count("kill -9 of nodes")
        self.fleet.end_node(signal.SIGKILL)

    def end_node(self) -> None:
        self.count("nodes ended by SIGTERM")
        self.fleet.end_node(signal.SIGTERM)

    def pause_node(self) -> None:
        if self.fleet.node_stopped:
            return
        self.fleet.touch_node()
        self.count("pauses of nodes")
        node = self.fleet.node
        node.send_signal(signal.SIGSTOP)
        self.fleet.node_stopped = True
        self.after(self.dice.uniform(0.05, 2.5), lambda: self.go_on_node(node))

    def go_on_node(self, node: subprocess.Popen) -> None:
        if node is self.fleet.node and self.fleet.node_stopped:
            node.send_signal(signal.SIGCONT)
            self.fleet.node_stopped = False

    def starve_node(self) -> None:
        self.fleet.touch_node()
        self.count("nodes without a descriptor left")
        self.fleet.starved = self.fleet.node
        self.no_descriptors(self.fleet.node)

    def squeeze_node(self) -> None:
        """Its memory group has hardly more than it uses."""
        group = self.fleet.node_group
        if group is None:
            return
        self.fleet.touch_node()
        self.count("nodes with hardly any memory")
        group.limit(group.used() + self.dice.randrange(8 << 20))
        self.after(self.dice.uniform(0.2, 1.5), lambda: group.limit(GROUP_ROOM))

    # Around them.

    def blow(self) -> None:
        fleet, seconds = self.fleet, self.dice.uniform(1, 4)
        self.count("storms")
        words = [fleet.socket, fleet.board.path, STORM_SLOT, self.dice.getrandbits(62)]
        program = fleet.build / "tests/process/torture_storm"
        fleet.storm = fleet.spawn([program, *words, STORM_RATE, seconds])

    def advance(self, now: float) -> None:
        """Every few seconds both namespaces, and the board says so once that has returned."""
        board, fleet = self.fleet.board, self.fleet
        if self.advancing:
            states = [process.poll() for process in self.advancing]
            if None in states:
                return
            self.advancing = []
            if states == [0, 0]:
                board.put(FLOOR, self.aim)
                self.count("advances")
            elif any(state not in (0, 1, 4) for state in states):
                raise Failed(f"weft advance ended with {states}")
        if now < self.next_advance:
            return
        self.next_advance = now + self.dice.uniform(2, 6)
        self.aim = board.get(FLOOR) + 1
        command = [fleet.build / "weft", "advance", "--connect", fleet.socket]
        self.advancing = [
            fleet.spawn([*command, space, self.aim], stdout=subprocess.DEVNULL) for space in SPACES
        ]
