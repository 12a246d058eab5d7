"""The way to the node: opens store and namespaces in a thread of its own, again and again where the
node is not there, and anew where the version changes.

- Nothing here makes vLLM wait or fail: `opened` is what there is now, or None.
- What cannot get better by waiting (another layout, no right) puts the link aside for good, with
  one warning that says why.
- A version that was fenced is never used again: until the user's version says more, nothing is.
- Once open, the store finds its node again by itself; only the first connection needs the thread.
Threads: the engine's own, and the link's, which alone opens and closes namespaces."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Error, FencedError, PeerError, QuotaError, TimedOutError
from ..namespace import Namespace
from ..store import Store
from .groups import Shape
from .settings import Settings

if TYPE_CHECKING:
    from logging import Logger

RETRY_S = 1.0  # between attempts to reach a node, and between looks at a version file
FIRST_S = 3.0  # the engine's start waits so long for the first attempt


class Target(NamedTuple):
    """Which of the model's namespaces: suffix of the name, version (None: the floor there is)."""

    suffix: str
    version: int | None


class Opened(NamedTuple):
    """A store with a namespace for each group, all at one version."""

    store: Store
    spaces: tuple[Namespace, ...]
    target: Target


class Link:
    """Of one half of the connector. opened: what there is to work with now, or None. aside: why
    Weft is not used, or None."""

    def __init__(
        self, settings: Settings, name: str, shape: Shape, writer: str, logger: Logger
    ) -> None:
        self.name = name
        self.opened: Opened | None = None
        self.aside: str | None = None
        self._settings, self._shape, self._writer, self._log = settings, shape, writer, logger
        self._store: Store | None = None
        self._spaces: list[Namespace] = []
        self._fenced: set[int] = set()
        self._wanted: Target | None = Target("", settings.version)
        if settings.version_file is not None:
            self._wanted = None
        self._stamp: tuple[int, int] | None = None
        self._reached, self._ends = True, False
        self._wake, self._tried = threading.Event(), threading.Event()
        self._cpus = _cpus()
        self._thread = threading.Thread(target=self._run, name="weft-link", daemon=True)
        self._thread.start()
        self._tried.wait(FIRST_S)

    # The engine's side.

    def refresh(self) -> None:
        """Looks whether the version file says something new. One stat; called per request."""
        path = self._settings.version_file
        if path is None:
            return
        try:
            stat = os.stat(path)
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp == self._stamp:
                return
            with open(path, encoding="utf-8") as file:
                version = int(file.read().strip())
        except (OSError, ValueError) as error:
            if self._stamp != (0, 0):
                words = "Weft: version_file: %s; nothing is reused until it holds a number"
                self._log.warning(words, error)
            self._stamp, self._wanted, self.opened = (0, 0), None, None
            return
        self._stamp = stamp
        self.at(Target("", version))

    def at(self, target: Target) -> None:
        """Opens the namespaces of `target`; until that is done nothing is opened."""
        opened = self.opened
        if opened is not None and opened.target == target:
            return
        if target != self._wanted or opened is not None:
            self._wanted, self.opened = target, None
            self._wake.set()

    def failed(self, error: Exception) -> None:
        """An op failed: says so once, and lets go of a fenced version."""
        if isinstance(error, FencedError):
            opened, self.opened = self.opened, None
            if opened is not None:
                self._fence(opened.target.version)
                self._wake.set()
        elif isinstance(error, PeerError) and self._reached:
            self._reached = False
            self._log.warning("Weft: %s; vLLM computes without it meanwhile", error)

    def worked(self) -> None:
        """An op reached the node."""
        if not self._reached:
            self._reached = True
            self._log.info("Weft: the node answers again")

    def forget(self) -> bool:
        """The user resets the cache: nothing stored so far is read again by this engine.

        With `version` the namespace advances by one; every engine of a fleet that is reset with
        this one comes to the same number. With `version_file` the file decides. Without either
        nobody can tell which engines have the same weights now, so this one goes on alone."""
        opened = self.opened
        if self._settings.version_file is not None:
            before = self._wanted
            self.refresh()
            return self._wanted != before
        if self._settings.version is None:
            self.at(Target(f".alone-{os.urandom(4).hex()}", None))
            return True
        if opened is None or opened.target.version is None:
            return False
        self.opened = None
        following = opened.target.version + 1
        try:
            floor = opened.spaces[0].advance(following, timeout_ms=2000)
        except Error as error:
            self._log.warning("Weft: reset_cache could not advance %s: %s", self.name, error)
            self._fence(opened.target.version)
            return False
        self.at(Target("", max(floor, following)))
        return True

    def close(self) -> None:
        """Closes the store; ops in flight end first."""
        self._ends = True
        self._wake.set()
        self._thread.join(5.0)
        self.opened = None
        if self._store is not None:
            with contextlib.suppress(Error):
                self._store.close()

    # The thread's side.

    def _fence(self, version: int | None) -> None:
        if version is not None:
            self._fenced.add(version)
        self._log.warning(
            "Weft: %s has advanced past version %s: nothing of it is reused by this engine until "
            "it is told the version of its weights (version_file, or version and a restart)",
            self.name,
            version,
        )

    def _step_aside(self, why: str) -> None:
        self.aside = why
        self._log.warning("Weft steps aside, vLLM runs without it: %s", why)

    def _run(self) -> None:
        if self._cpus is not None:  # the store's threads inherit this, not the engine's one core
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self._cpus)
        while not self._ends:
            done = True
            self.refresh()
            if self.opened is None and self.aside is None:
                done = self._try()
            self._tried.set()
            self._wake.wait(None if done and not self._settings.version_file else RETRY_S)
            self._wake.clear()

    def _try(self) -> bool:
        """One attempt to open what is wanted; whether there is nothing to try again."""
        wanted = self._wanted
        if wanted is None or wanted.version in self._fenced:
            return True
        try:
            if self._store is None:
                self._store = Store(self._settings.weft)
            opened = self._open(self._store, wanted)
        except (PeerError, TimedOutError, QuotaError) as error:
            self.failed(error if isinstance(error, PeerError) else PeerError(str(error)))
            return False
        except FencedError:
            self._fence(wanted.version)
            return True
        except (Error, ValueError) as error:
            self._step_aside(str(error))
            return True
        if wanted.version is None and self._fenced:
            # Opened at the floor, which has moved past what this engine's weights were.
            self._step_aside(f"{self.name} has advanced, and no version of the weights is said")
            return True
        self.worked()
        if self._wanted == wanted:
            self.opened = opened
        return self._wanted == wanted

    def _open(self, store: Store, wanted: Target) -> Opened:
        for space in self._spaces:
            with contextlib.suppress(Error):  # busy: closed with the store
                space.close()
        self._spaces = []
        version = wanted.version
        for group in self._shape.groups:
            options = self._shape.options(group, self._writer)
            name = self.name + wanted.suffix + group.suffix
            self._spaces.append(store.namespace(name, version=version, **options))
            version = self._spaces[0].version
        return Opened(store, tuple(self._spaces), Target(wanted.suffix, version))


def _cpus() -> set[int] | None:
    """The processors that the engine was given: a worker has bound its own thread to one of those
    that the process which started it may use."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        return None
    try:
        return os.sched_getaffinity(parent.pid) | os.sched_getaffinity(0)
    except OSError:
        return None
