"""Which folder may include what: capi -> core/node -> the rest of core -> fabric's interfaces.

Outside core/node, core decides and does nothing else: no system header, no clock, no KJ, so that
the simulator runs the code that ships. The command and the examples see the ABI alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rules import C_LIKE, File, Violation

# The first folder that fits; then what its files may include of this project. The words of the ABI
# (codes, flags, structs) are everyone's, and so are core/base's values (Result, options).
ABI = ("weft.h", "capi/weft.h")
MAY_INCLUDE = [
    ("capi/cli/", ("weft.hpp", "capi/weft.hpp", "capi/cli/")),
    ("capi/", ("capi/", "core/", "fabric/")),
    ("core/node/", ("core/", "fabric/")),
    ("core/base/", ("core/base/",)),
    ("core/", ("core/", "fabric/")),
    ("fabric/", ("fabric/", "core/base/")),
    ("examples/", ("weft.hpp", "capi/weft.hpp")),
]
PROJECT = ("capi/", "core/", "fabric/", "tests/", "weft.h", "weft.hpp")
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]')

# What asks the machine something, or waits for it.
SYSTEM_HEADERS = re.compile(
    r"(sys|linux|netinet|arpa|net|asm)/.*"
    r"|(unistd|fcntl|poll|signal|time|pthread|sched|dlfcn|dirent|netdb|spawn|termios|semaphore)\.h"
    r"|thread|ctime|fstream|iostream|filesystem|random|csignal|semaphore|barrier|future"
)
KJ_HEADERS = re.compile(r"(kj|capnp)/.*|.*\.capnp\.h")
MACHINE_WORDS = re.compile(
    r"\b(clock_gettime|gettimeofday|boot_time|getenv|usleep|nanosleep|syscall|getpid"
    r"|(?:steady|system|high_resolution)_clock|random_device|this_thread)\b"
)


def _in_core(path: str) -> bool:
    return path.startswith("core/") and not path.startswith("core/node/")


def _may_include(path: str) -> tuple[str, tuple[str, ...]] | None:
    return next((row for row in MAY_INCLUDE if path.startswith(row[0])), None)


def includes(file: File) -> Iterator[Violation]:
    path = str(file.path)
    row = _may_include(path)
    if row is None or file.path.suffix not in C_LIKE or file.generated:
        return
    folder, allowed = row
    for number, line in enumerate(file.lines, 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        header = found.group(1)
        if header.startswith(PROJECT) and not header.startswith(allowed + ABI):
            yield number, f"{folder} may not include {header}"
        if _in_core(path) and header.startswith("core/node/"):
            yield number, f"core outside core/node may not include {header}"
        if _in_core(path) and (SYSTEM_HEADERS.fullmatch(header) or KJ_HEADERS.fullmatch(header)):
            yield number, f"core outside core/node may not include <{header}>"


def decides_only(file: File) -> Iterator[Violation]:
    if not _in_core(str(file.path)) or file.path.suffix not in C_LIKE:
        return
    for number, line in enumerate(file.lines, 1):
        found = MACHINE_WORDS.search(line.split("//")[0])
        if found:
            yield number, f"core outside core/node asks the machine: {found.group(1)}"


def own_header_first(file: File) -> Iterator[Violation]:
    """name.cpp includes name.h before anything else, where there is one (tidy.py tells)."""
    if file.path.suffix != ".cpp" or file.path.parts[0] not in {"capi", "core", "fabric"}:
        return
    own = file.path.with_suffix(".h").name
    seen = [found.group(1) for line in file.lines if (found := INCLUDE.match(line))]
    mine = [header for header in seen if header.rsplit("/", 1)[-1] == own]
    if mine and seen[0] != mine[0]:
        yield 1, f"includes {seen[0]} before its own header {mine[0]}"
