"""An engine's paged KV memory, described once: ops of a queue name its pages and layers, and bytes
go between them and stored parts without a copy in between."""

from __future__ import annotations

import contextlib
import weakref
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import lowlevel
from .errors import Error
from .scope import Closed

if TYPE_CHECKING:
    from .store import Opened


class Pool(Closed):
    """Made by Store.pool. `region` is what ops name, their `offset` is a page's first token (page
    times tokens of a page), their start and size are layers (size 0: all from start on).

    The memory must stay until close, which ends it. Errors: BusyError at close while ops name it.
    Threads: any."""

    def __init__(self, opened: Opened, layout: str | None, bases: Iterable[int]) -> None:
        addresses = array("Q", bases)
        self._opened = weakref.ref(opened)  # the store's close closes it too
        self.region = lowlevel.pool_open(opened.handle, layout, addresses, -1)[1]
        opened.pools.add(self.region)

    def close(self) -> None:
        """Forgets the memory; twice is once."""
        opened = self._opened()
        if opened is not None and self.region in opened.pools:
            lowlevel.region_drop(opened.handle, self.region)
            opened.pools.discard(self.region)

    def __del__(self) -> None:
        with contextlib.suppress(Error, AttributeError, ImportError, TypeError):
            self.close()
