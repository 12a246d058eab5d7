"""What a node's metrics say, for the tests beside this file."""

from __future__ import annotations

import re
import subprocess
import unittest
from typing import ClassVar

from node import LIMIT_S, Node

SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? ([-+0-9.eE]+|[+]Inf)$")


class Scrape:
    """The text of one GET /metrics, taken apart strictly: a line that is none fails."""

    def __init__(self, text: str) -> None:
        self.help: dict[str, str] = {}
        self.type: dict[str, str] = {}
        self.values: dict[tuple[str, str], float] = {}
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name, words = line[7:].split(" ", 1)
                self.help[name] = words
            elif line.startswith("# TYPE "):
                name, kind = line[7:].split(" ")
                self.type[name] = kind
            else:
                found = SAMPLE.match(line)
                if found is None:
                    raise AssertionError(f"no sample: {line!r}")
                name, labels, value = found.groups()
                self.values[name, labels or ""] = float(value)

    def of(self, name: str, labels: str = "") -> float:
        return self.values[name, labels]


def scrape(node: Node) -> Scrape:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", node.ready["metrics"]],
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )
    return Scrape(done.stdout.decode())


class Measured(unittest.TestCase):
    """Tests of one node that serves its metrics."""

    node: ClassVar[Node]

    @classmethod
    def setUpClass(cls) -> None:
        cls.node = Node("--metrics", "127.0.0.1:0")

    @classmethod
    def tearDownClass(cls) -> None:
        assert cls.node.end() == 0
