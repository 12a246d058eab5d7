"""One vLLM engine as a process: questions come as lines of JSON on standard input, answers go as
lines of JSON to standard output.

    engine.py MODEL {"address": "unix:..." or null, "block": 32, "length": 4096, ...}

The engine runs in this process, so that `check` can look at vLLM's own KV memory; only with
"ranks": 2 or more it has a worker process for each. With an address it has WeftConnector ("extra":
more of its settings); without one it is vLLM alone. "adapter": the folder of a LoRA."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0", HF_HUB_OFFLINE="1", VLLM_CPU_KVCACHE_SPACE="1"
)
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what vLLM prints does not get among the answers

import numpy as np  # noqa: E402
from prometheus_client import REGISTRY  # noqa: E402
from vllm import LLM, SamplingParams  # noqa: E402
from vllm.config import KVTransferConfig  # noqa: E402
from vllm.lora.request import LoRARequest  # noqa: E402

HOOKS = (
    "on_new_request",
    "get_num_new_matched_tokens",
    "update_state_after_alloc",
    "build_connector_meta",
    "update_connector_output",
    "request_finished_all_groups",
    "handle_preemptions",
    "start_load_kv",
    "wait_for_save",
    "get_transfer_results",
    "get_kv_connector_stats",
)


class Engine:
    """vLLM, and what the example asks of it."""

    def __init__(self, model: str, how: dict[str, Any]) -> None:
        more: dict[str, Any] = {}
        if how["address"]:
            more["kv_transfer_config"] = KVTransferConfig(
                kv_connector="WeftConnector",
                kv_connector_module_path="weft.vllm",
                kv_role="kv_both",
                kv_connector_extra_config={
                    "weft": f"connect={how['address']}",
                    **how.get("extra", {}),
                },
            )
        self.adapter = how.get("adapter") and LoRARequest("adapter", 1, how["adapter"])
        if self.adapter:
            more["enable_lora"] = True
        self.ranks = how.get("ranks", 1)
        if self.ranks > 1:
            more.update(tensor_parallel_size=self.ranks, distributed_executor_backend="mp")
        self.llm = LLM(
            model=model,
            skip_tokenizer_init=True,
            enforce_eager=True,
            dtype="float32",
            block_size=how["block"],
            max_model_len=how["length"],
            max_num_batched_tokens=how.get("batched", 2048),
            max_num_seqs=16,
            disable_log_stats=False,
            prefix_caching_hash_algo="sha256_cbor",
            **more,
        )
        core = self.llm.llm_engine.engine_core.engine_core
        self.scheduler = core.scheduler
        if self.ranks == 1:
            self.runner = core.model_executor.driver_worker.worker.model_runner
        self.spent: dict[str, float] = {}

    def generate(
        self,
        prompts: list[list[int]],
        tokens: int,
        together: bool = False,
        forget: bool = False,
        adapted: bool = False,
    ) -> dict[str, Any]:
        """Answers prompts one after the other (forget: with vLLM's own cache emptied before each),
        or all at once; adapted: with the LoRA. Returns the log probability of each generated
        token, the tokens that were cached, and seconds of the clock and of this process."""
        params = SamplingParams(
            temperature=0, max_tokens=tokens, logprobs=1, detokenize=False, ignore_eos=True
        )
        asked = [{"prompt_token_ids": prompt} for prompt in prompts]
        begun, worked = time.perf_counter(), time.process_time()
        outputs = []
        for group in [asked] if together else [[one] for one in asked]:
            if forget and not self.forget()["forgotten"]:
                raise RuntimeError("vLLM's own cache cannot be emptied")
            adapter = self.adapter if adapted else None
            outputs += self.llm.generate(group, params, use_tqdm=False, lora_request=adapter)
        return {
            "seconds": time.perf_counter() - begun,
            "processor": time.process_time() - worked,
            "results": [
                {
                    "tokens": list(output.outputs[0].token_ids),
                    "logprobs": [
                        at[token].logprob
                        for token, at in zip(
                            output.outputs[0].token_ids, output.outputs[0].logprobs, strict=True
                        )
                    ],
                    "cached": output.num_cached_tokens,
                    "reason": output.outputs[0].finish_reason,
                }
                for output in outputs
            ],
        }

    def forget(self) -> dict[str, Any]:
        """Empties vLLM's own prefix cache."""
        end = time.monotonic() + 30
        while not self.llm.reset_prefix_cache():  # saves under way hold blocks
            self.llm.llm_engine.step()
            time.sleep(0.01)
            if time.monotonic() > end:
                return {"forgotten": False}
        return {"forgotten": True}

    def pages(self) -> dict[bytes, list[np.ndarray]]:
        """Of each hash in vLLM's own prefix cache the bytes of its blocks, layer after layer.
        Where a prompt ends with a block, vLLM computes that once more for its last token, in
        another shape, and has then two blocks of one hash that may differ in a last bit."""
        pool = self.scheduler.kv_cache_manager.block_pool
        found: dict[bytes, list[np.ndarray]] = {}
        for block in pool.blocks:
            if block.block_hash is not None:
                rows = [cache[block.block_id] for cache in self.runner.kv_caches]
                page = np.concatenate([row.numpy().reshape(-1).view(np.uint8) for row in rows])
                found.setdefault(block.block_hash[:-4], []).append(page)
        return found

    def check(self, address: str, name: str) -> dict[str, Any]:
        """Compares every block in vLLM's own prefix cache with what Weft holds under its hash."""
        import weft

        same = missing = 0
        total = 0
        with weft.Store(connect=address) as store:
            space = store.namespace(name, create=False)
            for digest, mine in self.pages().items():
                theirs = space.load(int.from_bytes(digest[-16:], "big"))
                if theirs is None:
                    missing += 1
                    continue
                total += 1
                same += any(bool((page == theirs).all()) for page in mine)
        return {"same": same, "missing": missing, "blocks": total}

    def namespace(self) -> dict[str, Any]:
        """The name of this model's namespace."""
        return {"name": self.scheduler.connector.scheduler._link.name}

    def watch(self) -> dict[str, Any]:
        """From now on the time spent in the connector's hooks is added up."""
        from vllm.distributed.kv_transfer import get_kv_transfer_group

        for half in (self.scheduler.connector, get_kv_transfer_group()):
            for hook in HOOKS:
                setattr(half, hook, self._timed(hook, getattr(half, hook)))
        return {}

    def _timed(self, name: str, hook: Any) -> Any:
        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return hook(*arguments, **named)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - begun

        return timed

    def times(self) -> dict[str, Any]:
        """Seconds in each hook since the last call; the connector's counters; processor seconds of
        the library's threads and of the process so far."""
        spent, self.spent = self.spent, {}
        counted = {  # from the registry itself: vLLM's own reader cuts seconds to whole ones
            sample.name.removesuffix("_total"): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name.startswith("vllm:weft_") and sample.name.endswith("_total")
        }
        return {
            "hooks": spent,
            "counters": counted,
            "threads": _processor("weft-"),
            "processor": time.process_time(),
        }


def _processor(prefix: str) -> float:
    """Processor seconds of this process's threads whose names begin so."""
    ticks = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
            if name.startswith(prefix):
                ticks += sum(int(number) for number in rest.split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    engine = Engine(sys.argv[1], json.loads(sys.argv[2]))
    print(json.dumps({"ready": True}), file=ANSWERS)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = getattr(engine, asked.pop("do"))(**asked)
        print(json.dumps(answer), file=ANSWERS)


if __name__ == "__main__":
    main()
