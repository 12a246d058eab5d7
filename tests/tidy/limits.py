"""Holds the table of limits in core/README.md and the sources together: every constant that is a
limit by its name stands in the table, whatever the table names is in the sources, a row is of one
limit, and names a test that exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from planted import unnoticed
from rules import File

TABLE = "core/README.md"
CONSTANT = re.compile(r"\bconstexpr [\w:<> ]*?\b(k\w*(?:Max|Most|PerSecond|PerClass))\b")
# Numbers of an encoding, and bounds that no user meets.
NO_LIMITS = {"kHeadBytesMax", "kTokenBytesMax", "kPlaceMax", "kCountMax"}
SOURCES = ("core/", "capi/", "fabric/")


def _rows(table: File) -> Iterator[tuple[int, list[str]]]:
    inside = False
    for number, line in enumerate(table.lines, 1):
        inside = line == "## Limits" or (inside and not line.startswith("## "))
        if inside and line.startswith("| ") and not line.startswith("| limit"):
            yield number, [cell.strip() for cell in line.strip("|").split(" | ")]


def _tests(files: Iterable[File]) -> set[str]:
    names: set[str] = set()
    for file in files:
        path = str(file.path)
        if path.startswith("tests/unit/") and path.endswith(".cpp"):
            for found in re.finditer(r'TEST_CASE\(((?:\s*"(?:[^"\\]|\\.)*")+)', file.text):
                names.add("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found.group(1))))
        elif path.startswith("tests/") and path.endswith("scenarios.txt"):
            names.update(re.findall(r"^scenario (\w+)", file.text, re.MULTILINE))
        elif path.startswith("tests/") and path.endswith(".py"):
            names.update(re.findall(r"^ *def (\w+)", file.text, re.MULTILINE))
    return names


def missing(files: list[File]) -> list[str]:
    """What is wrong with the table, as lines to print."""
    table = next((file for file in files if str(file.path) == TABLE), None)
    if table is None:
        return [f"{TABLE}:1: is missing"]
    sources = [
        file
        for file in files
        if str(file.path).startswith(SOURCES)
        and file.path.suffix in {".h", ".cpp"}
        and not str(file.path).startswith("capi/cli/")
        and not file.path.stem.endswith("_sim")
    ]
    constants = {name for file in sources for name in CONSTANT.findall(file.text)} - NO_LIMITS
    declared = {name for file in sources for name in re.findall(r"\bk[A-Z]\w*", file.text)}
    tests, wrong, named = _tests(files), [], set()
    rows = list(_rows(table))
    for number, cells in rows:
        used = set(re.findall(r"`(k\w+)`", cells[0]))
        named |= used
        wrong += [f"{TABLE}:{number}: {name} is in no source" for name in sorted(used - declared)]
        of_row = re.findall(r"`([^`]+)`", cells[-1])
        if len(cells) != 4 or not of_row:
            wrong.append(f"{TABLE}:{number}: a row is limit, default, what happens, tests")
        if len(used) > 1:
            wrong.append(f"{TABLE}:{number}: a row is of one limit, not of {len(used)}")
        wrong += [
            f"{TABLE}:{number}: there is no test '{name}'"
            for name in of_row
            if not any(test.startswith(name) for test in tests)
        ]
    wrong += [f"{TABLE}:1: {name} is not in the table" for name in sorted(constants - named)]
    return wrong if rows else [f"{TABLE}:1: there is no table of limits"]


def blind(files: list[File]) -> list[str]:
    """What `missing` does not see when it is planted; nothing, if it works."""
    planted = [
        ("core/README.md", "`kStockMax`", "`kStokMax`"),
        ("core/README.md", "`a stock is at most", "`a stock is at least"),
        ("core/README.md", "`kStockMax`", "`kStockMax`, `kClaimsMax`"),
        ("core/cache.h", "  private:", "    static constexpr int kPlantedMax = 1;\n  private:"),
    ]
    return unnoticed(missing, planted, files)
