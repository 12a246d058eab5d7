"""clang-tidy over every C++ file of capi, core and fabric that the build of $WEFT_BUILD compiles; a
file is one test.

A file that passed is not looked at again until something that it includes, a flag, a rule or
clang-tidy itself has changed: build/lint keeps a digest of all these for each.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from compiled import ROOT, Compiled, judge  # noqa: E402

TIDY = "clang-tidy-19"
BUILD = Path(os.environ.get("WEFT_BUILD", ROOT / "build" / "release"))
PASSED = ROOT / "build" / "lint"
VERSION = subprocess.run([TIDY, "--version"], capture_output=True, text=True, check=True).stdout
RULES = (ROOT / ".clang-tidy").read_text()


def digest(file: Compiled) -> str:
    """Of all that the verdict depends on. Comments count: they may be NOLINT."""
    source = file.run("-E", "-C", "-o", "-").stdout
    return hashlib.sha256("\0".join([VERSION, RULES, *file.words, source]).encode()).hexdigest()


def lint(file: Compiled) -> str:
    known = PASSED / file.name.replace("/", "-")
    now = digest(file)
    if known.exists() and known.read_text() == now:
        return ""
    command = [TIDY, "--quiet", "-p", str(BUILD), str(ROOT / file.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        known.write_text(now)
        return ""
    found = [line for line in done.stdout.splitlines() if re.match(r"/.*: (error|warning):", line)]
    return "\n".join(found) or f"{file.name}: status {done.returncode}\n{done.stderr}"


PASSED.mkdir(parents=True, exist_ok=True)
sys.exit(judge(BUILD, lint))
