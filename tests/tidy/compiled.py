"""The C++ files of capi, core and fabric as a build compiles them, for the checks that ask a
compiler's front end about each (lint.py, aarch64.sh).

Invariants: a file comes once, with the flags that it ships with; a check that judged no file has
failed.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
OURS = re.compile(r"(capi|core|fabric)/.*\.cpp$")


class Compiled(NamedTuple):
    """A file of ours and its compiler's words, without a launcher before them and without what
    they would write."""

    name: str
    directory: str
    words: list[str]

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """The compiler's front end; `more` says what it is to do."""
        words = [self.words[0], *more, *self.words[1:], str(ROOT / self.name)]
        return subprocess.run(
            words, cwd=self.directory, capture_output=True, text=True, check=False
        )


def compiled(build: Path) -> list[Compiled]:
    found = {}
    for command in json.loads((build / "compile_commands.json").read_text()):
        name = os.path.relpath(command["file"], ROOT)
        if OURS.match(name):
            words = shlex.split(command["command"])
            first = next(i for i, word in enumerate(words) if re.search(r"clang\+\+[-\d]*$", word))
            words = words[first : words.index("-o")]
            found[name] = Compiled(name, command["directory"], words)
    return [found[name] for name in sorted(found)]


def judge(build: Path, check: Callable[[Compiled], str]) -> int:
    """Runs the check on each file, as many at once as there are processors. What it says of a file
    is what is wrong with it; what it says of several, a header say, is printed once. Returns the
    status to end with."""
    if not (build / "compile_commands.json").exists():
        print(f"{build} is not built", file=sys.stderr)
        return 1
    files = compiled(build)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = list(pool.map(check, files))
    lines = {line.replace(f"{ROOT}/", "") for words in said for line in words.splitlines()}
    print(*sorted(lines), sep="\n", end="\n" if lines else "")
    failed = sum(map(bool, said))
    print(f"{len(files) - failed} passed, {failed} failed")
    return 1 if failed or not files else 0
