"""WeftConnector: what vLLM's KVConnectorFactory makes, once in the scheduler and once a worker.

It only hands on: each hook goes to the half of its role. A half that cannot serve this model or
engine is not there at all (`_half` is None): the connector has stepped aside, said why once, and
vLLM runs as without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorHandshakeMetadata,
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorTransferResults,
    SupportsHMA,
)
from vllm.logger import init_logger
from vllm.v1.metrics.cache_hit_source import CacheHitSource

from . import settings as settings_
from .groups import UnsupportedError, shape_of
from .identity import namespace_name
from .link import Link
from .meta import Handshake, Report, Step
from .scheduler import SchedulerHalf
from .stats import WeftPromMetrics, WeftStats
from .worker import WorkerHalf

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig
    from vllm.forward_context import ForwardContext
    from vllm.v1.attention.backend import AttentionMetadata
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.outputs import KVConnectorOutput
    from vllm.v1.request import Request

logger = init_logger("vllm.weft")


class WeftConnector(KVConnectorBase_V1, SupportsHMA):
    """vLLM's KV cache in a Weft node. Settings: kv_connector_extra_config, see docs/vllm.md.

    Threads: each instance by its process's main thread, as vLLM calls it."""

    _cache_hit_source = CacheHitSource.HOST

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self.scheduler: SchedulerHalf | None = None
        self.worker: WorkerHalf | None = None
        self._number = 0
        self._by_layer = False
        transfer = vllm_config.kv_transfer_config
        settings = settings_.read(transfer.kv_connector_extra_config)
        self._by_layer = settings.save == "layers"
        if role == KVConnectorRole.SCHEDULER:
            self._set_policy(settings)
        try:
            shape = shape_of(vllm_config, kv_cache_config)
            name = settings.namespace or namespace_name(
                vllm_config, shape.fingerprint, settings.versioned
            )
        except UnsupportedError as why:
            logger.warning("Weft steps aside, vLLM runs without it: %s", why)
            return
        except (ImportError, AttributeError, TypeError, NotImplementedError, OSError) as error:
            # A vLLM of another version, or a checkpoint that cannot be looked at.
            logger.warning("Weft steps aside, vLLM runs without it: %r", error)
            return
        link = Link(settings, name, shape, str(transfer.engine_id), logger)
        if role == KVConnectorRole.SCHEDULER:
            ranks = vllm_config.parallel_config.tensor_parallel_size
            does = (bool(transfer.is_kv_producer), bool(transfer.is_kv_consumer))
            self.scheduler = SchedulerHalf(settings, shape, link, ranks, does)
            logger.info("Weft: namespace %s, layout %s", name, shape.layout)
        else:
            rank = vllm_config.parallel_config.rank % (shape.parts * shape.replicas)
            self.worker = WorkerHalf(shape, link, rank, kv_cache_config.num_blocks, logger)

    def _set_policy(self, settings: settings_.Settings) -> None:
        """A cache must not fail a request: vLLM's default policy would end it with an error where a
        load fails. The scheduler reads it after it has made this connector."""
        transfer = self._kv_transfer_config
        if transfer.kv_load_failure_policy != settings.load_failure:
            transfer.kv_load_failure_policy = settings.load_failure
            logger.info(
                "Weft: kv_load_failure_policy is %s now (extra config load_failure says otherwise)",
                settings.load_failure,
            )

    @property
    def requires_kv_delivery(self) -> bool:
        """No: a save that is dropped is a miss later."""
        return False

    # Worker.

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Takes the addresses of the KV caches."""
        if self.worker is not None:
            self.worker.register(kv_caches)

    def get_handshake_metadata(self) -> KVConnectorHandshakeMetadata | None:
        """Says whether this rank can serve."""
        return None if self.worker is None else self.worker.handshake()

    def handle_preemptions(self, kv_connector_metadata: KVConnectorMetadata) -> None:
        """The fence before a step: called before every one."""
        if self.worker is not None and isinstance(kv_connector_metadata, Step):
            self.worker.before(kv_connector_metadata)

    def start_load_kv(self, forward_context: ForwardContext, **kwargs: Any) -> None:
        """Starts the step's loads."""
        if self.worker is not None:
            self.worker.load(self._get_connector_metadata())

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Until a layer is there, of synchronous loads."""
        if self.worker is not None:
            self.worker.wait_for_layer(layer_name)

    def save_kv_layer(
        self,
        layer_name: str,
        kv_layer: torch.Tensor,
        attn_metadata: AttentionMetadata,
        **kwargs: Any,
    ) -> None:
        """With save=layers: this layer's saves begin. Else all together, in wait_for_save."""
        if self.worker is not None and self._by_layer:
            self.worker.save_layer(self._get_connector_metadata(), layer_name)

    def wait_for_save(self) -> None:
        """Starts the step's saves; they go on behind the next steps."""
        if self.worker is not None:
            self.worker.save(self._get_connector_metadata())

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        """As get_transfer_results, without the failures."""
        results = self.get_transfer_results(finished_req_ids)
        return results.finished_sending, results.finished_recving

    def get_transfer_results(self, finished_req_ids: set[str]) -> KVConnectorTransferResults:
        """What has ended since the last step."""
        if self.worker is None:
            return KVConnectorTransferResults()
        return KVConnectorTransferResults(*self.worker.results(self._get_connector_metadata()))

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Blocks that vLLM must compute, of models with one KV group."""
        return set() if self.worker is None else self.worker.invalid()

    def build_connector_worker_meta(self) -> Report | None:
        """Which saves have ended, which loads failed."""
        return None if self.worker is None else self.worker.report()

    # Scheduler.

    def on_new_request(self, request: Request) -> None:
        """Begins to follow it."""
        if self.scheduler is not None:
            self.scheduler.on_new_request(request)

    def get_num_new_matched_tokens(
        self, request: Request, num_computed_tokens: int
    ) -> tuple[int | None, bool]:
        """How many tokens beyond those Weft has, at most all but the last one."""
        if self.scheduler is None:
            return 0, False
        return self.scheduler.matched(request, num_computed_tokens)

    def update_state_after_alloc(
        self, request: Request, blocks: KVCacheBlocks, num_external_tokens: int
    ) -> None:
        """Plans the load."""
        if self.scheduler is not None:
            self.scheduler.allocated(request, blocks, num_external_tokens)

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> KVConnectorMetadata:
        """The step's work for the workers."""
        if self.scheduler is not None:
            return self.scheduler.build(scheduler_output)
        self._number += 1
        return Step(self._number)

    def update_connector_output(self, connector_output: KVConnectorOutput) -> None:
        """Hears the workers."""
        if self.scheduler is not None:
            self.scheduler.reported(connector_output)

    def request_finished(
        self, request: Request, block_ids: list[int]
    ) -> tuple[bool, dict[str, Any] | None]:
        """As request_finished_all_groups."""
        return self.request_finished_all_groups(request, (block_ids,))

    def request_finished_all_groups(
        self, request: Request, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Whether the request's blocks must stay for saves under way."""
        return self.scheduler is not None and self.scheduler.finished(request, block_ids), None

    def set_xfer_handshake_metadata(
        self, metadata: dict[int, KVConnectorHandshakeMetadata]
    ) -> None:
        """Steps aside where a rank does."""
        for rank, one in metadata.items():
            if isinstance(one, Handshake) and one.aside and self.scheduler is not None:
                logger.warning("Weft steps aside: rank %d: %s", rank, one.aside)
                self.scheduler.close()
                self.scheduler = None

    def reset_cache(self) -> bool | None:
        """What is stored so far is not read again by this engine: see docs/vllm.md."""
        return self.scheduler is not None and self.scheduler.reset()

    # Both.

    def get_kv_connector_stats(self) -> WeftStats | None:
        """What was counted since the last step."""
        half = self.scheduler or self.worker
        return None if half is None else half.stats.take()

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> WeftStats | None:
        """Of what a process sent."""
        return WeftStats(data=data or {})

    @classmethod
    def build_prom_metrics(
        cls,
        vllm_config: VllmConfig,
        metric_types: dict[type[Any], type[Any]],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> WeftPromMetrics | None:
        """The counters."""
        return WeftPromMetrics(vllm_config, metric_types, labelnames, per_engine_labelvalues)

    @classmethod
    def requires_piecewise_for_cudagraph(cls, extra_config: dict[str, Any]) -> bool:
        """Where loads or saves go layer by layer, inside the forward pass."""
        return extra_config.get("load") == "sync" or extra_config.get("save") == "layers"

    def shutdown(self) -> None:
        """Lets saves end and closes."""
        for half in (self.worker, self.scheduler):
            if half is not None:
                half.close()
        self.worker = self.scheduler = None
