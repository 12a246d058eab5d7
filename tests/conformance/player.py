"""The player in Python: as player.c, through the package weft wherever it has a call, so that
this is what is tested.

Invariants: it decides nothing and compares nothing. Handles that it did not give itself
(garbage, closed) and the ABI's own lifetimes go to weft.lowlevel. An unknown verb ends it with
status 2.
"""

from __future__ import annotations

import array
import ctypes
import os
import select
import struct
import sys
import zlib

import numpy as np
import weft
from weft import lowlevel

EVENT = struct.Struct("<3QiI")
ITEM = struct.Struct("<3QIi")
OP = struct.Struct("<4Q7I2H")
OP_FIELDS = (
    *("tag", "key_hi", "key_lo", "offset", "size", "start", "space", "region"),
    *("timeout_ms", "ttl_s", "flags", "kind", "part"),
)
#: As content() in world.py: byte i is i * 7 + (i >> 8) * 31, plus what fill() adds.
BASE = bytes((i * 7 + (i >> 8) * 31) & 255 for i in range(65536))

stores: dict[int, weft.Store] = {}
spaces: dict[tuple[int, int], weft.Namespace] = {}
queues: dict[int, weft.Queue] = {}
views: dict[int, weft.Views] = {}
kept: list = []


class Request(dict):
    """The words of a line; what is not there is 0, or None as text."""

    def number(self, name: str) -> int:
        return int(self.get(name, "0"), 0)

    def text(self, name: str) -> str | None:
        return self.bytes(name).decode() if name in self else None

    def bytes(self, name: str) -> bytes:
        return bytes.fromhex(self.get(name, "").replace("-", ""))

    def items(self) -> np.ndarray:
        rows = [row.split(":") for row in self.get("items", "").split(",") if row]
        return np.array([(*map(int, row), 0) for row in rows], weft.ITEM)

    def numbers(self, name: str) -> list[int]:
        return [int(word) for word in self.get(name, "").split(",") if word]


def hexed(text: str | bytes) -> str:
    return (text.encode() if isinstance(text, str) else text).hex()


def open_(r: Request) -> str:
    store = weft.Store(r.text("options"))
    stores[store.handle] = store
    return f"code=0 store={store.handle}"


def close(r: Request) -> str:
    store = stores.get(r.number("store"))
    if store is not None and store.all_memory:
        lowlevel.region_drop(store.handle, store.all_memory)
        store._all = 0
    return f"code={lowlevel.close(r.number('store'))}"


def query(r: Request) -> str:
    answer = bytearray(max(1, r.number("capacity")))
    args = (r.number("store"), r.number("space"), r.text("text"), answer)
    code = lowlevel.query(*args)
    return f"code={code} message={hexed(bytes(answer).split(bytes(1))[0])}"


def namespace_open(r: Request) -> str:
    number = r.number("store")
    if number not in stores:
        return f"code={lowlevel.namespace_open(number, r.text('name'), None, bytearray(64))}"
    made = stores[number].namespace(r.text("name"), r.text("options"))
    spaces[number, made.space] = made
    names = ("space", "parts", "block_tokens", "layers", "alignment", "part_bytes", "version")
    return "code=0 " + " ".join(f"{name}={getattr(made, name)}" for name in (*names, "floor"))


def namespace_close(r: Request) -> str:
    number, space = r.number("store"), r.number("space")
    spaces.pop((number, space), None)
    return f"code={lowlevel.namespace_close(number, space)}"


def region_map(r: Request) -> str:
    _, region, at = lowlevel.region_map(r.number("store"), r.number("size"), r.text("options"))
    return f"code=0 region={region} address={at}"


def region_adopt(r: Request) -> str:
    fields = (r.number(name) for name in ("store", "address", "size", "device"))
    return f"code=0 region={lowlevel.region_adopt(*fields)[1]}"


def pool_open(r: Request) -> str:
    bases = array.array("Q", [int(word) for word in r.get("bases", "").split(",") if word])
    made = lowlevel.pool_open(r.number("store"), r.text("layout"), bases, r.number("device"))
    return f"code=0 region={made[1]}"


def region_drop(r: Request) -> str:
    return f"code={lowlevel.region_drop(r.number('store'), r.number('region'))}"


def queue_open(r: Request) -> str:
    number = r.number("store")
    if number not in stores:
        return f"code=0 queue={lowlevel.queue_open(number, r.text('options'))}"
    queue = stores[number].queue(r.text("options"))
    queues[queue._queue] = queue
    return f"code=0 queue={queue._queue}"


def queue_close(r: Request) -> str:
    return f"code={lowlevel.queue_close(r.number('queue'))}"


def queue_fd(r: Request) -> str:
    number = r.number("queue")
    fd = queues[number].fd if number in queues else lowlevel.queue_fd(number)
    polled = select.poll()
    polled.register(fd, select.POLLIN)
    return f"code=0 readable={len(polled.poll(r.number('timeout_ms')))}"


