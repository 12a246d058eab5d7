"""Plays all scenarios with the players of the languages, and counts.

    drive.py [--json] [--only NAME] [--opening NAME] [--flip all|first] LANGUAGE=COMMAND...

Each scenario runs once per opening that it names, in players of its own. --flip turns one
expectation after another of each scenario into its contrary and counts as passed what then
fails: `first` one of each scenario, `all` each of all.

Invariants: the status is 0 only where all that should pass passed and something was run; a line
per language is printed.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from players import Failed
from scenario import Scenario, Step, expectations, flip, load
from verbs import VERBS
from world import CODES, World, holds

AGAIN_S = 20.0
TOGETHER = 4  # runs at once: most of a run is waiting


def perform_step(world: World, step: Step) -> None:
    until = time.monotonic() + (AGAIN_S if step.again else 0)
    while True:
        got = VERBS[step.verb](world, step) or {}
        wrong = [
            f"{key}={want}"
            for key, want in step.expected.items()
            if not holds(world, key, want, got)
        ]
        if got.get("bytes", "same") != "same" and "bytes" not in step.expected:
            wrong.append("bytes=same")
        if not wrong:
            return
        if time.monotonic() >= until:
            if "code" in got:
                got = {**got, "code": CODES.get(int(got["code"]), got["code"])}
            words = " ".join(f"{key}={value}" for key, value in got.items() if value != "")
            raise Failed(f"expected {' '.join(wrong)}, got {words}")
        time.sleep(0.05)


def perform(scenario: Scenario, opening: str, command: list, log) -> str:
    """Runs the scenario with players of its own; returns what went wrong, or nothing."""
    failure = ended = ""
    with tempfile.TemporaryDirectory(prefix="weft.") as folder:
        world = World(command, opening, Path(folder), log)
        try:
            for step in scenario.steps:
                try:
                    perform_step(world, step)
                except (Failed, KeyError, ValueError) as error:
                    what = (
                        error if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
                    )
                    failure = f"line {step.line} ({step.verb}): {what}"
                    break
        finally:
            ended = world.end(bool(failure))
    return failure or ended


def play(language: str, command: list, scenarios: list, options, log) -> tuple:
    """Returns how many runs passed and failed."""
    runs = [
        (scenario, opening)
        for scenario in scenarios
        for opening in scenario.openings
        if options.opening in (None, opening)
    ]
    with ThreadPoolExecutor(TOGETHER) as pool:
        ended = list(pool.map(lambda run: perform(*run, command, log), runs))
    for (scenario, opening), wrong in zip(runs, ended, strict=True):
        if wrong:
            print(f"{language}: {scenario.name} [{opening}]: {wrong}", file=sys.stderr, flush=True)
    return ended.count(""), len(ended) - ended.count("")


def play_flipped(language: str, command: list, scenarios: list, options, log) -> tuple:
    """As play(), but with an expectation turned; a run passed where it failed because of that."""
    runs = []
    for scenario in scenarios:
        count = len(expectations(scenario))
        opening = scenario.openings[scenario.line % len(scenario.openings)]
        chosen = range(count) if options.flip == "all" else [scenario.line % count]
        runs += [(scenario, which, opening) for which in chosen]

    def unnoticed(run: tuple) -> str:
        scenario, which, opening = run
        index, key = expectations(scenario)[which]
        line = scenario.steps[index].line
        wrong = perform(flip(scenario, which), opening, command, log)
        if wrong.startswith(f"line {line} "):
            return ""
        return f"line {line}: {key} was turned, but: {wrong or 'it passed'}"

    with ThreadPoolExecutor(TOGETHER) as pool:
        ended = list(pool.map(unnoticed, runs))
    for (scenario, _, opening), wrong in zip(runs, ended, strict=True):
        if wrong:
            print(f"{language}: {scenario.name} [{opening}]: {wrong}", file=sys.stderr, flush=True)
    return ended.count(""), len(ended) - ended.count("")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print a line of JSON per language")
    parser.add_argument("--only", help="play this scenario alone")
    parser.add_argument("--opening", help="play in this opening alone")
    parser.add_argument(
        "--flip", choices=("all", "first"), help="turn expectations; every run has to fail"
    )
    parser.add_argument("players", nargs="+", metavar="LANGUAGE=COMMAND")
    options = parser.parse_args()
    scenarios = load(Path(__file__).with_name("scenarios.txt"))
    if options.only:
        scenarios = [scenario for scenario in scenarios if scenario.name == options.only]
    good = True
    with tempfile.TemporaryFile("w+") as log:
        for player in options.players:
            language, command = player.split("=", 1)
            run = play_flipped if options.flip else play
            passed, failed = run(language, shlex.split(command), scenarios, options, log)
            good = good and passed > 0 and failed == 0
            counts = {"language": language, "passed": passed, "failed": failed}
            what = (
                "flipped expectations noticed"
                if options.flip
                else f"of {len(scenarios)} scenarios in their openings"
            )
            print(
                json.dumps(counts)
                if options.json
                else f"{language}: {passed} passed, {failed} failed ({what})",
                flush=True,
            )
        log.seek(0)
        said = log.read()[-4000:]
        if said and not good:
            print(f"----- the end of what players wrote to stderr\n{said}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
