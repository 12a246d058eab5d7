"""Which model an engine serves: its namespace, and a fingerprint of what shapes its KV bytes.

Two engines share blocks only if they agree on everything that a byte of KV depends on. Where the
user gives no version of the weights, the default namespace carries a fingerprint of them: engines
with other weights under the same name then never meet. With a version the number stands for the
weights, and the name has only the layout's fingerprint, so that it outlives an update. Engines of
one model whose blocks differ (ranks, block size, dtype) have namespaces of their own."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_VOLATILE = {"_name_or_path", "_commit_hash", "transformers_version", "dtype", "torch_dtype"}
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_SAMPLE = 64  # bytes of each tensor; a changed tensor is changed nearly everywhere
_SAMPLES = 64  # of a file whose tensors are not known


def digest(value: object) -> str:
    """Twelve hexadecimal digits of the SHA-256 of `value` as JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, default=lambda one: type(one).__name__)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def config_digest(config: VllmConfig) -> str:
    """Of the model's config after overrides, its types and its quantization."""
    model = config.model_config
    shape = {key: at for key, at in model.hf_config.to_dict().items() if key not in _VOLATILE}
    return digest([shape, str(model.dtype), str(model.quantization), str(model.runner_type)])


def _sample(path: Path, seen: Any) -> None:
    """Adds a file's size and some of its bytes to the hash `seen`: of a .safetensors file its
    header and the middle of each tensor."""
    size = path.stat().st_size
    seen.update(f"{path.name}:{size}".encode())
    with path.open("rb") as file:
        middles = [size * at // _SAMPLES for at in range(_SAMPLES)]
        if path.suffix == ".safetensors":
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, size))
            seen.update(header)
            places = [
                tensor["data_offsets"]
                for name, tensor in json.loads(header).items()
                if name != "__metadata__"
            ]
            middles = [8 + length + (begin + end) // 2 for begin, end in sorted(places)]
        for middle in middles:
            seen.update(os.pread(file.fileno(), _SAMPLE, middle))


def weights_digest(config: VllmConfig) -> str:
    """Of the weights: a hub's commit, or samples of a folder's files. Reads at most some bytes of
    each tensor."""
    model = config.model_config
    place = Path(str(model.model))
    load_format = str(config.load_config.load_format)
    if load_format == "dummy":
        return digest(["dummy", model.seed])
    if not place.exists():
        commit = getattr(model.hf_config, "_commit_hash", None)
        return digest([str(model.model), str(model.revision), str(commit)])
    seen = hashlib.sha256(load_format.encode())
    files = [place] if place.is_file() else sorted(place.iterdir())
    for path in files:
        if path.suffix in _WEIGHTS:
            _sample(path, seen)
    return seen.hexdigest()[:12]


def namespace_name(config: VllmConfig, fingerprint: str, versioned: bool) -> str:
    """`vllm/NAME-FINGERPRINT`, of the characters that a namespace may have. fingerprint: of the
    layout, which has the config's."""
    model = config.model_config
    name = re.sub(r"[^A-Za-z0-9._+@-]", "_", Path(str(model.model)).name or "model")[:80]
    parts = [fingerprint] + ([] if versioned else [weights_digest(config)])
    return f"vllm/{name}-{digest(parts)}"
