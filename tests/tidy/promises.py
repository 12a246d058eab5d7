"""Holds the promises of tests/README.md and the tests together: each promise of the design but P7
has a row, each test that a row names exists, and each count is that of the sources.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from planted import unnoticed
from rules import File

PAGE = "tests/README.md"
PROMISES = {f"P{number}" for number in range(1, 11)} - {"P7"}
COLUMNS = 4
# Where a name with "/" lies that is not under tests/.
ELSEWHERE = ("core/", "examples/")

Tree = dict[str, str]


def _found(path: str, pattern: str) -> Callable[[Tree], int]:
    def count(tree: Tree) -> int:
        texts = [text for name, text in tree.items() if re.fullmatch(path, name)]
        return sum(len(re.findall(pattern, text, re.MULTILINE)) for text in texts)

    return count


def _listed(path: str, name: str) -> Callable[[Tree], int]:
    """Entries of a Python list of names."""

    def count(tree: Tree) -> int:
        found = re.search(rf"^{name}\b[^\n]*= \[\n(.*?)^\]", tree.get(path, ""), re.M | re.S)
        return len(found.group(1).strip().splitlines()) if found else 0

    return count


def _drops(tree: Tree) -> int:
    models = [text for name, text in tree.items() if re.fullmatch(r"tests/models/\w+\.pml", name)]
    return sum(len(set(re.findall(r"\bDROP_\w+", text)) - {"DROP_"}) for text in models)


def _process(tree: Tree) -> int:
    path = "tests/process/run.py"
    scenarios = _found(r"tests/process/scenarios\.txt", r"^scenario ")(tree)
    return scenarios + _listed(path, "LOADS")(tree) + _listed(path, "ALONE")(tree)


def _limits(tree: Tree) -> int:
    _, _, limits = tree.get("core/README.md", "").partition("## Limits")
    return len(re.findall(r"^\| (?!limit)", limits.partition("\n## ")[0], re.MULTILINE))


def _events(tree: Tree) -> int:
    found = re.search(r"kNamed = \{(.*?)\};", tree.get("tests/sim/seeds/run.cpp", ""), re.S)
    return found.group(1).count('"') // 2 if found else 0


# What stands behind a number on the page, and how it is counted.
COUNTS: dict[str, Callable[[Tree], int]] = {
    "unit tests": _found(r"tests/unit/\w+_test\.cpp", r"^TEST_CASE\("),
    "conformance scenarios": _found(r"tests/conformance/scenarios\.txt", r"^scenario "),
    "tests of processes": _process,
    "tests of commands": _found(r"tests/command/\w+_test\.py", r"^    def test_"),
    "hostile tests": _listed("tests/hostile/run.py", "TESTS"),
    "tests of reconnecting": _listed("tests/reconnect/run.py", "TESTS"),
    "patches": lambda tree: len([name for name in tree if name.endswith(".patch")]),
    "dropped orders": _found(r"tests/sim/planted\.py", r'^    "[a-z-]+": \('),
    "dropped rules": _found(r"tests/planted/rules\.py", r"^    Rule\("),
    "drops on paper": _drops,
    "named events": _events,
    "limits": _limits,
}


def _wrong_counts(page: str, tree: Tree) -> list[str]:
    wrong = []
    for words, count in COUNTS.items():
        said = [int(number) for number in re.findall(rf"\b(\d+) {words}\b", page)]
        there = count(tree)
        if not said:
            wrong.append(f"{PAGE}:1: does not say how many {words} there are ({there})")
        wrong += [
            f"{PAGE}:1: says {number} {words}; there are {there}"
            for number in said
            if number != there
        ]
    return wrong


def _wrong_names(number: int, row: str, tree: Tree) -> list[str]:
    wrong = []
    for name in re.findall(r"`([^`]+)`", row):
        path = name if name.startswith(ELSEWHERE) else f"tests/{name}"
        there = path in tree or any(file.startswith(path.rstrip("/") + "/") for file in tree)
        if name.endswith("_test"):
            there = f"tests/unit/{name}.cpp" in tree
        elif "/" not in name:
            there = f"tests/models/{name}.pml" in tree
        if not there:
            wrong.append(f"{PAGE}:{number}: there is no '{name}'")
    return wrong


def missing(files: list[File]) -> list[str]:
    """What is wrong with the page, as lines to print."""
    tree = {str(file.path): file.text for file in files}
    page = tree.get(PAGE, "")
    wrong, seen = _wrong_counts(page, tree), set()
    for number, line in enumerate(page.splitlines(), 1):
        found = re.match(r"\| \*\*(P\d+) ", line)
        if found is None:
            continue
        seen.add(found.group(1))
        cells = line.strip("|").split(" | ")
        if len(cells) != COLUMNS or not all(cell.strip() for cell in cells):
            wrong.append(f"{PAGE}:{number}: a row is promise, tests, faults, how much")
        wrong += _wrong_names(number, line, tree)
    wrong += [f"{PAGE}:1: {name} has no row" for name in sorted(PROMISES - seen)]
    return wrong


def blind(files: list[File]) -> list[str]:
    """What `missing` does not see when it is planted; nothing, if it works."""
    planted = [
        (PAGE, "| **P5 ", "| **P7 "),
        (PAGE, "`upgrade_test`", "`downgrade_test`"),
        (PAGE, "`reconnect/` (each", "`reconnects/` (each"),
        (PAGE, " patches", "1 patches"),
        ("tests/unit/tokens_test.cpp", "TEST_CASE(", "// TEST_CASE("),
        ("tests/hostile/run.py", "TESTS = [\n", "TESTS = [\n    another,\n"),
        ("tests/models/view.pml", "DROP_", "DROP_another_"),
    ]
    return unnoticed(missing, planted, files)
