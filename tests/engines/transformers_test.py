"""weft.transformers against real transformers models and a real node: the same tokens and logits
with and without it, however a sequence is computed."""

from __future__ import annotations

import copy
import multiprocessing
from typing import Any

import pytest
import torch
import weft
from models import (
    BLOCK,
    BOUND,
    FAMILIES,
    KINDS,
    assert_same,
    generate,
    make,
    make_family,
    open_space,
    plain,
    prompt,
)
from node import Node
from transformers import DynamicCache
from weft.transformers import ModelNamespace, WeftCache

LIMIT_S = 120
IMPORT_S = 600  # of a new process until it has imported transformers, on a busy machine


@pytest.fixture(scope="module", autouse=True)
def threads() -> None:
    torch.set_num_threads(1)


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


@pytest.mark.parametrize("kind", FAMILIES)
def test_other_families_continue_as_well(store: weft.Store, kind: str) -> None:
    model, ids = make_family(kind), prompt(90)
    space = open_space(store, model)
    reference = plain(model, ids)
    assert_same(generate(model, ids, WeftCache(space, ids)), reference, 0)
    cache = WeftCache(space, ids)
    assert cache.loaded == 80
    assert_same(generate(model, ids, cache), reference)


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_of_more_blocks_than_are_opened_at_a_time(store: weft.Store, kind: str) -> None:
    model, ids = make(kind), prompt(200)
    space = ModelNamespace(store, "tests/model", model, block_tokens=1)
    reference = plain(model, ids)
    assert_same(generate(model, ids, WeftCache(space, ids)), reference, 0)
    cache = WeftCache(space, ids)
    assert cache.loaded == 199
    assert_same(generate(model, ids, cache), reference)


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
    key = space.keys(ids[0].numpy())[5]
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


def answer_elsewhere(address: str, prompts: dict[str, Any], answers: Any) -> None:
    torch.set_num_threads(1)
    with weft.Store(connect=address) as store:
        for kind, ids in prompts.items():
            model = make(kind)
            cache = WeftCache(open_space(store, model, f"tests/{kind}"), ids)
            tokens, logits = generate(model, ids, cache)
            answers.put((kind, cache.loaded, tokens.tolist(), logits.tolist()))


def test_another_process_continues_where_this_one_ended(node: Node, store: weft.Store) -> None:
    talks = {}
    for kind in KINDS:
        model, ids = make(kind), prompt(90)
        cache = WeftCache(open_space(store, model, f"tests/{kind}"), ids)
        talks[kind] = torch.cat([generate(model, ids, cache)[0], prompt(20)], 1)
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    arguments = (node.address, talks, answers)
    process = spawn.Process(target=answer_elsewhere, args=arguments, daemon=True)
    process.start()
    for _ in KINDS:
        kind, loaded, tokens, logits = answers.get(timeout=IMPORT_S)
        assert loaded == 112
        reference = plain(make(kind), talks[kind])
        assert_same((torch.tensor(tokens), torch.tensor(logits)), reference)
    process.join(LIMIT_S)


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
