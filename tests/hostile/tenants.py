"""A node that runs as one user and its tenants, each a process of another user with its own token.

Invariants: a token's file is its tenant's alone; every process started here is gone when `kill_all`
has returned.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NODE_UID, FIRST_UID = 64000, 64001  # of nobody
LIMIT_S = 120


class Failed(Exception):
    """A test did not see what it has to see."""


class Speaker:
    """A process that answers each line with a line."""

    def __init__(self, name: str, command: list[str], log: Any) -> None:
        self.name, self.command, self.log = name, command, log
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        if self.hear() != "ready":
            raise Failed(f"{self.name} did not start")

    def say(self, line: str) -> None:
        assert self.process is not None and self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self.name} has ended with {self.process.wait(LIMIT_S)}") from None

    def hear(self) -> str:
        assert self.process is not None and self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} has ended with {self.process.wait(LIMIT_S)}")
        return line.rstrip("\n")

    def ask(self, line: str) -> str:
        self.say(line)
        return self.hear()

    def end(self) -> None:
        """kill -9, in the middle of whatever it does."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait(LIMIT_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        self.process = None


class Town:
    """The node, and who came to it."""

    def __init__(self, build: Path, seed: int, seconds: float, memory: str = "64MiB") -> None:
        self.seed, self.seconds = seed, seconds
        self.folder = Path(tempfile.mkdtemp(prefix="weft."))
        self.log = (self.folder / "log").open("w+")
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        # Copies, since other users may not reach the tree.
        for name in (
            "weft",
            "libweft.so.1",
            *(f"tests/hostile/hostile_{which}" for which in ("worker", "wire", "honest")),
        ):
            shutil.copy(build / name, self.programs)
        self.tokens = self.folder / "tokens"
        self.tokens.write_text("")
        self.speakers: list[Speaker] = []
        self.uids: dict[str, int] = {}
        self.lines: dict[str, str] = {}  # of the node's file, by name
        self.secrets: list[str] = []
        self.most_private = 0
        os.chmod(self.folder, 0o755)
        own = self.folder / "node"
        own.mkdir()
        os.chown(own, NODE_UID, NODE_UID)
        os.chmod(self.tokens, 0o600)
        os.chown(self.tokens, NODE_UID, NODE_UID)
        self.socket = own / "s"
        command = [str(self.programs / "weft"), "serve", "--json", "--memory", memory]
        command += ["--listen", f"unix:{self.socket}", "--tokens", str(self.tokens)]
        command += ["--log-level", "debug"]
        self.node = subprocess.Popen(
            command,
            user=NODE_UID,
            group=NODE_UID,
            extra_groups=[],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self.node.stdout is not None
        if not self.node.stdout.readline():
            raise Failed(f"no node: {self.log_text()}")
        self.files_at_start = self.files()
        self.honest = Honest(self, "watch", "*", "read,write,advance,admin")

    def environment(self) -> dict[str, str]:
        # A sanitizer keeps what was freed for a while: less of it, or memory could not be judged.
        quarantine = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.programs),
            "ASAN_OPTIONS": quarantine.lstrip(":"),
        }

    def admit(self, name: str, pattern: str, rights: str) -> tuple[int, Path]:
        """A user of its own, and the file of its token, which the node knows when this returns."""
        uid = self.uids.setdefault(name, FIRST_UID + len(self.uids))
        home = self.folder / name
        if not home.exists():
            home.mkdir()
            os.chown(home, uid, uid)
        token = home / "token"
        if token.exists():
            return uid, token
        self.give_token(name, pattern, rights)
        return uid, token

    def give_token(self, name: str, pattern: str, rights: str) -> None:
        """A new one, in the tenant's file and in the node's, where it takes the old one's place."""
        secret = os.urandom(16).hex()
        self.secrets.append(secret)
        new = self.folder / name / "token.new"
        new.write_text(secret + "\n")
        os.chown(new, self.uids[name], self.uids[name])
        os.chmod(new, 0o600)
        new.rename(self.folder / name / "token")
        self.lines[name] = f"{secret} {pattern} {rights}\n"
        self.write_tokens()

    def take_token(self, name: str) -> None:
        del self.lines[name]
        self.write_tokens()

    def write_tokens(self) -> None:
        self.tokens.write_text("".join(self.lines.values()))
        self.node.send_signal(signal.SIGHUP)

    def stats(self, name: str) -> dict[str, Any]:
        told = json.loads(self.honest.speaker.ask("query stats"))
        found = [one for one in told["namespaces"] if one["name"] == name]
        if not found:
            raise Failed(f"{name} is not among the namespaces")
        return found[0]

    def wait_for_nothing_held(self) -> str:
        """What dead processes still hold, after a while."""
        until = time.monotonic() + 30
        while True:
            told = json.loads(self.honest.speaker.ask("query stats"))
            held = {
                (one["name"], what): one[what]
                for one in told["namespaces"]
                for what in ("limbo", "quarantined", "attempts", "claims", "waiting")
                if one[what]
            }
            if told["pins"]:
                held["pins"] = told["pins"]
            if not held or time.monotonic() > until:
                return str(held) if held else ""
            time.sleep(0.2)

    def files(self) -> int:
        return len(list(Path(f"/proc/{self.node.pid}/fd").iterdir()))

    def private_bytes(self) -> int:
        """The node's memory that is not shared with its tenants."""
        for line in Path(f"/proc/{self.node.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                self.most_private = max(self.most_private, int(line.split()[1]) << 10)
                return int(line.split()[1]) << 10
        raise Failed("the node is gone")

    def end(self) -> None:
        """The node is alive after all that, and ends well."""
        for speaker in self.speakers:
            speaker.end()
        if self.node.poll() is not None:
            raise Failed(f"the node has ended with {self.node.returncode}")
        until = time.monotonic() + 20
        # A namespace has an index and segments, two descriptors each; its clients' are gone.
        while self.files() > self.files_at_start + 300 and time.monotonic() < until:
            time.sleep(0.2)
        if self.files() > self.files_at_start + 300:
            raise Failed(f"the node holds {self.files()} descriptors, {self.files_at_start} before")
        self.node.terminate()
        if self.node.wait(LIMIT_S) != 0:
            raise Failed(f"the node ended with {self.node.returncode}")
        told = (self.folder / "log").read_text()
        if any(secret in told for secret in self.secrets):
            raise Failed("a token is in the log")

    def log_text(self) -> str:
        self.log.flush()
        state = self.node.poll()
        alive = "is alive" if state is None else f"has ended with {state}"
        return f"the node {alive}\n{(self.folder / 'log').read_text()[-20000:]}"

    def kill_all(self) -> None:
        for speaker in self.speakers:
            speaker.end()
        self.node.kill()
        self.node.wait()
        assert self.node.stdout is not None
        self.node.stdout.close()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Tenant(Speaker):
    """A hostile one."""

    def __init__(self, town: Town, name: str, pattern: str, rights: str) -> None:
        uid, token = town.admit(name, pattern, rights)
        self.folder = token.parent
        command = [str(town.programs / "hostile_worker"), str(uid), str(town.socket), str(token)]
        super().__init__(name, command, town.log)
        town.speakers.append(self)

    def start(self) -> None:
        until = time.monotonic() + 20
        while True:  # its token is on its way to the node
            try:
                return super().start()
            except Failed:
                self.end()
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def __enter__(self) -> Tenant:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Honest:
    """A tenant that uses the library, and judges every byte that it gets."""

    def __init__(self, town: Town, name: str, pattern: str, rights: str) -> None:
        uid, token = town.admit(name, pattern, rights)
        command = ["env", f"LD_LIBRARY_PATH={town.programs}", str(town.programs / "hostile_honest")]
        self.speaker = Speaker(name, [*command, str(uid), str(town.socket), str(token)], town.log)
        town.speakers.append(self.speaker)
        self.speaker.start()
        self.base = 0

    def save(self, name: str, keys: range, size: int = 4096, base: int = 0) -> int:
        self.base = base
        return int(self.speaker.ask(f"save {name} {size} {keys.start} {len(keys)} {base}"))

    def load(self, name: str, keys: range, size: int = 4096, base: int = 0) -> int:
        """How many are there; one with wrong bytes ends it."""
        return int(self.speaker.ask(f"load {name} {size} {keys.start} {len(keys)} {base}"))

    def flush(self, name: str) -> None:
        self.speaker.ask(f"space {name} flush")


def wire(
    town: Town,
    name: str,
    pattern: str,
    rights: str,
    milliseconds: int,
    *what: str,
    meanwhile: Callable[[], None] | None = None,
    look: Town | None = None,
) -> str:
    """hostile_wire, which says what it did."""
    uid, token = town.admit(name, pattern, rights)
    time.sleep(0.5)  # the node reads its tokens
    command = [str(town.programs / "hostile_wire"), str(uid), str(town.socket), str(token)]
    process = subprocess.Popen(
        [*command, str(town.seed), str(milliseconds), *what],
        stdout=subprocess.PIPE,
        stderr=town.log,
        text=True,
    )
    until = time.monotonic() + LIMIT_S
    try:
        while process.poll() is None:
            if time.monotonic() > until:
                raise Failed(f"{what} did not end")
            if meanwhile is not None:
                meanwhile()
            if look is not None:
                look.private_bytes()
            time.sleep(0.05)
        told, _ = process.communicate()
        if process.returncode != 0:
            raise Failed(f"{what} ended with {process.returncode}")
        return told.strip().replace("\n", ", ")
    finally:
        process.kill()
        process.wait()
