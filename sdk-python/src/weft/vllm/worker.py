"""A worker's half: carries out each step's loads and saves on this rank's pages.

Invariants
- A save reads what is full and final: it begins after the forward pass that filled the blocks, or
  layer by layer after each layer's.
  Before a step that may write to such blocks (Step.fence), and before blocks of an ended request
  are given back, all saves have ended.
- Every load that was asked for is reported as received, also a failed one; a request of several KV
  groups that failed is named by its id, one of a single group by its blocks.
- Nothing waits for the node but a fence and the layers of a synchronous load, which are canceled
  after PATIENCE_S; and an empty step, which has nothing else to do (IDLE_MS).
- A failure of Weft is a failed load or a save that is not there; never an exception into vLLM."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import lowlevel as low
from ..errors import Error, failure
from .groups import Shape, UnsupportedError
from .link import Link
from .meta import Handshake, Report, Step, Transfer
from .pool import Pool, Work
from .stats import WeftStats

if TYPE_CHECKING:
    from logging import Logger

    import torch

IDLE_MS = 2  # an empty step sleeps so long for its loads, instead of spinning
PATIENCE_S = 0.5  # a step waits so long for bytes that move; 1 GiB of host memory takes 0.2 s
KEPT_S = 3.0  # saves keep the blocks of an ended request so long, then they are canceled


class WorkerHalf:
    """Threads: the worker's."""

    def __init__(self, shape: Shape, link: Link, rank: int, blocks: int, logger: Logger) -> None:
        self._shape, self._link, self._blocks, self._log = shape, link, blocks, logger
        self._part, replica = divmod(rank, shape.replicas)
        self._saves = replica == 0  # the other replicas hold the same bytes
        self._pool: Pool | None = None
        self.aside: str | None = None
        self._loading: dict[str, Work | None] = {}
        self._sync: list[Work] = []
        self._saving: dict[int, list[Work]] = {}
        self._begun = 0  # the step whose saves were begun last
        self._filling: list[Work] = []  # its saves by layers, until all layers are computed
        self._closing: set[str] = set()
        self._received: set[str] = set()
        self._failed: set[str] = set()
        self._invalid: set[int] = set()
        self._report = Report()
        self._step: Step | None = None
        self.stats = WeftStats()

    def register(self, tensors: dict[str, torch.Tensor]) -> None:
        """The KV caches by layer; where they don't fit, this rank steps aside."""
        try:
            self._pool = Pool(self._shape, tensors, self._blocks, self._part)
        except UnsupportedError as why:
            self.aside = str(why)
            self._log.warning("Weft steps aside, vLLM runs without it: %s", why)

    def handshake(self) -> Handshake:
        """What the scheduler's half must know of this rank."""
        return Handshake(self.aside or self._link.aside)

    # A step, in vLLM's order.

    def before(self, step: Step) -> None:
        """Before anything of this step: what it may overwrite has been saved."""
        self._step = step
        if step.target is not None:
            self._link.at(step.target)
        if step.fence and self._saving:
            self.stats.add("fences")
            self._wait(lambda: not self._saving, self._savings)
        for name in step.dropped:
            work = self._loading.get(name)
            if work is not None and self._pool is not None:
                self._pool.cancel(work)

    def load(self, step: Step) -> None:
        """Starts the step's loads."""
        for transfer in step.loads:
            work = self._begin(step, transfer, saving=False, by_layer=step.sync)
            if step.sync:
                if work is None:
                    self._lose(transfer, set(_ids(transfer)), received=False)
                else:
                    self._sync.append(work)
            elif work is None:
                self._lose(transfer, set(_ids(transfer)), received=True)
            else:
                self._loading[transfer.request] = work

    def wait_for_layer(self, layer: str) -> None:
        """Until the layer's bytes of this step's synchronous loads are there."""
        pool = self._pool
        if self._sync and pool is not None:
            self._wait(lambda: not pool.layer_pending(layer, self._sync), lambda: self._sync)

    def save_layer(self, step: Step, layer: str) -> None:
        """Starts the saves of a layer that has just been computed."""
        if step.saves and self._begun != step.number:
            self._begin_saves(step, by_layer=True)
        for work in self._filling:
            self._fill(work, layer)

    def save(self, step: Step) -> None:
        """Starts the step's saves, or what is left of them. The synchronous loads have ended by
        now."""
        self._end_sync()
        if step.saves and self._begun != step.number:
            self._begin_saves(step, by_layer=False)
        for work in self._filling:
            for layer in sorted(work.later):
                self._fill(work, layer)
        self._filling = []

    def _begin_saves(self, step: Step, *, by_layer: bool) -> None:
        works = []
        for transfer in step.saves if self._saves else ():
            work = self._begin(step, transfer, saving=True, by_layer=by_layer)
            if work is None:
                self.stats.add("failed_saves")
            else:
                works.append(work)
        self._begun, self._filling = step.number, list(works)
        if works:
            self._saving[step.number] = works
        else:
            self._report.saved[step.number] += 1

    def _fill(self, work: Work, layer: str) -> None:
        assert self._pool is not None
        self._pool.filled(work, layer)

    def _end_sync(self) -> None:
        if self._sync:
            self._wait(lambda: not any(one.left for one in self._sync), lambda: self._sync)
            self._sync = []

    def results(self, step: Step) -> tuple[set[str], set[str], set[str]]:
        """Requests whose blocks are saved (of those closing), received, and failed of these."""
        self._closing.update(step.closing)
        self._reap(IDLE_MS if step.idle and self._loading else 0)
        busy = {work.transfer.request for work in self._savings()}
        if self._closing & busy:
            self._hurry()
        sent = self._closing - busy
        self._closing -= sent
        received, self._received = self._received, set()
        failed = self._failed & received
        self._failed -= failed
        return sent, received, failed

    def invalid(self) -> set[int]:
        """Blocks that did not come, of models with one KV group."""
        invalid, self._invalid = self._invalid, set()
        return invalid

    def report(self) -> Report | None:
        """For the scheduler's half; None where there is nothing to say."""
        if not self._report.saved and not self._report.failed:
            return None
        report, self._report = self._report, Report()
        return report

    # Under way.

    def _begin(
        self, step: Step, transfer: Transfer, *, saving: bool, by_layer: bool
    ) -> Work | None:
        opened = self._link.opened
        if self._pool is None or opened is None or opened.target != step.target:
            return None
        try:
            return self._pool.begin(opened, transfer, saving, by_layer=by_layer)
        except Error as error:
            self._link.failed(error)
            return None

    def _hurry(self) -> None:
        """Others may want the blocks that these saves keep."""
        before = time.monotonic() - KEPT_S
        for work in self._savings():
            late = work.begun < before and not work.canceled
            if late and self._pool is not None and work.transfer.request in self._closing:
                self._pool.cancel(work)

    def _savings(self) -> list[Work]:
        return [work for works in self._saving.values() for work in works]

    def _wait(self, ended: Callable[[], bool], works: Callable[[], list[Work]]) -> None:
        """Reaps until `ended()`; after PATIENCE_S cancels what is left of `works`. Their memory is
        about to be written or read, so their events are waited for also then."""
        patience = time.monotonic() + PATIENCE_S
        while not ended():
            self._reap(20)
            if self._pool is not None and time.monotonic() > patience:
                patience += 3600
                for work in works():
                    self._pool.cancel(work)

    def _reap(self, timeout_ms: int) -> None:
        if self._pool is None:
            return
        try:
            works = self._pool.reap(timeout_ms)
        except Error as error:
            self._link.failed(error)
            return
        for work in works:
            if work.saving:
                self._saved(work)
            else:
                self._loaded(work)

    def _count(self, work: Work, kind: str, done: str) -> None:
        assert self._pool is not None
        blocks = bytes_ = 0
        for one, count in zip(work.transfer.blocks, work.done, strict=True):
            count = max(0, count - one.parent)
            blocks += count
            bytes_ += count * self._pool.block_bytes[one.group]
        self.stats.add(f"{kind}s")
        self.stats.add(f"{kind}_seconds", time.monotonic() - work.begun)
        self.stats.add(f"{done}_blocks", blocks)
        self.stats.add(f"{done}_bytes", bytes_)
        if work.error:
            self._link.failed(failure(work.error, ""))
        else:
            self._link.worked()

    def _saved(self, work: Work) -> None:
        assert self._pool is not None
        if work.error == low.WEFT_EHELD and not work.retried and not work.by_layer:
            try:
                self._pool.again(work)
                return
            except Error as error:
                self._link.failed(error)
        self._count(work, "save", "saved")
        if not work.whole:
            self.stats.add("failed_saves")
            if work.by_layer:
                self._pool.give_up(work)
        for number, works in list(self._saving.items()):
            if work in works:
                works.remove(work)
                if not works:
                    del self._saving[number]
                    self._report.saved[number] += 1

    def _loaded(self, work: Work) -> None:
        self._count(work, "load", "loaded")
        transfer, sync = work.transfer, work in self._sync
        self._loading.pop(transfer.request, None)
        if not work.whole:
            self._lose(transfer, work.undone(), received=not sync)
        elif not sync:
            self._received.add(transfer.request)

    def _lose(self, transfer: Transfer, blocks: set[int], *, received: bool) -> None:
        """A load failed: vLLM computes these blocks."""
        self.stats.add("failed_loads")
        self._report.failed.add(transfer.request)
        if len(self._shape.groups) == 1:
            self._invalid |= blocks
        else:
            self._failed.add(transfer.request)
        if received:
            self._received.add(transfer.request)

    def close(self) -> None:
        """Lets saves end, then closes."""
        if self._pool is not None:
            self._wait(lambda: not self._saving, self._savings)
            self._pool.close()
        self._link.close()


def _ids(transfer: Transfer) -> list[int]:
    return [int(at) for blocks in transfer.blocks for at in blocks.items["offset"]]
