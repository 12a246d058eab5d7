"""weft.transformers where there is no Weft, or it holds something else, or somebody else is at
work; and what it refuses, in which words."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import weft
from models import assert_same, generate, make, open_space, plain, prompt
from node import Node
from transformers import AutoConfig, T5Config
from weft.transformers import ModelNamespace, WeftCache

LIMIT_S = 120


def test_blocks_of_older_weights_are_gone_after_an_advance(store: weft.Store) -> None:
    model, ids = make("llama"), prompt(50)
    old = open_space(store, model)
    reference = plain(model, ids)
    generate(model, ids, WeftCache(old, ids))
    assert WeftCache(old, ids).loaded == 48
    old.advance(old.version + 1)

    fenced = WeftCache(old, ids)
    assert fenced.loaded == 0
    assert isinstance(fenced.error, weft.FencedError)
    assert_same(generate(model, ids, fenced), reference, 0)

    new = open_space(store, model)
    cache = WeftCache(new, ids)
    assert (cache.loaded, cache.error) == (0, None)
    assert_same(generate(model, ids, cache), plain(model, ids), 0)
    assert WeftCache(new, ids).loaded == 48


def test_blocks_of_other_weights_are_not_found(store: weft.Store) -> None:
    model, ids = make("llama"), prompt(50)
    generate(model, ids, WeftCache(open_space(store, model), ids))
    same = make("llama")
    assert WeftCache(open_space(store, same), ids).loaded == 48
    with torch.no_grad():
        same.model.layers[3].self_attn.k_proj.weight.mul_(1.01)
    tuned = open_space(store, same)
    cache = WeftCache(tuned, ids)
    assert (cache.loaded, cache.error) == (0, None)
    assert_same(generate(same, ids, cache), plain(same, ids), 0)
    assert WeftCache(tuned, ids).loaded == 48


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_node_that_dies_or_stops_costs_nothing_but_its_blocks(how: signal.Signals) -> None:
    model, ids = make("gemma"), prompt(60)
    reference, node = plain(model, ids), Node()
    with contextlib.ExitStack() as last:
        last.callback(node.process.kill)
        store = last.enter_context(weft.Store(connect=node.address, timeout_ms=500))
        space = open_space(store, model)
        generate(model, ids, WeftCache(space, ids))
        held = WeftCache(space, ids)
        unsaved = WeftCache(space, prompt(60, 8))
        assert (held.loaded, unsaved.loaded) == (48, 0)

        node.process.send_signal(how)
        assert_same(generate(model, ids, held), reference)
        assert held.saved == 48
        assert_same(generate(model, prompt(60, 8), unsaved), plain(model, prompt(60, 8)), 0)
        assert isinstance(unsaved.error, (weft.PeerError, weft.TimedOutError))
        begun = time.monotonic()
        lost = WeftCache(space, ids)
        assert time.monotonic() - begun < 10
        assert lost.loaded == 0
        assert isinstance(lost.error, (weft.PeerError, weft.TimedOutError))
        assert_same(generate(model, ids, lost), reference, 0)

        if how == signal.SIGKILL:
            node.process.wait()
            node.start()
        else:
            node.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + LIMIT_S
        while WeftCache(space, ids).error is not None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        cache = WeftCache(space, ids)
        generate(model, ids, cache)
        assert cache.saved == 80
        assert WeftCache(space, ids).loaded == 48
        node.end()


def test_a_model_of_another_layout_is_told_both_and_opens_nothing(store: weft.Store) -> None:
    open_space(store, make("gemma"))
    with pytest.raises(weft.InvalidError, match=r"dtype=bfloat16 .*dtype=float32"):
        open_space(store, make("gemma", torch.bfloat16))
    with pytest.raises(weft.InvalidError, match=r"block_tokens=32 .*block_tokens=16"):
        ModelNamespace(store, "tests/model", make("gemma"), block_tokens=32)
    for other in (
        make("llama"),
        make("gemma", num_key_value_heads=4),
        make("gemma", sliding_window=25),
        make("gemma", rms_norm_eps=0.1),
    ):
        with pytest.raises(
            weft.InvalidError, match=r"layout=\S+ \S+ .*but it .* layout=\S+ gemma3"
        ):
            open_space(store, other)


def test_a_saved_and_loaded_model_has_the_same_layout(store: weft.Store, tmp_path: Path) -> None:
    model, ids = make("gemma"), prompt(40)
    generate(model, ids, WeftCache(open_space(store, model), ids))
    model.save_pretrained(tmp_path)
    stored = type(model).from_pretrained(tmp_path)
    cache = WeftCache(open_space(store, stored), ids)
    assert cache.loaded == 32
    assert_same(generate(stored, ids, cache), plain(model, ids))


def test_models_whose_prefixes_cannot_be_reused_are_refused_by_name(store: weft.Store) -> None:
    def refused(model: Any, words: str) -> None:
        with pytest.raises(weft.NotSupportedError, match=words):
            open_space(store, model)

    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    refused(make("llama", rope_parameters=dynamic), "llama: rope_type=dynamic")
    refused(make("gemma", use_bidirectional_attention=True), "use_bidirectional_attention")
    refused(make("llama", torch.float64), "keys of torch.float64")
    hybrid = AutoConfig.for_model("qwen3_next", num_hidden_layers=4)
    refused(Bare(hybrid), "qwen3_next: layer 0 is a LinearAttentionLayer")
    refused(Bare(T5Config()), "encoder-decoder")
    with pytest.raises(weft.MissError):
        store.namespace("tests/model", create=False)
    with pytest.raises(weft.InvalidError, match="block_tokens=0"):
        ModelNamespace(store, "tests/model", make("llama"), block_tokens=0)


class Bare:
    """Of a model, what is read before it is refused."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, config: Any) -> None:
        self.config = config


