"""Real processes: sharing a block, a child after fork, and the examples, each a program of its
own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import weft

EXAMPLES = Path(__file__).parents[2] / "examples/python"
READER = """
import sys, weft
with weft.Store(connect=sys.argv[1]) as store:
    ns = store.namespace("tests/two", part_bytes=0)
    array = ns.view("from the node").array
    assert not array.flags.writeable and (array == 1).all() and len(array) == 1 << 20
    assert ns.save("from the client", b"2" * 1000)
    print("saved", flush=True)
    sys.stdin.readline()
    assert (array == 1).all(), "the block was removed meanwhile; the view has it still"
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_share_blocks(node: weft.Store, address: str) -> None:
    ns = node.namespace("tests/two", part_bytes=0)
    ns.save("from the node", np.ones(1 << 20, np.uint8))
    with python(READER, address) as reader:
        assert reader.stdout is not None
        assert reader.stdin is not None
        assert reader.stdout.readline() == "saved\n"
        loaded = ns.load("from the client")
        assert loaded is not None
        assert loaded.tobytes() == b"2" * 1000
        ns.remove("from the node")
        for at in range(100):
            ns.save(f"other {at}", np.full(1 << 20, 255, np.uint8))
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.wait(60) == 0


NODE = """
import sys, time, weft
store = weft.Store(memory="32MiB", listen=sys.argv[1])
print("serves", flush=True)
sys.stdin.readline()
"""


def test_a_lost_node_is_a_peer_error_and_the_store_finds_its_successor(address: str) -> None:
    with python(NODE, address) as node:
        assert node.stdout is not None
        assert node.stdout.readline() == "serves\n"
        store = weft.Store(connect=address)
        ns = store.namespace("tests/lost", part_bytes=0)
        ns.save("k", b"abc")
        node.kill()
    end = time.monotonic() + 20
    while ns.match("k") and time.monotonic() < end:
        time.sleep(0.05)
    assert (ns.match("k"), ns.view("k")) == (0, None), "looks never wait, and never fail"
    for act in (lambda: ns.find("k"), lambda: ns.load("k"), lambda: ns.explain("k")):
        with pytest.raises(weft.PeerError, match="cannot be reached"):
            act()
    with python(NODE, address) as node:
        assert node.stdout is not None
        assert node.stdout.readline() == "serves\n"
        while True:
            try:
                found = ns.find("k")
                break
            except weft.PeerError:
                assert time.monotonic() < end + 20
                time.sleep(0.05)
        assert (found.blocks, found.reason) == (0, "absent")
        assert ns.save("k", b"abc") is True
        store.close()


def test_the_wheel_has_the_command(node: weft.Store, address: str) -> None:
    if not Path(weft.__file__).with_name("weft").exists():
        pytest.skip("this wheel was built around a library alone")
    command = Path(sysconfig.get_path("scripts")) / "weft"
    run = [str(command), "ls", "--json", "-c", address]
    node.namespace("tests/command", part_bytes=0)
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "tests/command" in done.stdout
    wrong = subprocess.run([str(command), "frob"], capture_output=True, timeout=60)
    assert wrong.returncode == 2


def test_a_forked_child_gets_an_error_and_the_parent_goes_on(ns: weft.Namespace) -> None:
    ns.save("k", b"abc")
    view = ns.view("k")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads and fork
        child = os.fork()
    if child == 0:
        status = 1
        try:
            for act in (lambda: ns.load("k"), lambda: ns.view("k"), lambda: ns.match("k")):
                try:
                    act()
                except weft.ForkedError:
                    continue
                os._exit(2)
            assert view is not None
            view.release()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ns.save("after", b"abc") is True
    assert view is not None
    assert bytes(view) == b"abc"


def test_ctrl_c_ends_a_waiting_call() -> None:
    code = """
import weft
with weft.Store(memory="16MiB") as store:
    ns = store.namespace("tests/wait", part_bytes=0)
    held = ns.reserve("k", 300)
    print("waits", flush=True)
    try:
        ns.wait("k", timeout_ms=120_000)
    except KeyboardInterrupt:
        print("ended", held.commit(), flush=True)
"""
    with python(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "ended True\n"
        assert process.wait(60) == 0


@pytest.mark.parametrize("name", ["hello", "share", "ranks", "stream", "embeddings"])
def test_examples(name: str) -> None:
    done = subprocess.run(
        [sys.executable, f"{name}.py"], cwd=EXAMPLES, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{name}: ")


def test_the_readmes_code_runs() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    assert "weft.Store" in code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
