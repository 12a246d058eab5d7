"""This process as a client of a node, by the C ABI alone: one that holds views, pins, claims and
reservations for as long as a test wants it to. Structs are as in capi/weft.h.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_char_p, c_int32, c_uint16, c_uint32, c_uint64, c_void_p

from node import LIMIT_S, WEFT

SAVE, MATCH, VIEW, RESERVE, COMMIT, ABORT, REMOVE, WAIT = 2, 3, 4, 5, 6, 7, 8, 10
LIST, PIN, CLAIM, REPLACE = 0x1, 0x20, 0x100, 0x400
EMISS = -2


class Op(ctypes.Structure):
    _fields_ = [
        ("tag", c_uint64),
        ("key_hi", c_uint64),
        ("key_lo", c_uint64),
        ("offset", c_uint64),
        ("size", c_uint32),
        ("start", c_uint32),
        ("space", c_uint32),
        ("region", c_uint32),
        ("timeout_ms", c_uint32),
        ("ttl_s", c_uint32),
        ("flags", c_uint32),
        ("kind", c_uint16),
        ("part", c_uint16),
    ]


class Item(ctypes.Structure):
    _fields_ = [
        ("key_hi", c_uint64),
        ("key_lo", c_uint64),
        ("offset", c_uint64),
        ("size", c_uint32),
        ("status", c_int32),
    ]


class Event(ctypes.Structure):
    _fields_ = [
        ("tag", c_uint64),
        ("value", c_uint64),
        ("handle", c_uint64),
        ("status", c_int32),
        ("detail", c_uint32),
    ]


class Space(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("space", c_uint32),
        ("parts", c_uint32),
        ("block_tokens", c_uint32),
        ("layers", c_uint32),
        ("alignment", c_uint32),
        ("part_bytes", c_uint64),
        ("version", c_uint64),
        ("floor", c_uint64),
    ]


class Error(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("code", c_int32), ("message", c_char * 248)]


class Failed(Exception):
    """A call did not do its work."""


class Holder:
    def __init__(self, address: str, name: str, options: str) -> None:
        self.weft = ctypes.CDLL(str(WEFT.parent / "libweft.so.1"))
        self.store, self.queue, self.region = c_void_p(), c_void_p(), c_uint32()
        self.error, self.opened = Error(), Space()
        self.error.struct_size = ctypes.sizeof(Error)
        self.opened.struct_size = ctypes.sizeof(Space)
        self.memory = ctypes.create_string_buffer(4096)
        error, store = ctypes.byref(self.error), ctypes.byref(self.store)
        self.call("open", c_char_p(f"connect={address}".encode()), store, error)
        opened, names = ctypes.byref(self.opened), (name.encode(), options.encode())
        self.call("namespace_open", self.store, *map(c_char_p, names), opened, error)
        # All of this process: offsets are addresses.
        all_memory = (c_uint64(0), c_uint64(0), c_int32(-1), ctypes.byref(self.region))
        self.call("region_adopt", self.store, *all_memory, error)
        self.call("queue_open", self.store, None, ctypes.byref(self.queue), error)

    def call(self, name: str, *arguments: object) -> int:
        code: int = getattr(self.weft, f"weft_{name}")(*arguments)
        if code < 0:
            raise Failed(f"weft_{name}: {code} {self.error.message.decode()}")
        return code

    def submit(self, kind: int, **fields: int) -> None:
        op = Op(kind=kind, space=self.opened.space, **fields)
        self.call("submit", self.queue, ctypes.byref(op), c_uint32(1))

    def op(self, kind: int, **fields: int) -> Event:
        self.submit(kind, **fields)
        event = Event()
        if self.call("reap", self.queue, ctypes.byref(event), c_uint32(1), LIMIT_S * 1000) != 1:
            raise Failed(f"op {kind} does not end")
        return event

    def done(self, kind: int, **fields: int) -> Event:
        event = self.op(kind, **fields)
        if event.status != 0:
            raise Failed(f"op {kind} with {fields} ends with {event.status}")
        return event

    def save(self, key: int, **fields: int) -> None:
        place = {"region": self.region.value, "offset": ctypes.addressof(self.memory)}
        event = self.done(SAVE, key_lo=key, size=len(self.memory), **place, **fields)
        assert event.detail == 1, "the save published nothing"

    def pin(self, keys: list[int]) -> int:
        """The pin of a match of them all."""
        items = (Item * len(keys))(*(Item(key_lo=key) for key in keys))
        op = {"key_hi": len(keys), "key_lo": self.region.value, "offset": ctypes.addressof(items)}
        event = self.op(MATCH, flags=LIST | PIN, **op)
        assert (event.status, event.value) == (0, len(keys)), (event.status, event.value)
        return int(event.handle)

    def release(self, handle: int) -> None:
        self.call("release", self.store, ctypes.byref(c_uint64(handle)), c_uint32(1))

    def close(self) -> None:
        """What is open of it first, or it is busy."""
        event = Event()
        while self.call("queue_close", self.queue) > 0:
            self.call("reap", self.queue, ctypes.byref(event), c_uint32(1), LIMIT_S * 1000)
        self.call("region_drop", self.store, self.region)
        self.call("namespace_close", self.store, c_uint32(self.opened.space))
        self.call("close", self.store)
