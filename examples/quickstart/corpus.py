"""The text that the model of the quickstart is trained and judged on: what every machine with a
Python has.

A token is a byte. The standard library's modules are the first training text, its own tests the
second one (what the fine-tuned weights have seen). Files are held out by a checksum of their name
alone, so that a file held out here is held out on every machine and in every version of Python, and
no split has to be stored.
"""

import pathlib
import sysconfig
import zlib

HELD_OUT_ONE_IN = 20
"""One file of twenty is never trained on."""


def is_held_out(name: str) -> bool:
    """Says whether the file `name`, a path relative to the standard library, is kept from
    training."""
    return zlib.crc32(name.encode()) % HELD_OUT_ONE_IN == 0


def files(tests: bool = False) -> dict[str, bytes]:
    """Returns name -> bytes of the standard library's modules, or of its tests, in order of their
    names."""
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    found = {}
    for path in sorted(root.rglob("*.py")):
        folders = path.relative_to(root).parts[:-1]
        if "site-packages" in folders or "dist-packages" in folders or "lib2to3" in folders:
            continue
        if any(folder in ("test", "tests", "idle_test") for folder in folders) == tests:
            found["/".join((*folders, path.name))] = path.read_bytes()
    return found


def split(tests: bool = False) -> tuple[bytes, dict[str, bytes]]:
    """Returns the training text (files joined by a zero byte) and the held-out files."""
    all_files = files(tests)
    held_out = {name: text for name, text in all_files.items() if is_held_out(name)}
    train = b"\0".join(text for name, text in all_files.items() if name not in held_out)
    return train, held_out
