"""The scheduler's half: what of a request Weft has, what each step loads and saves.

Invariants
- Asking has no effect: a request's lookup is started once, polled, and kept until its answer is too
  old or the question is another (more tokens, another local hit).
- The scheduler never waits for the node: what is not answered within ANSWER_MS is asked for again
  at the next step (None), and after lookup.TIMEOUT_MS the request is computed.
- A request that failed to load is not looked up again. A request that was begun under another
  version saves nothing: its blocks are of mixed weights.
- What is computed in a step with synchronous loads is saved by a later step, once no rank has said
  that a load failed: it might be made of what was not there, also by a request that shares its
  prefix with one that loads.
- Blocks that a save may still read are not given back: `request_finished` answers True while a
  step that saves of it is not reported by every rank, and a step that may write to such blocks is
  told to wait for their saves (`fence`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Error
from ..holds import Claim
from ..keys import ITEM, Keys
from ..namespace import Namespace
from .groups import Shape
from .keys import keys_of
from .link import Link, Target
from .lookup import Hit, alone, let_go, look_up
from .meta import Blocks, Report, Step, Transfer
from .polled import Polled, Task
from .settings import Settings
from .stats import WeftStats

if TYPE_CHECKING:
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.outputs import KVConnectorOutput
    from vllm.v1.request import Request

ANSWER_MS = 5  # the first ask waits so long for the node's answer, which takes 0.1 ms
MISS_S = 1.0  # a miss is asked again after so long, while the request still waits
SILENT_S = 10.0  # and so long where the node did not answer: each question is a wait
SILENT = "unanswered"


class Tracked:
    """What the scheduler's half knows of a request. saved: blocks from 0 that need no save."""

    def __init__(self, request: Request, target: Target | None) -> None:
        self.request, self.target = request, target
        self.keys: Keys = np.zeros(0, ITEM)
        self.question: tuple[int, int] = (0, 0)
        self.task: Task[Hit] | None = None
        self.hit: Hit | None = None
        self.asked = 0.0  # when the answer came
        self.claim: tuple[Claim, int] | None = None  # and the block where it ends
        self.loading = False
        self.failed = False
        self.saved = -1  # not known before the request is first scheduled

    def grow(self) -> Keys:
        """The keys of all full blocks that vLLM has hashed."""
        hashes = self.request.block_hashes
        if len(hashes) > len(self.keys):
            self.keys = np.concatenate([self.keys, keys_of(hashes[len(self.keys) :])])
        return self.keys

    def let_go(self) -> None:
        """Ends the lookup and its pins."""
        if self.hit is not None:
            self.hit.release()
        self.hit = self.task = None

    def drop_claim(self) -> None:
        """What was claimed is saved, or will not be."""
        if self.claim is not None:
            let_go(self.claim[0])
            self.claim = None


