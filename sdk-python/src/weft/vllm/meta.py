"""What the scheduler's half tells the workers' halves at each step, and what they answer.

All of it is pickled between processes. A block list is an array of weft.ITEM whose `offset` is
vLLM's block id: the worker's pool makes addresses of them."""

from __future__ import annotations

import dataclasses
from collections import Counter

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorHandshakeMetadata,
    KVConnectorMetadata,
    KVConnectorWorkerMetadata,
)

from ..keys import Keys
from .link import Target


@dataclasses.dataclass(eq=False)
class Blocks:
    """Of one group (its place in Shape.groups). parent: items[0] is only the parent of the
    next."""

    group: int
    items: Keys
    parent: bool = False


@dataclasses.dataclass(eq=False)
class Transfer:
    """Blocks of one request to load or to save."""

    request: str
    blocks: list[Blocks]


@dataclasses.dataclass
class Step(KVConnectorMetadata):
    """One step's work. target: which namespaces, None while there are none. sync: the loads
    are needed by this step's forward pass. fence: this step may write where a save still reads.
    closing: requests that have ended and whose blocks are kept for saves; dropped: ended while
    they load. idle: no token is computed in this step."""

    number: int
    target: Target | None = None
    loads: list[Transfer] = dataclasses.field(default_factory=list)
    saves: list[Transfer] = dataclasses.field(default_factory=list)
    closing: list[str] = dataclasses.field(default_factory=list)
    dropped: list[str] = dataclasses.field(default_factory=list)
    sync: bool = False
    fence: bool = False
    idle: bool = False


@dataclasses.dataclass
class Report(KVConnectorWorkerMetadata):
    """saved: how many ranks have done all saves of a step, by its number. failed: requests whose
    load failed on some rank."""

    saved: Counter[int] = dataclasses.field(default_factory=Counter)
    failed: set[str] = dataclasses.field(default_factory=set)

    def aggregate(self, other: KVConnectorWorkerMetadata) -> Report:
        """Of several ranks."""
        assert isinstance(other, Report)
        return Report(self.saved + other.saved, self.failed | other.failed)


@dataclasses.dataclass
class Handshake(KVConnectorHandshakeMetadata):
    """aside: why this worker steps aside, or None."""

    aside: str | None
