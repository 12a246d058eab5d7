"""The mechanical rules of style that one file's text shows: lengths, openings, words, layers.

Each rule is a function from a file to its violations, (line, message), and knows nothing of the
disk; planted.py holds for each one a text that breaks it, so that no rule is silent by mistake.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from functions import c_functions

Violation = tuple[int, str]
Rule = Callable[["File"], Iterator[Violation]]

C_LIKE = {".h", ".hpp", ".c", ".cpp"}
CODE = C_LIKE | {".py", ".go", ".rs"}
COLUMNS_MAX = 100
BY_HAND_COLUMNS_MAX = 128
LINES_MAX = 800
FUNCTION_LINES_MAX = 60
SCREEN_LINES = 60
TOP = {
    *{"capi", "cmake", "core", "examples", "fabric", "sdk-go", "sdk-python", "sdk-rust", "tests"},
    *{"CMakeLists.txt", "CMakePresets.json", "Dockerfile", "LICENSE", "README.md"},
}


@dataclass(frozen=True)
class File:
    path: PurePosixPath
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def generated(self) -> bool:
        return bool(re.search(r"generated", "\n".join(self.lines[:2]), re.IGNORECASE))

    @property
    def by_hand(self) -> bool:
        """weft.h, also a kept release's: one page to read, whose comments are tables."""
        return self.path.name == "weft.h"

    @property
    def is_code(self) -> bool:
        return self.path.suffix in CODE and not self.generated


def file_length(file: File) -> Iterator[Violation]:
    if file.is_code and len(file.lines) > LINES_MAX:
        yield LINES_MAX + 1, f"{len(file.lines)} lines, more than {LINES_MAX}"


def columns(file: File) -> Iterator[Violation]:
    if not file.is_code:
        return
    most = BY_HAND_COLUMNS_MAX if file.by_hand else COLUMNS_MAX
    for number, line in enumerate(file.lines, 1):
        size = len(line.expandtabs(4))  # gofmt indents with tabs
        if size > most and "http" not in line:
            yield number, f"{size} columns, more than {most}"


def _python_functions(text: str) -> Iterator[tuple[int, int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.end_lineno or node.lineno, node.name


def _go_functions(text: str) -> Iterator[tuple[int, int, str]]:
    """As gofmt lays them out: from a `func` that begins a line to the brace that is one."""
    since, name = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"func (?:\([^)]*\) )?(\w+)", line):
            since, name = number, "" if line.endswith("}") else found.group(1)
        elif line == "}" and name:
            yield since, number, name
            name = ""


def _rust_functions(text: str) -> Iterator[tuple[int, int, str]]:
    """As rustfmt lays them out: to the brace that stands where the function's line begins."""
    head = r"^( *)(?:[\w()]+ |extern \"C\" )*fn (\w+)[^;{]*\{$.*?^\1\}$"
    for found in re.finditer(head, text, re.MULTILINE | re.DOTALL):
        first = text.count("\n", 0, found.start()) + 1
        yield first, first + found.group(0).count("\n"), found.group(2)


def function_length(file: File) -> Iterator[Violation]:
    if not file.is_code:
        return
    others = {".py": _python_functions, ".go": _go_functions, ".rs": _rust_functions}
    find = others.get(file.path.suffix, c_functions)
    for first, last, name in find(file.text):
        if last - first + 1 > FUNCTION_LINES_MAX:
            yield first, f"{name} has {last - first + 1} lines, more than {FUNCTION_LINES_MAX}"


def opening(file: File) -> Iterator[Violation]:
    """A file opens with prose, what it is for: five words at least, so that a name is none."""
    if not file.is_code or not file.text.strip():
        return
    if file.path.suffix == ".py":
        prose = ast.get_docstring(ast.parse(file.text)) or ""
        found = re.match(r"(?:#.*\n)+", file.text)
        prose = prose or (found.group(0) if found else "")
    else:  # in Go behind `package NAME`, where it is not the whole package's
        text = re.sub(r"\A(//go:build [^\n]*\n\s*)?(package \w+\n)?", "", file.text)
        found = re.match(r"\s*(//[^\n]*(?:\n//[^\n]*)*|/\*.*?\*/)", text, re.DOTALL)
        prose = found.group(1) if found else ""
    if len(re.findall(r"[A-Za-z]{2,}", prose)) < 5:
        yield 1, "does not open with what it is for, in prose"


def promises(file: File) -> Iterator[Violation]:
    """A thing left to do names the condition that ends it."""
    if file.generated:
        return
    for number, line in enumerate(file.lines, 1):
        found = re.search(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b(.*)", line)
        if found and not re.search(r"\b(until|when|once|as soon as)\b", found.group(2)):
            yield number, f"{found.group(1)} without the condition that ends it"


def names(file: File) -> Iterator[Violation]:
    found = re.search(r"(^|[_-])(old|new|v\d+|impl\d*|backup|copy\d+|tmp)\.", file.path.name)
    if found:
        yield 1, f"'{file.path.name}' says when it was written, not what it is"
    if file.path.suffix in CODE and not re.fullmatch(r"[a-z0-9_.]+", file.path.name):
        yield 1, f"'{file.path.name}' is not in snake_case"


def top_level(file: File) -> Iterator[Violation]:
    first = file.path.parts[0]
    if first not in TOP and not first.startswith("."):
        yield 1, f"'{first}' is at the top of the tree, where design has no such thing"


PLACES = re.compile(r"(?<![\w.$}\])/~-])/(home|root|Users|work|mnt)/\w")
HOSTS = re.compile(r"\b(?:https?|git|ssh)://(?:[^/\s@]+@)?([A-Za-z][\w.-]*\.[A-Za-z]{2,})")
HOSTS_KNOWN = {"www.apache.org", "example.com", "example.org", "json-schema.org"}


def places(file: File) -> Iterator[Violation]:
    """Nothing names a path of some machine, or a host that the project does not own."""
    if file.path.name == "LICENSE" or file.generated:
        return
    for number, line in enumerate(file.lines, 1):
        found = PLACES.search(line)
        if found:
            yield number, f"names a path of some machine: {found.group(0)}"
        for host in HOSTS.findall(line):
            if host not in HOSTS_KNOWN:
                yield number, f"names a host: {host}"


def one_screen(file: File) -> Iterator[Violation]:
    """Not of an sdk's, which is also its package's page. The table of limits stands at an end, and
    has as many rows as there are limits: see limits.py.
    """
    if file.path.parts[0].startswith("sdk-"):
        return
    if len(file.path.parts) == 2 and file.path.name == "README.md":
        limits = file.lines.index("## Limits") if "## Limits" in file.lines else len(file.lines)
        rows = sum(line.startswith("| ") for line in file.lines[limits:])
        if len(file.lines) - rows > SCREEN_LINES:
            yield SCREEN_LINES + 1, f"{len(file.lines) - rows} lines; a screen has {SCREEN_LINES}"
