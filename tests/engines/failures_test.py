"""WeftConnector when something goes wrong: no failure of Weft ends or blocks a request.

Every request here must end by its length, with the tokens that an engine without Weft makes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import weft
from node import Node
from rig import HYBRID, LIMIT_S, NAME, SEED, Engine, prompt, until

Make = Callable[..., Engine]


def stop(node: Node) -> None:
    """Until every thread of the node has stopped: on a busy machine that takes a while."""
    node.process.send_signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{node.process.pid}/task")

    def stopped() -> bool:
        states = [
            (task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()
        ]
        return set(states) == {"T"}

    until(stopped, "all threads stopped")


def flush(node: Node, suffix: str = "") -> None:
    with weft.Store(connect=node.address) as store:
        store.namespace(NAME + suffix, create=False).flush()


def once(act: Callable[[], None]) -> Callable[[Any], None]:
    """Does it before the workers of the first step that loads something run."""
    done: list[bool] = []

    def between(output: Any) -> None:
        if output.kv_connector_metadata.loads and not done:
            done.append(True)
            act()

    return between


KINDS = {
    "asynchronous": {},
    "synchronous": {"load": "sync"},
    "saved by layers": {"save": "layers"},
    "synchronous, saved by layers": {"load": "sync", "save": "layers"},
    "two ranks": {"ranks": 2},
    "hybrid": {"windows": HYBRID},
    "hybrid, asked to be synchronous": {"windows": HYBRID, "load": "sync"},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@every_kind
def test_a_load_that_misses_is_computed(make: Make, node: Node, kind: dict[str, Any]) -> None:
    wanted = make(**kind).ask("a", prompt(150), 5)
    engine = make(**kind)
    engine.between = once(lambda: flush(node))
    found = engine.ask("b", prompt(150), 5)
    assert (found.reason, found.tokens) == ("length", wanted.tokens)
    assert engine.stats["failed_loads"] >= 1
    assert engine.steps < 50
    assert engine.free == engine.kv.num_blocks - 1
    # What had to be computed is there again.
    assert make(**kind).ask("c", prompt(150), 5).cached == 144


@every_kind
def test_a_load_that_misses_in_part_is_computed_in_part(
    make: Make, node: Node, kind: dict[str, Any]
) -> None:
    wanted = make(**kind).ask("a", prompt(150), 5)
    engine = make(**kind)

    def lose() -> None:
        with weft.Store(connect=node.address) as store:
            keys = weft.keys(prompt(150), block_tokens=16, seed=SEED)
            store.namespace(NAME, create=False).remove(keys[4:5])

    engine.between = once(lose)
    found = engine.ask("b", prompt(150), 5)
    assert (found.reason, found.tokens) == ("length", wanted.tokens)
    assert engine.stats["failed_loads"] >= 1
    # The longer prompt's blocks were computed beside what had not come: only again, then saved.
    engine.forget()
    tokens = prompt(150) + prompt(100, seed=7)
    engine.between = once(lose)
    engine.ask("c", tokens, 5)
    assert make(**kind).ask("d", tokens, 5).cached >= 240


def test_what_others_computed_behind_a_load_that_failed_is_not_saved(
    make: Make, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request shares blocks that the first one loads in the same step."""
    monkeypatch.setattr("weft.vllm.scheduler.ANSWER_MS", 10_000)  # both are admitted at once
    make().ask("a", prompt(150), 5)
    engine = make(load="sync")
    engine.between = once(lambda: flush(node))
    prompts = [prompt(150) + prompt(40, seed=at) for at in range(2)]
    for at, tokens in enumerate(prompts):
        engine.add(str(at), tokens, 5)
    engine.run()
    assert engine.stats["failed_loads"] == 1
    reader = make()
    for at, tokens in enumerate(prompts):
        found = reader.ask(str(at), tokens, 5)
        assert (found.tokens, found.cached) == (engine.done[str(at)].tokens, 176)


def test_the_policy_is_recompute_unless_the_user_wants_failures(make: Make, node: Node) -> None:
    make().ask("a", prompt(150), 5)
    engine = make(load_failure="fail")
    engine.between = once(lambda: flush(node))
    assert engine.ask("b", prompt(150), 5).reason == "error"
    assert engine.config.kv_transfer_config.kv_load_failure_policy == "fail"
    assert make().config.kv_transfer_config.kv_load_failure_policy == "recompute"


@pytest.mark.parametrize("kind", [{}, {"windows": HYBRID}], ids=["one group", "hybrid"])
def test_an_abort_while_loading_gives_all_blocks_back(make: Make, kind: dict[str, Any]) -> None:
    make(**kind).ask("a", prompt(150))
    engine = make(**kind)
    # The load is under way for as long as nobody looks whether it has ended.
    pool = engine.ranks[0].connector.worker._pool
    reap, pool.reap = pool.reap, lambda timeout_ms=0: []
    engine.add("b", prompt(150))
    until(lambda: bool(engine.step().kv_connector_metadata.loads), "a load")
    for _ in range(3):
        engine.step()
    engine.abort("b")
    for _ in range(3):
        engine.step()
    assert engine.free < engine.kv.num_blocks - 1
    pool.reap = reap
    engine.run()
    assert engine.free == engine.kv.num_blocks - 1
    assert engine.ask("c", prompt(150)).cached == 144


