"""WeftEncoderConnector: vLLM's encoder cache in a Weft node, so that an image is encoded once by
all engines of a model. See docs/vllm.md.

An image's embeddings, (tokens, width), are one block under the key of vLLM's identifier of it, with
type and shape as a .npy array; bfloat16, which .npy has no word for, as its 16 bits. The namespace
is `NAME.encoder` beside the connector's own.

Invariants:
- vLLM has no way back from a promised image: where `has_cache_item` says yes and the worker has no
  bytes, the engine ends. So the scheduler holds a view of what it says yes to, which stays readable
  whatever becomes of block and node, and the step's metadata carries the bytes themselves, out of
  band where vLLM's channel to its workers can.
- The scheduler only looks (`Namespace.view`: no lock, no system call) and never waits. What is not
  in this host's memory, or has another number of tokens than the request needs, is a miss.
- Saves go behind the steps, one at a time in a thread of their own; what does not fit in its queue,
  or fails, is a miss later.
- All ranks compute the same embeddings; the first one saves them."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.distributed.ec_transfer.ec_connector.base import (
    ECConnectorBase,
    ECConnectorMetadata,
    ECConnectorRole,
)
from vllm.logger import init_logger

from ..errors import Error
from ..keys import key_of
from ..memory import npy_array
from .groups import Group, Shape
from .identity import config_digest, namespace_name
from .link import Link
from .settings import Settings
from .stats import EncoderPromMetrics, EncoderStats

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request

    from ..options import Option

logger = init_logger("vllm.weft")

KEYS = {
    "weft": "options of the store: connect=unix:/run/weft/weft.sock, token=, ... (one text)",
    "namespace": "tenant/model; made of the model's name and fingerprint where it is not said",
    "version": "number of the weights; an engine that has others must not share with it",
    "version_file": "a file that holds that number; read when it changes",
}
QUEUE = 64  # embeddings that wait to be saved; more are not saved
SAVE_MS = 2000  # a save that takes longer is given up
_TYPES = {"<f4": torch.float32, "<f2": torch.float16, "<u2": torch.bfloat16}


class EncoderShape(Shape):
    """A namespace of blocks of any size, one part each."""

    def options(self, group: Group, writer: str) -> dict[str, Option]:
        """Of weft_namespace_open, but for the version."""
        return {"parts": 1, "part_bytes": 0, "dtype": self.dtype, "layout": self.layout}


@dataclasses.dataclass
class Embeddings(ECConnectorMetadata):
    """A step's loads: identifier to the block's bytes, over the cache's own memory until it is
    pickled."""

    parts: dict[str, npt.NDArray[np.uint8]] = dataclasses.field(default_factory=dict)


class WeftEncoderConnector(ECConnectorBase):
    """vLLM's encoder cache in a Weft node. Settings: ec_connector_extra_config, KEYS.

    Threads: each instance by its process's main thread, as vLLM calls it."""

    def __init__(self, vllm_config: VllmConfig, role: ECConnectorRole) -> None:
        super().__init__(vllm_config, role)
        settings = read(vllm_config.ec_transfer_config.ec_connector_extra_config)
        versioned = settings.versioned
        name = settings.namespace or namespace_name(
            vllm_config, config_digest(vllm_config), versioned
        )
        self._link = Link(settings, f"{name}.encoder", shape_of(vllm_config), "encoder", logger)
        self._sizes: dict[str, int] = {}  # tokens of the images that this step asks for
        self._held: dict[str, npt.NDArray[np.uint8]] = {}  # what this step was promised
        self._loads = Embeddings()
        self._device = torch.device(vllm_config.device_config.device)
        first = vllm_config.parallel_config.rank == 0
        worker = role == ECConnectorRole.WORKER
        self.stats = EncoderStats()
        self._saver = Saver(self._link) if worker and first and self.is_producer else None

    # Scheduler.

    def ensure_cache_available(self, request: Request, num_computed_tokens: int) -> bool:
        """True: nothing is under way. Takes down how many tokens each image must have."""
        for feature in request.mm_features:
            self._sizes[feature.identifier] = feature.mm_position.get_num_embeds()
        return True

    def has_cache_item(self, identifier: str) -> bool:
        """Whether the image's embeddings are in this host's memory; they are held until the step
        ends."""
        if not self.is_consumer:
            return False
        if identifier not in self._held:
            self.stats.add("lookups")
            part = self._look(identifier)
            if part is None:
                return False
            self.stats.add("hits")
            self._held[identifier] = part
        return True

    def _look(self, identifier: str) -> npt.NDArray[np.uint8] | None:
        self._link.refresh()
        opened = self._link.opened
        if opened is None or identifier not in self._sizes:
            return None
        try:
            view = opened.spaces[0].view(key_of(identifier))
            if view is None:
                return None
            found = npy_array(view.array, f"embeddings {identifier}")
        except Error as error:
            self._link.failed(error)
            return None
        tokens = self._sizes[identifier]
        if found.dtype.str not in _TYPES or found.ndim < 1 or found.shape[0] != tokens:
            words = "Weft: %s has %s of %s, the request needs %d tokens; it is encoded anew"
            logger.warning_once(words, identifier, found.shape, found.dtype, tokens)
            return None
        return view.array

    def update_state_after_alloc(self, request: Request, index: int) -> None:
        """Plans the load of an image that was promised."""
        identifier = request.mm_features[index].identifier
        if identifier in self._held:
            self._loads.parts[identifier] = self._held[identifier]

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> Embeddings:
        """The step's loads. What was looked at and not scheduled is let go."""
        loads, self._loads = self._loads, Embeddings()
        self._held, self._sizes = {}, {}
        return loads

    # Worker.

    def start_load_caches(self, encoder_cache: dict[str, torch.Tensor], **kwargs: Any) -> None:
        """Puts the step's loads into vLLM's cache."""
        loads = self._get_connector_metadata()
        if isinstance(loads, Embeddings):
            for identifier, part in loads.parts.items():
                if identifier not in encoder_cache:
                    encoder_cache[identifier] = _tensor(part).to(self._device)
                    self.stats.add("loaded_bytes", len(part))

    def save_caches(
        self, encoder_cache: dict[str, torch.Tensor], mm_hash: str, **kwargs: Any
    ) -> None:
        """Hands an image's embeddings to the thread that saves them."""
        if self._saver is not None:
            self._saver.take(mm_hash, encoder_cache[mm_hash])

    # Both.

    def get_ec_connector_stats(self) -> EncoderStats | None:
        """What was counted since the last step."""
        if self._saver is not None:
            self._saver.count(self.stats)
        return self.stats.take()

    @classmethod
    def build_ec_connector_stats(cls, data: dict[str, Any] | None = None) -> EncoderStats | None:
        """Of what a process sent."""
        return EncoderStats(data=data or {})

    @classmethod
    def build_prom_metrics(
        cls,
        vllm_config: VllmConfig,
        metric_types: dict[type[Any], type[Any]],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> EncoderPromMetrics | None:
        """The counters."""
        return EncoderPromMetrics(vllm_config, metric_types, labelnames, per_engine_labelvalues)

    def shutdown(self) -> None:
        """Lets saves end and closes."""
        if self._saver is not None:
            self._saver.close()
        self._held, self._loads = {}, Embeddings()
        self._link.close()


class Saver:
    """Saves behind the steps. Threads: take, idle, count and close by the engine's; the rest its
    own."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: queue.Queue[tuple[str, npt.NDArray[Any]] | None] = queue.Queue(QUEUE)
        self._counted: deque[tuple[str, float]] = deque()
        self._thread = threading.Thread(target=self._run, name="weft-encoder", daemon=True)
        self._thread.start()

    def take(self, identifier: str, embeddings: torch.Tensor) -> None:
        """Will save `embeddings`, which nobody writes to any more; of another device a copy."""
        self._link.refresh()
        if self._link.opened is None or self._waiting.full():
            self._counted.append(("failed_saves", 1))
            return
        self._waiting.put_nowait((identifier, _array(embeddings)))

    def count(self, stats: EncoderStats) -> None:
        """Adds what became of saves since the last call."""
        while self._counted:
            stats.add(*self._counted.popleft())

    def idle(self) -> None:
        """Until all that was taken is saved, or has failed."""
        self._waiting.join()

    def close(self) -> None:
        """Ends after what was taken."""
        self._waiting.put(None)
        self._thread.join(10)

    def _run(self) -> None:
        while (one := self._waiting.get()) is not None:
            opened = self._link.opened
            if opened is not None:
                try:
                    opened.spaces[0].save_array(key_of(one[0]), one[1], timeout_ms=SAVE_MS)
                    self._link.worked()
                    self._counted.extend([("saves", 1), ("saved_bytes", one[1].nbytes)])
                except Error as error:
                    self._link.failed(error)
                    self._counted.append(("failed_saves", 1))
            self._waiting.task_done()
        self._waiting.task_done()


def _array(embeddings: torch.Tensor) -> npt.NDArray[Any]:
    """Over the tensor's own memory where it is contiguous and the CPU's."""
    here = embeddings.detach().cpu().contiguous()
    raw = here.view(torch.uint16) if here.dtype == torch.bfloat16 else here
    array: npt.NDArray[Any] = raw.numpy()
    return array


def _tensor(part: npt.NDArray[np.uint8]) -> torch.Tensor:
    """A copy: what vLLM caches must not hold the node's memory."""
    array = npy_array(part)
    dtype = _TYPES[array.dtype.str]
    made = torch.empty(array.shape, dtype=dtype)
    _array(made)[...] = array
    return made


def shape_of(config: VllmConfig) -> EncoderShape:
    """What the embeddings of a model's images are."""
    return EncoderShape(
        groups=(Group(0, "", (), (), 0),),
        block_tokens=0,
        parts=1,
        replicas=1,
        dtype=str(config.model_config.dtype).removeprefix("torch."),
        layout=f"vllm-encoder;npy;model={config_digest(config)}",
    )


def read(extra: dict[str, Any]) -> Settings:
    """The settings in ec_connector_extra_config. Errors: ValueError naming what is wrong."""
    where = "ec_connector_extra_config"
    for key, value in extra.items():
        if key not in KEYS:
            known = ", ".join(KEYS)
            raise ValueError(
                f"{where}: {key!r} is not known to WeftEncoderConnector; it knows {known}"
            )
        if not isinstance(value, int if key == "version" else str) or value is True:
            raise ValueError(f"{where}: {key}={value!r}; it is: {KEYS[key]}")
    if "connect=" not in extra.get("weft", ""):
        raise ValueError(
            f"{where}: weft={extra.get('weft', '')!r} names no node: it must have connect=, like "
            '{"weft": "connect=unix:/run/weft/weft.sock"}'
        )
    if "version" in extra and "version_file" in extra:
        raise ValueError(f"{where}: version and version_file are both given")
    return Settings(**extra)