def test_what_keys_do_not_tell_is_refused_with_numbers(store: weft.Store) -> None:
    model, ids = make("llama", pad_token_id=9), prompt(40, rows=2)
    space = open_space(store, model)

    def refused(words: str, **given: Any) -> None:
        with pytest.raises(weft.InvalidError, match=words):
            model(past_key_values=WeftCache(space, ids), **given)

    mask = torch.ones_like(ids)
    mask[1, :7] = 0
    refused("an attention_mask that hides 7 tokens", input_ids=ids, attention_mask=mask)
    ids[ids == 9] = 0
    ids[1, :3] = 9
    with pytest.raises(weft.InvalidError, match="hides 3 tokens"):  # by generate's own mask
        model.generate(ids, past_key_values=WeftCache(space, ids), max_new_tokens=1)
    wide = torch.ones(2, 47)
    refused(r"attention_mask of \(2, 47\) for 0 \+ 40 tokens", input_ids=ids, attention_mask=wide)
    refused("not of .rows, tokens.", input_ids=ids, attention_mask=torch.ones(2, 1, 40, 40))
    places = torch.arange(3, 43)[None]
    refused("position_ids other than 0 to 39", input_ids=ids, position_ids=places)
    refused("given no input_ids", inputs_embeds=torch.zeros(2, 40, 64))
    refused("pixel_values: keys are of tokens", input_ids=ids, pixel_values=torch.zeros(1))
    refused("input_ids of 3 rows, but the cache was made for 2", input_ids=ids[[0, 0, 1]])
    refused("of another prompt .* .tokens from 0 on", input_ids=ids[[1, 0]])
    refused("of another prompt .* .tokens from 0 on", input_ids=ids[[0, 0, 0, 1]])
    refused("images: keys are of tokens", input_ids=ids, images=[torch.zeros(1)])
    with pytest.raises(weft.InvalidError, match=r"\(2, 2, 16, torch.bfloat16\); .*torch.float32"):
        other = make("llama", torch.bfloat16)
        ModelNamespace(store, "tests/other", other)  # so that it tells the cache
        generate(other, ids, WeftCache(space, ids))
    with pytest.raises(weft.InvalidError, match="not told of"):
        generate(make("llama"), ids, WeftCache(space, ids))
    with pytest.raises(weft.InvalidError, match=r"shape \(2, 40\) and torch.float32"):
        WeftCache(space, ids.float())
    with pytest.raises(weft.InvalidError, match="wait_s=1 with 2 rows"):
        WeftCache(space, ids, wait_s=1)


