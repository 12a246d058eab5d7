"""Enforces the mechanical rules of style on every file of the tree: `tests/tidy/run.sh [--fix]`.

Prints each violation as file:line: what, and counts rules, not violations. --fix lets clang-format
and ruff rewrite what they can. Files are what git knows or would add: an ignored file is nobody's.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import layers
import limits
import planted
import promises
import rules
from rules import File, Rule

TREE = Path(__file__).resolve().parents[2]
RULES: list[tuple[str, Rule]] = [
    ("files have at most 800 lines", rules.file_length),
    ("lines of code have at most 100 columns", rules.columns),
    ("functions have at most 60 lines", rules.function_length),
    ("files open with what they are for", rules.opening),
    ("what is left to do has a condition that ends it", rules.promises),
    ("names say what a file is", rules.names),
    ("the top holds only what design lists", rules.top_level),
    ("no path of some machine and no foreign host", rules.places),
    ("a top folder's README is one screen", rules.one_screen),
    ("includes point one way", layers.includes),
    ("core outside core/node asks the machine nothing", layers.decides_only),
    ("a file's own header comes first", layers.own_header_first),
]


def read_tree() -> list[File]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TREE,
        capture_output=True,
        text=True,
        check=True,
    )
    files = []
    for name in sorted(set(listed.stdout.split("\0")) - {""}):
        path = TREE / name
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            # What a fuzzer found is bytes, whatever words are among them.
            bytes_only = b"\0" in data[:4096] or name.startswith("tests/fuzz/corpus/")
            text = "" if bytes_only else data.decode("utf-8", "replace")
            files.append(File(PurePosixPath(name), text))
    return files


def report(name: str, violations: Iterable[str]) -> bool:
    found = list(violations)
    for violation in found:
        print(violation)
    print(f"{'FAILED' if found else 'ok'}: {name}")
    return not found


def tool(name: str, command: list[str]) -> bool:
    """A rule that another program decides; what it prints says where."""
    try:
        done = subprocess.run(command, cwd=TREE, capture_output=True, text=True)
    except FileNotFoundError:
        return report(name, [f"{command[0]} is not installed: tests/run.sh installs it"])
    return report(name, [] if done.returncode == 0 else [(done.stdout + done.stderr).strip()])


def missing_readmes(files: list[File]) -> list[str]:
    folders = {file.path.parts[0] for file in files if len(file.path.parts) > 1}
    have = {file.path.parts[0] for file in files if file.path.parts[1:] == ("README.md",)}
    return [
        f"{folder}/README.md:1: is missing" for folder in sorted(folders - have) if folder[0] != "."
    ]


def tools(files: list[File], fix: bool) -> list[bool]:
    formatted = [
        str(file.path)
        for file in files
        if file.path.suffix in rules.C_LIKE and not file.generated
        if not file.by_hand
    ]
    clang = ["-i"] if fix else ["--dry-run", "--Werror", "--ferror-limit=3"]
    ruff_format = ["ruff", "format", "--quiet"] + ([] if fix else ["--diff"])
    return [
        tool("C and C++ are laid out by clang-format", ["clang-format-19", *clang, *formatted]),
        tool("Python is laid out by ruff", [*ruff_format, "."]),
        tool("Python is clean for ruff", ["ruff", "check", "--output-format=concise", "."]),
        tool("generated files are fresh", ["sdk-python/regenerate.sh", "--check"]),
    ]


def main(fix: bool) -> int:
    files = read_tree()
    done = [
        report(name, (f"{file.path}:{line}: {what}" for file in files for line, what in rule(file)))
        for name, rule in RULES
    ]
    done.append(report("every top folder has a README", missing_readmes(files)))
    done.append(report("every limit is in core's table, with a test", limits.missing(files)))
    done.append(report("every promise has a row, with tests and counts", promises.missing(files)))
    unseen = [*planted.missed(RULES), *limits.blind(files), *promises.blind(files)]
    done.append(report("each rule finds what is planted for it", unseen))
    done += tools(files, fix)
    for file in files:
        if file.is_code and len(file.lines) > 500:
            print(f"note: {file.path} has {len(file.lines)} lines; more than 500 need a reason")
    print(f"{sum(done)} passed, {len(done) - sum(done)} failed")
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main("--fix" in sys.argv[1:]))
