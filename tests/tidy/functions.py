"""Finds the functions of C and C++ text by their braces.

Not a parser: strings, characters and comments are blanked, then each block whose opening brace
follows a parameter list (with qualifiers, a result type or an initializer list after it) and no
control word is a function. Lambdas and nested classes count as part of the function around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_HIDDEN = re.compile(
    r'R"(?P<mark>[^\s()\\]{0,16})\(.*?\)(?P=mark)"'  # a raw string
    r"|//[^\n]*|/\*.*?\*/"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",  # but not the ' in 1'000
    re.DOTALL,
)
# A brace right behind a name, as the layout has it for values and never for blocks.
_INITIALIZER = re.compile(r"(?<=[\w>])\{[^{};]*\}")
_CONTROL = re.compile(r"\b(if|for|while|switch|catch)\b[^{}]*$")
_SCOPE = re.compile(r"\b(namespace|class|struct|union|enum)\b(?![^{}]*\))[^{}();=]*$|\bextern\s+\"")
_TAIL = (
    r"(?:const|noexcept|override|final|mutable|&&?|->[^{};]*|:[^{};]*|try|[A-Z_]+\([^()]*\)|\s)*$"
)
_FUNCTION = re.compile(r"([~\w:]+|operator[^\s(]+)\s*\([^{};]*\)\s*" + _TAIL)


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found.group(0))


def c_functions(text: str) -> Iterator[tuple[int, int, str]]:
    """Every outermost function: the line of its name, the line of its closing brace, its name."""
    code = _HIDDEN.sub(_blank, text)
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", _blank, code, flags=re.MULTILINE)
    code = _INITIALIZER.sub(_blank, code)
    stack: list[tuple[int, str] | None] = []  # the start and name of a function, else None
    since = 0  # where the statement before the next brace began
    for place in re.finditer(r"[{};]", code):
        at = place.start()
        head = code[since:at]
        if place.group() == "{":
            outer = not any(stack) and not _CONTROL.search(head) and not _SCOPE.search(head)
            found = _FUNCTION.search(head) if outer else None
            stack.append((since + found.start(), found.group(1)) if found else None)
        elif place.group() == "}" and stack:
            block = stack.pop()
            if block:
                yield code.count("\n", 0, block[0]) + 1, code.count("\n", 0, at) + 1, block[1]
        if place.group() != ";" or head.count("(") == head.count(")"):
            since = at + 1
