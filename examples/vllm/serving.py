"""`vllm serve` as its users start it, with processes of its own for scheduler and worker: a prompt
is answered over HTTP, the server is ended, another one loads what the first has saved, and the
figures are in /metrics."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import Figures, say
from processes import SILENCE_S, Failed, Node

BLOCK = 32


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _server(node: Node, folder: Path, model: Path, name: str) -> Iterator[str]:
    """A server that answers; its address."""
    port = _port()
    connector = {
        "kv_connector": "WeftConnector",
        "kv_connector_module_path": "weft.vllm",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"weft": f"connect={node.address}"},
    }
    command = [str(Path(sys.executable).with_name("vllm")), "serve", str(model)]
    command += ["--skip-tokenizer-init", "--tokens-only", "--enforce-eager", "--dtype", "float32"]
    command += ["--block-size", str(BLOCK), "--max-model-len", "2048", "--max-num-seqs", "8"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--enable-prompt-tokens-details"]
    command += ["--prefix-caching-hash-algo", "sha256_cbor"]
    command += ["--kv-transfer-config", json.dumps(connector)]
    more = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**os.environ, **more}
        )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + SILENCE_S
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{address}/health", timeout=5).read()
                break
            if process.poll() is not None or time.monotonic() > end:
                tail = log.read_text(errors="replace")[-3000:]
                raise Failed(f"vllm serve did not start; its log ends:\n{tail}")
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _complete(address: str, prompt: list[int]) -> dict[str, Any]:
    """Eight tokens with their log probabilities, by the tokens' API of a server without a
    tokenizer."""
    body = {
        "token_ids": prompt,
        "sampling_params": {"max_tokens": 8, "temperature": 0, "logprobs": 1, "ignore_eos": True},
    }
    request = urllib.request.Request(
        f"{address}/inference/v1/generate",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        answer = json.load(urllib.request.urlopen(request, timeout=SILENCE_S))
    except urllib.error.HTTPError as error:
        raise Failed(f"the server said {error.code}: {error.read(2000)!r}") from None
    choice: dict[str, Any] = answer["choices"][0]
    return choice


def _metric(address: str, name: str) -> float:
    text = urllib.request.urlopen(f"{address}/metrics", timeout=60).read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{"))


def run(node: Node, folder: Path, model: Path, figures: Figures) -> None:
    """Two servers, one after the other."""
    chance = random.Random(3)
    prompt = [chance.randrange(512) for _ in range(300)]
    say("vllm serve, the first: computes and saves")
    with _server(node, folder, model, "serve-first") as address:
        first = _complete(address, prompt)
        end = time.monotonic() + 60
        while (saved := _metric(address, "vllm:weft_saved_blocks_total")) < len(prompt) // BLOCK:
            if time.monotonic() > end:
                raise Failed(f"/metrics says {saved} saved blocks of {len(prompt) // BLOCK}")
            _complete(address, prompt[:5])
    say("vllm serve, the second: loads")
    with _server(node, folder, model, "serve-second") as address:
        second = _complete(address, prompt)
        loaded = _metric(address, "vllm:weft_loaded_blocks_total")
    figures.add(
        "vllm serve: blocks that a second server loaded, by its /metrics",
        loaded,
        "blocks",
        reference=(len(prompt) - 1) // BLOCK,
        target="all, and the same tokens",
        met=loaded == (len(prompt) - 1) // BLOCK and first["token_ids"] == second["token_ids"],
    )
