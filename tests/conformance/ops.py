"""Ops of scenarios: how a step becomes a weft_op, what is laid out for it, and what its event
means.

An op's kind in small letters is the verb (`op` with kind=N for any other); it is submitted and,
unless the step says later=NAME, reaped. README.md lists the keys.

Invariants: what a load or a view brought is compared by CRC-32 with content(), and so are the
bytes beside it that the call must not touch, whether the step asks for it or not; no op has two
events.
"""

import time
import zlib

from players import Failed
from scenario import Step
from world import ITEMS, KINDS, NUMBERS, PAINT, World, content, key_of, keys_of, said

#: Lists lie in slots of this many bytes, in turn, so that one that is in flight is not overwritten.
LIST_BYTES = 4224 * 32
LISTS = 15


def wanted(step: Step, key: int, part: int, start: int, size: int) -> bytes:
    """The content that the step expects: bytes=KEY.GENERATION or .GENERATION, else its key's
    first generation.
    """
    seed, _, generation = step.expected.get("bytes", f"{key}.0").partition(".")
    return content(int(seed or key), part, int(generation or 0), start, size)


def items_of(step: Step) -> list:
    return (
        [(number, key_of(number)) for number in keys_of(step.given["keys"])]
        if "keys" in step.given
        else []
    )


def stride_of(step: Step) -> int:
    return int(step.given.get("stride") or max(int(step.given.get("size", "0")), 256))


def op_fields(world: World, step: Step) -> dict:
    """The op of the step: a list where it has keys=, its items laid out in the upper half of
    the store's region.
    """
    store = world.opened(step)
    given = step.given
    kind = world.number(given["kind"]) if step.verb == "op" else KINDS[step.verb]
    op = {"kind": kind, "flags": world.number(given.get("flags", "0"))}
    if step.verb != "cancel":
        op["space"] = world.names.get("s", 0)
    if step.verb in ("load", "save", "op"):
        op["region"] = store.region
    hi, lo = key_of(int(given["key"])) if "key" in given else (0, 0)
    items = items_of(step)
    if items:
        offsets = [
            int(given.get("offset", "0")) + stride_of(step) * index for index in range(len(items))
        ]
        laid = ",".join(
            f"{k[0]}:{k[1]}:{o if 'region' in op else 0}:0"
            for (_, k), o in zip(items, offsets, strict=True)
        )
        at = ITEMS + LIST_BYTES * (world.tag % LISTS)
        world.ask(store.player, "items", address=store.address + at, items=laid)
        hi, lo = len(items), store.region
        op["flags"] |= NUMBERS["LIST"]
    op.update(key_hi=hi, key_lo=lo, offset=at if items else 0)
    for name in (
        "offset",
        "size",
        "start",
        "space",
        "region",
        "timeout_ms",
        "ttl_s",
        "part",
        "key_hi",
        "key_lo",
    ):
        if name in given and not (items and name == "offset"):
            op[name] = world.number(given[name])
    op["queue"] = world.number(given["queue"]) if "queue" in given else store.queue
    world.tag += 1
    op["tag"] = world.number(given["tag"]) if "tag" in given else world.tag
    return op


def do_op(world: World, step: Step) -> dict:
    store = world.opened(step)
    op = op_fields(world, step)
    prepare(world, step, store)
    count = int(step.given.get("count", "1"))
    taken = world.ask(store.player, "submit", step.fork, count=count, **op)
    if "later" in step.given:
        world.later[step.given["later"]] = (step, store, op)
        return {**taken, "value": taken["code"]}
    if int(taken["code"]) != count:
        return {**taken, "value": taken["code"]}
    if count == 1:
        return finish(world, step, store, op, reap(world, store, op, 40000))
    return {"code": "0"}


def prepare(world: World, step: Step, store) -> None:
    """Fills what a save reads, and paints what a load may write and the 256 bytes after it."""
    given = step.given
    size, start, part = (int(given.get(name, "0")) for name in ("size", "start", "part"))
    offset = world.number(given.get("offset", "0"))
    numbers = keys_of(given.get("keys") or given.get("key") or "0")
    if "region" in given or offset + len(numbers) * stride_of(step) > ITEMS:
        return
    for index, number in enumerate(numbers):
        at = store.address + offset + index * stride_of(step)
        if step.verb == "save":
            world.ask(
                store.player,
                "fill",
                address=at,
                size=size,
                start=start,
                key=number,
                part=part,
                generation=given.get("generation", "0"),
            )
        elif step.verb == "load":
            world.ask(store.player, "paint", address=at, size=(size or 65536) + 256, byte=PAINT)


