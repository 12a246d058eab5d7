"""Who shares with whom: names and versions, resets, claims, hints; and what is counted and said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import weft
from node import Node
from rig import BLOCK, FULL, HYBRID, NAME, SEED, Engine, config, kv_config, prompt, until
from weft.vllm import identity
from weft.vllm.groups import shape_of
from weft.vllm.settings import read

Make = Callable[..., Engine]


def opened(engine: Engine, version: int) -> None:
    """Until both halves work at `version`."""

    def at(link: Any) -> bool:
        return link.opened is not None and link.opened.target.version == version

    until(lambda: at(engine.connector.scheduler._link), f"the scheduler at version {version}")
    engine.ask(f"settle-{version}-{time.monotonic_ns()}", prompt(5), 1)
    until(lambda: at(engine.ranks[0].connector.worker._link), f"the worker at version {version}")


# Versions.


def test_versions_do_not_share(make: Make) -> None:
    tokens = prompt(100)
    make(version=1, weights="w1").ask("a", tokens)
    assert make(version=2, weights="w2").ask("b", tokens).cached == 0
    assert make(version=1, weights="w1").ask("c", tokens).cached == 96
    assert make(version=2, weights="w2").ask("d", tokens).cached == 96


def test_an_engine_that_was_advanced_past_reuses_nothing_and_runs_on(
    make: Make, node: Node
) -> None:
    tokens, engine = prompt(100), make(version=1)
    engine.ask("a", tokens)
    done = node.run("advance", NAME, "2")
    assert done.returncode == 0, done.stderr
    engine.forget()
    assert engine.ask("b", tokens, 3).cached == 0
    assert engine.ask("c", prompt(80, seed=3), 3).reason == "length"
    assert engine.connector.scheduler._link.opened is None
    assert make(version=2, weights="w2").ask("d", tokens).cached == 0


def test_a_version_file_moves_an_engine_to_its_new_weights(make: Make, tmp_path: Path) -> None:
    file, tokens = tmp_path / "version", prompt(100)
    file.write_text("7\n")
    engine = make(version_file=str(file), weights="w7")
    engine.ask("a", tokens)
    other = make(version_file=str(file), weights="w7")
    assert other.ask("b", tokens).cached == 96
    # A request that is under way while the weights change saves nothing under the new number.
    engine.add("astride", prompt(50, seed=5), 100)
    for _ in range(5):
        engine.step()
    file.write_text("8\n")
    engine.weights = "w8"
    engine.scheduler.reset_prefix_cache(reset_running_requests=True)
    opened(engine, 8)
    engine.run()
    engine.forget()
    assert engine.ask("c", tokens).cached == 0
    # The other one is told by its next request, not before; its old blocks stay its own.
    other.weights = "w8"
    other.forget()
    opened(other, 8)
    assert other.ask("d", tokens).cached == 96
    assert other.ask("e", prompt(50, seed=5) + engine.done["astride"].tokens).cached == 0


def test_a_version_file_that_says_no_number_stops_reuse_alone(make: Make, tmp_path: Path) -> None:
    file, tokens = tmp_path / "version", prompt(100)
    engine = make(version_file=str(file))
    assert engine.ask("a", tokens).reason == "length"
    file.write_text("3")
    opened(engine, 3)
    file.write_text("three")
    engine.ask("b", tokens)
    assert engine.connector.scheduler._link.opened is None


def test_a_reset_with_versions_is_one_advance_for_the_fleet(make: Make, node: Node) -> None:
    tokens = prompt(100)
    fleet = [make(version=1), make(version=1)]
    fleet[0].ask("a", tokens)
    for engine in fleet:  # new weights, one engine after the other
        assert engine.scheduler.reset_prefix_cache(reset_connector=True)
        engine.weights = "w2"
    for engine in fleet:
        opened(engine, 2)
    fleet[0].ask("b", tokens)
    assert fleet[0].done["b"].cached == 0
    assert fleet[1].ask("c", tokens).cached == 96
    old = make(version=1)
    assert old.ask("d", tokens).cached == 0


def test_a_reset_without_versions_leaves_the_engine_alone(make: Make) -> None:
    tokens, engine, other = prompt(100), make(), make()
    engine.ask("a", tokens)
    assert engine.scheduler.reset_prefix_cache(reset_connector=True)
    engine.weights = "w2"
    until(lambda: engine.connector.scheduler._link.opened is not None, "its own namespace")
    engine.ask("settle", prompt(5))
    until(lambda: engine.ranks[0].connector.worker._link.opened is not None, "and the worker's")
    assert engine.ask("b", tokens).cached == 0
    engine.forget()
    assert engine.ask("c", tokens).cached == 96
    assert other.ask("d", tokens).cached == 96


# Names.


def test_the_name_tells_weights_apart_unless_a_version_does(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    made = config("unix:/nowhere")
    shape = (Path(made.model_config.model) / "config.json").read_text()
    names: dict[str, tuple[str, str]] = {}
    for label, value in (("one", 1.0), ("same", 1.0), ("tuned", 2.0)):
        folder = tmp_path / label / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(shape)
        weights = {"a": torch.ones(1000), "b": torch.full((1000,), value)}
        save_file(weights, folder / "model.safetensors")
        made.model_config.model = str(folder)
        made.load_config.load_format = "auto"
        names[label] = (
            identity.namespace_name(made, "layout", False),
            identity.namespace_name(made, "layout", True),
        )
    assert names["one"] == names["same"]
    assert names["one"][0] != names["tuned"][0]
    assert names["one"][1] == names["tuned"][1]
    assert names["one"][0].startswith("vllm/model-")


def test_the_name_tells_configs_ranks_and_groups_apart() -> None:
    def name(change: Callable[[Any], None], windows: tuple[int, ...] = FULL) -> str:
        made = config("unix:/nowhere")
        change(made)
        shape = shape_of(made, kv_config(windows, 20))
        return identity.namespace_name(made, shape.fingerprint, True)

    names = [
        name(lambda made: None),
        name(lambda made: setattr(made.model_config.hf_config, "rope_theta", 77.0)),
        name(lambda made: setattr(made.parallel_config, "tensor_parallel_size", 2)),
        name(lambda made: setattr(made.model_config, "dtype", torch.bfloat16)),
        name(lambda made: None, HYBRID),
    ]
    assert len(set(names)) == len(names)
    assert name(lambda made: None) == names[0]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"weft": "connect=unix:/x", "spaces": 1}, "'spaces' is not known"),
        ({"weft": "memory=1GiB"}, "names no node"),
        ({}, "names no node"),
        ({"weft": "connect=unix:/x", "load": "later"}, "load='later'"),
        ({"weft": "connect=unix:/x", "version": "1"}, "version='1'"),
        ({"weft": "connect=unix:/x", "version": True}, "version=True"),
        ({"weft": "connect=unix:/x", "version": -1}, "version=-1"),
        ({"weft": "connect=unix:/x", "single_flight": 1}, "single_flight=1"),
        ({"weft": "connect=unix:/x", "version": 1, "version_file": "/v"}, "both"),
    ],
)
def test_a_wrong_word_in_the_settings_is_named(extra: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(extra)


# Claims, pins, hints.


def steps(engine: Engine, count: int) -> None:
    for _ in range(count):
        engine.step()
        time.sleep(0.005)


def test_of_two_engines_that_want_one_prompt_one_computes(make: Make) -> None:
    tokens = prompt(900)
    first, second = make(single_flight=True), make(single_flight=True)
    first.add("a", tokens, 3)
    steps(first, 1)
    second.add("b", tokens, 3)
    steps(second, 20)
    assert not second.done
    first.run()
    assert second.run()["b"].cached == 896
    assert second.done["b"].tokens == first.done["a"].tokens
    assert second.stats["waits"] >= 1


def test_a_claim_passes_on_when_its_request_is_aborted(make: Make) -> None:
    tokens = prompt(900)
    first, second = make(single_flight=True), make(single_flight=True)
    first.add("a", tokens, 3)
    steps(first, 1)
    second.add("b", tokens, 3)
    steps(second, 10)
    first.abort("a")
    first.run()
    begun = time.monotonic()
    assert second.run()["b"].reason == "length"
    assert time.monotonic() - begun < 9  # its wait_s is 10
    assert second.free == second.kv.num_blocks - 1


def test_nobody_waits_longer_than_wait_s(make: Make) -> None:
    tokens = prompt(900)
    first, second = make(single_flight=True), make(single_flight=True, wait_s=0.3)
    first.add("a", tokens, 3)
    steps(first, 1)
    assert second.ask("b", tokens, 3).cached == 0
    first.run()


def test_what_was_matched_stays_until_it_is_loaded(make: Make, node: Node) -> None:
    writer = make()
    writer.ask("a", prompt(150))
    writer.ask("other", prompt(150, seed=2))
    engine = make()
    request = engine.add("b", prompt(150))
    asked = engine.connector.get_num_new_matched_tokens
    until(lambda: asked(request, 0)[0] == 144, "a hit")
    # More than the node holds goes through the namespace meanwhile: what is not pinned leaves.
    with weft.Store(connect=node.address) as store:
        space = store.namespace(NAME, create=False)
        pinned, other = (
            weft.keys(prompt(150, seed=seed), block_tokens=BLOCK, seed=SEED) for seed in (1, 2)
        )
        for at in range(200):
            keys = weft.as_keys([at * 1000 + one for one in range(1000)])
            space.save_list(keys, np.zeros((1000, space.part_bytes), np.uint8), chain=False)
            if not space.match(other):
                break
        assert (space.match(pinned), space.match(other)) == (9, 0)
    assert engine.run()["b"].cached == 144
    assert not engine.connector.scheduler._tracked


def test_hints_come_from_how_a_request_ended() -> None:
    from types import SimpleNamespace

    from vllm.v1.request import RequestStatus
    from weft.vllm.scheduler import reuse_of

    def ended(status: RequestStatus, **params: Any) -> Any:
        return SimpleNamespace(status=status, kv_transfer_params=params or None)

    assert reuse_of(ended(RequestStatus.FINISHED_STOPPED)) == "maybe"
    assert reuse_of(ended(RequestStatus.FINISHED_LENGTH_CAPPED)) is None
    assert reuse_of(ended(RequestStatus.FINISHED_ABORTED)) is None
    assert reuse_of(ended(RequestStatus.FINISHED_STOPPED, weft_reuse="soon")) == "soon"
    assert reuse_of(ended(RequestStatus.FINISHED_ABORTED, weft_reuse="none")) == "none"
    assert reuse_of(ended(RequestStatus.FINISHED_STOPPED, weft_reuse="often")) == "maybe"


def test_the_hint_of_a_request_reaches_the_node(make: Make) -> None:
    engine = make()
    said: list[tuple[int, str | None, int]] = []
    from weft.vllm import scheduler

    touch = scheduler.Namespace.touch

    def heard(space: Any, keys: Any, **more: Any) -> Any:
        ended = yield from touch(space, keys, **more)
        said.append((len(keys), more["reuse"], ended))
        return ended

    scheduler.Namespace.touch = heard  # type: ignore[method-assign, assignment]
    try:
        hint = {"kv_transfer_params": {"weft_reuse": "soon"}}
        engine.ask("a", prompt(100), 20, extra_args=hint)
        until(lambda: bool(said) or poll(engine), "its end")
        assert said == [(7, "soon", 7)]
    finally:
        scheduler.Namespace.touch = touch  # type: ignore[method-assign]


def poll(engine: Engine) -> bool:
    engine.connector.scheduler._poll()
    return False


# What is counted.


def test_statistics_add_up_and_are_vllms(make: Make) -> None:
    from weft.vllm.stats import COUNTERS, WeftStats

    engine = make()
    engine.ask("a", prompt(100))
    engine.forget()
    engine.ask("b", prompt(100))
    assert set(engine.stats) <= set(COUNTERS)
    assert engine.stats["hit_blocks"] == 6
    assert engine.stats["loaded_blocks"] == 6
    assert engine.stats["loaded_bytes"] == 6 * BLOCK * 2 * 16 * 4 * 2
    one, two = WeftStats(data={"loads": 1}), WeftStats(data={"loads": 2, "waits": 1})
    assert one.aggregate(two).data == {"loads": 3, "waits": 1}
    assert not one.is_empty()
    one.reset()
    assert one.is_empty()
    assert WeftStats(data={"saves": 0}).is_empty()
    line = WeftStats(data=dict(engine.stats)).reduce()
    assert line["Weft hit blocks"] == 6
    assert all(isinstance(value, (int, float)) for value in line.values())


def test_statistics_reach_vllms_logger_and_prometheus(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    from prometheus_client import REGISTRY
    from vllm.distributed.kv_transfer.kv_connector.v1.metrics import (
        KVConnectorLogging,
        KVConnectorProm,
    )

    engine = make()
    engine.ask("a", prompt(100))
    lines: list[str] = []
    logging = KVConnectorLogging(engine.config.kv_transfer_config)
    logging.observe(json.loads(json.dumps(engine.stats)))
    logging.log(lambda form, *words: lines.append(form % words))
    assert "saved MiB" in lines[0]
    prom = KVConnectorProm(engine.config, ["engine"], {0: ["0"]})
    prom.observe(engine.stats, 0)
    found = REGISTRY.get_sample_value("vllm:weft_saved_blocks_total", {"engine": "0"})
    assert found == engine.stats["saved_blocks"] == 6
