"""weft.transformers against real transformers models and a real node: the same tokens and logits with
and without the cache, and what happens when Weft is not there or holds something else.

Logits are compared with a run without Weft. They are not equal bit by bit where fewer tokens are
computed at once (another matrix shape): then BOUND, 30 times what was seen. Where the shapes are the
same, they must be."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import weft
from models import KINDS, generate, make, prompt
from node import Node
from transformers import AutoConfig, DynamicCache, T5Config
from weft.transformers import ModelNamespace, WeftCache

BLOCK = 16
BOUND = 3e-4  # of logits of -20 to 20, in float32
LIMIT_S = 120


@pytest.fixture(scope="module", autouse=True)
def threads() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.end()


@pytest.fixture
def store(node: Node) -> Iterator[weft.Store]:
    with weft.Store(connect=node.address, timeout_ms=20_000) as opened:
        yield opened


def open_space(store: weft.Store, model: Any) -> ModelNamespace:
    return ModelNamespace(store, "tests/model", model, block_tokens=BLOCK)


def plain(model: Any, ids: torch.Tensor, **more: Any) -> tuple[Any, Any]:
    return generate(model, ids, DynamicCache(config=model.config), **more)


def assert_same(mine: tuple[Any, Any], reference: tuple[Any, Any], bound: float = BOUND) -> None:
    difference = (mine[1] - reference[1]).abs().max().item()
    assert difference <= bound, f"logits differ by {difference}"
    assert torch.equal(mine[0], reference[0])


@pytest.mark.parametrize("length", [1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_and_logits_are_those_of_a_run_without_weft(
    store: weft.Store, kind: str, length: int, record_property: Any
) -> None:
    model, ids = make(kind), prompt(length)
    space = open_space(store, model)
    reference = plain(model, ids)

    first = WeftCache(space, ids)
    assert first.loaded == 0
    filled = generate(model, ids, first)
    assert_same(filled, reference, 0)
    # The last token has been sampled, not computed.
    assert first.saved == (length + 23) // BLOCK * BLOCK

    again = WeftCache(space, ids)
    assert again.loaded == (length - 1) // BLOCK * BLOCK
    reused = generate(model, ids, again)
    assert_same(reused, reference)
    record_property("largest difference", (reused[1] - reference[1]).abs().max().item())

    longer = torch.cat([filled[0], prompt(9)], 1)  # the next turn of a talk
    talk = WeftCache(space, longer)
    assert talk.loaded == (length + 23) // BLOCK * BLOCK
    assert_same(generate(model, longer, talk), plain(model, longer))
    assert first.error is again.error is talk.error is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_are_the_bytes_that_were_computed(
    store: weft.Store, kind: str, dtype: torch.dtype
) -> None:
    model, ids = make(kind, dtype), prompt(100)
    space = open_space(store, model)
    kept = DynamicCache(config=model.config)
    saving = WeftCache(space, ids[:, :96])
    with torch.inference_mode():
        model(ids[:, :96], past_key_values=saving)
        model(ids[:, :96], past_key_values=kept)
        loaded = WeftCache(space, ids)
        assert loaded.loaded == 96
        for mine, theirs in zip(loaded.layers, kept.layers, strict=True):
            assert mine.get_seq_length() == theirs.get_seq_length() == 96
            assert torch.equal(mine.keys, theirs.keys)
            assert torch.equal(mine.values, theirs.values)
        mine = model(ids[:, 96:], past_key_values=loaded).logits
        theirs = model(ids[:, 96:], past_key_values=kept).logits
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_comparison_of_logits_notices_a_wrong_block(store: weft.Store, kind: str) -> None:
    model, ids = make(kind), prompt(100)
    space = open_space(store, model)
    generate(model, ids, WeftCache(space, ids))
    key = weft.keys(ids[0].numpy(), block_tokens=BLOCK)[5]
    block = space.load(key)
    assert block is not None
    space.save(key, block.view("float32")[::-1].copy(), replace=True)
    cache = WeftCache(space, ids)
    assert cache.loaded == 96
    assert (generate(model, ids, cache)[1] - plain(model, ids)[1]).abs().max().item() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_that_fork_share_the_blocks_before_the_fork(store: weft.Store, kind: str) -> None:
    model, trunk = make(kind), prompt(70)
    space = open_space(store, model)
    generate(model, trunk, WeftCache(space, trunk))
    for at in (0, 1, 15, 16, 17, 40, 63, 64, 69):
        fork = torch.cat([trunk[:, :at], (trunk[:, at : at + 1] + 1) % 256, prompt(40, at)], 1)
        cache = WeftCache(space, fork)
        assert cache.loaded == at // BLOCK * BLOCK
        assert_same(generate(model, fork, cache), plain(model, fork))


def answer_elsewhere(address: str, kind: str, ids: Any, answer: Any) -> None:
    torch.set_num_threads(1)
    model = make(kind)
    with weft.Store(connect=address) as store:
        cache = WeftCache(open_space(store, model), ids)
        tokens, logits = generate(model, ids, cache)
        answer.put((cache.loaded, tokens.tolist(), logits.tolist()))


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_continues_where_this_one_ended(
    node: Node, store: weft.Store, kind: str
) -> None:
    model, ids = make(kind), prompt(90)
    cache = WeftCache(open_space(store, model), ids)
    mine = generate(model, ids, cache)
    spawn = multiprocessing.get_context("spawn")
    longer, answers = torch.cat([mine[0], prompt(20)], 1), spawn.Queue()
    arguments = (node.address, kind, longer, answers)
    process = spawn.Process(target=answer_elsewhere, args=arguments, daemon=True)
    process.start()
    loaded, tokens, logits = answers.get(timeout=LIMIT_S)
    process.join(LIMIT_S)
    assert loaded == 112
    assert_same((torch.tensor(tokens), torch.tensor(logits)), plain(model, longer))


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

    with torch.no_grad():
        model.model.layers[0].self_attn.k_proj.weight.mul_(-1)
    new = open_space(store, model)
    cache = WeftCache(new, ids)
    assert (cache.loaded, cache.error) == (0, None)
    assert_same(generate(model, ids, cache), plain(model, ids), 0)
    assert WeftCache(new, ids).loaded == 48


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
    refused("input_ids of 3 rows, but the cache was made for 2", input_ids=prompt(40, rows=3))
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_loads_what_all_its_rows_have(store: weft.Store, kind: str) -> None:
    model, ids = make(kind), prompt(70, rows=3)
    space = open_space(store, model)
    reference = plain(model, ids)
    for row, known in ((0, 70), (1, 40), (2, 55)):
        alone = ids[row : row + 1, :known]
        generate(model, alone, WeftCache(space, alone))
    cache = WeftCache(space, ids)
    assert cache.loaded == 32
    mine = generate(model, ids, cache)
    assert_same(mine, reference)
    assert cache.saved == 80
    for row in range(3):
        assert WeftCache(space, mine[0][row]).loaded == 80
    again = WeftCache(space, ids)
    assert again.loaded == 64
    assert_same(generate(model, ids, again), reference)


@pytest.mark.parametrize("kind", KINDS)
def test_one_prompt_may_have_several_answers(store: weft.Store, kind: str) -> None:
    model, ids = make(kind), prompt(50)
    space = open_space(store, model)

    def sampled(cache: Any) -> tuple[Any, Any]:
        torch.manual_seed(3)
        return generate(model, ids, cache, do_sample=True, num_return_sequences=3, top_k=0)

    reference = sampled(DynamicCache(config=model.config))
    first = WeftCache(space, ids)
    mine = sampled(first)
    assert_same(mine, reference, 0)
    assert first.saved == 64
    again = WeftCache(space, ids)
    assert again.loaded == 48
    assert_same(sampled(again), reference)
    for row in mine[0]:
        talk = WeftCache(space, row)
        assert talk.loaded == 64
        assert_same(generate(model, row[None], talk), plain(model, row[None]))


@pytest.mark.parametrize("kind", KINDS)
def test_beams_are_saved_with_their_own_tokens(store: weft.Store, kind: str) -> None:
    model, ids = make(kind), prompt(50)
    space = open_space(store, model)

    def beams(cache: Any) -> Any:
        return generate(model, ids, cache, num_beams=4)[0]

    reference = beams(DynamicCache(config=model.config))
    assert torch.equal(beams(WeftCache(space, ids)), reference)
    again = WeftCache(space, ids)
    assert again.loaded == 48
    assert torch.equal(beams(again), reference)
    longer = torch.cat([reference, prompt(5)], 1)
    talk = WeftCache(space, longer)
    assert talk.loaded == 64
    assert_same(generate(model, longer, talk), plain(model, longer))


@pytest.mark.parametrize("kind", KINDS)
def test_guesses_that_are_taken_back_do_no_harm(store: weft.Store, kind: str) -> None:
    model = make(kind)
    ids = prompt(12).repeat(1, 5)  # so that a look into the prompt finds something to guess
    space = open_space(store, model)
    reference = plain(model, ids)
    for loaded in (0, 48):
        cache = WeftCache(space, ids)
        assert cache.loaded == loaded
        assert_same(generate(model, ids, cache, prompt_lookup_num_tokens=5), reference)
        assert cache.loaded == 0, "transformers computes the whole prompt here"
        assert cache.saved == 80
    longer = torch.cat([reference[0], prompt(5)], 1)
    talk = WeftCache(space, longer)
    assert talk.loaded == 80
    assert_same(generate(model, longer, talk), plain(model, longer))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cropped_cache_follows_its_new_tokens(store: weft.Store, kind: str) -> None:
    model, ids = make(kind), prompt(64)
    space = open_space(store, model)
    cache = WeftCache(space, ids)
    cache.activate_past_recording()
    with torch.inference_mode():
        model(ids, past_key_values=cache)
        assert cache.saved == 64
        cache.crop(-20)
        other = torch.cat([ids[:, :44], prompt(30, 9)], 1)
        mine = model(other[:, 44:], past_key_values=cache).logits
        reference = model(other).logits[:, 44:]
    assert (mine - reference).abs().max().item() <= BOUND
    # A sliding layer has forgotten what the block that is open again begins with.
    saved = 32 if kind == "gemma" else 64
    assert cache.saved == saved
    assert WeftCache(space, other).loaded == saved

    cache.reset()
    last = prompt(40, 10)
    assert_same(generate(model, last, cache), plain(model, last), 0)
    assert WeftCache(space, last).loaded == 32


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_in_chunks_is_saved_and_continued(store: weft.Store, kind: str) -> None:
    model, ids = make(kind), prompt(90)
    space = open_space(store, model)
    cache = WeftCache(space, ids)
    with torch.inference_mode():
        for begin, end, saved in ((0, 10, 0), (10, 45, 32), (45, 46, 32), (46, 90, 80)):
            model(ids[:, begin:end], past_key_values=cache)
            assert cache.saved == saved
    again = WeftCache(space, ids)
    assert again.loaded == 80
    assert_same(generate(model, ids, again), plain(model, ids))
    chunks = WeftCache(space, ids)
    assert_same(generate(model, ids, chunks, prefill_chunk_size=20), plain(model, ids))
    assert chunks.loaded == 0, "transformers computes the whole prompt here"


def test_a_copy_of_a_cache_goes_its_own_way(store: weft.Store) -> None:
    model, ids = make("gemma"), prompt(40)
    space = open_space(store, model)
    cache = WeftCache(space, ids)
    with torch.inference_mode():
        model(ids[:, :-1], past_key_values=cache)
    for ending in (prompt(10, 1), prompt(10, 2)):
        longer, own = torch.cat([ids, ending], 1), copy.deepcopy(cache)
        mine = generate(model, longer, own)
        assert_same(mine, plain(model, longer))
        assert WeftCache(space, mine[0]).loaded == 64


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
    chain = weft.keys(ids[0].numpy(), block_tokens=BLOCK)
    with weft.Store(connect=node.address) as other:
        theirs = open_space(other, model).reserve(chain[1])
        cache = WeftCache(space, ids)
        assert_same(generate(model, ids, cache), plain(model, ids), 0)
        assert cache.error is None
        assert [space.match([key]) for key in chain] == [1, 0, 1, 1]
        theirs.abort()
    generate(model, ids, WeftCache(space, ids))
    assert space.match(chain) == 4
