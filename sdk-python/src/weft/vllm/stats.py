"""What the connector counts: in vLLM's log line and in its Prometheus endpoint.

Every figure is a sum, so that processes, ranks and intervals add up. Names are Prometheus counters
vllm:weft_NAME_total, of the encoder cache vllm:weft_encoder_NAME_total, one a label set of the
engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import Counter
from vllm.distributed.ec_transfer.ec_connector.metrics import (
    ECConnectorPromMetrics,
    ECConnectorStats,
)
from vllm.distributed.kv_transfer.kv_connector.v1.metrics import (
    KVConnectorPromMetrics,
    KVConnectorStats,
)
from vllm.v1.metrics.utils import create_metric_per_engine

if TYPE_CHECKING:
    from typing_extensions import Self
    from vllm.config import VllmConfig

COUNTERS = {
    "lookups": "Requests looked up in Weft.",
    "asked_blocks": "Blocks asked for, beyond those in vLLM's own cache.",
    "hit_blocks": "Blocks found and loadable.",
    "waits": "Requests that were asked about again: the node was slow, or another engine computes.",
    "unanswered": "Lookups that the node did not answer (away, too slow, fenced).",
    "loaded_blocks": "Blocks loaded, on each rank and of each KV group.",
    "loaded_bytes": "Bytes loaded.",
    "load_seconds": "Time from the start of loads to their end, summed over loads.",
    "loads": "Loads (one a request and rank).",
    "failed_loads": "Loads that failed; vLLM computed the request instead.",
    "saved_blocks": "Blocks saved, on each rank and of each KV group.",
    "saved_bytes": "Bytes saved; those of blocks that were there already are not copied.",
    "save_seconds": "Time from the start of saves to their end, summed over saves.",
    "saves": "Saves (one a request, step and rank).",
    "failed_saves": "Saves that failed in part or whole; the blocks are missed later.",
    "fences": "Steps that waited for a save because its source was to be overwritten.",
}


ENCODER = {
    "lookups": "Images looked up in Weft.",
    "hits": "Images found, in as many tokens as the request needs.",
    "loaded_bytes": "Bytes of embeddings loaded.",
    "saves": "Images saved.",
    "saved_bytes": "Bytes of embeddings saved.",
    "failed_saves": "Images not saved: the node failed or was away, or too many waited.",
}


class Sums:
    """Sums by name; a name that is absent is 0. Threads: one."""

    data: dict[str, float]

    def add(self, name: str, value: float = 1) -> None:
        """Adds to a counter."""
        self.data[name] = self.data.get(name, 0) + value

    def reset(self) -> None:
        """All to 0."""
        self.data = {}

    def aggregate(self, other: Any) -> Self:
        """Adds another's sums to these."""
        for name, value in other.data.items():
            self.add(name, value)
        return self

    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not any(self.data.values())

    def take(self) -> Self | None:
        """What was counted since the last take, or None."""
        if self.is_empty():
            return None
        taken = type(self)()
        taken.data = self.data
        self.reset()
        return taken


class EncoderStats(Sums, ECConnectorStats):
    """Of the encoder cache."""

    def reduce(self) -> dict[str, int | float]:
        """For the log line of an interval."""
        return {f"Weft {name.replace('_', ' ')}": int(self.data.get(name, 0)) for name in ENCODER}


class WeftStats(Sums, KVConnectorStats):
    """Of the KV cache."""

    def reduce(self) -> dict[str, int | float]:
        """For the log line of an interval."""
        one = self.data.get
        asked, load_s, save_s = (
            one("asked_blocks", 0),
            one("load_seconds", 0),
            one("save_seconds", 0),
        )
        words: dict[str, int | float] = {
            "Weft hit blocks": int(one("hit_blocks", 0)),
            "of asked": int(asked),
            "loaded MiB": round(one("loaded_bytes", 0) / 2**20, 1),
            "avg load ms": round(1000 * load_s / max(1, one("loads", 0)), 2),
            "saved MiB": round(one("saved_bytes", 0) / 2**20, 1),
            "avg save ms": round(1000 * save_s / max(1, one("saves", 0)), 2),
        }
        for name in ("failed_loads", "failed_saves", "unanswered", "waits", "fences"):
            if one(name, 0):
                words[name.replace("_", " ")] = int(one(name, 0))
        return words


class Counters:
    """The counters in vLLM's registry: `prefix` and the name."""

    def __init__(
        self,
        words: dict[str, str],
        prefix: str,
        metric_types: dict[type[Any], type[Any]],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> None:
        kind = metric_types[Counter]
        self._counters = {
            name: create_metric_per_engine(
                kind(name=f"{prefix}{name}", documentation=text, labelnames=labelnames),
                per_engine_labelvalues,
            )
            for name, text in words.items()
        }

    def add(self, data: dict[str, Any], engine: int) -> None:
        """Adds an interval's sums."""
        for name, value in data.items():
            if name in self._counters and value:
                self._counters[name][engine].inc(value)


class WeftPromMetrics(KVConnectorPromMetrics):
    """Of the KV cache, as vLLM asks for them."""

    def __init__(self, vllm_config: VllmConfig, *of: Any) -> None:
        super().__init__(vllm_config, *of)
        self._weft = Counters(COUNTERS, "vllm:weft_", *of)

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        """Adds an interval's sums."""
        self._weft.add(transfer_stats_data, engine_idx)


class EncoderPromMetrics(ECConnectorPromMetrics):
    """Of the encoder cache, as vLLM asks for them."""

    def __init__(self, vllm_config: VllmConfig, *of: Any) -> None:
        super().__init__(vllm_config, *of)
        self._weft = Counters(ENCODER, "vllm:weft_encoder_", *of)

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        """Adds an interval's sums."""
        self._weft.add(transfer_stats_data, engine_idx)