def reap(world: World, store, op: dict, wait_ms: int):
    """The event of this op, or None; others that come first are kept."""
    wanted_tag, until = int(op["tag"]), time.monotonic() + wait_ms / 1000
    while (store.player, wanted_tag) not in world.reaped:
        left = max(0, int((until - time.monotonic()) * 1000))
        got = world.ask(store.player, "reap", queue=op["queue"], capacity=16, timeout_ms=left)
        if int(got["code"]) < 0:
            raise Failed(f"weft_reap returned {got['code']}")
        for event in filter(None, got.get("events", "").split(",")):
            tag, value, handle, status, detail = (int(word) for word in event.split(":"))
            if (store.player, tag) in world.reaped:
                raise Failed(f"a second event for the op with tag {tag}")
            world.reaped[store.player, tag] = {
                "code": status,
                "value": value,
                "handle": handle,
                "detail": detail,
            }
        if int(got["code"]) == 0 and left == 0:
            break
    return world.reaped.pop((store.player, wanted_tag), None)


def finish(world: World, step: Step, store, op: dict, event) -> dict:
    """What the event means: its story in words, its items, and whether its bytes are right."""
    if event is None:
        raise Failed("no event came within 40 s")
    got = {**event, "text": ""}
    failed = got["code"] < 0 and -got["code"] not in (NUMBERS["EMISS"], NUMBERS["ERANGE"])
    if failed and got["handle"] and "says" in step.expected:
        story = world.ask(
            store.player,
            "query",
            store=store.handle,
            space=0,
            capacity=4096,
            text=f"error id={got['handle']}".encode().hex(),
        )
        got["text"] = said(story)["text"]
    items = items_of(step)
    if items:
        back = world.ask(
            store.player, "items_back", address=store.address + op["offset"], count=len(items)
        )["items"]
        rows = [[int(word) for word in row.split(":")] for row in back.split(",")]
        got["each"] = ",".join(str(row[4]) for row in rows)
        got["sizes"] = ",".join(str(row[3]) for row in rows)
    hold(world, step, store, got, rows if items else [])
    tentative = got["code"] < 0 and (failed or "FOLLOW" in step.given.get("flags", ""))
    if step.verb == "load" and "region" not in step.given and not tentative:
        got["bytes"] = loaded(world, step, store, got)
    if step.verb == "view" and got["code"] >= 0 and "FOLLOW" not in step.given.get("flags", ""):
        got["bytes"] = look(world, step, step.given.get("as", "_"))
    return got


def hold(world: World, step: Step, store, got: dict, rows: list) -> None:
    """Binds as=NAME to the handle, and to the addresses where bytes are."""
    name = step.given.get("as", "_")
    world.names[name] = int(got["handle"])
    if step.verb in ("view", "reserve", "view_now"):
        places = (
            [(row[2], row[3]) for row in rows if row[4] >= 0]
            if rows
            else [(got["value"], got["detail"])]
        )
        world.held[name] = (store.player, places)


def loaded(world: World, step: Step, store, got: dict) -> str:
    """Compares what a load wrote, and that it wrote nothing else."""
    given = step.given
    size, start, part = (int(given.get(name, "0")) for name in ("size", "start", "part"))
    offset = int(given.get("offset", "0"))
    done = got["code"] >= 0
    for index, number in enumerate(keys_of(given.get("keys") or given["key"])):
        moved = 0
        if "keys" in given:
            moved = size if index < got["value"] else 0
        elif done:
            moved = got["value"]
        if "keys" in given and index >= got["value"] and "CHAIN" not in given.get("flags", ""):
            continue  # items after the first failed one may have been moved
        room = stride_of(step) if "keys" in given else (size or 65536) + 256
        data = wanted(step, number, part, start, moved) + bytes([PAINT]) * (room - moved)
        if not done and "keys" not in given:
            data = bytes([PAINT]) * room
        crc = world.crc(store.player, store.address + offset + index * stride_of(step), room)
        if crc != zlib.crc32(data):
            return f"differ(key{number})"
    return "same"


def do_event(world: World, step: Step) -> dict:
    """Waits for the event of the op that was submitted with later=NAME."""
    first, store, op = world.later[step.words[0]]
    merged = Step(step.line, first.verb, first.words, {**first.given, **step.given}, step.expected)
    return finish(
        world, merged, store, op, reap(world, store, op, int(step.given.get("wait_ms", "40000")))
    )


def do_none(world: World, step: Step) -> dict:
    """The op of later=NAME has no event yet, nor within wait_ms."""
    _, store, op = world.later[step.words[0]]
    event = reap(world, store, op, int(step.given.get("wait_ms", "0")))
    return {"code": "-16", "event": event["code"]} if event else {"code": "0"}


def look(world: World, step: Step, name: str) -> str:
    player, places = world.held[name]
    part = int(step.given.get("part", "0"))
    numbers = keys_of(step.given.get("keys") or step.given["key"])
    for number, (address, size) in zip(numbers, places, strict=False):
        size = int(step.given.get("size") or size)
        start = int(step.given.get("start", "0"))
        if world.crc(player, address + start, size) != zlib.crc32(
            wanted(step, number, part, start, size)
        ):
            return f"differ(key{number})"
    return "same"
