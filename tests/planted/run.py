"""Drops one rule of protocols 1, 3 and 4 at a time from a copy of the tree, builds it, and runs the
unit tests, which must notice: each rule passes here by their failing.

    run.py [--only PART_OF_THE_WORDS] [--check]

--check: only whether each rule is still where rules.py says. The copy and its build lie in
build/planted. Prints a line a rule, then `planted: N passed, N failed`.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "sim"))
sys.path.insert(0, str(Path(__file__).parent))
from planted import edited  # noqa: E402
from rules import RULES, Rule  # noqa: E402

TREE = ROOT / "build" / "planted" / "tree"
BUILD = ROOT / "build" / "planted" / "build"
COPIED = ("CMakeLists.txt", "CMakePresets.json", "cmake", "fabric", "core", "capi", "tests")
LIMIT_S = 300


def copy_tree() -> None:
    """Files that are as they were keep their times, so that only what differs is built."""
    for name in COPIED:
        source = ROOT / name
        for file in [source] if source.is_file() else sorted(source.rglob("*")):
            to = TREE / file.relative_to(ROOT)
            if not file.is_file() or "__pycache__" in file.parts:
                continue
            if not to.exists() or to.read_bytes() != file.read_bytes():
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, to)


def build() -> bool:
    if not (BUILD / "build.ninja").exists():
        configure = ["cmake", "--preset", "release", "-B", str(BUILD)]
        subprocess.run(configure, cwd=TREE, check=True, stdout=subprocess.DEVNULL)
    command = ["ninja", "-C", str(BUILD), "weft_unit"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        print(done.stdout[-3000:])
    return done.returncode == 0


def tests_say() -> str:
    """What the unit tests say: "passed", "failed", or that they did not end, which proves nothing
    on a machine that is slow.
    """
    command = [str(BUILD / "tests/unit/weft_unit"), "--abort-after=1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        done = subprocess.run(command, timeout=LIMIT_S, check=False, **quiet)
    except subprocess.TimeoutExpired:
        return f"did not end in {LIMIT_S} s"
    return "failed" if done.returncode else "passed"


def try_rule(rule: Rule) -> str:
    """What is wrong with the rule's tests; empty: they noticed."""
    file = TREE / rule.file
    source = file.read_text()
    without = edited(source, rule.before, rule.after)
    if without is None:
        return "its source has changed: say in rules.py how it is dropped now"
    file.write_text(without)
    try:
        if not build():
            return "what is left does not build"
        said = tests_say()
        return "" if said == "failed" else f"nobody noticed: the unit tests {said}"
    finally:
        file.write_text(source)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    rules = [rule for rule in RULES if arguments.only in rule.words]
    failed = 0
    if not arguments.check:
        copy_tree()
        if not build() or tests_say() != "passed":
            print("planted: with every rule in place the tests do not pass: 0 passed, 1 failed")
            return 1
    for rule in rules:
        since = time.monotonic()
        if arguments.check:
            found = edited((ROOT / rule.file).read_text(), rule.before, rule.after)
            wrong = "" if found is not None else "its source has changed"
        else:
            wrong = try_rule(rule)
        failed += bool(wrong)
        seconds = time.monotonic() - since
        print(f"{'FAILED' if wrong else 'ok'}: {rule.words} ({seconds:.0f} s) {wrong}", flush=True)
    print(f"planted: {len(rules) - failed} passed, {failed} failed")
    return 1 if failed or not rules else 0


if __name__ == "__main__":
    sys.exit(main())
