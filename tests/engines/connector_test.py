"""WeftConnector under vLLM's real Scheduler: what is saved, found and loaded.

The rig fails a step in which any byte that a request attends to is not its own, so that every test
here is also a test of bytes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import weft
from node import Node
from rig import BLOCK, FULL, HYBRID, SEED, Engine, prompt
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorBase_V1, SupportsHMA
from vllm.v1.metrics.cache_hit_source import CacheHitSource
from weft.vllm import WeftConnector

Make = Callable[..., Engine]


def role(name: str) -> Callable[[Any], None]:
    return lambda config: setattr(config.kv_transfer_config, "kv_role", name)


KINDS = {
    "one group": {},
    "synchronous": {"load": "sync"},
    "saved by layers": {"save": "layers"},
    "two ranks": {"ranks": 2},
    "hybrid": {"windows": HYBRID},
    "hybrid, two ranks": {"windows": HYBRID, "ranks": 2},
    "hybrid, two ranks, by layers": {"windows": HYBRID, "ranks": 2, "save": "layers"},
    "windows alone": {"windows": (48,)},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def test_every_hook_has_the_signature_that_vllm_calls() -> None:
    for base in (KVConnectorBase_V1, SupportsHMA):
        for name, theirs in inspect.getmembers(base, callable):
            ours = getattr(WeftConnector, name)
            if name.startswith("_") or ours is theirs:
                assert name not in base.__abstractmethods__, name
                continue
            wanted = [(at.name, at.kind) for at in inspect.signature(theirs).parameters.values()]
            found = [(at.name, at.kind) for at in inspect.signature(ours).parameters.values()]
            assert found == wanted, name
    assert not WeftConnector.__abstractmethods__


@every_kind
def test_what_one_engine_computed_another_loads(make: Make, kind: dict[str, Any]) -> None:
    tokens = prompt(205)
    first = make(**kind).ask("a", tokens, 20)
    assert first.cached == 0
    engine = make(**kind)
    again = engine.ask("b", tokens, 20)
    assert again.cached == 192
    assert again.tokens == first.tokens
    assert engine.free == engine.kv.num_blocks - 1


@every_kind
def test_around_block_boundaries_all_full_blocks_but_the_last_token_are_loaded(
    make: Make, kind: dict[str, Any]
) -> None:
    writer, reader = make(**kind), make(**kind)
    for at, length in enumerate((1, 15, 16, 17, 31, 32, 33, 95, 96, 97)):
        tokens = prompt(length, seed=length)
        wanted = writer.ask(f"w{at}", tokens, 2)
        found = reader.ask(f"r{at}", tokens, 2)
        assert found.cached == (length - 1) // BLOCK * BLOCK, length
        assert found.tokens == wanted.tokens


@every_kind
def test_forks_share_their_common_prefix(make: Make, kind: dict[str, Any]) -> None:
    trunk, writer, reader = prompt(160), make(**kind), make(**kind)
    writer.ask("trunk", trunk)
    for at, length in enumerate((0, 16, 40, 64, 100, 144, 160)):
        fork = trunk[:length] + prompt(50, seed=100 + length)
        wanted = writer.ask(f"w{at}", fork, 3)
        assert reader.ask(f"r{at}", fork, 3).tokens == wanted.tokens
        reader.forget()


@every_kind
def test_blocks_that_decoding_filled_are_loaded_too(make: Make, kind: dict[str, Any]) -> None:
    tokens = prompt(30)
    made = make(**kind).ask("a", tokens, 100)
    turn = make(**kind).ask("b", tokens + made.tokens[:90] + prompt(5, seed=9), 2)
    assert turn.cached == (30 + 90) // BLOCK * BLOCK


@every_kind
def test_a_hit_goes_on_behind_vllms_own(make: Make, kind: dict[str, Any]) -> None:
    tokens, writer, reader = prompt(300), make(**kind), make(**kind)
    writer.ask("a", tokens)
    reader.ask("short", tokens[:100])
    reader.stats.clear()
    assert reader.ask("long", tokens).cached == 288
    assert reader.stats["asked_blocks"] == (300 - 1) // BLOCK - 100 // BLOCK


@every_kind
def test_a_prefill_in_pieces_is_saved_whole(make: Make, kind: dict[str, Any]) -> None:
    tokens = prompt(900)
    engine = make(**kind)
    engine.ask("a", tokens)
    assert engine.steps > 2
    assert make(**kind).ask("b", tokens).cached == 896


@every_kind
def test_many_requests_at_once_each_get_their_own(make: Make, kind: dict[str, Any]) -> None:
    prompts = [prompt(20 + 13 * at, seed=at % 3) for at in range(12)]
    writer, reader = make(**kind), make(**kind)
    for engine in (writer, reader):
        for at, tokens in enumerate(prompts):
            engine.add(str(at), tokens, 5 + at)
        engine.run()
    assert reader.stats["loaded_blocks"] > 0
    assert {at: done.tokens for at, done in reader.done.items()} == {
        at: done.tokens for at, done in writer.done.items()
    }


@every_kind
def test_preempted_requests_come_back_with_their_own_bytes(
    make: Make, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # All are admitted at once, also where the node is slow to answer.
    monkeypatch.setattr("weft.vllm.scheduler.ANSWER_MS", 10_000)
    groups = len(kind.get("windows", FULL))
    engine = make(**kind, blocks=1 + groups * 11)
    preempted: set[str] = set()
    engine.between = lambda output: preempted.update(output.preempted_req_ids or ())
    prompts = [prompt(70, seed=at) for at in range(3)]
    for at, tokens in enumerate(prompts):
        engine.add(str(at), tokens, 60)
    engine.run()
    assert preempted
    roomy = make(**kind)
    for at, tokens in enumerate(prompts):
        assert roomy.ask(str(at), tokens, 60).tokens == engine.done[str(at)].tokens


def test_asking_has_no_effect(make: Make) -> None:
    make().ask("a", prompt(100))
    engine = make()
    request = engine.add("b", prompt(100))
    asked = [engine.connector.get_num_new_matched_tokens(request, 0) for _ in range(50)]
    while asked[-1][0] is None:
        asked.append(engine.connector.get_num_new_matched_tokens(request, 0))
    assert asked[-1] == (96, True)
    assert {count for count, _ in asked} <= {None, 96}
    assert engine.connector.get_num_new_matched_tokens(request, 32) == (64, True)
    assert engine.connector.get_num_new_matched_tokens(request, 96) == (0, False)
    assert engine.connector.scheduler.stats.data["lookups"] == 1


def test_loads_are_asynchronous_unless_asked_for_otherwise(make: Make) -> None:
    make().ask("a", prompt(100))
    for load, asynchronous in (("async", True), ("sync", False)):
        engine = make(load=load)
        request = engine.add("b", prompt(100))
        answer = (None, False)
        while answer[0] is None:
            answer = engine.connector.get_num_new_matched_tokens(request, 0)
        assert answer == (96, asynchronous)
        engine.run()


def test_a_hybrid_hit_is_cut_where_a_window_lacks_its_tail(make: Make, node: Node) -> None:
    tokens, writer = prompt(320), make(windows=HYBRID)
    writer.ask("a", tokens)
    link = writer.connector.scheduler._link
    keys = weft.keys(tokens, block_tokens=BLOCK, seed=SEED)
    with weft.Store(connect=node.address) as store:
        window = store.namespace(link.name + ".g2", create=False)
        window.remove(keys[12:13])
    # Block 12 is needed by hits that end with block 13, 14 or 15: the window is 48 tokens. Readers
    # that saved would save it again.
    only_loads = role("kv_consumer")
    for end, wanted in ((16, 16), (15, 12), (14, 12), (13, 12), (12, 12)):
        reader = make(windows=HYBRID, change=only_loads)
        assert reader.ask("b", tokens[: end * BLOCK] + [5]).cached == wanted * BLOCK, end


def test_a_window_group_saves_and_loads_only_what_is_in_its_window(make: Make) -> None:
    tokens = prompt(320)
    make(windows=HYBRID).ask("a", tokens)
    reader = make(windows=HYBRID)
    reader.ask("b", [*tokens, 5])
    assert reader.stats["loaded_blocks"] == 20 + 3 + 3


def test_salt_and_adapters_are_kept_apart(make: Make) -> None:
    from vllm.lora.request import LoRARequest

    tokens, writer, reader = prompt(100), make(), make()
    writer.ask("a", tokens)
    writer.ask("s", tokens, cache_salt="blue")
    assert reader.ask("1", tokens, cache_salt="red").cached == 0
    assert reader.ask("2", tokens, cache_salt="blue").cached == 96
    lora = LoRARequest("adapter", 1, "/adapter")
    reader.forget()
    request = reader.add("3", tokens, lora_request=lora)
    assert len({*request.block_hashes} & {*reader.requests["2"].block_hashes}) == 0
    assert reader.run()["3"].cached == 0


def test_keys_are_those_that_a_gateway_makes(make: Make, node: Node) -> None:
    tokens, engine = prompt(100), make()
    engine.ask("a", tokens)
    name = engine.connector.scheduler._link.name
    with weft.Store(connect=node.address) as store:
        space = store.namespace(name, create=False)
        assert space.match(weft.keys(tokens, block_tokens=BLOCK, seed=SEED)) == 6


def test_replicas_of_one_kv_head_save_once(make: Make) -> None:
    import rig

    whole = rig.kv_config

    def twins(windows: tuple[int, ...], blocks: int) -> Any:
        made = whole(windows, blocks)
        made.kv_tp_replicas = 2
        return made

    # Ranks that hold the same bytes: the rig's second rank writes the first one's numbers.
    slots, rig.kv_config = rig.Rank.__init__, twins

    def same(self: Any, config: Any, kv: Any, rank: int) -> None:
        slots(self, config, kv, rank)
        self.rank = 0

    rig.Rank.__init__ = same  # type: ignore[method-assign]
    try:
        tokens, writer, reader = prompt(100), make(ranks=2), make(ranks=2)
        writer.ask("a", tokens)
        assert reader.ask("b", tokens).cached == 96
        assert writer.stats["saved_blocks"] == 6
        assert reader.stats["loaded_blocks"] == 12
    finally:
        rig.Rank.__init__, rig.kv_config = slots, whole  # type: ignore[method-assign]


def test_roles_of_one_direction_do_only_that(make: Make) -> None:
    tokens = prompt(100)
    make(change=role("kv_consumer")).ask("a", tokens)
    producer = make(change=role("kv_producer"))
    assert producer.ask("b", tokens).cached == 0
    producer.forget()
    assert producer.ask("c", tokens).cached == 0
    assert make(change=role("kv_consumer")).ask("d", tokens).cached == 96


def test_a_cache_is_no_delivery_and_its_hits_are_of_host_memory(make: Make) -> None:
    connector = make().connector
    assert connector.requires_kv_delivery is False
    sources = connector.get_external_cache_hit_sources(None, 32)
    assert sources == {CacheHitSource.HOST: 32}


def test_what_vllm_kept_and_weft_lost_is_saved_again(make: Make, node: Node) -> None:
    tokens, engine = prompt(100), make()
    engine.ask("a", tokens)
    with weft.Store(connect=node.address) as store:
        name = engine.connector.scheduler._link.name
        store.namespace(name, create=False).flush()
    engine.ask("b", tokens)
    assert make().ask("c", tokens).cached == 96


def test_two_engines_that_save_one_prompt_at_once_leave_it_whole(make: Make) -> None:
    tokens = prompt(900)
    engines = [make(), make()]
    for engine in engines:
        engine.add("a", tokens, 3)
    while any(engine.scheduler.has_requests() for engine in engines):
        for engine in engines:
            engine.step()
    assert engines[0].done["a"].tokens == engines[1].done["a"].tokens
    assert make().ask("b", tokens).cached == 896