def submit(r: Request) -> str:
    fields = [r.number(name) for name in OP_FIELDS]
    ops = b"".join(OP.pack(fields[0] + i, *fields[1:]) for i in range(r.number("count")))
    number = r.number("queue")
    if number in queues:
        return f"code={queues[number].submit(np.frombuffer(ops, weft.OP))}"
    return f"code={lowlevel.submit(number, ops)}"


def reap(r: Request) -> str:
    number = r.number("queue")
    events = np.zeros(r.number("capacity"), weft.EVENT)
    if number in queues:
        count = queues[number].reap(events, r.number("timeout_ms"))
    else:
        count = lowlevel.reap(number, events, r.number("timeout_ms"))
    rows = EVENT.iter_unpack(events[:count].tobytes())
    return f"code={count} events=" + ",".join(":".join(map(str, row)) for row in rows)


def match(r: Request) -> str:
    key = r.number("store"), r.number("space")
    if key in spaces:
        return f"code={spaces[key].match(r.items())}"
    return f"code={lowlevel.match(*key, r.items())}"


def view(r: Request) -> str:
    key, items, part = (r.number("store"), r.number("space")), r.items(), r.number("part")
    if key not in spaces:
        return f"code={lowlevel.view(*key, part, items)[0]}"
    found = spaces[key].view_list(items, part)
    handle = id(found) if len(found) else 0
    views[handle] = found
    rows = [f"0:0:{one.array.ctypes.data if one.array.size else 0}:{len(one)}:0" for one in found]
    return f"code={len(found)} handle={handle} items={','.join(rows)}"


def release(r: Request) -> str:
    code = 0
    for handle in r.numbers("handles"):
        if handle in views:
            views.pop(handle).release()
        else:
            code = lowlevel.release(r.number("store"), struct.pack("<Q", handle))
    return f"code={code}"


def keys(r: Request) -> str:
    words = [word.split("=", 1) for word in (r.text("options") or "").split(",") if word]
    chain = bytearray(r.bytes("chain")) if "chain" in r else None
    made = weft.keys(
        r.numbers("tokens"),
        block_tokens=r.number("block_tokens"),
        chain=chain,
        mm=[value for name, value in words if name == "mm"],
        **{name: value for name, value in words if name != "mm"},
    )[: r.number("capacity")]
    told = ",".join(f"{one['key_hi']}:{one['key_lo']}" for one in made)
    return f"code={len(made)} keys={told}" + (f" chain={chain.hex()}" if chain else "")


def key_of(r: Request) -> str:
    made = weft.key_of(r.bytes("bytes"))[0]
    return f"code=0 key={made['key_hi']}:{made['key_lo']}"


def about(r: Request) -> str:
    name = lowlevel.code_name(r.number("number"))
    return f"abi={lowlevel.abi()} version={hexed(weft.__version__)} name={hexed(name)}"


def memory(r: Request) -> str:
    kept.append(ctypes.create_string_buffer(r.number("size")))
    return f"address={ctypes.addressof(kept[-1])}"


def paint(r: Request) -> str:
    ctypes.memset(r.number("address"), r.number("byte"), r.number("size"))
    return "code=0"


def fill(r: Request) -> str:
    more = r.number("key") * 131 + r.number("part") * 61 + r.number("generation") * 29
    size, start = r.number("size"), r.number("start") % 65536
    shifted = BASE.translate(bytes((value + more) & 255 for value in range(256)))
    data = (shifted * ((start + size) // 65536 + 1))[start : start + size]
    ctypes.memmove(r.number("address"), data, size)
    return "code=0"


def crc(r: Request) -> str:
    return f"crc={zlib.crc32(ctypes.string_at(r.number('address'), r.number('size')))}"


def items(r: Request) -> str:
    data = r.items().tobytes()
    ctypes.memmove(r.number("address"), data, len(data))
    return "code=0"


def items_back(r: Request) -> str:
    data = ctypes.string_at(r.number("address"), r.number("count") * ITEM.size)
    rows = (":".join(map(str, row)) for row in ITEM.iter_unpack(data))
    return "code=0 items=" + ",".join(rows)


VERBS = {
    made.__name__.strip("_"): made
    for made in (
        *(open_, close, query, namespace_open, namespace_close, region_map, region_adopt),
        *(pool_open, region_drop, queue_open, queue_close, queue_fd, submit, reap, match, view),
        *(release, keys, key_of, about, memory, paint, fill, crc, items, items_back),
    )
}


def answer(line: str) -> str:
    verb, *words = line.split()
    if verb not in VERBS:
        os._exit(2)
    try:
        return VERBS[verb](Request(word.split("=", 1) for word in words))
    except weft.Error as error:
        return f"code={-error.code} store=0 queue=0 region=0 message={hexed(str(error))}"


def in_child(line: str) -> str:
    """The rest of the line in a forked child, whose answer is passed on."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, answer(line).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        text = told.read().decode()
    _, status = os.waitpid(child, 0)
    return text if status == 0 else f"code=-16 child={status}"


def main() -> None:
    for line in sys.stdin:
        told = in_child(line[5:]) if line.startswith("fork ") else answer(line)
        print(told, flush=True)
    for held in (views, queues, spaces, stores):
        held.clear()


if __name__ == "__main__":
    main()
