"""The four ABI checks, and the proof that the library loads where only a C and C++ runtime is.

 1. The exported symbols are the map's and the header's functions.
 2. abidiff finds no change against the kept dump, and finds each planted change.
 3. abi.c asserts every size, offset and constant at compile time, and misses none.
 4. The C test compiled with each kept release (releases/*/release), and today's, run against
    today's library.

WEFT_BUILD names the build directory. The build gives capi/ debug information, without which abidiff
says yes to everything: that too is checked, by the planted changes and by what the dump holds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import header

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("WEFT_BUILD", header.TOP / "build" / "release"))
LIBRARY = BUILD / "libweft.so.1"
BASELINE = HERE / "baseline.abi"
RUNTIME = {"libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libc.so.6", "ld-linux-x86-64.so.2"}
COMPILERS = [
    ["clang-19", "-x", "c", "-std=c11"],
    ["gcc", "-x", "c", "-std=c11"],
    ["clang++-19", "-x", "c++", "-std=c++17"],
    ["clang++-19", "-x", "c++", "-std=c++20"],
    ["g++", "-x", "c++", "-std=c++17"],
    ["g++", "-x", "c++", "-std=c++20"],
]

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


def output(
    *command: str | Path,
    env: dict[str, str] | None = None,
    input: str | None = None,
    timeout: float = 300,
) -> str:
    """The command's standard output; a failure carries what it printed."""
    words = [str(part) for part in command]
    done = subprocess.run(
        words, capture_output=True, text=True, env=env, input=input, timeout=timeout
    )
    if done.returncode != 0:
        raise AssertionError(
            f"{' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def exported(library: Path) -> set[str]:
    """Names of the defined dynamic symbols, but for the version's own."""
    lines = output("nm", "-D", "--defined-only", library).splitlines()
    return {line.split()[2].split("@")[0] for line in lines if line.split()[1] != "A"}


def abidiff(before: Path, after: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["abidiff", "--no-show-locs", before, after], capture_output=True, text=True
    )


class Header(unittest.TestCase):
    def setUp(self) -> None:
        self.text = header.HEADER.read_text()

    def test_it_compiles_alone_without_a_warning_and_without_padding(self) -> None:
        for compiler in COMPILERS:
            with self.subTest(compiler=" ".join(compiler)):
                output(*compiler, *STRICT, "-Wpadded", "-include", header.HEADER, "-", input="")

    def test_every_size_offset_and_constant_is_as_asserted(self) -> None:
        for compiler in COMPILERS:
            with self.subTest(compiler=" ".join(compiler)):
                output(*compiler, *STRICT, f"-I{header.HEADER.parent}", HERE / "abi.c")

    def test_the_assertions_miss_no_constant_and_no_field(self) -> None:
        asserted = (HERE / "abi.c").read_text()
        self.assertEqual(
            set(re.findall(r"^CONSTANT\((\w+), ", asserted, re.MULTILINE)),
            set(header.literals(self.text)),
        )
        self.assertEqual(
            re.findall(r"^FIELD\((\w+), (\w+), ", asserted, re.MULTILINE), header.fields(self.text)
        )
        self.assertEqual(
            re.findall(r"^TYPE\((\w+), ", asserted, re.MULTILINE),
            list(dict.fromkeys(struct for struct, _ in header.fields(self.text))),
        )

    def test_no_number_is_taken_twice_and_none_that_is_kept_free(self) -> None:
        groups = {
            "WEFT_OP_": {9, 13, 15},
            "WEFT_IN_": {1, 3, 4},
            "WEFT_MISS_": set(),
            "WEFT_E": set(),
        }
        groups["flag"] = {0x10}
        taken: dict[str, list[int]] = {group: [] for group in groups}
        for name, literal in header.literals(self.text).items():
            group = (
                "flag"
                if literal.startswith("0x")
                else next((g for g in groups if name.startswith(g)), None)
            )
            if group and not name.startswith("WEFT_REUSE_"):  # two bits, three words
                taken[group].append(int(literal, 0))
        for group, numbers in taken.items():
            self.assertGreater(len(numbers), 0, group)
            self.assertEqual(len(numbers), len(set(numbers)), f"{group}: two names for one number")
            self.assertFalse(
                set(numbers) & groups[group], f"{group}: a number that capi/ABI.md keeps free"
            )

    def test_the_conformance_list_plays_every_kind_and_flag(self) -> None:
        played = (header.TOP / "tests" / "conformance" / "scenarios.txt").read_text()
        for name, literal in header.literals(self.text).items():
            kind = name.startswith("WEFT_OP_")
            word = name.removeprefix("WEFT_OP_" if kind else "WEFT_")
            if kind:
                self.assertRegex(played, rf"(?m)^ +(again |fork )?{word.lower()} ", name)
            elif literal.startswith("0x") and word != "LIST":  # whatever has keys= is a list
                self.assertRegex(played, rf"flags=[A-Z_|]*\b{word}\b", name)

    def test_its_functions_are_those_of_the_map(self) -> None:
        mapped = re.findall(
            r"^    (weft_\w+);$", (header.TOP / "capi" / "weft.map").read_text(), re.MULTILINE
        )
        self.assertEqual(sorted(mapped), sorted(header.declarations(self.text)))


class Library(unittest.TestCase):
    def test_it_exports_the_functions_of_the_map_and_nothing_else(self) -> None:
        self.assertEqual(exported(LIBRARY), set(header.declarations(header.HEADER.read_text())))

    def test_its_name_and_its_needs_are_a_c_and_cpp_runtime(self) -> None:
        dynamic = output("readelf", "-d", LIBRARY)
        self.assertIn("Library soname: [libweft.so.1]", dynamic)
        self.assertNotIn("RPATH", dynamic)
        self.assertNotIn("RUNPATH", dynamic)
        self.assertLessEqual(set(re.findall(r"Shared library: \[(.*?)\]", dynamic)), RUNTIME)
        loaded = {Path(line.split()[0]).name for line in output("ldd", LIBRARY).splitlines()}
        self.assertLessEqual(loaded, RUNTIME | {"linux-vdso.so.1"})

    def test_programs_of_kept_releases_and_of_today_run_against_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            today = build_release_program(Path(folder))
            for program in [today, *sorted(HERE.glob("releases/*/release"))]:
                with self.subTest(program=str(program)):
                    said = output(program, env={"LD_LIBRARY_PATH": str(BUILD)}, timeout=120)
                    self.assertRegex(said, r"^release: [1-9]\d+ checks")

    def test_submit_and_reap_allocate_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            program = build_release_program(Path(folder), "allocations")
            said = output(
                program,
                Path(folder) / "socket",
                env={"LD_LIBRARY_PATH": str(BUILD)},
                timeout=300,
            )
            self.assertRegex(said, r"^(allocations: 0 in [1-9]\d+ ops\n){3}$")

    def test_a_bare_root_directory_is_enough_to_load_it_and_proc_to_run_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            program = build_release_program(root)
            for path in re.findall(
                r"(/\S+) \(0x", output("ldd", program, env={"LD_LIBRARY_PATH": str(BUILD)})
            ):
                place = root / ("lib64" if "ld-linux" in path else "lib")
                place.mkdir(exist_ok=True)
                shutil.copy(path, place)
            holds = {path.name for path in root.rglob("*") if path.is_file()}
            self.assertLessEqual(holds, RUNTIME | {"libweft.so.1", "release"})
            own = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
            environment = {"LD_LIBRARY_PATH": "/lib", "PATH": os.environ["PATH"]}
            said = output(*own, "chroot", root, "/release", "load", env=environment, timeout=120)
            self.assertRegex(said, "^release: loaded weft")
            (root / "proc").mkdir()
            enter = 'mount --rbind /proc "$0/proc" && exec chroot "$0" /release'
            said = output(*own, "sh", "-c", enter, root, env=environment, timeout=120)
            self.assertRegex(said, r"^release: [1-9]\d+ checks")


def build_release_program(folder: Path, name: str = "release") -> Path:
    program = folder / name
    flags = [
        "-std=c11",
        "-O2",
        f"-I{header.HEADER.parent}",
        f"-L{BUILD}",
        "-Wl,--no-as-needed",
        "-l:libweft.so.1",
    ]
    output("clang-19", HERE / f"{name}.c", *flags, "-o", program)
    return program


class Abidiff(unittest.TestCase):
    """Against the kept dump: the newest release's, or baseline.abi where there is none yet."""

    def kept(self) -> Path:
        releases = sorted(
            HERE.glob("releases/*/weft.abi"),
            key=lambda path: [int(n) for n in path.parent.name.split(".")],
        )
        return releases[-1] if releases else BASELINE

    def test_nothing_changed_against_the_kept_dump(self) -> None:
        done = abidiff(self.kept(), LIBRARY)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_kept_dump_has_the_types_and_not_only_names(self) -> None:
        text = self.kept().read_text()
        for struct, field in header.fields(header.HEADER.read_text()):
            self.assertIn(f"name='{field}'", text, f"{struct}.{field}")

    def test_a_planted_change_turns_it_red(self) -> None:
        text = header.HEADER.read_text()
        planted = {
            "a reordered field": (
                r"    uint32_t (space);\n    uint32_t (region);",
                r"    uint32_t \2;\n    uint32_t \1;",
            ),
            "a wider field": (r"uint16_t part;", r"uint32_t part;"),
            "a field more": (r"(    int32_t status;\n\} weft_item;)", r"    uint64_t more;\n\1"),
            "another parameter": (
                r"weft_close\(weft_store \*store\)",
                r"weft_close(weft_store *store, int32_t how)",
            ),
            "another result": (r"uint32_t weft_abi\(void\)", r"uint64_t weft_abi(void)"),
            "a function less": (r"WEFT_API int32_t weft_queue_fd\(weft_queue \*queue\);", ""),
        }
        with tempfile.TemporaryDirectory() as folder:
            same = header.build_stand_in(text, Path(folder) / "same")
            done = abidiff(self.kept(), same)
            self.assertEqual(done.returncode, 0, f"the header as it is: {done.stdout}{done.stderr}")
            for name, (pattern, replacement) in planted.items():
                changed, count = re.subn(pattern, replacement, text)
                with self.subTest(planted=name):
                    self.assertEqual(count, 1, f"{name}: the header has no such text")
                    other = header.build_stand_in(changed, Path(folder) / name.replace(" ", "-"))
                    done = abidiff(self.kept(), other)
                    self.assertNotEqual(
                        done.returncode & 4, 0, f"{name}: abidiff saw nothing\n{done.stdout}"
                    )


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    bad = len(result.failures) + len(result.errors)
    print(f"{max(result.testsRun - bad, 0)} passed, {bad} failed")
    sys.exit(0 if result.wasSuccessful() else 1)
