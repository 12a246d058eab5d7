"""WeftEncoderConnector under vLLM's real factory, Scheduler, encoder cache manager and model
runner's mixin, without a model: an image's embeddings are made of its name, and known to the byte.

The engine here ends where vLLM's would: when a step needs an image that its cache does not hold."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import pickle
import signal
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import weft
from node import Node
from vllm import SamplingParams
from vllm.config import ECTransferConfig, set_current_vllm_config
from vllm.distributed.device_communicators.shm_broadcast import MessageQueue
from vllm.distributed.ec_transfer import ec_transfer_state
from vllm.distributed.ec_transfer.ec_connector.base import ECConnectorBase, ECConnectorRole
from vllm.distributed.ec_transfer.ec_connector.factory import ECConnectorFactory
from vllm.engine.arg_utils import EngineArgs
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.v1.core.encoder_cache_manager import EncoderCacheManager
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager
from vllm.v1.worker.ec_connector_model_runner_mixin import ECConnectorModelRunnerMixin
from weft.vllm import WeftEncoderConnector
from weft.vllm.encoder import Embeddings, _tensor

WIDTH = 24
LIMIT_S = 60
SPACE = "tests/pictures"


@functools.cache
def base_config(dtype: str) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="weft-"))
    shape = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 1000,
        "max_position_embeddings": 2048,
    }
    (folder / "config.json").write_text(json.dumps(shape))
    return EngineArgs(
        model=str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype=dtype,
        block_size=16,
        max_model_len=1024,
        max_num_batched_tokens=512,
        max_num_seqs=16,
        enable_prefix_caching=False,
        ec_transfer_config=ECTransferConfig(
            ec_connector="WeftEncoderConnector",
            ec_connector_module_path="weft.vllm",
            ec_role="ec_both",
        ),
    ).create_engine_config()


def config(address: str, role: str = "ec_both", dtype: str = "float32", **extra: Any) -> Any:
    """A config of its own; extra: of ec_connector_extra_config."""
    made = copy.deepcopy(base_config(dtype))
    made.ec_transfer_config.ec_role = role
    made.ec_transfer_config.ec_connector_extra_config = {
        "weft": f"connect={address}",
        "namespace": SPACE,
        **extra,
    }
    return made


def embeddings(name: str, tokens: int, dtype: torch.dtype) -> torch.Tensor:
    chance = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(tokens, WIDTH, generator=chance).to(dtype)


class Engine:
    """A scheduler and a worker. encoded: images computed here, in order."""

    def __init__(self, address: str, dtype: str = "float32", **more: Any) -> None:
        self.config = config(address, dtype=dtype, **more)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.config.cache_config.num_gpu_blocks = 200
        spec = FullAttentionSpec(block_size=16, num_kv_heads=4, head_size=8, dtype=self.dtype)
        kv = KVCacheConfig(200, [], [KVCacheGroupSpec(["l0"], spec)])
        with set_current_vllm_config(self.config):
            self.worker: Any = ECConnectorFactory.create_connector(
                copy.copy(self.config), ECConnectorRole.WORKER
            )
            self.scheduler = Scheduler(
                vllm_config=self.config,
                kv_cache_config=kv,
                structured_output_manager=StructuredOutputManager(self.config),
                block_size=16,
                hash_block_size=16,
                log_stats=True,
            )
        # As of a model that takes images: 300 tokens of them a step, 400 in the cache.
        self.scheduler.max_num_encoder_input_tokens = 300
        self.scheduler.encoder_cache_manager = EncoderCacheManager(400)
        self.cache: dict[str, torch.Tensor] = {}
        self.encoded: list[str] = []
        self.requests: dict[str, Request] = {}
        self.between: Callable[[], Any] = lambda: None
        self.stats: dict[str, float] = {}

    def ask(self, *images: tuple[str, int]) -> None:
        """Runs a request with these images (name, tokens) to its end."""
        name, tokens, features = f"r{len(self.requests)}", [1] * 5, []
        for image, size in images:
            place = PlaceholderRange(offset=len(tokens), length=size)
            features.append(
                MultiModalFeatureSpec(
                    data=None, modality="image", identifier=image, mm_position=place
                )
            )
            tokens += [2] * size + [3]
        params = SamplingParams(max_tokens=2, temperature=0, ignore_eos=True, detokenize=False)
        params.update_from_generation_config({}, None)
        request = Request(
            request_id=name,
            prompt_token_ids=tokens,
            sampling_params=params,
            pooling_params=None,
            mm_features=features,
        )
        self.requests[name] = request
        self.scheduler.add_request(request)
        deadline = time.monotonic() + LIMIT_S
        while not request.is_finished():
            assert time.monotonic() < deadline
            self.step()
        if self.worker._saver is not None:
            self.worker._saver.idle()

    def step(self) -> None:
        computed = {name: request.num_computed_tokens for name, request in self.requests.items()}
        output = self.scheduler.schedule()
        self.between()
        meta = pickle.loads(pickle.dumps(output.ec_connector_metadata, 5))
        output.ec_connector_metadata = meta
        ec_transfer_state._EC_CONNECTOR_AGENT = self.worker
        mixin = ECConnectorModelRunnerMixin
        for gone in output.free_encoder_mm_hashes:
            self.cache.pop(gone, None)
        with mixin.maybe_get_ec_connector_output(output, encoder_cache=self.cache) as said:
            for name, inputs in output.scheduled_encoder_inputs.items():
                for at in inputs:
                    feature = self.requests[name].mm_features[at]
                    image, size = feature.identifier, feature.mm_position.length
                    self.encoded.append(image)
                    self.cache[image] = embeddings(image, size, self.dtype)
                    mixin.maybe_save_ec_to_connector(self.cache, image)
            for name, count in output.num_scheduled_tokens.items():
                self.gather(self.requests[name], computed[name], computed[name] + count)
        names = list(output.num_scheduled_tokens)
        # As vLLM's runner of today asks for what was counted; its CPU runner does not yet.
        if said is not None:
            said.ec_connector_stats = self.worker.get_ec_connector_stats()
        outputs = self.scheduler.update_from_output(
            output,
            ModelRunnerOutput(
                req_ids=names,
                req_id_to_index={name: at for at, name in enumerate(names)},
                sampled_token_ids=[[7]] * len(names),
                ec_connector_output=said,
            ),
        )
        for one in outputs.values():
            counted = one.scheduler_stats and one.scheduler_stats.ec_connector_stats
            for name, value in (counted or {}).items():
                self.stats[name] = self.stats.get(name, 0) + value

    def gather(self, request: Request, first: int, end: int) -> None:
        """What of the images a step reads must be there, and theirs."""
        for feature in request.mm_features:
            place, image = feature.mm_position, feature.identifier
            if place.offset < end and first < place.offset + place.length:
                found = self.cache.get(image)
                if found is None:
                    raise RuntimeError(f"Encoder cache miss for {image}.")
                assert found.dtype == self.dtype
                assert torch.equal(found, embeddings(image, place.length, self.dtype))

    def close(self) -> None:
        self.scheduler.ec_connector.shutdown()
        self.worker.shutdown()


@pytest.fixture
def engine() -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(*arguments: Any, **more: Any) -> Engine:
        made.append(Engine(*arguments, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_all_abstract_methods_are_there_with_vllms_own_arguments() -> None:
    for name in ECConnectorBase.__abstractmethods__ | {"ensure_cache_available", "shutdown"}:
        mine = inspect.signature(getattr(WeftEncoderConnector, name)).parameters
        assert list(mine) == list(inspect.signature(getattr(ECConnectorBase, name)).parameters)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_image_is_encoded_once_by_all_engines(node: Node, engine: Any, dtype: str) -> None:
    first, second = engine(node.address, dtype), engine(node.address, dtype)
    first.ask(("cat", 100), ("dog", 120))
    assert first.encoded == ["cat", "dog"]
    second.ask(("dog", 120), ("cat", 100), ("cow", 50))
    assert second.encoded == ["cow"]
    first.ask(("cow", 50))
    assert first.encoded == ["cat", "dog"]
    third = engine(node.address, dtype)
    for _ in range(3):  # more than vLLM's own cache holds
        third.ask(("dog", 120), ("cat", 100), ("cow", 50))
        third.ask(("new", 300))
    assert third.encoded.count("new") == 1
    assert set(third.encoded) == {"new"}


def test_lookups_hits_and_bytes_are_counted_and_in_vllms_registry(node: Node, engine: Any) -> None:
    from prometheus_client import REGISTRY
    from vllm.distributed.ec_transfer.ec_connector.metrics import ECConnectorProm

    first, second = engine(node.address), engine(node.address)
    first.ask(("cat", 100), ("dog", 120))
    first.ask(("cow", 50))  # the saves of the step before are counted with this one's
    second.ask(("dog", 120), ("fox", 30))
    second.ask(("cat", 100))
    assert {name: first.stats[name] for name in ("lookups", "saves")} == {"lookups": 3, "saves": 2}
    assert first.stats["saved_bytes"] == 220 * WIDTH * 4
    assert second.stats["hits"] == 2
    assert 220 * WIDTH * 4 < second.stats["loaded_bytes"] < 220 * WIDTH * 4 + 1000
    prom = ECConnectorProm(second.config, ["engine"], {0: ["0"]})
    prom.observe(second.stats)
    name, labels = "vllm:weft_encoder_hits_total", {"engine": "0"}
    assert REGISTRY.get_sample_value(name, labels) == 2
    words = WeftEncoderConnector.build_ec_connector_stats(second.stats).reduce()
    assert words["Weft hits"] == 2


def test_what_was_promised_is_loaded_whatever_becomes_of_block_and_node(
    node: Node, engine: Any, store: weft.Store
) -> None:
    first, second = engine(node.address), engine(node.address)
    first.ask(("cat", 100), ("dog", 100), ("cow", 100))
    space = store.namespace(f"{SPACE}.encoder", part_bytes=0)
    second.between = lambda: space.remove(["cat"])
    second.ask(("cat", 100))
    assert space.find(["cat"]).blocks == 0
    second.between = lambda: space.advance(space.version + 1)
    second.ask(("dog", 100))

    third = engine(node.address, version=space.floor + 1)
    third.ask(("cat", 100))
    fourth = engine(node.address, version=space.floor + 1)

    def kill() -> None:
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()

    fourth.between = kill
    fourth.ask(("cat", 100))
    assert second.encoded == fourth.encoded == []
    fourth.ask(("dog", 100))
    assert fourth.encoded == ["dog"], "without a node images are encoded"


@pytest.mark.parametrize("tokens", [10, 12_000, 50_000])
def test_promised_bytes_cross_vllms_own_channel_to_its_workers(
    store: weft.Store, tokens: int
) -> None:
    wanted = embeddings("cat", tokens, torch.bfloat16)
    space = store.namespace("tests/channel", part_bytes=0)
    space.save_array("cat", wanted.view(torch.uint16).numpy())
    view = space.view("cat")
    assert view is not None
    sends = MessageQueue(1, 1, max_chunk_bytes=1 << 21, max_chunks=2)  # more goes by a socket
    takes = MessageQueue.create_from_handle(sends.export_handle(), 0)
    ready = threading.Thread(target=sends.wait_until_ready)
    ready.start()
    takes.wait_until_ready()
    ready.join(LIMIT_S)
    sends.enqueue(Embeddings({"cat": view.array}), timeout=LIMIT_S)
    got = takes.dequeue(timeout=LIMIT_S)
    assert torch.equal(_tensor(got.parts["cat"]), wanted)


def test_an_engine_without_a_node_runs_and_finds_it_when_it_comes(engine: Any) -> None:
    node = Node()
    node.end()
    first = engine(node.address)
    first.ask(("cat", 100))
    assert first.encoded == ["cat"]
    node.start()
    try:
        deadline = time.monotonic() + LIMIT_S
        while first.worker._link.opened is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        first.ask(("dog", 100))
        second = engine(node.address)
        second.ask(("dog", 100))
        assert second.encoded == []
    finally:
        node.process.kill()


def test_a_name_that_stands_for_another_image_is_encoded_anew(node: Node, engine: Any) -> None:
    first, second = engine(node.address), engine(node.address)
    first.ask(("mine", 100))
    second.ask(("mine", 90))
    assert second.encoded == ["mine"]


def test_what_no_engine_has_saved_is_a_miss(node: Node, engine: Any, store: weft.Store) -> None:
    first = engine(node.address)
    first.ask(("cat", 100))
    space = store.namespace(f"{SPACE}.encoder", part_bytes=0)
    space.save("junk", b"no array at all")
    space.save_array("doubles", torch.zeros(100, WIDTH, dtype=torch.float64).numpy())
    second = engine(node.address)
    second.ask(("junk", 100))
    second.ask(("doubles", 100))
    assert second.encoded == ["junk", "doubles"]


def test_what_is_looked_at_and_not_scheduled_is_let_go(node: Node, engine: Any) -> None:
    first = engine(node.address)
    first.ask(("cat", 100))
    asks: Any = first.scheduler.ec_connector
    asks._sizes["cat"] = 100
    assert asks.has_cache_item("cat")
    space = asks._link.opened.spaces[0]
    with pytest.raises(weft.BusyError):
        space.close()
    asks.build_connector_meta(None)
    space.close()


def test_versions_do_not_meet(node: Node, engine: Any) -> None:
    old = engine(node.address, version=1)
    old.ask(("cat", 100))
    new = engine(node.address, version=2)
    new.ask(("cat", 100))
    assert new.encoded == ["cat"]
    again = engine(node.address, version=1)
    again.ask(("cat", 100))
    assert again.encoded == []


def test_a_namespace_of_another_layout_is_left_alone(node: Node, engine: Any) -> None:
    first, other = engine(node.address), engine(node.address, "bfloat16")
    first.ask(("cat", 100))
    other.ask(("cat", 100))
    assert other.encoded == ["cat"]
    aside = other.worker._link.aside
    assert "dtype=bfloat16" in aside
    assert "dtype=float32" in aside


def test_roles_do_what_they_say(node: Node, engine: Any) -> None:
    reads = engine(node.address, role="ec_consumer")
    reads.ask(("cat", 100))
    both = engine(node.address)
    both.ask(("cat", 100))
    assert both.encoded == ["cat"], "a consumer saves nothing"
    again = engine(node.address, role="ec_consumer")
    again.ask(("cat", 100))
    assert again.encoded == []
    writes: Any = ECConnectorFactory.create_connector(
        config(node.address, role="ec_producer"), ECConnectorRole.SCHEDULER
    )
    assert not writes.has_cache_item("cat")
    writes.shutdown()


def test_only_the_first_rank_saves(node: Node) -> None:
    made = config(node.address)
    made.parallel_config.rank = 1
    second: Any = ECConnectorFactory.create_connector(made, ECConnectorRole.WORKER)
    assert second._saver is None
    second.save_caches({"cat": torch.zeros(1, 1)}, "cat")
    second.shutdown()


def test_the_default_namespace_is_of_the_model(node: Node, store: weft.Store) -> None:
    made = config(node.address)
    del made.ec_transfer_config.ec_connector_extra_config["namespace"]
    one: Any = ECConnectorFactory.create_connector(made, ECConnectorRole.SCHEDULER)
    names = [space["name"] for space in store.namespaces()["namespaces"]]
    assert [name for name in names if name.startswith("vllm/") and name.endswith(".encoder")]
    one.shutdown()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"weft": "memory=1GiB"}, "names no node"),
        ({"pin_s": 3}, "'pin_s' is not known"),
        ({"version": "3"}, "version='3'"),
        ({"version": True}, "version=True"),
        ({"version": 3, "version_file": "f"}, "both given"),
    ],
)
def test_wrong_settings_are_named(extra: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ECConnectorFactory.create_connector(
            config("unix:/nowhere", **extra), ECConnectorRole.SCHEDULER
        )
