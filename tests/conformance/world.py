"""What one run of a scenario knows: its names (stores, spaces, views, reservations, events),
numbers and players.

The driver keeps all of it and decides what is right; players only make the call that they are
told and say what came of it, so that a language's player is short and cannot be lenient.

Invariants: numbers come from weft.h itself; a name is bound only by a step that succeeded in
making it.
"""

import re
from pathlib import Path

from players import Failed, Player
from scenario import Step

HEADER = Path(__file__).parents[2] / "capi" / "weft.h"
NUMBERS = {
    name: int(value, 0)
    for name, value in re.findall(
        r"^#define WEFT_(\w+) (0x[0-9a-f]+|\d+)\b", HEADER.read_text(), re.M
    )
}
CODES = {
    -value: name
    for name, value in NUMBERS.items()
    if re.match(r"E[A-Z]+$", name) and name != "EACH"
}
KINDS = {name[3:].lower(): value for name, value in NUMBERS.items() if name.startswith("OP_")}
#: Where a field of an op lies, for the detail of WEFT_EINVAL.
PLACES = {
    "tag": 0,
    "key_hi": 8,
    "key_lo": 16,
    "offset": 24,
    "size": 32,
    "start": 36,
    "space": 40,
    "region": 44,
    "timeout_ms": 48,
    "ttl_s": 52,
    "flags": 56,
    "kind": 60,
    "part": 62,
    "item.key_hi": 64,
    "item.key_lo": 72,
    "item.offset": 80,
    "item.size": 88,
    "item.status": 92,
}
REGION = 4 << 20  # of which the upper half holds the items of lists
ITEMS = 2 << 20
PAINT = 0xA5
#: One period of what a part holds: byte i is i * 7 + (i >> 8) * 31, plus what content() adds.
BASE = bytes((i * 7 + (i >> 8) * 31) & 255 for i in range(65536))


def content(key: int, part: int, generation: int, start: int, size: int) -> bytes:
    """The bytes from start of a part: byte i is (i * 7 + (i >> 8) * 31 + key * 131 + part * 61
    + generation * 29) mod 256.
    """
    more = key * 131 + part * 61 + generation * 29
    shifted = BASE.translate(bytes((value + more) & 255 for value in range(256)))
    begin = start % 65536
    return (shifted * ((begin + size) // 65536 + 1))[begin : begin + size]


def key_of(number: int) -> tuple:
    return (number * 0x9E3779B97F4A7C15) & (2**64 - 1), number


def keys_of(text: str) -> list:
    """`1..3,7` as numbers."""
    numbers: list = []
    for piece in text.split(","):
        first, _, last = piece.partition("..")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def said(answer: dict) -> dict:
    """The answer with its message in words."""
    return {**answer, "text": bytes.fromhex(answer.pop("message", "")).decode()}


class Store:
    def __init__(self, player: str, handle: int):
        self.player, self.handle = player, handle
        self.queue = self.region = self.address = 0


class World:
    """The names of one run of a scenario, and its players."""

    def __init__(self, command: list, opening: str, folder: Path, log):
        self.command, self.opening, self.folder, self.log = command, opening, folder, log
        self.players: dict = {}
        self.stores: dict = {}
        self.names: dict = {}
        self.held: dict = {}
        self.pools: dict = {}  # name -> player, and address and size of each layer's pages
        self.later: dict = {}
        self.reaped: dict = {}
        self.tag = 1000

    # Players and names

    def player(self, name: str) -> Player:
        if name not in self.players or self.players[name].killed:
            self.players[name] = Player(self.command, self.log)
        return self.players[name]

    def ask(self, player: str, verb: str, fork: bool = False, **fields) -> dict:
        words = [f"{name}={value}" for name, value in fields.items() if value is not None]
        return self.player(player).ask(" ".join(["fork"] * fork + [verb] + words))

    def text(self, value: str) -> str:
        """What stands in a scenario, with its folder and socket put in."""
        value = value.replace("$dir", str(self.folder)).replace("\\n", "\n")
        return value.replace("$sock", f"unix:{self.folder}/s")

    def hex(self, value):
        return None if value is None else self.text(value).encode().hex() or "-"

    def number(self, value: str) -> int:
        """A number, a constant of the header without WEFT_, flags joined by |, or the handle of
        a name with $.
        """
        if value.startswith("$"):
            return self.names[value[1:]]
        if value in self.names:
            return self.names[value]
        if value.startswith("@"):
            return PLACES[value[1:]]
        if "|" in value:
            return sum(self.number(word) for word in value.split("|"))
        return NUMBERS[value] if value in NUMBERS else int(value, 0)

    def store(self, step: Step) -> Store:
        return self.stores[step.given.get("at", "a")]

    def opened(self, step: Step) -> Store:
        """The step's store, with its queue and region made."""
        store = self.store(step)
        if not store.queue:
            store.queue = int(self.ask(store.player, "queue_open", store=store.handle)["queue"])
            made = self.ask(store.player, "region_map", store=store.handle, size=REGION)
            store.region, store.address = int(made["region"]), int(made["address"])
            if not store.queue or not store.region:
                raise Failed(f"no queue or region: {made}")
        return store

    def crc(self, player: str, address: int, size: int) -> int:
        return int(self.ask(player, "crc", address=address, size=size)["crc"])

    def end(self, failed: bool) -> str:
        wrong = ""
        for player in self.players.values():
            if failed:
                player.kill()
            else:
                wrong = player.end() or wrong
        return wrong


def holds(world: World, key: str, want: str, got: dict) -> bool:
    if key == "code":
        code = int(got["code"])
        return ("0" if code >= 0 else CODES.get(code)) in want.split("|")
    if key in ("says", "lacks"):
        return (world.text(want).lower() in got["text"].lower()) == (key == "says")
    if key not in got:
        return False
    if key == "bytes":
        return got["bytes"] == "same"
    if key in ("each", "sizes", "keys", "chain"):
        return ",".join(want.split()) == got[key]
    value = int(got[key])
    if want[0] in "<>":
        bound = world.number(want[1:])
        return value > bound if want[0] == ">" else value < bound
    return value != 0 if want == "some" else value == world.number(want)
