"""What a store must do to be measured here: the same few calls of each, as its users make them.

Invariants: keys are made before they are timed, in the store's own form; memory is the store's own
kind where it wants one (registered, pinned, shared); what a call moves is checked by who calls it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.uint8]  # (count, bytes of a block)
PAGE = 4096


def pages(size: int) -> Bytes:
    """Memory that begins at a page, touched."""
    room = np.zeros(size + PAGE, np.uint8)
    start = -room.ctypes.data % PAGE
    room[:] = 1
    return room[start : start + size]


class System(ABC):
    """A client of a store, for blocks of one size."""

    block: int

    @abstractmethod
    def start(self, where: dict[str, Any]) -> None:
        """Connects, or opens what is in this process; `where` is what the server's start said."""

    def begin(self, block: int, capacity: int) -> None:
        """Blocks of `block` bytes come, at most `capacity` at once."""
        self.block = block

    def memory(self, size: int) -> Bytes:
        """Memory for the bytes of puts and gets."""
        return pages(size)

    @abstractmethod
    def keys(self, first: int, count: int) -> Sequence[Any]:
        """Keys of the blocks numbered from `first`."""

    @abstractmethod
    def put(self, key: Any, row: Bytes) -> None: ...

    @abstractmethod
    def get(self, key: Any, row: Bytes) -> None: ...

    @abstractmethod
    def put_list(self, keys: Sequence[Any], rows: Rows) -> None: ...

    @abstractmethod
    def get_list(self, keys: Sequence[Any], rows: Rows) -> None: ...

    @abstractmethod
    def exists(self, keys: Sequence[Any]) -> int:
        """How many of them are there."""

    @abstractmethod
    def remove(self, keys: Sequence[Any]) -> None: ...

    def hit(self, key: Any, row: Bytes) -> None:
        """The cheapest way to have a block's bytes readable, and to let go of them."""
        self.get(key, row)
