"""Drops one rule of the protocols at a time from a copy of the tree, builds it, and runs the unit
tests, which must notice: each rule passes here by their failing. The test that failed is run again
on the build with every rule in place, and must pass there: one that fails anyhow notices nothing.

    run.py [--only PART_OF_THE_WORDS] [--check]

--check: only whether each rule is still where rules.py says. The copy and its build lie in
build/planted. Prints a line a rule, then `planted: N passed, N failed`.
"""

import argparse
import re
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
UNIT = BUILD / "tests/unit/weft_unit"
WHOLE = BUILD / "weft_unit_whole"  # with every rule in place
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


def tests_say(program: Path, only: str = "") -> tuple[str, str]:
    """What the unit tests say: "passed", "failed", or that they did not end, which proves nothing
    on a machine that is slow; and the test that failed, where its name is known.
    """
    command = [str(program), "--abort-after=1"]
    # Commas part names from each other.
    command += ["--test-case=" + only.replace(",", "?")] if only else []
    try:
        done = subprocess.run(command, timeout=LIMIT_S, check=False, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return f"did not end in {LIMIT_S} s", ""
    if done.returncode == 0:
        return "passed", ""
    named = re.findall(r"^TEST CASE: +(.*?) *$", done.stdout, re.MULTILINE)
    return "failed", named[-1] if named else ""


def try_rule(rule: Rule) -> tuple[str, str]:
    """What is wrong with the rule's tests; empty: they noticed, and which one did."""
    file = TREE / rule.file
    source = file.read_text()
    without = edited(source, rule.before, rule.after)
    if without is None:
        return "its source has changed: say in rules.py how it is dropped now", ""
    file.write_text(without)
    try:
        if not build():
            return "what is left does not build", ""
        said, test = tests_say(UNIT)
        if said != "failed":
            return f"nobody noticed: the unit tests {said}", ""
        if tests_say(WHOLE, test)[0] != "passed":
            return f"nobody noticed: with the rule in place a test fails as well: {test}", test
        return "", test
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
        if not build() or tests_say(UNIT)[0] != "passed":
            print("planted: with every rule in place the tests do not pass: 0 passed, 1 failed")
            return 1
        shutil.copy(UNIT, WHOLE)
    for rule in rules:
        since = time.monotonic()
        if arguments.check:
            found = edited((ROOT / rule.file).read_text(), rule.before, rule.after)
            wrong, test = "" if found is not None else "its source has changed", ""
        else:
            wrong, test = try_rule(rule)
        failed += bool(wrong)
        said = f"({time.monotonic() - since:.0f} s) {wrong or test}"
        print(f"{'FAILED' if wrong else 'ok'}: {rule.words} {said}", flush=True)
    print(f"planted: {len(rules) - failed} passed, {failed} failed")
    return 1 if failed or not rules else 0


if __name__ == "__main__":
    sys.exit(main())
