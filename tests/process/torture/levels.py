"""What a node holds, and whether it holds nothing more once all its clients are gone."""

import time
from dataclasses import dataclass, field

from fleet import SPACES, Failed, Fleet
from machine import descriptors, resident

SETTLE_S = 60
ANON_SLACK = 48 << 20  # what malloc keeps of what it once had
SESSIONS = 2  # the node's own, and that of who asks


@dataclass
class Level:
    descriptors: list[str] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    used: int = 0
    group_shared: int = 0

    def __str__(self) -> str:
        anon, shared = (self.memory[name] >> 10 for name in ("anon", "shared"))
        return (
            f"{len(self.descriptors)} descriptors, {anon} KiB of its own, {shared} KiB of segments,"
            f" {self.group_shared >> 10} KiB shared in its group, memory_used {self.used}"
        )


def measure(fleet: Fleet) -> Level:
    stats = fleet.ask("stats")
    pid = fleet.node.pid
    return Level(
        descriptors(pid),
        resident(pid),
        stats["memory_used"],
        fleet.node_group.shared() if fleet.node_group else 0,
    )


def held(fleet: Fleet, stats: dict) -> dict:
    """What is held for clients though there are none but the asker."""
    found = {"sessions": stats["sessions"] - SESSIONS, "pins": stats["pins"]}
    for space in stats["namespaces"]:
        for name in ("attempts", "quarantined", "claims", "waiting", "limbo", "openings"):
            found[f"{space['name']} {name}"] = space[name]
    return {name: count for name, count in found.items() if count}


def wait_until(fleet: Fleet, what: str, look) -> None:
    """look() gives what is still wrong, or nothing."""
    until = fleet.patience.seconds() + SETTLE_S
    while wrong := look():
        if fleet.patience.seconds() > until:
            raise Failed(f"after {SETTLE_S} s without clients, {what}: {wrong}")
        time.sleep(0.1)


def check(fleet: Fleet, start: Level) -> Level:
    """Nothing is held for those who are gone; with the namespaces dropped, the node is as it was at
    its start."""
    wait_until(fleet, "the node holds", lambda: held(fleet, fleet.ask("stats")))
    for name in [space["name"] for space in fleet.ask("stats")["namespaces"]]:
        if name in SPACES:
            fleet.ask("drop", name, "--yes")
    now = Level()

    def above() -> str:
        nonlocal now
        now = measure(fleet)
        above = []
        if now.used > start.used:
            above.append(f"memory_used {now.used}, {start.used} at the start")
        more = [one for one in now.descriptors if one not in start.descriptors]
        if len(now.descriptors) > len(start.descriptors):
            above.append(
                f"{len(now.descriptors)} descriptors, {len(start.descriptors)} at the start {more}"
            )
        if now.memory["shared"] > start.memory["shared"]:
            above.append(f"{now.memory['shared']} bytes of segments are mapped")
        if now.group_shared > start.group_shared + (1 << 20):
            above.append(f"{now.group_shared} bytes of segments are charged to its group")
        if now.memory["anon"] > start.memory["anon"] + ANON_SLACK:
            above.append(
                f"{now.memory['anon']} bytes of its own memory, {start.memory['anon']} then"
            )
        return "; ".join(above)

    wait_until(fleet, "it has", above)
    return now
