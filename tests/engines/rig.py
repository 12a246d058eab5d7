"""A vLLM engine without a model: the real Scheduler, the real connector factory, the real order of
hooks (the model runner's mixin) and the real aggregation over ranks, with a forward pass that
writes to each token's slot a number made of all tokens up to it.

So every wrong byte is seen: before a step computes, all that its requests attend to must hold the
numbers of their own tokens, on every rank and layer. A block that was loaded from elsewhere, into
the wrong place, or was overwritten while it was needed, fails the step."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import os
import pickle
import random
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from vllm import SamplingParams
from vllm.config import KVTransferConfig, set_current_vllm_config
from vllm.distributed.kv_transfer import kv_transfer_state
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.kv_transfer.kv_connector.utils import KVOutputAggregator
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
from vllm.engine.arg_utils import EngineArgs
from vllm.utils.hashing import get_hash_fn_by_name
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import (
    FullAttentionSpec,
    KVCacheConfig,
    KVCacheGroupSpec,
    SlidingWindowSpec,
)
from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager
from vllm.v1.worker.kv_connector_model_runner_mixin import KVConnectorModelRunnerMixin

NAME = "tests/shared"  # the namespace of engines of `make` (conftest.py)
BLOCK = 16
HEADS, SIZE = 2, 8
LIMIT_S = 60
SEED = "vllm-none-hash"  # of vLLM's hashes where PYTHONHASHSEED is not set
FULL: tuple[int, ...] = (0,)  # one full-attention group
HYBRID = (48, 0, 48)  # two sliding-window groups around a full one, windows in tokens


def prompt(length: int, seed: int = 1) -> list[int]:
    """Tokens that follow from the seed."""
    chance = random.Random(seed)
    return [chance.randrange(1000) for _ in range(length)]


def until(ready: Callable[[], bool], what: str) -> None:
    """Waits, with an end: `what` is what did not come."""
    end = time.monotonic() + LIMIT_S
    while not ready():
        if time.monotonic() > end:
            raise AssertionError(f"not in {LIMIT_S} s: {what}")
        time.sleep(0.02)


@functools.cache
def _base_config() -> Any:
    folder = Path(tempfile.mkdtemp(prefix="weft-rig-"))
    shape = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": HEADS,
        "head_dim": SIZE,
        "vocab_size": 1000,
        "max_position_embeddings": 2048,
    }
    (folder / "config.json").write_text(json.dumps(shape))
    return EngineArgs(
        model=str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype="float32",
        block_size=BLOCK,
        max_model_len=1024,
        max_num_batched_tokens=512,
        max_num_seqs=16,
        prefix_caching_hash_algo="sha256_cbor",
        disable_hybrid_kv_cache_manager=False,
        kv_transfer_config=KVTransferConfig(
            kv_connector="WeftConnector", kv_connector_module_path="weft.vllm", kv_role="kv_both"
        ),
    ).create_engine_config()


def config(address: str, **extra: Any) -> Any:
    """A config of its own; extra: of kv_connector_extra_config."""
    made = copy.deepcopy(_base_config())
    made.kv_transfer_config.engine_id = f"rig-{time.monotonic_ns()}"
    made.kv_transfer_config.kv_connector_extra_config = {"weft": f"connect={address}", **extra}
    return made


def kv_config(windows: tuple[int, ...], blocks: int) -> KVCacheConfig:
    def spec(window: int) -> Any:
        shape: dict[str, Any] = dict(
            block_size=BLOCK, num_kv_heads=HEADS, head_size=SIZE, dtype=torch.float32
        )
        return (
            SlidingWindowSpec(**shape, sliding_window=window)
            if window
            else FullAttentionSpec(**shape)
        )

    groups = [
        KVCacheGroupSpec([f"l{at}.a", f"l{at}.b"], spec(window))
        for at, window in enumerate(windows)
    ]
    return KVCacheConfig(
        num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=groups, hash_block_size=BLOCK
    )


@dataclasses.dataclass
class Done:
    """How a request ended. cached: tokens that were not computed, at its first admission."""

    reason: str
    tokens: list[int]
    cached: int


@dataclasses.dataclass
class Computed:
    """What a step computes of a request: its tokens from `first` on. wrong: it attends to what a
    load did not bring."""

    name: str
    tokens: list[int]
    tables: Any
    first: int
    salt: str
    wrong: bool


def _numbers(tokens: list[int], salt: str) -> list[int]:
    """For each token a number below 2**24 made of it and all before it."""
    number, made = zlib.crc32(salt.encode()), []
    for token in tokens:
        number = zlib.crc32(token.to_bytes(4, "little"), number)
        made.append(number & 0xFFFFFF)
    return made


class Rank:
    """One worker: its tensors and its connector."""

    def __init__(self, vllm_config: Any, kv: KVCacheConfig, rank: int) -> None:
        own = copy.deepcopy(vllm_config)
        own.kv_transfer_config = vllm_config.kv_transfer_config
        own.parallel_config.rank = rank
        self.rank, self.kv = rank, kv
        # The groups' layers share memory, as vLLM lays hybrid models out: an id is one group's.
        shape = (kv.num_blocks, HEADS, BLOCK, 2 * SIZE)
        self.memory = [torch.zeros(shape) for _ in kv.kv_cache_groups[0].layer_names]
        self.connector: Any = KVConnectorFactory.create_connector(own, KVConnectorRole.WORKER, kv)
        self.connector.register_kv_caches(
            {
                name: self.memory[at]
                for group in kv.kv_cache_groups
                for at, name in enumerate(group.layer_names)
            }
        )

    def check(self, place: tuple[int, int], computed: Computed) -> None:
        """What a request attends to in a layer is its own."""
        (at, layer), table = place, computed.tables[place[0]]
        wanted = _numbers(computed.tokens, f"{at}.{layer}.{self.rank}.{computed.salt}")
        window = getattr(self.kv.kv_cache_groups[at].kv_cache_spec, "sliding_window", None)
        first = computed.first
        for position in range(max(0, first - window + 1) if window else 0, first):
            block = table[position // BLOCK]
            slot = self.memory[layer][block, :, position % BLOCK]
            if not block or not bool((slot == wanted[position]).all()):
                raise AssertionError(
                    f"request {computed.name}, rank {self.rank}, group {at}, layer {layer}, "
                    f"position {position} of {first}, block {block}: "
                    f"{slot.flatten()[0].item()} instead of {wanted[position]}"
                )

    def write(self, place: tuple[int, int], computed: Computed) -> None:
        """What a layer makes of the tokens of this step."""
        at, layer = place
        numbers = _numbers(computed.tokens, f"{at}.{layer}.{self.rank}.{computed.salt}")
        for position in range(computed.first, len(computed.tokens)):
            block = computed.tables[at][position // BLOCK]
            if block:
                self.memory[layer][block, :, position % BLOCK] = numbers[position]


class Engine:
    """An engine of `ranks` workers. weights: what its KV is made of; engines of other weights
    compute other numbers."""

    def __init__(
        self,
        address: str,
        *,
        windows: tuple[int, ...] = FULL,
        ranks: int = 1,
        blocks: int = 200,
        weights: str = "w1",
        change: Any = None,
        **extra: Any,
    ) -> None:
        self.config = config(address, **extra)
        self.config.cache_config.num_gpu_blocks = blocks
        self.config.parallel_config.tensor_parallel_size = ranks
        if change is not None:
            change(self.config)
        self.weights = weights
        self.kv = kv_config(windows, blocks)
        os.environ.pop("PYTHONHASHSEED", None)
        hash_fn = get_hash_fn_by_name(self.config.cache_config.prefix_caching_hash_algo)
        init_none_hash(hash_fn)
        self._hasher = get_request_block_hasher(BLOCK, hash_fn)
        with set_current_vllm_config(self.config):
            self.ranks = [Rank(self.config, self.kv, rank) for rank in range(ranks)]
            self.scheduler = Scheduler(
                vllm_config=self.config,
                kv_cache_config=self.kv,
                structured_output_manager=StructuredOutputManager(self.config),
                block_size=BLOCK,
                hash_block_size=BLOCK,
                log_stats=True,
            )
        self.connector: Any = self.scheduler.connector
        content = {
            rank.rank: meta
            for rank in self.ranks
            if (meta := rank.connector.get_handshake_metadata()) is not None
        }
        if content:
            self.connector.set_xfer_handshake_metadata(content)
        self._aggregator = KVOutputAggregator.from_connector(self.connector, ranks)
        self.requests: dict[str, Request] = {}
        self.done: dict[str, Done] = {}
        self.steps = 0
        self.stats: dict[str, float] = {}
        self.between: Any = None  # called with each step's output before the workers run
        self._cached: dict[str, int] = {}

    @property
    def free(self) -> int:
        return self.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()

    def add(self, name: str, tokens: list[int], generate: int = 1, **more: Any) -> Request:
        params = SamplingParams(
            max_tokens=generate,
            temperature=0,
            ignore_eos=True,
            detokenize=False,
            extra_args=more.pop("extra_args", None),
        )
        params.update_from_generation_config({}, None)
        request = Request(
            request_id=name,
            prompt_token_ids=list(tokens),
            sampling_params=params,
            pooling_params=None,
            block_hasher=self._hasher,
            **more,
        )
        self.requests[name] = request
        self.scheduler.add_request(request)
        return request

    def abort(self, name: str) -> None:
        self.scheduler.finish_requests(name, RequestStatus.FINISHED_ABORTED)

    def step(self) -> Any:
        """One step; returns the scheduler's output."""
        self.steps += 1
        output = self.scheduler.schedule()
        if self.between is not None:
            self.between(output)
        results = [self._work(rank, output) for rank in self.ranks]
        result = self._aggregator.aggregate(results, 0)
        said = self.scheduler.update_from_output(output, result)
        for outputs in said.values():
            counted = outputs.scheduler_stats and outputs.scheduler_stats.kv_connector_stats
            for name, value in (counted or {}).items():
                self.stats[name] = self.stats.get(name, 0) + value
            for one in outputs.outputs:
                if one.prefill_stats is not None:
                    self._cached[one.request_id] = one.prefill_stats.num_cached_tokens
                if one.finish_reason is not None:
                    tokens = list(self.requests[one.request_id].output_token_ids)
                    cached = self._cached.get(one.request_id, 0)
                    self.done[one.request_id] = Done(str(one.finish_reason), tokens, cached)
        return output

    def _work(self, rank: Rank, output: Any) -> ModelRunnerOutput:
        """What a worker does with one step, in the model runner's order."""
        kv_transfer_state._KV_CONNECTOR_AGENT = rank.connector
        output = dataclasses.replace(
            output, kv_connector_metadata=pickle.loads(pickle.dumps(output.kv_connector_metadata))
        )
        rank.connector.handle_preemptions(output.kv_connector_metadata)
        if not output.total_num_scheduled_tokens:
            with set_current_vllm_config(self.config):
                return copy.copy(
                    KVConnectorModelRunnerMixin.kv_connector_no_forward(output, self.config)
                )
        from vllm.forward_context import set_forward_context

        with (
            set_current_vllm_config(self.config),
            set_forward_context(None, self.config),
            KVConnectorModelRunnerMixin.maybe_get_kv_connector_output(output) as said,
        ):
            sampled = self._forward(rank, output)
        names = list(sampled)
        made = copy.copy(EMPTY_MODEL_RUNNER_OUTPUT)
        return dataclasses.replace(
            made,
            req_ids=names,
            req_id_to_index={name: at for at, name in enumerate(names)},
            sampled_token_ids=[sampled[name] for name in names],
            kv_connector_output=said,
        )

    def _forward(self, rank: Rank, output: Any) -> dict[str, list[int]]:
        """A forward pass as the model's layers make it: each waits for its bytes, writes its own,
        and hands them on."""
        layers = [
            (name, (at, layer))
            for at, group in enumerate(self.kv.kv_cache_groups)
            for layer, name in enumerate(group.layer_names)
        ]
        for name, _ in layers:
            rank.connector.wait_for_layer_load(name)
        invalid = self._not_loaded(rank)
        sampled: dict[str, list[int]] = {}
        computed: list[Computed] = []
        for name, count in output.num_scheduled_tokens.items():
            request = self.requests[name]
            first = request.num_computed_tokens - count  # the scheduler has added it already
            tokens = list(request.all_token_ids)
            tables = self.scheduler.kv_cache_manager.get_block_ids(name)
            wrong = not invalid.isdisjoint(at for table in tables for at in table)
            salt = self.weights + str(request.cache_salt or "") + ("wrong" if wrong else "")
            computed.append(Computed(name, tokens[: first + count], tables, first, salt, wrong))
            end = first + count >= request.num_tokens
            sampled[name] = [_numbers(tokens, "sample")[-1] % 1000] if end else []
        for name, place in layers:
            for one in computed:
                rank.write(place, one)
            for one in computed:
                if not one.wrong:
                    rank.check(place, one)
            rank.connector.save_kv_layer(name, rank.memory[place[1]], None)
        return sampled

    def _not_loaded(self, rank: Rank) -> set[int]:
        """The blocks that a synchronous load of this step did not bring: what their request
        computes is wrong, and vLLM drops the step's result for it."""
        worker = rank.connector.worker
        return set() if worker is None else set(worker._invalid)

    def run(self, limit_s: float = LIMIT_S) -> dict[str, Done]:
        """Steps until all requests have ended and all blocks are free."""
        end = time.monotonic() + limit_s
        while self.scheduler.has_requests():
            if time.monotonic() > end:
                raise AssertionError(
                    f"{self.steps} steps, still there: "
                    f"{[(one.request_id, one.status) for one in self.scheduler.requests.values()]}"
                )
            self.step()
        return self.done

    def ask(self, name: str, tokens: list[int], generate: int = 1, **more: Any) -> Done:
        """One request alone."""
        self.add(name, tokens, generate, **more)
        return self.run()[name]

    def forget(self) -> None:
        """Empties vLLM's own cache, so that the next request goes to the connector."""
        assert self.scheduler.reset_prefix_cache()

    def close(self) -> None:
        for rank in self.ranks:
            rank.connector.shutdown()
        self.connector.shutdown()
