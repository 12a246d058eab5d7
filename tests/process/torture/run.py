"""Tortures a node and its clients: prints what was done and seen, then `N passed, N failed`.

    run.py BUILD --go PROGRAM --rust PROGRAM --python PYTHON [--seconds N] [--seed N] [--rate F]

A run is epochs. In each, four readers and four writers in four languages share a node and judge
every byte, while faults.py does what the seed says; then all clients end, and levels.py looks
whether the node is as it was at its start. In half of the epochs the node itself is hit too.

Invariants: a failure prints the seed and what was seen, and keeps the folder with all logs; a run
in which little was read, saved or killed is a failure.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import levels
from board import PAUSE
from faults import Faults
from fleet import Failed, Fleet

EPOCH_S = 25


def kills(fleet: Fleet) -> int:
    return sum(count for name, count in fleet.counts.items() if name.startswith("kill -9"))


def told(fleet: Fleet) -> dict:
    board = fleet.board
    names = ("hits", "saves", "misses", "refused", "unreachable", "fenced", "odd", "wrong")
    counts = {name: board.total(name) for name in names}
    counts["starts"] = board.total("starts")
    counts["kills of readers, writers and nodes"] = kills(fleet)
    counts["kills of storm clients"] = board.total("kills")
    return counts | dict(sorted(fleet.counts.items()))


def check_enough(fleet: Fleet, seconds: float) -> None:
    """Each language read and wrote, and faults came."""
    for worker in fleet.workers:
        name = "hits" if worker.role == "reader" else "saves"
        if fleet.board.of(worker.slot, name) < 10 * seconds / 60:
            raise Failed(f"{worker}: {fleet.board.of(worker.slot, name)} {name} in {seconds:.0f} s")
    if kills(fleet) < seconds / 4:
        raise Failed(f"{kills(fleet)} kills in {seconds:.0f} s")
    if not fleet.counts["advances"]:
        raise Failed(f"no advance in {seconds:.0f} s")


def torture(fleet: Fleet, faults: Faults, seconds: float) -> levels.Level:
    begin = time.monotonic()
    fleet.serve()
    start = now = levels.measure(fleet)
    print(f"the node at its start: {start}", flush=True)
    epoch = 0
    while (elapsed := time.monotonic() - begin) < seconds:
        for worker in fleet.workers:
            fleet.start(worker)
        left = seconds - elapsed
        node_too = epoch % 4 < 2 and elapsed < 0.85 * max(seconds, 600)
        faults.run(time.monotonic() + min(EPOCH_S, max(left, 5)), node_too)
        fleet.end_workers()
        now = levels.check(fleet, start)
        epoch += 1
        print(
            f"{time.monotonic() - begin:6.0f} s, epoch {epoch}: {kills(fleet)} kills,"
            f" {fleet.board.total('hits')} hits, {fleet.board.total('saves')} saves; {now}",
            flush=True,
        )
    check_enough(fleet, seconds)
    fleet.end_node(15)
    return now


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path)
    parser.add_argument("--go", required=True)
    parser.add_argument("--rust", required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--seconds", type=float, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--rate", type=float, default=3.5, help="faults a second")
    parser.add_argument("--pause-us", type=int, default=2000, help="most between two steps")
    parser.add_argument("--json", action="store_true", help="what was counted, as one document")
    options = parser.parse_args()
    here, build = Path(__file__).parent, options.build.absolute()
    programs = {
        "cpp": [build / "tests/process/torture_worker"],
        "python": [options.python, here / "worker.py"],
        "go": [options.go],
        "rust": [options.rust],
    }
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="torture."))
    dice = random.Random(options.seed)
    fleet = Fleet(build, folder, programs, dice)
    fleet.board.put(PAUSE, options.pause_us)
    if fleet.node_group is None:
        print("left out: this machine lets nobody make a memory group", flush=True)
    failure = None
    try:
        torture(fleet, Faults(fleet, dice, options.rate), options.seconds)
    except Failed as failed:
        failure = failed
    finally:
        fleet.kill_all()
        fleet.log.close()
    print(
        json.dumps(told(fleet))
        if options.json
        else "\n".join(f"{count:>10} {name}" for name, count in told(fleet).items())
    )
    if failure is not None:
        print(f"FAILED, seed {options.seed}: {failure}")
        print(f"the end of {folder}/log:\n{(folder / 'log').read_text()[-4000:]}")
    else:
        shutil.rmtree(folder)
    print(f"{int(failure is None)} passed, {int(failure is not None)} failed")
    return 0 if failure is None else 1


if __name__ == "__main__":
    sys.exit(main())
