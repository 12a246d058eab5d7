"""A reader or a writer in Python of a torture run: worker.py ROLE SOCKET BOARD SLOT SEED.

The steps of worker.cpp, by the package weft. Invariants: as there; what blocks hold is
../content.h's, computed by numpy.
"""

import collections
import mmap
import random
import sys
import time

import numpy as np
import weft

KEYS, PART, HELD = 400, 16384, 24
SIZES = (256, 4096, 40000, 262144)
WORD = (1 << 64) - 1
STAMPS, BEAT, STARTS, HITS, MISSES, SAVES, REFUSED, UNREACHABLE, FENCED, ODD, WRONG, COPYING = (
    range(12)
)
STOP, FLOOR, NODE, PAUSE = range(4)
PASSING = (weft.PeerError, weft.TimedOutError, weft.FencedError, weft.NoMemoryError)
REFUSALS = (weft.ExistsError, weft.HeldError, weft.QuotaError, weft.NoMemoryError)
PLACES = np.arange(0, SIZES[-1], 8, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def key_of(number: int) -> int:
    return mix(number + 1) << 64 | mix((number + 0x9E3779B97F4A7C15) & WORD)


def content(number: int, version: int, part: int, stamp: int, start: int, size: int) -> np.ndarray:
    """Bytes [start, start + size) of a part, as words."""
    seed = mix(stamp ^ mix(number ^ mix(version ^ mix(part + 7))))
    words = PLACES[start // 8 : (start + size) // 8] ^ np.uint64(seed)
    if start == 0:
        words[0] = stamp
    return words


class Worker:
    def __init__(self, socket: str, board: str, slot: int, seed: int) -> None:
        with open(board, "r+b") as file:
            self.words = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint64)
        self.at, self.id = 16 + 16 * slot, slot
        self.dice = random.Random(seed)
        self.held: collections.deque = collections.deque()
        self.store = self.patiently(lambda: weft.Store(f"connect={socket},timeout_ms=5000"))
        self.any = self.patiently(
            lambda: self.store.namespace("torture/any", part_bytes=0, write_s=1)
        )
        self.parts = self.patiently(
            lambda: self.store.namespace(
                "torture/parts", parts=2, part_bytes=PART, write_s=1, pin_s=30
            )
        )
        self.words[self.at + COPYING] = 0
        self.count(STARTS)

    def count(self, what: int, by: int = 1) -> int:
        self.words[self.at + what] += np.uint64(by)
        return int(self.words[self.at + what])

    def board(self, word: int) -> int:
        return int(self.words[word])

    def stamp(self) -> int:
        return (self.id + 1) << 48 | self.count(STAMPS)

    def odd(self, error: Exception, what: str) -> None:
        if self.count(ODD) < 20:
            print(f"python {self.id}: ODD: {what}: {error!r}", file=sys.stderr)

    def wrong(self, what: str, of: tuple, seen: str) -> None:
        self.count(WRONG)
        number, version, floor, part = of
        where = f"key {number} part {part} version {version} floor {floor}"
        print(f"python {self.id}: WRONG: {what}: {where}: {seen}", file=sys.stderr, flush=True)
        sys.exit(3)

    def patiently(self, make):
        """A fault may have taken the node: what needs it is tried again until there is one."""
        while True:
            self.count(BEAT)
            try:
                return make()
            except weft.Error as error:
                if self.board(STOP):
                    sys.exit(0)
                if not isinstance(error, (*PASSING, weft.ClosedError)):
                    self.odd(error, "open")
                time.sleep(0.02)

    def reopen(self) -> None:
        self.let_go(0)
        for name in ("any", "parts"):
            try:
                getattr(self, name).close()
            except weft.Error as error:
                self.odd(error, "close")
            made = self.patiently(lambda name=name: self.store.namespace(f"torture/{name}"))
            setattr(self, name, made)

    def told(self, error: weft.Error, what: str) -> None:
        """Counts how a call ended."""
        if isinstance(error, weft.FencedError):
            self.count(FENCED)
            self.reopen()
        elif isinstance(error, (weft.PeerError, weft.TimedOutError)):
            self.count(UNREACHABLE)
        elif isinstance(error, REFUSALS) or (
            what == "end" and isinstance(error, (weft.InvalidError, weft.ClosedError))
        ):
            self.count(REFUSED)
        elif isinstance(error, weft.MissError):
            self.count(MISSES)
        else:
            self.odd(error, what)

    def asked(self, space: weft.Namespace) -> tuple:
        floor = self.board(FLOOR)
        return self.dice.randrange(KEYS), space.version, floor, 0

    def judge(self, found, size: int, of: tuple, what: str) -> int:
        self.count(HITS)
        number, version, floor, part = of
        if version < floor:
            self.wrong(what, of, "older than the floor")
        if len(found) != size:
            self.wrong(what, of, f"{len(found)} bytes")
        words = np.frombuffer(found, np.uint64)
        stamp = int(words[0])
        right = content(number, version, part, stamp, 0, size)
        if stamp == 0 or not np.array_equal(words, right):
            self.wrong(what, of, f"stamp {stamp:#x}, first at {int((words != right).argmax()) * 8}")
        return stamp

    def run(self, reads: bool) -> None:
        steps = (
            [self.view, self.look, self.load, self.load_pinned]
            if reads
            else [self.save_list, *[self.reserve] * 2, self.remove]
            + [self.save_parts] * 2
            + [self.save] * 2
        )
        while not self.board(STOP):
            what = self.dice.choice(steps)
            try:
                what()
            except weft.Error as error:
                self.words[self.at + COPYING] = 0
                self.told(error, what.__name__)
            self.count(BEAT)
            time.sleep(self.dice.random() * self.board(PAUSE) / 1e6)
        self.let_go(0)

    def view(self) -> None:
        of = self.asked(self.any)
        view = self.any.fetch(key_of(of[0]))
        if view is None:
            self.count(MISSES)
            return
        stamp = self.judge(view, SIZES[of[0] % 4], of, "fetch")
        self.held.append((view, of, stamp))
        self.let_go(HELD)

    def let_go(self, left: int) -> None:
        while len(self.held) > left:
            view, of, stamp = self.held.popleft()
            of = (*of[:2], 0, of[3])  # a view stands, whatever is fenced meanwhile
            if self.judge(view, SIZES[of[0] % 4], of, "held view") != stamp:
                self.wrong("held view", of, "another attempt's bytes")
            view.release()

    def look(self) -> None:
        first, *rest = self.asked(self.any)
        numbers = [(first + i) % KEYS for i in range(8)]
        views = self.any.view_list([key_of(number) for number in numbers])
        for number, view in zip(numbers, views, strict=False):
            self.judge(view, SIZES[number % 4], (number, *rest), "view_list")
        views.release()

    def load(self) -> None:
        of = self.asked(self.any)
        memory = np.full(SIZES[-1], 0xEE, np.uint8)
        found = self.any.load(key_of(of[0]), memory)
        if found is None:
            self.count(MISSES)
        else:
            self.judge(found, SIZES[of[0] % 4], of, "load")

    def load_pinned(self) -> None:
        """Both parts of a pinned block: there, each whole, and both of one attempt."""
        number, version, floor, _ = self.asked(self.parts)
        node, since = self.board(NODE), time.monotonic()
        with self.parts.find(key_of(number), pin=True) as found:
            if not found.blocks:
                self.count(MISSES)
                return
            stamps = []
            for part in range(2):
                of = (number, version, floor, part)
                got = self.parts.load(key_of(number), part=part)
                holds = self.board(NODE) == node and not node % 2 and time.monotonic() - since < 20
                if got is None:
                    if holds:
                        self.wrong("pinned", of, "a miss")
                    self.count(MISSES)
                    return
                stamps.append(self.judge(got, PART, of, "load pinned"))
                if holds and stamps[0] != stamps[-1]:
                    self.wrong("pinned", of, "parts of two attempts")

    def copied(self, save, *given, **named):
        self.words[self.at + COPYING] = 2
        try:
            return save(*given, **named)
        finally:
            self.words[self.at + COPYING] = 0

    def filled(self, of: tuple) -> np.ndarray:
        return content(*of[:2], 0, self.stamp(), 0, SIZES[of[0] % 4])

    def save(self) -> None:
        of = self.asked(self.any)
        replace, ttl_s = self.dice.random() < 1 / 8, int(self.dice.random() < 1 / 8)
        self.copied(self.any.save, key_of(of[0]), self.filled(of), replace=replace, ttl_s=ttl_s)
        self.count(SAVES)

    def save_list(self) -> None:
        first, *rest = self.asked(self.any)
        numbers = [(first + i) % KEYS for i in range(8)]
        blocks = [self.filled((number, *rest)) for number in numbers]
        keys = [key_of(number) for number in numbers]
        self.count(SAVES, self.copied(self.any.save_list, keys, blocks, chain=False))

    def remove(self) -> None:
        self.any.remove(key_of(self.asked(self.any)[0]))

    def reserve(self) -> None:
        """In four steps with a pause between them."""
        of = self.asked(self.any)
        size, wait = SIZES[of[0] % 4], self.dice.random() < 1 / 4
        made = self.any.reserve(key_of(of[0]), size, wait_writer=wait)
        block = self.filled(of).view(np.uint8)
        self.words[self.at + COPYING] = 1
        for start in range(0, size, size // 4):
            made.array[start : start + size // 4] = block[start : start + size // 4]
            time.sleep(self.dice.random() * 0.002)
        self.words[self.at + COPYING] = 0
        try:
            made.abort() if self.dice.random() < 1 / 8 else made.commit()
            self.count(SAVES)
        except weft.Error as error:
            self.told(error, "end")

    def save_parts(self) -> None:
        """Part 1 whole, part 0 in two ranges; now and then it is given up in between."""
        number, version, *_ = self.asked(self.parts)
        key, mark, published = key_of(number), self.stamp(), False
        try:
            for part, start, size in ((1, 0, PART), (0, PART // 2, PART // 2), (0, 0, PART // 2)):
                block = content(number, version, part, mark, start, size)
                published = self.copied(self.parts.save, key, block, part=part, start=start)
                if published or self.dice.random() < 1 / 16:
                    break
        except weft.Error as error:
            self.told(error, "save part")
        if published:
            self.count(SAVES)
        else:
            self.drop_parts(key)

    def drop_parts(self, key: int) -> None:
        """Until the node has heard it: what this writer saves of the block next would join what is
        left of it."""
        while True:
            try:
                self.parts.drop_unfinished(key)
                return
            except weft.Error as error:
                self.told(error, "end")
                away = isinstance(error, (weft.PeerError, weft.TimedOutError))
                if not away or self.board(STOP):
                    return
                self.count(BEAT)
                time.sleep(0.001)


if __name__ == "__main__":
    role, *rest, slot, seed = sys.argv[1:]
    Worker(*rest, int(slot), int(seed)).run(role == "reader")
