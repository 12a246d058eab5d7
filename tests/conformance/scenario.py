"""Reads scenarios.txt, and flips an expectation of it.

A scenario is a head line and the indented steps under it:

    scenario NAME [in embedded,node,client]
        [again] [fork] VERB WORD... KEY=VALUE... [-> KEY=VALUE...]

Words are split as a shell does, so '...' keeps spaces. What follows -> is expected; a step that
names no code expects success. `again` repeats the step until it holds, at most 20 s; `fork`
runs it in a forked child. verbs.py and ops.py have the verbs.

Invariants: every step has at least one expectation, so every step can be flipped, and a flipped
step cannot hold where the step itself held: the number that is expected is another one, the
text one that no message has.
"""

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

OPENINGS = ("embedded", "node", "client")
#: Verbs that only drive the test: they have no result of the library to expect.
PLAIN = ("sleep", "kill", "stop", "cont", "wake", "file", "write", "paint")


@dataclass(frozen=True)
class Step:
    line: int
    verb: str
    words: tuple = ()
    given: dict = field(default_factory=dict)
    expected: dict = field(default_factory=dict)
    again: bool = False
    fork: bool = False


@dataclass(frozen=True)
class Scenario:
    name: str
    line: int
    openings: tuple
    steps: tuple = ()


def parse_step(text: str, line: int) -> Step:
    words = shlex.split(text, comments=True)
    left, right = words, []
    if "->" in words:
        left, right = words[: words.index("->")], words[words.index("->") + 1 :]
    again = fork = False
    while left[0] in ("again", "fork"):
        again, fork = again or left[0] == "again", fork or left[0] == "fork"
        left = left[1:]
    named = re.compile(r"[a-z_]+=", re.ASCII)
    given = dict(word.split("=", 1) for word in left[1:] if named.match(word))
    plain = tuple(word for word in left[1:] if not named.match(word))
    expected = dict(word.split("=", 1) for word in right)
    if left[0] not in PLAIN:
        expected.setdefault("code", "0")
    # A node that gets no processor for a second serves nothing for a moment: what looks,
    # looks again.
    counts = expected.get("code") == "0" and expected.get("value", "0") != "0"
    again = again or (counts and left[0] in ("match_now", "view_now"))
    return Step(line, left[0], plain, given, expected, again, fork)


def load(path: Path) -> list:
    """All scenarios of the file, in its order. A name that stands twice is an error."""
    scenarios: list = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        bare = text.strip()
        if not bare or bare.startswith("#"):
            continue
        if text[0].isspace():
            scenarios[-1] = replace(
                scenarios[-1], steps=scenarios[-1].steps + (parse_step(bare, number),)
            )
            continue
        word, name, *rest = bare.split()
        if word != "scenario" or any(known.name == name for known in scenarios):
            raise ValueError(f"line {number}: not a scenario, or a second one of its name: {bare}")
        openings = tuple(rest[1].split(",")) if rest else OPENINGS
        if not set(openings) <= set(OPENINGS):
            raise ValueError(f"line {number}: openings are {', '.join(OPENINGS)}, not {rest[1]}")
        scenarios.append(Scenario(name, number, openings))
    return scenarios


def flipped_value(key: str, value: str) -> str:
    """Another value, that no library which fulfils the first one also fulfils."""
    if key == "code":
        return "EINTERNAL" if value != "EINTERNAL" else "EBUSY"
    if key in ("says", "lacks"):
        return "\x07" if key == "says" else ""
    if value == "some":
        return "0"
    if key == "bytes":
        return "77.7"
    if re.fullmatch(r"\d+", value):
        return str(int(value) + 1)
    return "987654321"


def expectations(scenario: Scenario) -> list:
    """Every (step index, key) that is expected; what a view or a load brought counts as
    `bytes`, said or not.
    """
    found = []
    for index, step in enumerate(scenario.steps):
        found += [(index, key) for key in step.expected]
        shows = step.verb in ("load", "view", "view_now", "look") and "later" not in step.given
        tentative = step.verb == "view" and "FOLLOW" in step.given.get("flags", "")
        empty = step.verb == "view_now" and step.expected.get("value") == "0"
        if shows and step.expected.get("code", "0") == "0" and not tentative and not empty:
            if "bytes" not in step.expected and "region" not in step.given:
                found.append((index, "bytes"))
    return found


def flip(scenario: Scenario, which: int) -> Scenario:
    """The scenario with its expectation number `which` (see expectations) turned into its
    contrary.
    """
    index, key = expectations(scenario)[which]
    step = scenario.steps[index]
    expected = dict(step.expected)
    expected[key] = flipped_value(key, expected.get(key, ""))
    changed = replace(step, expected=expected, again=False)
    return replace(
        scenario, steps=scenario.steps[:index] + (changed,) + scenario.steps[index + 1 :]
    )
