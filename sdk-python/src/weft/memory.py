"""Memory that calls read, write or give out: any buffer as bytes, views and reservations as arrays,
.npy parts.

Nothing here copies block bytes. What a View or a Reservation gives out is memory of the cache
itself."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from . import lowlevel
from .errors import failure
from .keys import ITEM_STRUCT
from .scope import Released

if TYPE_CHECKING:
    from typing_extensions import Buffer

Bytes: TypeAlias = npt.NDArray[np.uint8]
Memory: TypeAlias = "Buffer | npt.NDArray[Any] | SupportsDLPack"


class SupportsDLPack(Protocol):
    """A tensor of another library."""

    def __dlpack__(self, *, stream: None = None) -> Any:
        """Its capsule."""


def as_bytes(buffer: Memory, *, writable: bool = False) -> Bytes:
    """`buffer` as one row of bytes, not copied. Anything contiguous by the buffer protocol, or on
    the CPU by DLPack.

    Errors: ValueError where it is not contiguous, or not writable and must be; TypeError where it
    is no buffer.
    """
    if not isinstance(buffer, np.ndarray):
        try:
            found: Bytes = np.frombuffer(buffer, np.uint8)  # type: ignore[arg-type]
        except TypeError:
            if not hasattr(buffer, "__dlpack__"):
                kind = type(buffer).__name__
                raise TypeError(f"a buffer is needed (bytes, array, DLPack), not {kind}") from None
            found = as_bytes(np.from_dlpack(buffer))  # type: ignore[arg-type]
    elif not buffer.flags.c_contiguous:
        raise ValueError(
            f"an array of shape {buffer.shape} and strides {buffer.strides} is not contiguous"
        )
    else:
        found = buffer.reshape(-1).view(np.uint8)
    if writable and not found.flags.writeable:
        raise ValueError("the buffer is read-only")
    return found


class View(lowlevel.View, Released):
    """A read-only look at a part in the cache's own memory: it stays as it is, whatever becomes of
    the block.

    Takes the buffer protocol (np.asarray, memoryview, bytes) and DLPack (torch.from_dlpack,
    jax.dlpack, cupy), none of which copies. Arrays over it keep the block, also after release() or
    the store's close. len() is in bytes."""

    __slots__ = ()

    @property
    def array(self) -> Bytes:
        """uint8, shape (bytes,), read-only. Use .array.view(dtype).reshape(shape) for what the
        layout says."""
        return np.frombuffer(self, np.uint8)  # type: ignore[call-overload, no-any-return]

    def __getitem__(self, at: Any) -> Any:
        """A byte, or an array of bytes by slice."""
        return self.array[at]

    def __dlpack__(self, **asked: Any) -> Any:
        """A capsule that says read-only; BufferError for a consumer older than DLPack 1.0, which
        could not see that: see unflagged."""
        return self.array.__dlpack__(**asked)

    @property
    def unflagged(self) -> Unflagged:
        """The same memory by DLPack without the read-only flag, for a consumer that does not know
        the flag and never writes (JAX). A write ends the process, or corrupts a private store."""
        return Unflagged(self)

    def __dlpack_device__(self) -> tuple[int, int]:
        """The CPU."""
        return (1, 0)


class Unflagged:
    """A view for DLPack's consumers before 1.0: View.unflagged."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __dlpack__(self, **asked: Any) -> Any:
        """A capsule without the flag; it holds the block as every other buffer of the view does."""
        address, size = lowlevel.address(self._view, False)
        item = ITEM_STRUCT.pack(0, 0, address, size, 0)
        (alias,) = lowlevel.hold(lowlevel.View, memoryview(self._view), 0, 0, item, True)
        return np.frombuffer(alias, np.uint8).__dlpack__(**asked)  # type: ignore[call-overload]

    def __dlpack_device__(self) -> tuple[int, int]:
        """The CPU."""
        return (1, 0)


class Views(Sequence[View], Released):
    """The views of a list's lead blocks, under one handle: the ABI lets all go when the last of
    them is gone."""

    def __init__(self, views: list[View]) -> None:
        self._views = views

    @overload
    def __getitem__(self, at: int) -> View: ...
    @overload
    def __getitem__(self, at: slice) -> list[View]: ...
    def __getitem__(self, at: int | slice) -> View | list[View]:
        return self._views[at]

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[View]:
        return iter(self._views)

    @property
    def arrays(self) -> list[Bytes]:
        """One read-only uint8 array a block."""
        return [view.array for view in self._views]

    def release(self) -> None:
        """Lets the blocks go that no array is left over; the others with their last one."""
        for view in self._views:
            view.release()
        self._views = []


def npy_header(array: npt.NDArray[Any]) -> bytes:
    """The .npy header of `array`, whose bytes follow it in the part. Errors: ValueError for
    objects."""
    if array.dtype.hasobject:
        raise ValueError(
            f"an array of {array.dtype} holds Python objects: no other process can read them"
        )
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, np.lib.format.header_data_from_array_1_0(array))
    return text.getvalue()


def npy_array(part: Bytes, what: str = "the part") -> npt.NDArray[Any]:
    """The array in a part, over the same memory. Errors: InvalidError, said of `what`, where the
    part is no .npy."""
    try:
        return _npy_array(part)
    except (ValueError, TypeError, SyntaxError) as error:
        begin = part[:8].tobytes()
        words = f"{what}: {len(part)} bytes that begin with {begin!r} are no .npy array ({error})"
        raise failure(lowlevel.WEFT_EINVAL, words) from None


def _npy_array(part: Bytes) -> npt.NDArray[Any]:
    sized = 12 if len(part) > 6 and part[6] > 1 else 10  # bytes until the header's text begins
    text = io.BytesIO(part[: sized + int.from_bytes(part[8:sized].tobytes(), "little")].tobytes())
    version = np.lib.format.read_magic(text)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read(text)
    if dtype.hasobject:
        raise ValueError(f"an array of {dtype} holds Python objects")
    count = int(np.prod(shape, dtype=np.int64))
    flat = part[text.tell() : text.tell() + count * dtype.itemsize].view(dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
