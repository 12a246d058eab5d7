"""The step in which a gateway in Go routes requests to engines in Python and Rust.

The gateway is a process of its own with two engines behind it, and is asked over HTTP, as clients
do; who is asked depends on what Weft and the engines have. What it answers is compared with Python
alone: the same text.
"""

import concurrent.futures
import contextlib
import http.client
import json
import shlex
import signal
import subprocess
import time

from engine import NAMESPACE
from model import PAGE
from processes import SILENCE_S, Failed
from shape import SHAPE
from steps import GENERATE, PROMPT, Quickstart, check

ENGINES = ("Python", "Rust")
WAYS = (b"\n\n# The end of", b"\n\nif __name__ ==")
"""What clients add to a file that an engine has read."""


@contextlib.contextmanager
def gateway(run: Quickstart):
    """Yields the gateway's host and port while it runs; it must end well."""
    command = [run.gateway, "-listen", "127.0.0.1:0", "-store", run.node.address, "-log", "warn"]
    command += ["-namespace", NAMESPACE, "-context", str(SHAPE.context)]
    for language in ENGINES:
        engine = shlex.join([*run.engines.commands[language], run.engines.weights])
        command += ["-engine", f"{language}={engine} {{now}} {run.node.address}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()  # one JSON object: it is ready
        if not line:
            raise Failed(f"{run.gateway} did not start: status {process.wait()}")
        yield json.loads(line)["address"]
        process.send_signal(signal.SIGTERM)
        status = process.wait(SILENCE_S)
        check(status == 0, f"{run.gateway} ended with status {status}")
    finally:
        process.terminate()
        process.wait()


def ask(address: str, prompt: bytes) -> dict:
    """Streams a completion; returns what a row of the table tells, and the headers."""
    body = {"prompt": list(prompt), "max_tokens": GENERATE, "temperature": 0, "stream": True}
    connection = http.client.HTTPConnection(address, timeout=SILENCE_S)
    begin = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps(body))
    response = connection.getresponse()
    if response.status != 200:
        raise Failed(f"the gateway says {response.status}: {response.read().decode()}")
    first_token_s, text, told = None, "", {}
    for line in response:
        if not line.startswith(b"data: {"):
            continue  # between events; [DONE] comes last
        event = json.loads(line.removeprefix(b"data: "))
        if "error" in event:
            raise Failed(f"the gateway says {event['error']['message']}")
        first_token_s = first_token_s or time.monotonic() - begin
        text += event["choices"][0]["text"]
        told = event.get("weft", told)
    connection.close()
    shared = response.headers["x-weft-shared"] == "true"
    nothing = {"reused": 0, "prefilled": 0, "bytes_copied": 0, "bytes_in_place": 0, "misses": {}}
    return {
        "text": text,
        "first_token_s": first_token_s,
        "total_s": time.monotonic() - begin,
        "engine": response.headers["x-weft-engine"],
        "cached": int(response.headers["x-weft-cached-tokens"]),
        "shared": shared,
        **(nothing if shared else told["prompt"]),
    }


def go_routes(run: Quickstart) -> None:
    run.begin(f"a gateway in Go routes requests to {' and '.join(ENGINES)}")
    with gateway(run) as address:
        route(run, address)
        at_once(run, address)


def answered(run: Quickstart, what: str, prompt: bytes, answer: dict) -> None:
    run.keep(what, "Go", True, answer)
    reference = run.without(what, run.plain, prompt)["text"]
    check(
        answer["text"] == reference,
        f"{answer['engine']} behind the gateway writes {answer['text']!r}, alone {reference!r}",
    )


def route(run: Quickstart, address: str) -> None:
    """Files that A and R have read: whichever engine is asked has them at once; who was asked of a
    file is asked again."""
    files = {"A": run.prompt, "R": run.text("ssl.py")[:PROMPT]}
    shared = (PROMPT - 1) // PAGE * PAGE
    seen: dict[str, str] = {}
    for reader, way in (("A", WAYS[0]), ("R", WAYS[0]), ("R", WAYS[1]), ("A", WAYS[1])):
        prompt = files[reader] + way
        answer = ask(address, prompt)
        answered(run, "Go routes", prompt, answer)
        engine = seen.setdefault(reader, answer["engine"])
        check(
            answer["engine"] == engine,
            f"{answer['engine']} was asked of what {engine} has in its own process",
        )
        check(
            answer["cached"] == answer["reused"] == shared,
            f"the gateway says {answer['cached']} tokens are cached, {engine} reused "
            f"{answer['reused']} of {shared}",
        )
        run.show.line(
            f"     what {reader} has read goes to {engine}: x-weft-cached-tokens: "
            f"{answer['cached']:,} of {len(prompt):,}"
        )
    check(len(set(seen.values())) == 2, f"two files went to {seen}, and not to one engine each")


def at_once(run: Quickstart, address: str) -> None:
    prompt = run.text("hmac.py")[:PROMPT]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        both = list(threads.map(ask, [address] * 2, [prompt] * 2))
    answered(run, "two equal at once", prompt, both[0])
    run.keep("two equal at once", "Go", True, both[1])
    check(both[0]["text"] == both[1]["text"], f"they are told {[one['text'] for one in both]}")
    computed = sum(answer["prefilled"] for answer in both)
    check(
        sorted(answer["shared"] for answer in both) == [False, True] and computed == PROMPT,
        f"two equal requests at once: {computed} tokens computed, and not {PROMPT} once",
    )
    run.show.line(
        f"     two equal requests at once: {both[0]['engine']} computed {computed:,} tokens, once; "
        f"one has x-weft-shared: true"
    )