def test_a_cache_is_for_the_prompt_it_was_made_for(store: weft.Store) -> None:
    model, ids = make("llama"), prompt(50)
    space = open_space(store, model)
    generate(model, ids, WeftCache(space, ids))
    with pytest.raises(weft.InvalidError, match="of another prompt .* .tokens from 48 on"):
        generate(model, prompt(50, 8), WeftCache(space, ids))
    with pytest.raises(weft.InvalidError, match="of another prompt .* .tokens from 48 on"):
        generate(model, torch.cat([ids, prompt(50, 8)]), WeftCache(space, ids))
    longer = torch.cat([ids, prompt(30)], 1)
    assert_same(generate(model, longer, WeftCache(space, ids)), plain(model, longer))


@pytest.mark.parametrize(("saves", "prompt_saved"), [("prompt", 48), ("nothing", 0)])
def test_what_is_saved_can_be_less(store: weft.Store, saves: Any, prompt_saved: int) -> None:
    model, ids = make("gemma"), prompt(50)
    space = open_space(store, model)
    cache = WeftCache(space, ids, saves=saves)
    mine = generate(model, ids, cache)
    assert cache.saved == prompt_saved
    assert WeftCache(space, mine[0]).loaded == prompt_saved
    with pytest.raises(weft.InvalidError, match="saves='some'"):
        WeftCache(space, ids, saves="some")  # type: ignore[arg-type]


def test_adapters_and_salts_have_blocks_of_their_own(store: weft.Store) -> None:
    model, ids = make("llama"), prompt(40)
    space = open_space(store, model)
    generate(model, ids, WeftCache(space, ids, salt="one"))
    assert WeftCache(space, ids).loaded == 0
    assert WeftCache(space, ids, salt="two").loaded == 0
    assert WeftCache(space, ids, salt="one").loaded == 32


def test_one_computes_and_the_others_wait(store: weft.Store) -> None:
    model, ids = make("llama"), prompt(80)
    space = open_space(store, model)
    first = WeftCache(space, ids, wait_s=LIMIT_S)
    found: list[WeftCache] = []
    waiting = [
        threading.Thread(target=lambda: found.append(WeftCache(space, ids, wait_s=LIMIT_S)))
        for _ in range(2)
    ]
    for thread in waiting:
        thread.start()
    assert WeftCache(space, ids, wait_s=0.2).loaded == 0, "who cannot wait computes by itself"
    assert not found
    generate(model, ids, first)
    for thread in waiting:
        thread.join(LIMIT_S)
    assert [cache.loaded for cache in found] == [64, 64]

    gone = WeftCache(space, prompt(80, 8), wait_s=LIMIT_S)
    thread = threading.Thread(
        target=lambda: found.append(WeftCache(space, prompt(80, 8), wait_s=LIMIT_S))
    )
    thread.start()
    del gone  # without having computed anything
    thread.join(LIMIT_S)
    assert found[-1].loaded == 0


def test_a_block_that_another_process_is_writing_is_left_to_it(
    node: Node, store: weft.Store
) -> None:
    model, ids = make("llama"), prompt(70)
    space = open_space(store, model)
    chain = space.keys(ids[0].numpy())
    with weft.Store(connect=node.address) as other:
        theirs = open_space(other, model).reserve(chain[1])
        cache = WeftCache(space, ids)
        assert_same(generate(model, ids, cache), plain(model, ids), 0)
        assert cache.error is None
        assert [space.match([key]) for key in chain] == [1, 0, 1, 1]
        theirs.abort()
    generate(model, ids, WeftCache(space, ids))
    assert space.match(chain) == 4


def test_the_pages_example_runs(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[2] / "sdk-python" / "docs" / "transformers.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    given = {"ADDRESS": node.address, "model": make("llama"), "input_ids": prompt(70)}
    given["model"].generation_config.max_new_tokens = 30
    for _ in range(2):
        exec(code, given)
        given["namespace"].close()
        given["store"].close()
    first, second = capsys.readouterr().out.splitlines()
    assert first == "0 tokens came from Weft, 96 are there now; failures: None"
    assert second == "64 tokens came from Weft, 96 are there now; failures: None"
