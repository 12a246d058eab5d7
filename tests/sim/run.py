"""Random runs of the shipping core by seed, and the bugs that they must find.

    run --seeds N [--first S] [--json]   N seeds from S on ("commit": from the commit's hash):
                                         how many a second, how often each named event came
    run --seed S [--trace] [...]         one seed; a failing one prints the words that repeat it
    run --planted [NAME...]              applies each of planted/*.patch (or the named ones) to what
                                         ships and says which seed found it, of at most 2,000
    run --check                          does each patch still apply?

Everything is built in $WEFT_BUILD (build/release). For a planted bug only the files that the patch
changes, and those that include them, are compiled again.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WEFT_BUILD", ROOT / "build" / "release"))
PATCHES = ROOT / "tests" / "sim" / "planted"
SHADOWS = BUILD / "tests" / "sim" / "shadows"
TARGET = "weft_seeds"
SEEDS_MOST = 2000
LIMIT_S = 900  # for the seeds of one planted bug


def build() -> Path:
    """The simulator of what ships."""
    done = subprocess.run(
        ["ninja", "-C", str(BUILD), TARGET], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.stdout[-3000:] + done.stderr[-1000:])
    return BUILD / "tests" / "sim" / "seeds" / TARGET


def files_of(patch: Path) -> list[str]:
    return re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.MULTILINE)


def plant(patch: Path, shadow: Path) -> str:
    """Copies what the patch changes into the shadow and changes it there; what is wrong with it."""
    shutil.rmtree(shadow, ignore_errors=True)
    for file in files_of(patch):
        (shadow / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, shadow / file)
    # The shadow may lie inside a working tree, which git would look at.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(shadow.parent)}
    done = subprocess.run(
        ["git", "apply", "-p1", "--whitespace=nowarn", str(patch)],
        cwd=shadow,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    same = [
        file for file in files_of(patch) if (shadow / file).read_text() == (ROOT / file).read_text()
    ]
    return done.stderr.strip() or ", ".join(f"{file} is as it was" for file in same)


def included_by() -> dict[str, set[str]]:
    """By object of the simulator: the files of the tree that it was made of."""
    told = subprocess.run(
        ["ninja", "-C", str(BUILD), "-t", "deps"], capture_output=True, text=True, check=True
    ).stdout
    made: dict[str, set[str]] = {}
    current: set[str] = set()
    for line in told.splitlines():
        if line and not line.startswith(" "):
            current = made.setdefault(line.split(":")[0], set())
        elif line:
            current.add(os.path.relpath((BUILD / line.strip()).resolve(), ROOT))
    # Of the simulator's own files only reads.cpp looks into an index itself.
    own = re.compile(rf"/{TARGET}\.dir/(?!__|reads\.)")
    return {
        name: files
        for name, files in made.items()
        if f"/{TARGET}.dir/" in name and not own.search(name)
    }


def compile_one(command: dict[str, str], shadow: Path) -> str:
    """One file again, out of the shadow where it has it; the object's path."""
    words = shlex.split(command["command"])
    source = os.path.relpath(command["file"], ROOT)
    out = shadow / (source.replace("/", "-") + ".o")
    words[words.index("-o") + 1] = str(out)
    if (shadow / source).exists():
        words[words.index("-c") + 1] = str(shadow / source)
    first = next(i for i, word in enumerate(words) if re.search(r"clang\+\+[-\d]*$", word))
    words[first + 1 : first + 1] = [f"-I{shadow}"]
    words = [word for word in words if word not in ("-O3", "-g1", "-Werror")] + ["-O1", "-w"]
    subprocess.run(words, cwd=command["directory"], check=True)
    return str(out)


def build_planted(patch: Path) -> Path:
    shadow = SHADOWS / patch.stem
    wrong = plant(patch, shadow)
    if wrong:
        raise RuntimeError(f"it does not apply any more: {wrong}")
    changed = set(files_of(patch))
    # Only those that hold code of what is changed: their lines' table names the file.
    names = [f"\0{Path(file).name}\0".encode() for file in changed]
    objects = [
        name
        for name, files in included_by().items()
        if files & changed and any(one in (BUILD / name).read_bytes() for one in names)
    ]
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    of = {shlex.split(command["command"])[-3]: command for command in commands}
    link = subprocess.run(
        ["ninja", "-C", str(BUILD), "-t", "commands", "-s", f"tests/sim/seeds/{TARGET}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = shlex.split(link.split("&&")[1])
    with ThreadPoolExecutor(2) as workers:
        made = workers.map(lambda name: (name, compile_one(of[name], shadow)), objects)
        for name, planted_object in made:
            words[words.index(name)] = planted_object
    program = shadow / TARGET
    words[words.index("-o") + 1] = str(program)
    subprocess.run(words, cwd=BUILD, check=True)
    return program


def find(patch: Path) -> str:
    """Which seed finds the bug."""
    program = build_planted(patch)
    command = [str(program), "--seeds", str(SEEDS_MOST), "--find"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    found = re.search(r"seed (\d+) fails: (.*)", done.stdout)
    if not found:
        raise RuntimeError(f"nobody noticed in {SEEDS_MOST} seeds")
    seed, what = found.groups()
    # What fails without the bug as well, such as a crash of the simulator, does not find it.
    alone = [str(build()), "--seed", seed]
    if subprocess.run(alone, capture_output=True, timeout=LIMIT_S, check=False).returncode != 0:
        raise RuntimeError(f"seed {seed} fails without it too: {what}")
    return f"seed {seed}: {what}"


def planted(names: list[str], check: bool) -> int:
    if not check:
        build()
    patches = [
        patch for patch in sorted(PATCHES.glob("*.patch")) if not names or patch.stem in names
    ]
    failed = 0
    for done, patch in enumerate(patches, 1):
        since = time.monotonic()
        try:
            wrong = plant(patch, SHADOWS / patch.stem) if check else ""
            said = wrong or ("applies" if check else find(patch))
        except (RuntimeError, subprocess.SubprocessError) as error:
            wrong = said = str(error)
        failed += bool(wrong)
        seconds = time.monotonic() - since
        place = f"{done} of {len(patches)}, {seconds:.0f} s"
        print(f"{'FAILED' if wrong else 'ok'}: {patch.stem} ({place}) {said}", flush=True)
    print(f"{len(patches) - failed} passed, {failed} failed")
    return 1 if failed or not patches else 0


def first_of_commit() -> str:
    """Other seeds for each commit, the same for one."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return str(int(done.stdout[:8] or "1", 16) << 16)


def main(words: list[str]) -> int:
    if words[:1] in (["--planted"], ["--check"]):
        return planted(words[1:], words[0] == "--check")
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else 2
    words = [first_of_commit() if word == "commit" else word for word in words]
    program = build()
    os.execv(program, [str(program), *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
