"""Real processes under load and under faults: prints a line for each test, then `process: N
passed, N failed`.

    run.py BUILD [--only PART_OF_A_NAME]

Two kinds of test. scenarios.txt has faults at chosen moments, played as the conformance list is
(by the players in C). The tests below run `weft serve` and many workers that judge every byte,
and let faults hit them at random moments.

Invariants: every process that is started here is gone at the end, stopped ones too; a run in
which the workers found nothing to judge is a failure.
"""

import argparse
import json
import mmap
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "conformance"))
import drive  # noqa: E402
from players import Player  # noqa: E402
from scenario import load as load_scenarios  # noqa: E402

ROUNDS, WORKERS, HEAD = 64, 64, 5
COUNTS = ("hits", "misses", "saves", "fenced", "unreachable", "refused", "odd", "wrong")


class Failed(Exception):
    """A test did not see what it has to see."""


class Load:
    """A node, workers and their board."""

    def __init__(self, build: Path, folder: Path, memory: str, strict: bool):
        self.build, self.folder, self.memory = build, folder, memory
        self.socket = f"unix:{folder}/s"
        self.log = open(folder / "log", "w+")
        self.board_path = folder / "board"
        self.words = HEAD + 2 * ROUNDS + len(COUNTS) * WORKERS
        self.board_path.write_bytes(bytes(8 * self.words))
        self.file = open(self.board_path, "r+b")
        self.board = mmap.mmap(self.file.fileno(), 0)
        self.workers: dict = {}
        self.roles: dict = {}
        self.next = 0
        self.node = None
        self.put(4, int(strict))
        self.serve()

    def put(self, word: int, value: int) -> None:
        struct.pack_into("<Q", self.board, 8 * word, value)

    def get(self, word: int) -> int:
        return struct.unpack_from("<Q", self.board, 8 * word)[0]

    def total(self, name: str) -> int:
        at = HEAD + 2 * ROUNDS + COUNTS.index(name)
        return sum(self.get(at + len(COUNTS) * worker) for worker in range(WORKERS))

    def serve(self) -> None:
        command = [self.build / "weft", "serve", "--memory", self.memory, "--listen", self.socket]
        self.node = subprocess.Popen(
            [*command, "--state", self.folder / "state"], stdout=self.log, stderr=self.log
        )

    def start(self, role: str, count: int = 1) -> list:
        started = []
        for _ in range(count):
            number, self.next = self.next, self.next + 1
            command = [self.build / "tests/process/process_worker", role, self.socket]
            self.workers[number] = subprocess.Popen(
                [*command, str(self.board_path), str(number)], stdout=self.log, stderr=self.log
            )
            self.roles[number] = role
            started.append(number)
        return started

    def kill(self, number: int) -> None:
        self.workers.pop(number).kill()

    def wait_for(self, what: str, true, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until:
                raise Failed(f"not within {seconds:.0f} s: {what}; {self.counts()}")
            self.check_alive()
            time.sleep(0.02)

    def check_alive(self) -> None:
        for number, worker in self.workers.items():
            if worker.poll() not in (None, 0):
                raise Failed(f"{self.roles[number]} {number} ended with {worker.poll()}")

    def counts(self) -> str:
        return ", ".join(f"{self.total(name)} {name}" for name in COUNTS)

    def end(self) -> str:
        """Stops all; every worker has to end well, with every byte right and no odd code."""
        self.put(0, 1)
        for number, worker in self.workers.items():
            try:
                status = worker.wait(30)
            except subprocess.TimeoutExpired:
                raise Failed(f"{self.roles[number]} {number} did not end") from None
            if status != 0:
                raise Failed(f"{self.roles[number]} {number} ended with {status}")
        if self.total("wrong") or self.total("odd"):
            raise Failed(f"wrong bytes or codes that nothing explains: {self.counts()}")
        self.node.terminate()
        if self.node.wait(20) != 0:
            raise Failed(f"the node ended with {self.node.returncode} after SIGTERM")
        return self.counts()

    def kill_all(self) -> None:
        for process in [*self.workers.values(), self.node]:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.board.close()


def moves(load: Load, name: str, by: int = 1):
    """A condition: the total of this count has grown by so much from now on."""
    before = load.total(name)
    return lambda: load.total(name) >= before + by


def readers_and_writers_share_a_cache_that_evicts_all_the_time(load: Load) -> None:
    load.start("reader", 2)
    load.start("writer", 2)
    load.wait_for("20000 hits", moves(load, "hits", 20000), 60)
    load.wait_for("1000 saves", moves(load, "saves", 1000), 60)


def a_save_whose_event_came_is_found_by_every_process(load: Load) -> None:
    load.start("relay_reader", 2)
    load.start("relay_writer")
    load.wait_for(
        "1500 saved and found by both",
        lambda: load.get(2) >= 1500 and load.total("hits") >= 3000,
        90,
    )


def advances_under_load_let_nobody_read_an_older_version(load: Load) -> None:
    load.start("reader", 2)
    load.start("writer", 2)
    load.start("advancer")
    load.wait_for("10 advances", lambda: load.get(1) >= 10, 60)
    load.wait_for("hits after them", moves(load, "hits", 500), 60)


def readers_and_writers_are_killed_and_stopped_under_load(load: Load) -> None:
    dice = random.Random(7)
    live = load.start("reader", 2) + load.start("writer", 3)
    load.wait_for("a start", moves(load, "hits", 200))
    for turn in range(12):
        victim = dice.choice(live)
        if turn % 3 == 2:  # longer than write_s, so that what it wrote is quarantined
            load.workers[victim].send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            load.workers[victim].send_signal(signal.SIGCONT)
        else:
            load.kill(victim)
            live.remove(victim)
            live += load.start(load.roles[victim])
        load.wait_for("the others go on", moves(load, "hits", 50))
        load.wait_for("the others save", moves(load, "saves", 5))


def the_node_is_stopped_and_killed_under_load(load: Load) -> None:
    load.start("reader", 2)
    load.start("writer", 2)
    load.start("advancer")
    load.wait_for("a start", moves(load, "hits", 200))
    for turn in range(4):
        if turn % 2 == 0:
            load.node.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            load.node.send_signal(signal.SIGCONT)
        else:
            load.node.kill()
            load.node.wait()
            load.serve()
        load.wait_for("hits again", moves(load, "hits", 100), 60)
        load.wait_for("saves again", moves(load, "saves", 20), 60)


def many_processes_that_need_one_prompt_compute_it_once(load: Load) -> None:
    load.start("flight", 16)
    load.wait_for(
        "all rounds", lambda: all(worker.poll() == 0 for worker in load.workers.values()), 90
    )
    computed = [load.get(HEAD + ROUNDS + number) for number in range(ROUNDS)]
    if computed != [4] * ROUNDS:
        raise Failed(f"blocks computed in each round, each of 4: {computed}")


def when_the_one_that_computes_dies_one_other_takes_over(load: Load) -> None:
    deaths = range(0, 24, 3)
    for number in deaths:
        load.put(HEAD + number, 1)
    load.start("flight", 14)
    until = time.monotonic() + 90
    while any(worker.poll() is None for worker in load.workers.values()):
        if time.monotonic() > until:
            raise Failed("the rounds did not end within 90 s")
        time.sleep(0.05)
    dead = [number for number, worker in load.workers.items() if worker.poll() == -signal.SIGKILL]
    computed = [load.get(HEAD + ROUNDS + number) for number in range(ROUNDS)]
    if len(dead) != len(deaths) or computed != [4] * ROUNDS:
        raise Failed(f"{len(dead)} deaths of {len(deaths)}; blocks computed, each of 4: {computed}")
    for number in dead:
        del load.workers[number]


LOADS = [
    (readers_and_writers_share_a_cache_that_evicts_all_the_time, "24MiB", True),
    (a_save_whose_event_came_is_found_by_every_process, "512MiB", True),
    (advances_under_load_let_nobody_read_an_older_version, "24MiB", True),
    (readers_and_writers_are_killed_and_stopped_under_load, "32MiB", True),
    (the_node_is_stopped_and_killed_under_load, "24MiB", False),
    (many_processes_that_need_one_prompt_compute_it_once, "64MiB", True),
    (when_the_one_that_computes_dies_one_other_takes_over, "64MiB", True),
]


def tokens_are_read_again_on_sighup(build: Path, folder: Path) -> None:
    """A node of the command: who its file does not name is refused until it does, and the
    reverse.
    """
    tokens = folder / "tokens"
    tokens.write_text("alpha t/* read,write\n")
    log = open(folder / "log", "w+")
    command = [build / "weft", "serve", "--memory", "32MiB", "--listen", f"unix:{folder}/s"]
    node = subprocess.Popen([*command, "--tokens", tokens], stdout=log, stderr=log)
    player = Player([str(build / "tests/conformance/conformance_c")], log)

    def connect(token: str) -> int:
        options = f"connect=unix:{folder}/s,token={token}".encode().hex()
        return int(player.ask(f"open options={options}")["code"])

    def wait_for(token: str, code: int) -> None:
        until = time.monotonic() + 15
        while (got := connect(token)) != code:
            if time.monotonic() > until:
                raise Failed(f"token {token}: expected code {code}, got {got}")
            time.sleep(0.05)

    try:
        wait_for("alpha", 0)
        wait_for("beta", -8)
        tokens.write_text("beta t/* read,write\n")
        node.send_signal(signal.SIGHUP)
        wait_for("beta", 0)
        wait_for("alpha", -8)
        node.terminate()
        if node.wait(20) != 0:
            raise Failed(f"the node ended with {node.returncode} after SIGTERM")
    finally:
        player.kill()
        node.kill()
        node.wait()


def sessions_of(build: Path, socket: str) -> int:
    """With that of who asks."""
    stats = subprocess.check_output([build / "weft", "stats", "--json", "--connect", socket])
    return json.loads(stats)["sessions"]


def processes_of_other_containers_count_as_their_user(build: Path, folder: Path) -> None:
    """A node in a PID namespace of its own, as in a container, does not know the numbers of
    processes outside: each of them has its session, though there are more than one may have.
    """
    own = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*own, "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        own[1:1] = ["--user", "--map-current-user"]
    log = open(folder / "log", "w+")
    socket = f"unix:{folder}/s"
    node = subprocess.Popen(
        [*own, build / "weft", "serve", "--memory", "32MiB", "--listen", socket],
        stdout=log,
        stderr=log,
    )
    player = Player([str(build / "tests/conformance/conformance_c")], log)
    options = f"connect={socket}".encode().hex()
    try:
        until = time.monotonic() + 15
        while not Path(f"{folder}/s").exists() and time.monotonic() < until:
            time.sleep(0.05)
        alone = sessions_of(build, socket)  # the node's own, and who asks
        for session in range(1, 81):
            said = player.ask(f"open options={options}")
            if int(said["code"]) != 0:
                raise Failed(f"session {session} is refused: {said}")
        player.kill()  # of which the node hears
        while (sessions := sessions_of(build, socket)) != alone:
            if time.monotonic() > until + 15:
                raise Failed(f"{sessions - alone} sessions outlive their process")
            time.sleep(0.05)
    finally:
        player.kill()
        node.kill()
        node.wait()


ALONE = [
    tokens_are_read_again_on_sighup,
    processes_of_other_containers_count_as_their_user,
]


def run_load(test, memory: str, strict: bool, build: Path) -> str:
    """Returns what was counted; raises Failed."""
    with tempfile.TemporaryDirectory(prefix="weft.") as folder:
        load = Load(build, Path(folder), memory, strict)
        try:
            test(load)
            return load.end()
        except Failed as failure:
            load.log.seek(0)
            raise Failed(f"{failure}\n{load.log.read()[-3000:]}") from None
        finally:
            load.kill_all()


def run_scenario(scenario, build: Path) -> str:
    with tempfile.TemporaryFile("w+") as log:
        wrong = drive.perform(
            scenario, "client", [str(build / "tests/conformance/conformance_c")], log
        )
        if wrong:
            log.seek(0)
            raise Failed(f"{wrong}\n{log.read()[-2000:]}".rstrip())
    return "as a scenario"


def run_alone(test, build: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="weft.") as folder:
        test(build, Path(folder))
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    build = options.build.absolute()
    tests = [
        (one.name, lambda one=one: run_scenario(one, build))
        for one in load_scenarios(HERE / "scenarios.txt")
    ]
    tests += [(test.__name__, lambda test=test: run_alone(test, build)) for test in ALONE]
    tests += [
        (test.__name__, lambda row=(test, memory, strict): run_load(*row, build))
        for test, memory, strict in LOADS
    ]
    passed = failed = 0
    for name, test in tests:
        if options.only not in name:
            continue
        since = time.monotonic()
        try:
            told = test()
            passed += 1
            print(f"passed {name} ({time.monotonic() - since:.1f} s) {told}", flush=True)
        except Failed as failure:
            failed += 1
            print(f"FAILED {name} ({time.monotonic() - since:.1f} s): {failure}", flush=True)
    print(f"process: {passed} passed, {failed} failed")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
