"""What the driver asks of the machine: how a child is started, its descriptors and memory, and
memory groups.

Invariants: a child never outlives the driver (PDEATHSIG); a group is made below the driver's own,
and is gone with it. Where the machine lets nobody make groups, `Group.make` gives None.
"""

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_THP_DISABLE = 1, 41
_libc = ctypes.CDLL(None)


class Group:
    """A cgroup with a limit of memory, of version 1 or 2."""

    def __init__(self, path: Path):
        self.path = path
        self.limit_file = path / (
            "memory.max" if (path / "memory.max").exists() else "memory.limit_in_bytes"
        )
        self.one = self.limit_file.name == "memory.limit_in_bytes"

    @staticmethod
    def make(name: str) -> "Group | None":
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, own = line.split(":", 2)
            roots = {"memory": "/sys/fs/cgroup/memory", "": "/sys/fs/cgroup"}
            if kinds not in roots:
                continue
            path = Path(roots[kinds] + own) / f"weft-{name}.{os.getpid()}"
            with contextlib.suppress(OSError):
                path.mkdir()
                group = Group(path)
                group.limit(1 << 40)
                return group
            with contextlib.suppress(OSError):
                path.rmdir()
        return None

    def limit(self, size: int) -> bool:
        """False: the kernel refuses, since more is used than it can take back."""
        try:
            self.limit_file.write_text(str(size))
            return True
        except OSError:
            return False

    def used(self) -> int:
        name = "memory.usage_in_bytes" if self.one else "memory.current"
        return int((self.path / name).read_text())

    def _number(self, file: str, key: str) -> int:
        for line in (self.path / file).read_text().splitlines():
            if line.split()[0] == key:
                return int(line.split()[1])
        return 0

    def shared(self) -> int:
        """Bytes of memfds and the like that are charged to it."""
        return self._number("memory.stat", "shmem")

    def killed(self) -> int:
        """How many processes of it were killed since it had no memory left."""
        return self._number("memory.oom_control" if self.one else "memory.events", "oom_kill")

    def remove(self) -> None:
        for _ in range(100):
            with contextlib.suppress(OSError):
                self.path.rmdir()
                return
            time.sleep(0.05)


def prepare(group: Group | None, small_pages: bool):
    """What a child does before exec."""

    def run() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if small_pages:
            _libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
        if group is not None:
            (group.path / "cgroup.procs").write_text("0")

    return run


def descriptors(pid: int) -> list[str]:
    """What each open descriptor is, anonymous numbers left out."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(entry).split("[")[0])
    return sorted(found)


def resident(pid: int) -> dict[str, int]:
    """Bytes in memory: `anon` of its own, `shared` of memfds that it maps."""
    words = Path(f"/proc/{pid}/status").read_text().split()
    return {
        name: int(words[words.index(key) + 1]) * 1024
        for name, key in (("anon", "RssAnon:"), ("shared", "RssShmem:"))
    }


def is_stopped(pid: int) -> bool:
    return all(
        (task / "stat").read_text().rpartition(")")[2].split()[0] in "TtZ"
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def story(pid: int) -> str:
    """Where the threads of a process that hangs are."""
    lines = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            words = [(task / name).read_text().strip() for name in ("comm", "wchan", "syscall")]
            lines.append(f"  thread {task.name} {words[0]}: state {state}, {words[1]}, {words[2]}")
    return "\n".join(lines)
