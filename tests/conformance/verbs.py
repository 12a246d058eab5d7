"""The verbs of scenarios: each makes its calls through a player and returns what came of them,
for the step's expectations.

Ops are in ops.py, under the names of their kinds; weft_match and weft_view are match_now and
view_now here.
"""

import json
import signal
import time
import zlib

from ops import do_event, do_none, do_op, hold, items_of, look
from players import Failed
from scenario import Step
from world import KINDS, PAINT, Store, World, content, keys_of, said


def open_in(world: World, name: str, player: str, options) -> dict:
    got = said(world.ask(player, "open", options=world.hex(options)))
    if int(got["code"]) >= 0:
        world.stores[name] = Store(player, int(got["store"]))
        world.names[name] = int(got["store"])
    return got


def do_open(world: World, step: Step) -> dict:
    return open_in(world, step.words[0], step.given.get("in", "main"), step.given.get("with"))


def do_store(world: World, step: Step) -> dict:
    """The same store in the opening of this run: private, a node, or a client of a node in
    another process.
    """
    options = step.given.get("with", "memory=32MiB")
    name = step.words[0]
    if world.opening == "embedded":
        return open_in(world, name, "main", options)
    got = open_in(
        world,
        "node" if world.opening == "client" else name,
        "node" if world.opening == "client" else "main",
        options + ",listen=$sock",
    )
    if world.opening == "client" and int(got["code"]) >= 0:
        got = open_in(world, name, "main", "connect=$sock")
    return got


def do_connect(world: World, step: Step) -> dict:
    options = "connect=$sock" + ("," + step.given["with"] if "with" in step.given else "")
    return open_in(world, step.words[0], step.given.get("in", "main"), options)


def do_close(world: World, step: Step) -> dict:
    store = world.stores[step.words[0]]
    if step.given.get("all") and store.queue:
        while int(world.ask(store.player, "queue_close", queue=store.queue)["code"]) > 0:
            world.ask(store.player, "reap", queue=store.queue, capacity=64, timeout_ms=1000)
        world.ask(store.player, "region_drop", store=store.handle, region=store.region)
    return world.ask(store.player, "close", store=store.handle)


def do_space(world: World, step: Step) -> dict:
    name, path = step.words
    store = world.store(step)
    got = said(
        world.ask(
            store.player,
            "namespace_open",
            step.fork,
            store=store.handle,
            name=world.hex(path),
            options=world.hex(step.given.get("with")),
        )
    )
    if int(got["code"]) >= 0:
        world.names[name] = int(got["space"])
    return got


def do_space_close(world: World, step: Step) -> dict:
    store = world.store(step)
    return world.ask(
        store.player, "namespace_close", store=store.handle, space=world.names[step.words[0]]
    )


def do_queue(world: World, step: Step) -> dict:
    store = world.store(step)
    options = world.hex(step.given.get("with"))
    got = said(world.ask(store.player, "queue_open", store=store.handle, options=options))
    world.names[step.words[0]] = int(got["queue"])
    return got


def do_queue_close(world: World, step: Step) -> dict:
    queue = world.number(step.words[0])
    got = world.ask(world.store(step).player, "queue_close", queue=queue)
    return {**got, "value": got["code"]}


def do_queue_fd(world: World, step: Step) -> dict:
    store = world.opened(step)
    queue = world.number(step.given["queue"]) if "queue" in step.given else store.queue
    return world.ask(
        store.player, "queue_fd", queue=queue, timeout_ms=step.given.get("wait_ms", "0")
    )


def do_region(world: World, step: Step) -> dict:
    store = world.store(step)
    got = said(
        world.ask(
            store.player,
            "region_map",
            store=store.handle,
            size=step.given["size"],
            options=world.hex(step.given.get("with")),
        )
    )
    world.names[step.words[0]] = int(got.get("region", "0"))
    return got


