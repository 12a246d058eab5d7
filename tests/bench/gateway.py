"""Prefix look-ups that the gateway in Go does in a second of one core: one row.

    python3 gateway.py WEFT GATEWAY PARROT [--quick]

WEFT, GATEWAY and PARROT are the programs. PARROT, the engine without a model, saves the blocks of
some prompts of 4,096 tokens, asked through the gateway as a user would; then wrk asks for other
prompts of 4,096 tokens, which begin like one of these and go on differently from some token on. The
gateway hashes all 256 blocks of each and looks up the longest prefix. It has one core and
GOMAXPROCS=1, wrk another core. What wrk counted is told for a second of the clock, which others of
the machine also use, and is the figure for a second of the gateway's CPU time, which is a core's.
The reference, in turns, is the same server telling its models: what HTTP alone takes. A wrong count
of cached tokens fails.
"""

import contextlib
import json
import os
import pathlib
import random
import statistics
import string
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator

TOKENS, BLOCK = 4096, 16
BASES, PROMPTS = 64, 4096
MEMORY = "256MiB"
LEAST = 5000
LETTERS = string.ascii_letters + string.digits + " .,;:()[]=+-"


@contextlib.contextmanager
def running(command: list[str], **more: object) -> Iterator[dict]:
    """A program that says a JSON object when it is ready, until SIGTERM; `pid` is added to it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)
    try:
        said = ""
        while "}" not in said:
            line = process.stdout.readline()
            assert line, f"{command[0]} did not start: status {process.wait()}"
            said += line
        yield {**json.loads(said), "pid": process.pid}
    finally:
        process.terminate()
        process.wait()


def ask(address: str, path: str, body: dict) -> dict:
    data = json.dumps(body).encode()
    with urllib.request.urlopen(f"http://{address}{path}", data, timeout=120) as answer:
        return json.load(answer)


def prompts_of(draw: random.Random, bases: list[str]) -> Iterator[tuple[str, int]]:
    """Prompts, and how many of their tokens are cached: the last one never is."""
    for _ in range(PROMPTS):
        base, cut = draw.choice(bases), draw.randrange(TOKENS)
        other = "!" + "".join(draw.choices(LETTERS, k=TOKENS - cut - 1))
        yield base[:cut] + other, min(cut, TOKENS - 1) // BLOCK * BLOCK


def fill(address: str, folder: str) -> str:
    """Has the engine save the bases; returns the file of wrk's bodies."""
    draw = random.Random(42)
    bases = ["".join(draw.choices(LETTERS, k=TOKENS)) for _ in range(BASES)]
    for base in bases:
        ask(address, "/v1/completions", {"prompt": base, "max_tokens": 1})
    bodies = []
    for number, (prompt, cached) in enumerate(prompts_of(draw, bases)):
        if number % 16 == 0:
            told = ask(address, "/v1/prefix", {"prompt": prompt})
            assert told["tokens"] == TOKENS, f"{told} of {TOKENS} tokens"
            assert told["cached_tokens"] == cached, f"{told}, and {cached} are cached"
        bodies.append(json.dumps({"prompt": prompt}))
    file = pathlib.Path(folder, "bodies")
    file.write_text("\n".join(bodies))
    return str(file)


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk(told: dict, cores: list[int], seconds: int, *asked: str) -> tuple[float, float]:
    """Requests a second of eight connections, and a second of the gateway's CPU time."""
    script = str(pathlib.Path(__file__).with_name("gateway.lua"))
    before = cpu_s(told["pid"])
    run = subprocess.run(
        ["taskset", "-c", str(cores[-1]), "wrk", "-t1", "-c8", f"-d{seconds}s", "-s", script]
        + ["--timeout", "30s"]  # a busy machine is slow, which is no error
        + [f"http://{told['address']}", "--", *asked],
        check=True,
        capture_output=True,
        text=True,
    )
    used = max(cpu_s(told["pid"]) - before, 1 / os.sysconf("SC_CLK_TCK"))
    seen = json.loads(run.stdout.splitlines()[-1])
    assert seen["errors"] == 0, f"wrk counted {seen['errors']} errors"
    return seen["requests"] / seen["us"] * 1e6, seen["requests"] / used


def main() -> None:
    weft, gateway, parrot = sys.argv[1:4]
    turns, seconds = (3, 2) if "--quick" in sys.argv else (7, 4)
    cores = sorted(os.sched_getaffinity(0))
    ours, reference = [], []
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        store = f"unix:{folder}/node.sock"
        engine = f"{parrot} -store {store} -version {{now}} -block {BLOCK}"
        with (
            running([weft, "serve", "--memory", MEMORY, "--listen", store, "--json"]),
            running(
                ["taskset", "-c", str(cores[0]), gateway, "-store", store]
                + ["-namespace", "gateway/parrot", "-listen", "127.0.0.1:0", "-log", "warn"]
                + ["-context", str(2 * TOKENS), "-engine", f"one={engine}"],
                env={**os.environ, "GOMAXPROCS": "1"},
            ) as told,
        ):
            bodies = fill(told["address"], folder)
            for turn in range(turns + 1):  # the first one warms
                models = wrk(told, cores, seconds, "models")
                prefix = wrk(told, cores, seconds, "prefix", bodies)
                if turn > 0:
                    reference.append(models)
                    ours.append(prefix)
    clock = statistics.median(wall for wall, _ in ours)
    rates = sorted(of_cpu for _, of_cpu in ours)
    value = statistics.median(rates)
    beside = statistics.median(of_cpu for _, of_cpu in reference)
    figure = {
        "name": "prefix look-ups of 4,096 tokens, gateway in Go",
        "value": round(value, 1),
        "unit": "a CPU second",
        "reference": round(beside, 1),
        "ratio": round(value / beside, 4),
        "target": f"value >= {LEAST}",
        "met": value >= LEAST,
        "low": round(rates[0], 1),
        "high": round(rates[-1], 1),
        "against": f"the same server telling its models; wrk saw {clock:,.0f} a second of clock "
        f"time, the gateway on core {cores[0]} and wrk on core {cores[-1]} (taskset); "
        f"load average {os.getloadavg()[0]:.2f}",
    }
    print(json.dumps(figure))


main()