def test_an_abort_before_admission_lets_go_of_the_pin(make: Make, node: Node) -> None:
    make().ask("a", prompt(150))
    engine = make()
    request = engine.add("b", prompt(150))
    until(lambda: engine.connector.get_num_new_matched_tokens(request, 0)[0] == 144, "a hit")
    half = engine.connector.scheduler
    hit = half._tracked["b"].hit
    assert hit.pins
    engine.abort("b")
    assert not hit.pins
    assert not half._tracked
    engine.run()


def test_blocks_of_an_ended_request_stay_while_they_are_saved(make: Make) -> None:
    engine = make()
    pool = engine.ranks[0].connector.worker._pool
    reap, pool.reap = pool.reap, lambda timeout_ms=0: []
    engine.add("a", prompt(150))
    for _ in range(5):
        engine.step()
    assert engine.done["a"].reason == "length"
    assert engine.free < engine.kv.num_blocks - 1
    pool.reap = reap
    engine.run()
    assert engine.free == engine.kv.num_blocks - 1


def test_a_step_that_overwrites_waits_for_the_save(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preempted blocks are written again in the very next step: the fence is the only guard."""
    monkeypatch.setattr("weft.vllm.scheduler.ANSWER_MS", 10_000)  # both are admitted at once
    engine = make(blocks=12)
    pool = engine.ranks[0].connector.worker._pool
    reap = pool.reap
    # Until a request is done only a call that may wait sees the end of an op.
    pool.reap = lambda timeout_ms=0: reap(timeout_ms) if timeout_ms or engine.done else []
    for at in range(2):
        engine.add(str(at), prompt(60, seed=at), 70)
    end = time.monotonic() + LIMIT_S
    while len(engine.done) < 2 and time.monotonic() < end:
        engine.step()
    pool.reap = reap
    engine.run()
    assert engine.stats["fences"] >= 1
    reader = make()
    for at in range(2):
        tokens = prompt(60, seed=at) + engine.done[str(at)].tokens
        assert reader.ask(str(at), tokens).cached >= 48


def test_a_request_that_loads_again_is_given_back_once(make: Make) -> None:
    """Aborted while it loads after a preemption, with saves under way: vLLM waits for the load, and
    would end if it were told of the saves as well."""
    make().ask("a", prompt(150))
    engine = make()
    pool = engine.ranks[0].connector.worker._pool
    reap, pool.reap = pool.reap, lambda timeout_ms=0: []
    engine.add("b", prompt(150))
    until(lambda: bool(engine.step().kv_connector_metadata.loads), "a load")
    engine.connector.scheduler._unreported[0] = {"b": {1}}
    engine.abort("b")
    assert not engine.connector.scheduler._closing
    pool.reap = reap
    engine.run()
    assert engine.free == engine.kv.num_blocks - 1


@pytest.fixture
def patient() -> Iterator[None]:
    """Saves and loads that wait for a node for ten minutes: who waits for them is noticed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("weft.vllm.pool.TIMEOUT_MS", 600_000)
        yield


def test_neither_a_fence_nor_blocks_of_ended_requests_wait_for_a_stopped_node(
    make: Make, node: Node, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make(blocks=12)
    monkeypatch.setattr("weft.vllm.scheduler.ANSWER_MS", 10_000)  # both are admitted at once
    for at in range(2):
        engine.add(str(at), prompt(60, seed=at), 70)
    until(lambda: bool(engine.step()) and len(engine.scheduler.running) == 2, "both run")
    monkeypatch.undo()
    stop(node)
    engine.run()  # until all blocks are free
    assert engine.stats["fences"] >= 1
    node.process.send_signal(signal.SIGCONT)


def test_a_node_that_comes_late_is_found(make: Make, node: Node) -> None:
    node.end()
    engine = make()
    before = engine.ask("a", prompt(100), 5)
    assert (before.reason, before.cached) == ("length", 0)
    node.start()
    until(lambda: engine.connector.scheduler._link.opened is not None, "a connection")
    until(lambda: engine.ranks[0].connector.worker._link.opened is not None, "a connection")
    engine.ask("b", prompt(100), 5)
    engine.forget()
    assert engine.ask("c", prompt(100), 5).tokens == before.tokens
    until(lambda: make().ask("d", prompt(100), 5).cached == 96, "a hit")


@every_kind
def test_a_node_that_is_killed_and_comes_back(make: Make, node: Node, kind: dict[str, Any]) -> None:
    engine = make(**kind)
    for at in range(4):
        engine.add(f"a{at}", prompt(200, seed=at), 30)
    for _ in range(5):
        engine.step()
    node.process.kill()
    node.process.wait()
    for at in range(4):
        engine.add(f"b{at}", prompt(200, seed=at), 30)
    engine.run()
    engine.forget()
    engine.ask("dead", prompt(200), 3)
    node.start()
    engine.ask("again", prompt(200, seed=50), 3)
    names = iter(range(1000))

    def reused() -> bool:
        engine.forget()
        name = f"r{next(names)}"
        engine.ask(name, prompt(200), 3)
        return engine.done[name].cached == 192

    until(reused, "a hit after the restart")
    assert {done.reason for done in engine.done.values()} == {"length"}


def test_a_node_that_is_killed_while_a_load_is_planned(make: Make, node: Node) -> None:
    wanted = make().ask("a", prompt(150), 5)
    engine = make()
    engine.between = once(lambda: (node.process.kill(), node.process.wait(), None)[2])
    found = engine.ask("b", prompt(150), 5)
    assert (found.reason, found.tokens) == ("length", wanted.tokens)
    node.start()


def test_a_stopped_node_holds_no_step_up(make: Make, node: Node, patient: None) -> None:
    make().ask("a", prompt(150), 5)
    engine = make()
    engine.ask("warm", prompt(40, seed=3), 3)
    stop(node)
    engine.add("running", prompt(40, seed=4), 60)
    engine.add("b", prompt(150), 5)
    engine.run()
    assert {done.reason for done in engine.done.values()} == {"length"}
    assert engine.stats["unanswered"] >= 1
    node.process.send_signal(signal.SIGCONT)


def test_another_layout_is_named_and_nothing_is_shared(make: Make) -> None:
    make().ask("a", prompt(100))

    def other(config: Any) -> None:
        config.cache_config.cache_dtype = "bfloat16"

    engine = make(change=other)
    aside = str(engine.ranks[0].connector.worker._link.aside)
    assert "kv=auto" in aside
    assert "kv=bfloat16" in aside
    assert engine.connector.scheduler is None
    assert engine.ask("b", prompt(100), 3).cached == 0
    assert engine.ask("c", prompt(200), 3).reason == "length"


def test_what_cannot_be_served_is_named(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    from vllm.logger import logging as logs

    logs.getLogger("vllm").propagate = True

    def pipeline(config: Any) -> None:
        config.parallel_config.pipeline_parallel_size = 2
        config.parallel_config.world_size = 1

    def weak(config: Any) -> None:
        config.cache_config.prefix_caching_hash_algo = "xxhash"

    def whole(config: Any) -> None:
        config.cache_config.enable_prefix_caching = False
        config.scheduler_config.enable_chunked_prefill = False

    from weft.vllm.groups import UnsupportedError, shape_of

    changes = ((pipeline, "pipeline parallel size 2"), (weak, "xxhash"), (whole, "prompt .* whole"))
    for change, words in changes:
        from rig import config, kv_config

        made = config("unix:/nowhere")
        change(made)
        with pytest.raises(UnsupportedError, match=words):
            shape_of(made, kv_config((0,), 10))
    from vllm.v1.kv_cache_interface import MambaSpec

    kv = kv_config((0, 0), 10)
    kv.kv_cache_groups[1].kv_cache_spec = MambaSpec(
        block_size=16, shapes=((2, 8),), dtypes=(kv.kv_cache_groups[0].kv_cache_spec.dtype,)
    )
    with pytest.raises(UnsupportedError, match="MambaSpec"):
        shape_of(config("unix:/nowhere"), kv)


def test_a_vllm_that_has_changed_inside_runs_without_weft(make: Make) -> None:
    from vllm.v1.attention.backends import cpu_attn

    inside = cpu_attn._get_attn_isa
    del cpu_attn._get_attn_isa
    try:
        engine = make()
    finally:
        cpu_attn._get_attn_isa = inside
    assert engine.connector.scheduler is None
    assert engine.ask("a", prompt(100), 3).reason == "length"


def test_a_rank_whose_memory_does_not_fit_steps_aside_for_all(make: Make, node: Node) -> None:
    import rig

    zeros = rig.torch.zeros

    def apart(shape: tuple[int, ...]) -> Any:
        return zeros((*shape[:-1], 2 * shape[-1]))[..., : shape[-1]]

    rig.torch.zeros = apart
    try:
        engine = make()
    finally:
        rig.torch.zeros = zeros
    aside = engine.ranks[0].connector.worker.aside
    assert "shape (200, 2, 16, 16), strides (1024, 512, 32, 1)" in aside
    assert engine.connector.scheduler is None
    assert engine.ask("a", prompt(100), 3).reason == "length"
    assert Path(node.folder).exists()