class SchedulerHalf:
    """Threads: the scheduler's."""

    def __init__(
        self, settings: Settings, shape: Shape, link: Link, ranks: int, role: tuple[bool, bool]
    ) -> None:
        self._settings, self._shape, self._link, self._ranks = settings, shape, link, ranks
        self._saves, self._loads = role
        self._sync = settings.load == "sync" and len(shape.groups) == 1
        self._polled: Polled | None = None
        self._tracked: dict[str, Tracked] = {}
        self._plans: list[Transfer] = []
        self._synced: list[str] = []  # loaded by the step before: their pins have served
        self._closing: list[str] = []
        self._dropped: list[str] = []
        self._owed: list[Transfer] = []  # saves of requests that ended before they were due
        self._number = 0
        self._unreported: dict[int, dict[str, set[int]]] = {}
        self._reports: dict[int, int] = {}
        self._outgoing: list[Task[Any]] = []
        self.stats = WeftStats()

    # Before a request is admitted.

    def on_new_request(self, request: Request) -> None:
        """Begins to follow a request."""
        self._link.refresh()
        opened = self._link.opened
        self._tracked[request.request_id] = Tracked(request, opened and opened.target)

    def matched(self, request: Request, computed: int) -> tuple[int | None, bool]:
        """How many tokens beyond `computed` can be loaded; None: ask again."""
        block = self._shape.block_tokens
        start, end = computed // block, (request.num_tokens - 1) // block
        tracked = self._tracked.get(request.request_id)
        if tracked is None:
            self.on_new_request(request)
            tracked = self._tracked[request.request_id]
        opened = self._link.opened
        stale = opened is None or opened.target != tracked.target
        if stale or tracked.failed or not self._loads or end <= start:
            return 0, False
        if request.skip_reading_prefix_cache:
            return 0, False
        hit = self._hit(tracked, start, end)
        if hit is None:
            return None, False
        count = max(0, hit.end - max(start, hit.start)) * block
        return count, count > 0 and not self._sync

    def _hit(self, tracked: Tracked, start: int, end: int) -> Hit | None:
        """The answer to a lookup of blocks [start, end), None while there is none."""
        first = tracked.task is None and tracked.hit is None
        if tracked.hit is not None and not self._fits(tracked, start, end):
            tracked.let_go()
        if tracked.hit is not None:
            return tracked.hit
        if tracked.task is None:
            self._ask(tracked, start, end)
        task = tracked.task
        assert task is not None
        if not task.done:
            self._poll(ANSWER_MS if first else 0)
        if not task.done:
            self.stats.add("waits", first)
            return None
        tracked.task, tracked.asked = None, time.monotonic()
        if task.error is not None or task.result is None:
            self.stats.add("unanswered")
            if task.error is not None:
                self._link.failed(task.error)
            tracked.hit = Hit(start, start, SILENT, [])
        else:
            self._link.worked()
            tracked.hit = task.result
            self.stats.add("hit_blocks", tracked.hit.end - tracked.hit.start)
            if tracked.hit.claim is not None:
                tracked.claim = (tracked.hit.claim, tracked.question[1])
        if tracked.question != (start, end):
            return self._hit(tracked, start, end)
        return tracked.hit

    def _fits(self, tracked: Tracked, start: int, end: int) -> bool:
        """Whether the answer there is still answers this question, and its pins hold."""
        hit, age = tracked.hit, time.monotonic() - tracked.asked
        assert hit is not None
        asked_start, asked_end = tracked.question
        if end != asked_end or start < asked_start:
            return False
        if hit.end <= start:
            return age < (SILENT_S if hit.reason == SILENT else MISS_S)
        return age < self._settings.pin_s / 2

    def _ask(self, tracked: Tracked, start: int, end: int) -> None:
        opened = self._link.opened
        assert opened is not None
        if self._polled is None:
            self._polled = Polled(opened.store)
        what = (opened.spaces, self._shape.groups, tracked.grow(), start, end)
        pin_s, wait_s = self._settings.pin_s, self._settings.wait_s
        single = self._settings.single_flight and self._saves
        plan = alone(*what, pin_s, wait_s) if single else look_up(*what, pin_s)
        self.stats.add("lookups")
        self.stats.add("asked_blocks", end - start)
        tracked.question = (start, end)
        tracked.task = self._polled.start(plan)

    def _poll(self, timeout_ms: int = 0) -> None:
        if self._polled is not None:
            self._polled.poll(timeout_ms)

    # When it is admitted.

    def allocated(self, request: Request, blocks: KVCacheBlocks, external: int) -> None:
        """Blocks are allocated; `external` tokens of them are to be loaded."""
        tracked = self._tracked.get(request.request_id)
        if tracked is None:
            return
        hit = tracked.hit
        tracked.loading = external > 0
        if not external or hit is None:
            tracked.let_go()
            return
        block = self._shape.block_tokens
        # What vLLM adds to: its local hit, or the end of the hit where it took all of it.
        start = max(hit.start, hit.end - external // block)
        end = start + external // block
        keys = tracked.grow()
        tables = blocks.get_block_ids()
        lists = []
        for place, group in enumerate(self._shape.groups):
            chosen = self._choose(keys, tables[group.index], start, end)
            if len(chosen):
                lists.append(Blocks(place, chosen))
        self._plans.append(Transfer(request.request_id, lists))
        self._synced += [request.request_id] if self._sync else []
        tracked.saved = end

    @staticmethod
    def _choose(keys: Keys, table: list[int], start: int, end: int) -> Keys:
        """Items of the blocks [start, end) that are not null, their ids in offset."""
        ids = np.array(table[start:end], np.uint64)
        items = keys[start : start + len(ids)].copy()
        items["offset"] = ids
        chosen: Keys = items[ids != 0]
        return chosen

    # Each step.

    def build(self, output: SchedulerOutput) -> Step:
        """The work of this step."""
        self._poll()
        self._outgoing = [task for task in self._outgoing if not task.done]
        self._number += 1
        opened = self._link.opened
        step = Step(
            self._number,
            opened and opened.target,
            loads=self._plans,
            closing=self._closing,
            dropped=self._dropped,
            sync=self._sync,
            idle=not output.total_num_scheduled_tokens,
        )
        synced = {one.request for one in self._plans} if self._sync else set()
        for name in self._synced:
            if name not in synced and name in self._tracked:
                self._tracked[name].loading = False
                self._tracked[name].let_go()
        self._synced = [name for name in self._synced if name in synced]
        self._plans, self._closing, self._dropped = [], [], []
        step.fence = self._conflicts(output, step)
        step.saves, self._owed = self._owed, []
        if self._saves and opened is not None and not self._synced:
            step.saves += self._plan_saves(output)
        if step.saves:
            self._unreported[self._number] = {
                one.request: {int(at) for blocks in one.blocks for at in blocks.items["offset"]}
                for one in step.saves
            }
        return step

    def _conflicts(self, output: SchedulerOutput, step: Step) -> bool:
        """Whether this step may write to a block that an unreported save reads."""
        if not self._unreported:
            return False
        read = {at for one in self._unreported.values() for ids in one.values() for at in ids}
        written = {
            int(at)
            for load in step.loads
            for blocks in load.blocks
            for at in blocks.items["offset"]
        }
        tables: list[Any] = [one.block_ids for one in output.scheduled_new_reqs]
        tables += [ids for ids in output.scheduled_cached_reqs.new_block_ids if ids is not None]
        written.update(at for table in tables for ids in table for at in ids)
        return not read.isdisjoint(written)

    def _plan_saves(self, output: SchedulerOutput) -> list[Transfer]:
        computed = {one.req_id: one.num_computed_tokens for one in output.scheduled_new_reqs}
        cached = output.scheduled_cached_reqs
        computed.update(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        plans = []
        for name, count in output.num_scheduled_tokens.items():
            tracked = self._tracked.get(name)
            if tracked is not None:
                plan = self._plan_save(output, tracked, computed.get(name, 0), count)
                if plan is not None:
                    plans.append(plan)
        return plans

    def _plan_save(
        self, output: SchedulerOutput, tracked: Tracked, computed: int, count: int
    ) -> Transfer | None:
        """The blocks of a request that are full after this step and were not before."""
        opened = self._link.opened
        if opened is None or opened.target != tracked.target:
            return None
        block = self._shape.block_tokens
        if tracked.saved < 0:
            # vLLM's own hits are saved again only where Weft has lost them.
            keys = tracked.grow()[: computed // block]
            tracked.saved = self._held(opened.spaces[0], keys)
        name = tracked.request.request_id
        claimed = tracked.claim is not None and tracked.saved >= tracked.claim[1]
        if claimed and not self._saving(name):
            tracked.drop_claim()
        state = output.kv_connector_block_state
        tables = None if state is None else state.get_block_ids(name)
        return None if tables is None else self._save_to(tracked, tables, computed + count)

    def _save_to(
        self, tracked: Tracked, tables: tuple[list[int], ...], computed: int
    ) -> Transfer | None:
        """The full blocks among `computed` tokens that are not saved yet."""
        first = tracked.saved
        full = min(computed // self._shape.block_tokens, len(tracked.request.block_hashes))
        if full <= first:
            return None
        keys = tracked.grow()
        lists: list[Blocks] = []
        for place, group in enumerate(self._shape.groups):
            table = tables[group.index]
            chosen = self._choose(keys, table, first, full)
            if len(chosen):
                parent = first > 0 and len(chosen) == full - first
                if parent:
                    before = keys[first - 1 : first].copy()
                    before["offset"] = table[first - 1]
                    chosen = np.concatenate([before, chosen])
                lists.append(Blocks(place, chosen, parent))
        tracked.saved = full
        return Transfer(tracked.request.request_id, lists) if lists else None

    @staticmethod
    def _held(space: Namespace, keys: Keys) -> int:
        """How many lead blocks this host's memory holds; all where that cannot be looked up."""
        try:
            return space.match(keys)
        except Error:
            return len(keys)

    # After a step, and at the end.

    def reported(self, output: KVConnectorOutput) -> None:
        """What the workers say of a step."""
        report = output.kv_connector_worker_meta
        if not isinstance(report, Report):
            return
        for number, ranks in report.saved.items():
            self._reports[number] = self._reports.get(number, 0) + ranks
            if self._reports[number] >= self._ranks:
                del self._reports[number]
                self._unreported.pop(number, None)
        for name in report.failed:
            tracked = self._tracked.get(name)
            if tracked is not None:
                tracked.failed, tracked.loading, tracked.saved = True, False, 0
                tracked.let_go()

    def finished(self, request: Request, tables: tuple[list[int], ...]) -> bool:
        """A request has ended; whether its blocks must stay until the workers say so."""
        name = request.request_id
        tracked = self._tracked.pop(name, None)
        if tracked is None:
            return False
        self._owe(tracked, tables)
        tracked.let_go()
        tracked.drop_claim()
        self._touch(tracked)
        if tracked.loading:
            # vLLM keeps the blocks until the load is reported as received. Saves under way are of
            # blocks that it gave up when it was preempted, and that a fence guards.
            self._dropped.append(name)
        elif self._saving(name):
            self._closing.append(name)
            return True
        return False

    def _owe(self, tracked: Tracked, tables: tuple[list[int], ...]) -> None:
        """Of a request that ended in a step with synchronous loads: the next step saves it."""
        from vllm.v1.request import RequestStatus

        request, opened = tracked.request, self._link.opened
        whole = (RequestStatus.FINISHED_STOPPED, RequestStatus.FINISHED_LENGTH_CAPPED)
        if not self._synced or request.status not in whole:
            return
        if request.request_id in self._synced:
            tracked.loading = False
        if not self._saves or tracked.failed or opened is None or opened.target != tracked.target:
            return
        # The last token was sampled, and nothing is computed of it.
        computed = min(request.num_computed_tokens, request.num_tokens - 1)
        plan = self._save_to(tracked, tables, computed)
        if plan is not None:
            self._owed.append(plan)

    def _saving(self, name: str) -> bool:
        """Whether saves of the request are not yet reported, or not yet begun."""
        return any(name in one for one in self._unreported.values()) or any(
            plan.request == name for plan in self._owed
        )

    def _touch(self, tracked: Tracked) -> None:
        """Tells Weft that a request used its blocks, and whether they will be wanted again."""
        opened = self._link.opened
        if opened is None or opened.target != tracked.target or not len(tracked.grow()):
            return
        if self._polled is None:
            self._polled = Polled(opened.store)
        reuse = reuse_of(tracked.request)
        for space, group in zip(opened.spaces, self._shape.groups, strict=True):
            keys = tracked.keys[-group.window :] if group.window else tracked.keys
            plan = Namespace.touch(space, keys, reuse=reuse, timeout_ms=1000)
            self._outgoing.append(self._polled.start(plan))

    def reset(self) -> bool:
        """What is stored so far is not read again."""
        for tracked in self._tracked.values():
            tracked.let_go()
        return self._link.forget()

    def close(self) -> None:
        """Lets go of everything."""
        for tracked in self._tracked.values():
            tracked.let_go()
        if self._polled is not None:
            self._polled.close()
        self._link.close()


def reuse_of(request: Request) -> str | None:
    """The hint of a request's end: what kv_transfer_params["weft_reuse"] says, else "maybe" for a
    turn that ended by itself and nothing for one that was cut or aborted."""
    from vllm.v1.request import RequestStatus

    said = (request.kv_transfer_params or {}).get("weft_reuse")
    if said in ("soon", "maybe", "none"):
        return str(said)
    return "maybe" if request.status == RequestStatus.FINISHED_STOPPED else None
