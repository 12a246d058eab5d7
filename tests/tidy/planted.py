"""For each rule of tidy a text that breaks it and one that keeps it: a rule that is silent on the
first, or loud on the second, is itself a violation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import layers
import rules
from rules import File, Rule

HERE = "tests/tidy/planted.py:1"
OPENING = "// Keeps the order of blocks and nothing else.\n"
LONG_BODY = "    step();\n" * 60
LINE = "int x;\n"

# rule, path, text that breaks it, text that keeps it
PLANTED: list[tuple[Rule, str, str, str]] = [
    (rules.file_length, "core/a.cpp", LINE * 801, LINE * 800),
    (rules.columns, "core/a.h", "x" * 101, "x" * 100),
    (rules.columns, "a.py", "# " + "x" * 99, "# " + "x" * 98),
    (rules.columns, "a.go", "\t" + "x" * 97, "\t" + "x" * 96),
    (
        rules.function_length,
        "core/a.cpp",
        f"namespace weft {{\nint A::f(int (*g)(int)) const noexcept {{\n{LONG_BODY}}}\n}}\n",
        f"namespace weft {{\nclass A : B<int()> {{\n{'    int a();' * 70}\n{LINE * 70}}};\n}}\n",
    ),
    (
        rules.function_length,
        "core/a.cpp",
        f"A::A(int b) : b_(b), c_{{b}} {{\n{LONG_BODY}}}\n",
        f'const char* text = R"(int f() {{\n{LONG_BODY}}})";\nint f() {{ return 1\'000; }}\n',
    ),
    (
        rules.function_length,
        "tests/unit/a_test.cpp",
        f'TEST_CASE("it {{ holds") {{\n    if (x) {{\n{LONG_BODY}    }}\n}}\n',
        f'TEST_CASE("it holds") {{\n{LONG_BODY[: 12 * 58]}}}\n',
    ),
    (
        rules.function_length,
        "a.py",
        "def f():\n" + "    pass\n" * 60,
        "def f():\n" + "    pass\n" * 59 + "\n\nX = 1\n" * 20,
    ),
    (
        rules.function_length,
        "a.go",
        "func (a *A) f(\n\tb int,\n) int {\n" + "\tstep()\n" * 57 + "}\n",
        "func f() {}\n\nvar x = []int{\n" + "\t1,\n" * 70 + "}\n",
    ),
    (rules.opening, "core/a.h", "#pragma once\n" + OPENING, OPENING + "#pragma once\n"),
    (rules.opening, "core/a.cpp", "// a.cpp\n" + LINE, "/*\n * " + OPENING[3:] + " */\n"),
    (
        rules.function_length,
        "a.rs",
        f"impl A<'_> {{\n    pub(crate) fn f(\n        a: &str,\n    ) {{\n{LONG_BODY}    }}\n}}\n",
        f"fn f(a: char) {{\n    a == '{{'\n}}\n{LINE * 70}fn g() {{\n    h()\n}}\n",
    ),
    (rules.opening, "a.rs", "use std::fmt;\n", "//! " + OPENING[3:] + "use std::fmt;\n"),
    (rules.opening, "a.go", "package a\n\nvar x int\n", "package a\n\n" + OPENING),
    (rules.opening, "a.py", "X = 1\n", '"""What the tree must keep to."""\n'),
    (rules.promises, "core/a.h", "// TO" + "DO: later\n", "// TO" + "DO: drop when 1.0 is out\n"),
    (rules.names, "core/index_old.cpp", "", ""),
    (rules.names, "core/IndexTable.cpp", "", ""),
    (rules.top_level, "src/a.cpp", "", ""),
    (rules.places, "README.md", "see /ho" + "me/me/x", "see /usr/include and $X/home/x"),
    (rules.places, "README.md", "from htt" + "ps://cdn.place.net/x", "http://localhost:80/x"),
    (rules.one_screen, "core/README.md", "x\n" * 61, "x\n" * 60),
    (
        layers.includes,
        "core/index/a.h",
        '#include "capi/options.h"\n',
        '#include "core/base/b.h"\n',
    ),
    (
        layers.includes,
        "core/index/a.h",
        '#include "core/node/b.h"\n',
        '#include "core/space/b.h"\n',
    ),
    (layers.includes, "core/write/a.h", "#include <unistd.h>\n", "#include <vector>\n"),
    (layers.includes, "core/write/a.h", "#include <sys/mman.h>\n", "#include <atomic>\n"),
    (layers.includes, "core/write/a.h", "#include <kj/async.h>\n", "#include <string>\n"),
    (layers.includes, "core/base/a.h", '#include "core/index/a.h"\n', '#include "core/base/b.h"\n'),
    (layers.includes, "fabric/net/a.h", '#include "core/node/a.h"\n', "#include <kj/async.h>\n"),
    (layers.includes, "capi/cli/a.cpp", '#include "core/base/a.h"\n', '#include "capi/weft.h"\n'),
    (layers.decides_only, "core/a.cpp", "auto t = fabric::boot_time();", "use(t);  // boot_time"),
    (
        layers.own_header_first,
        "core/a/b.cpp",
        '#include <vector>\n#include "core/a/b.h"\n',
        '#include "core/a/b.h"\n#include <vector>\n',
    ),
]


def missed(all_rules: list[tuple[str, Rule]]) -> Iterator[str]:
    for rule, path, bad, good in PLANTED:
        if not list(rule(File(PurePosixPath(path), bad))):
            yield f"{HERE}: {rule.__name__} does not see what is wrong in {bad[:60]!r}"
        loud = list(rule(File(PurePosixPath(path), good))) if good else []
        if loud:
            yield f"{HERE}: {rule.__name__} is wrong about {good[:60]!r}: {loud[0]}"
    covered = {rule for rule, *_ in PLANTED}
    for name, rule in all_rules:
        if rule not in covered:
            yield f"{HERE}: nothing is planted for: {name}"


def unnoticed(
    judge: Callable[[list[File]], list[str]], edits: list[tuple[str, str, str]], files: list[File]
) -> list[str]:
    """Of edits, each a path, a text in it and another in its place, those of which judge says no
    more than without them.
    """
    before = judge(files)
    unseen = []
    for path, text, other in edits:
        changed = [
            File(file.path, file.text.replace(text, other, 1)) if str(file.path) == path else file
            for file in files
        ]
        if judge(changed) == before:
            unseen.append(f"{path}:1: '{other}' instead of '{text}' is not noticed")
    return unseen
