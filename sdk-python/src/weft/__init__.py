"""Weft: a distributed KV cache for LLM inference. See README.md beside pyproject.toml, and weft.h
for what words mean."""

from . import lowlevel
from .errors import (
    AgainError,
    BusyError,
    CanceledError,
    ClosedError,
    CorruptError,
    DeniedError,
    Error,
    ExistsError,
    FencedError,
    ForkedError,
    HeldError,
    InternalError,
    InvalidError,
    MissError,
    NoMemoryError,
    NotSupportedError,
    PeerError,
    QuotaError,
    RangeError,
    TimedOutError,
)
from .holds import Claim, Found, Held, Reservation
from .keys import EVENT, ITEM, OP, Key, KeyList, Keys, as_keys, key_of, keys
from .memory import View, Views
from .namespace import Namespace
from .pool import Pool
from .store import Queue, Store
from .twin import Event

if lowlevel.abi() < lowlevel.WEFT_ABI:
    raise ImportError(
        f"libweft.so.1 speaks ABI {lowlevel.abi()}; this package was built with {lowlevel.WEFT_ABI}"
    )

__version__ = lowlevel.version()
# fmt: off
__all__ = [
    "EVENT", "ITEM", "OP", "AgainError", "BusyError", "CanceledError", "Claim", "ClosedError",
    "CorruptError", "DeniedError", "Error", "Event", "ExistsError", "FencedError",
    "ForkedError", "Found", "Held", "HeldError", "InternalError", "InvalidError", "Key",
    "KeyList", "Keys", "MissError", "Namespace", "NoMemoryError", "NotSupportedError",
    "PeerError", "Pool", "Queue", "QuotaError", "RangeError", "Reservation", "Store",
    "TimedOutError", "View", "Views", "as_keys", "key_of", "keys", "lowlevel",
]
# fmt: on
