"""Errors: one class a code of the ABI, with the library's words.

A miss is not an error: calls answer None, False or fewer blocks. `failure` is what lowlevel makes
every exception with."""

from __future__ import annotations


class Error(Exception):
    """A code of the ABI. `code` is WEFT_E's number, positive; `name` its name ("EQUOTA"); `str()`
    the library's words."""

    code: int = 0
    name: str = "unknown"


class InvalidError(Error, ValueError):
    """An argument, option or field is wrong; the words name it."""

    code, name = 1, "EINVAL"


class MissError(Error):
    """The block is not to be had. Raised only where there is no other answer: what was followed was
    given up, or a namespace opened with create=False is not there."""

    code, name = 2, "EMISS"


class ExistsError(Error):
    """The block, or these bytes of it, are there: nothing was written."""

    code, name = 3, "EEXISTS"


class FencedError(Error):
    """The namespace has advanced past this version: open it anew."""

    code, name = 4, "EFENCED"


class AgainError(Error):
    """The queue is full: reap, then submit the rest."""

    code, name = 5, "EAGAIN"


class TimedOutError(Error, TimeoutError):
    """The op's time is over."""

    code, name = 6, "ETIMEOUT"


class PeerError(Error, ConnectionError):
    """The node cannot be reached; the store reconnects by itself."""

    code, name = 7, "EPEER"


class DeniedError(Error, PermissionError):
    """The token does not allow this."""

    code, name = 8, "EDENIED"


class QuotaError(Error):
    """A quota or a named limit is reached."""

    code, name = 9, "EQUOTA"


class NoMemoryError(Error, MemoryError):
    """The machine gives no memory."""

    code, name = 10, "ENOMEM"


class BusyError(Error):
    """Children are open, or ops in flight name it."""

    code, name = 11, "EBUSY"


class ClosedError(Error):
    """The store, namespace or queue is closed."""

    code, name = 12, "ECLOSED"


class ForkedError(Error):
    """The store was opened before a fork, in the parent."""

    code, name = 13, "EFORKED"


class CorruptError(Error):
    """A checksum did not match: the copy was dropped."""

    code, name = 14, "ECORRUPT"


class RangeError(Error, IndexError):
    """Beyond the end of the part or of the memory."""

    code, name = 15, "ERANGE"


class InternalError(Error):
    """A fault of the library."""

    code, name = 16, "EINTERNAL"


class CanceledError(Error):
    """The op was canceled."""

    code, name = 17, "ECANCELED"


class HeldError(Error):
    """The block, or this part of it, is being written, perhaps by the same writer."""

    code, name = 18, "EHELD"


class NotSupportedError(Error, NotImplementedError):
    """Known, but not in this build, on this machine or in this kind of store."""

    code, name = 19, "ENOTSUP"


# Of codes where the caller knows better than the library what there is to do.
ADVICE: dict[int, str] = {
    3: "it is there already; replace=True makes it anew",
    18: "it is being written, perhaps by this very store; wait_writer=True waits for that",
}
_BY_CODE: dict[int, type[Error]] = {kind.code: kind for kind in Error.__subclasses__()}
MISS_REASONS: dict[int, str] = {
    1: "absent",
    2: "evicted",
    3: "expired",
    4: "fenced",
    5: "partial",
    6: "unreachable",
    7: "far",
}


def words_of(code: int) -> str:
    """What `code` (positive) means, and what to do."""
    return ADVICE.get(code) or " ".join((_BY_CODE.get(code, Error).__doc__ or "").split())


def failure(code: int, words: str) -> Error:
    """The exception for `code` (positive); without words the class's own sentence is given."""
    kind = _BY_CODE.get(code, Error)
    made = kind(words or f"{kind.name}: {words_of(code)}")
    if kind is Error:
        made.code, made.name = code, f"code {code}"
    return made
