"""The top README's code, extracted and run as a reader would: installed library, pkg-config, CMake.

Each block of code is found by its language and its place; each must print what the README's own
text block behind it says. So a README that drifts from the library, or the library from it, is red.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WEFT_BUILD", TOP / "build" / "release"))
README = (TOP / "README.md").read_text()
VENV = TOP / "build" / "venv" / "bin" / "python"
PYTHON = os.environ.get("WEFT_PYTHON", str(VENV) if VENV.exists() else "python3")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def said(number: int) -> str:
    """What the README says that its code prints: text blocks but for the picture, the first."""
    return blocks("text")[number]


class Readme(unittest.TestCase):
    folder: Path
    environment: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        prefix = cls.folder / "prefix"
        install = ["cmake", "--install", str(BUILD), "--prefix", str(prefix)]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        library = next(prefix.rglob("libweft.so.1")).parent
        cls.environment = {
            **os.environ,
            "PKG_CONFIG_PATH": str(library / "pkgconfig"),
            "CMAKE_PREFIX_PATH": str(prefix),
            "LD_LIBRARY_PATH": str(library),
        }

    def run_in(self, folder: Path, *command: str | Path) -> str:
        words = [str(part) for part in command]
        done = subprocess.run(
            words, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        self.assertEqual(done.returncode, 0, f"{words}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def make(self, name: str, files: dict[str, str]) -> Path:
        folder = self.folder / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
        return folder

    def test_c_with_the_readmes_compiler_line(self) -> None:
        folder = self.make("c", {"program.c": blocks("c")[0]})
        line = re.search(r"`(cc program\.c .*?)`", README)
        self.assertIsNotNone(line)
        assert line is not None
        self.run_in(folder, "sh", "-c", f"{line.group(1)} -std=c11 -Wall -Wextra -Werror")
        self.assertEqual(self.run_in(folder, "./a.out"), said(1))

    def test_cpp_with_the_readmes_cmake_lines(self) -> None:
        project = "cmake_minimum_required(VERSION 3.25)\nproject(mine CXX)\n"
        program = "add_executable(program program.cpp)\n"
        text = project + program + blocks("cmake")[0]
        folder = self.make("cpp", {"program.cpp": blocks("cpp")[0], "CMakeLists.txt": text})
        self.run_in(folder, "cmake", "-S", ".", "-B", "build", "-DCMAKE_CXX_FLAGS=-Wall -Werror")
        self.run_in(folder, "cmake", "--build", "build")
        self.assertEqual(self.run_in(folder, "build/program"), said(1))

    def test_python(self) -> None:
        folder = self.make("python", {"program.py": blocks("python")[0]})
        self.assertEqual(self.run_in(folder, PYTHON, "program.py"), said(1))

    def test_two_processes(self) -> None:
        socket = self.folder / "weft.sock"
        files = {}
        for text in blocks("python")[1:3]:
            self.assertIn("unix:/tmp/weft.sock", text)
            files[text.split()[1]] = text.replace("/tmp/weft.sock", str(socket))
        folder = self.make("two", files)
        first = subprocess.Popen(
            [PYTHON, "first.py"],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with first:
            try:
                assert first.stdout is not None
                self.assertIn("saved", first.stdout.readline())
                self.assertEqual(self.run_in(folder, PYTHON, "second.py"), said(2))
                first.communicate("\n", timeout=60)
                self.assertEqual(first.returncode, 0)
            finally:
                first.kill()

    def test_every_link_and_every_file_that_is_named_exists(self) -> None:
        named = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"^([\w/-]+\.sh)", README, re.M)
        self.assertGreater(len(named), 8)
        for name in named:
            self.assertTrue((TOP / name).exists(), name)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    bad = len(result.failures) + len(result.errors)
    print(f"{max(result.testsRun - bad, 0)} passed, {bad} failed")
    sys.exit(0 if result.wasSuccessful() else 1)
