"""`weft`, the command: the program that the wheel carries beside its library, in this process's
place."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """Becomes the program; its arguments and exit status are those that `weft --help` lists."""
    program = Path(__file__).with_name("weft")
    if not program.exists():
        sys.exit("weft: this package was built around a library alone: it has no command")
    os.execv(program, ["weft", *sys.argv[1:]])