def do_adopt(world: World, step: Step) -> dict:
    """Adopts new memory of the player's own; address=0 size=0 is all of its process."""
    store = world.store(step)
    size = step.given["size"]
    address = step.given.get("address") or world.ask(store.player, "memory", size=size)["address"]
    got = said(
        world.ask(
            store.player,
            "region_adopt",
            store=store.handle,
            address=address,
            size=size,
            device=step.given.get("device", "-1"),
        )
    )
    world.names[step.words[0]] = int(got.get("region", "0"))
    return got


def do_pool(world: World, step: Step) -> dict:
    """A pool over memory of the player's own, layer behind layer, pages in a row: pages=N and
    bytes=B, or one B a layer.
    """
    store = world.store(step)
    pages = int(step.given["pages"])
    layers = [int(word) for word in step.given["bytes"].split("/")]
    layers *= int(step.given.get("layers", "1"))
    size = pages * sum(layers)
    base = int(world.ask(store.player, "memory", size=size)["address"])
    bases = [base + pages * sum(layers[:index]) for index in range(len(layers))]
    words = f"pages={pages},bytes={step.given['bytes']}"
    words += f",{step.given['with']}" if "with" in step.given else ""
    got = said(
        world.ask(
            store.player,
            "pool_open",
            store=store.handle,
            layout=world.hex(words),
            bases=",".join(str(one) for one in bases),
            device=step.given.get("device", "-1"),
        )
    )
    name = step.words[0]
    world.names[name] = int(got.get("region", "0"))
    world.pools[name] = (store.player, list(zip(bases, layers, strict=True)))
    return got


def layers_of(world: World, step: Step):
    """Address, where its bytes begin in the part, and size, of each layer of a pool's page."""
    player, layers = world.pools[step.words[0]]
    start = 0
    for base, size in layers:
        yield player, base + int(step.given["page"]) * size, start, size
        start += size


def do_put(world: World, step: Step) -> dict:
    """Fills a pool's page with what the key's part holds."""
    for player, address, start, size in layers_of(world, step):
        generation = step.given.get("generation", "0")
        fields = {"key": step.given["key"], "part": "0", "generation": generation}
        world.ask(player, "fill", address=address, size=size, start=start, **fields)
    return {"code": "0"}


def do_shows(world: World, step: Step) -> dict:
    """Compares a pool's page with what the key's part holds."""
    generation = int(step.given.get("generation", "0"))
    for player, address, start, size in layers_of(world, step):
        data = content(int(step.given["key"]), 0, generation, start, size)
        if world.crc(player, address, size) != zlib.crc32(data):
            raise Failed(f"page {step.given['page']} holds other bytes from {start} on")
    return {"code": "0"}


def do_drop(world: World, step: Step) -> dict:
    store = world.store(step)
    return world.ask(
        store.player, "region_drop", store=store.handle, region=world.number(step.words[0])
    )


def do_look(world: World, step: Step) -> dict:
    """What a view shows now."""
    return {"code": "0", "bytes": look(world, step, step.words[0])}


def do_untouched(world: World, step: Step) -> dict:
    """The memory of a load that failed is still as it was painted before."""
    store, size = world.store(step), int(step.given["size"])
    crc = world.crc(store.player, store.address + int(step.given["offset"]), size)
    return {"code": "0", "untouched": int(crc == zlib.crc32(bytes([PAINT]) * size))}


def do_write(world: World, step: Step) -> dict:
    """Writes content through a reservation."""
    player, places = world.held[step.words[0]]
    start = int(step.given.get("start", "0"))
    for number, (address, size) in zip(
        keys_of(step.given.get("keys") or step.given["key"]), places, strict=False
    ):
        world.ask(
            player,
            "fill",
            address=address + start,
            size=step.given.get("size", size - start),
            start=start,
            key=number,
            part=step.given.get("part", "0"),
            generation=step.given.get("generation", "0"),
        )
    return {}


