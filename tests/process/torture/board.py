"""The file that driver and workers map, as slots.h has it."""

import mmap
import struct
from pathlib import Path

STOP, FLOOR, NODE, PAUSE = range(4)
COUNTS = """
    stamps beat starts hits misses saves refused unreachable fenced odd wrong copying kills
""".split()
HEAD, SLOT, SLOTS = 16, 16, 16


class Board:
    """Words of 64 bits. The driver writes those of the head alone."""

    def __init__(self, path: Path):
        self.path = path
        path.write_bytes(bytes(8 * (HEAD + SLOT * SLOTS)))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)

    def put(self, word: int, value: int) -> None:
        struct.pack_into("<Q", self.memory, 8 * word, value)

    def get(self, word: int) -> int:
        return struct.unpack_from("<Q", self.memory, 8 * word)[0]

    def of(self, slot: int, name: str) -> int:
        return self.get(HEAD + SLOT * slot + COUNTS.index(name))

    def total(self, name: str) -> int:
        return sum(self.of(slot, name) for slot in range(SLOTS))
