"""Context managers: what holds something of the store ends with its `with` block."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Scope:
    """`with x:` ends x by _leave, told whether the block failed."""

    __slots__ = ()

    def _leave(self, failed: bool) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._leave(kind is not None)


class Released(Scope):
    """Ends by release()."""

    __slots__ = ()

    def release(self) -> None:
        """Lets go."""
        raise NotImplementedError

    def _leave(self, failed: bool) -> None:
        self.release()


class Closed(Scope):
    """Ends by close()."""

    __slots__ = ()

    def close(self) -> None:
        """Closes."""
        raise NotImplementedError

    def _leave(self, failed: bool) -> None:
        self.close()