def do_match_now(world: World, step: Step) -> dict:
    store = world.store(step)
    items = ",".join(f"{hi}:{lo}:0:0" for _, (hi, lo) in items_of(step))
    space = world.number(step.given["space"]) if "space" in step.given else world.names["s"]
    got = world.ask(store.player, "match", step.fork, store=store.handle, space=space, items=items)
    return {**got, "value": got["code"]}


def do_view_now(world: World, step: Step) -> dict:
    store = world.store(step)
    items = ",".join(f"{hi}:{lo}:0:0" for _, (hi, lo) in items_of(step))
    space = world.number(step.given["space"]) if "space" in step.given else world.names["s"]
    got = world.ask(
        store.player,
        "view",
        store=store.handle,
        space=space,
        part=step.given.get("part", "0"),
        items=items,
    )
    rows = [
        [int(word) for word in row.split(":")] for row in got.get("items", "").split(",") if row
    ]
    count = int(got["code"])
    got = {**got, "value": count}
    if count > 0:
        hold(world, step, store, got, rows[:count])
        got["bytes"] = look(world, step, step.given.get("as", "_"))
    return got


def do_release(world: World, step: Step) -> dict:
    store = world.store(step)
    handles = ",".join(
        str(world.names[word] if word in world.names else int(word, 0)) for word in step.words
    )
    return world.ask(store.player, "release", step.fork, store=store.handle, handles=handles)


def do_query(world: World, step: Step) -> dict:
    store = world.store(step)
    space = world.number(step.given.get("space", "0"))
    got = said(
        world.ask(
            store.player,
            "query",
            store=store.handle,
            space=space,
            text=world.hex(" ".join(step.words)),
            capacity=step.given.get("capacity", "262144"),
        )
    )
    got["value"] = got["code"]
    if int(got["code"]) >= 0 and "capacity" not in step.given:
        json.loads(got["text"])
    return got


def do_keys(world: World, step: Step) -> dict:
    """Keys of tokens, as digests' last 16 bytes in hexadecimal; chain= goes on from a digest,
    and shows the last one.
    """
    got = said(
        world.ask(
            "main",
            "keys",
            options=world.hex(step.given.get("with")),
            chain=step.given.get("chain"),
            tokens=step.given["tokens"],
            block_tokens=step.given["block_tokens"],
            capacity=step.given.get("capacity", "64"),
        )
    )
    rows = [row.split(":") for row in got.get("keys", "").split(",") if row]
    got["keys"] = ",".join(f"{int(hi):016x}{int(lo):016x}" for hi, lo in rows)
    got["value"] = got["code"]
    return got


def do_key_of(world: World, step: Step) -> dict:
    got = world.ask("main", "key_of", bytes=step.words[0].encode().hex())
    hi, lo = got["key"].split(":")
    return {**got, "keys": f"{int(hi):016x}{int(lo):016x}"}


def do_about(world: World, step: Step) -> dict:
    """weft_abi as value, weft_version and the name of code=N as text."""
    got = world.ask("main", "about", number=step.given.get("number", "0"))
    return {
        "code": "0",
        "value": got["abi"],
        "text": bytes.fromhex(got["version"] + "20" + got["name"]).decode(),
    }


def do_file(world: World, step: Step) -> dict:
    name, *lines = step.words
    (world.folder / name).write_text("".join(line + "\n" for line in lines))
    return {}


def do_sleep(world: World, step: Step) -> dict:
    time.sleep(float(step.words[0]))
    return {}


def do_signal(world: World, step: Step) -> dict:
    number = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}[step.verb]
    world.player(step.words[0]).signal(number)
    return {}


def do_wake(world: World, step: Step) -> dict:
    world.player(step.words[0]).wakes = True
    return {}


VERBS = {name[3:]: verb for name, verb in list(globals().items()) if name.startswith("do_")}
VERBS.update(dict.fromkeys(KINDS, do_op), event=do_event, none=do_none)
VERBS.update(dict.fromkeys(("kill", "stop", "cont"), do_signal))
