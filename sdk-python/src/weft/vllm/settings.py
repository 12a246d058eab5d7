"""What the user says in kv_connector_extra_config, checked once at construction.

A key that is unknown or a value that cannot be meant is a ValueError that names it: the engine
does not start with a wrong word. What is only found out later (no node, another layout) never ends
it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

KEYS = {
    "weft": "options of the store: connect=unix:/run/weft/weft.sock, token=, ... (one text)",
    "namespace": "tenant/model; made of the model's name and fingerprint where it is not said",
    "version": "number of the weights; an engine that has others must not share with it",
    "version_file": "a file that holds that number; read when it changes",
    "load": "async (the default: between steps) or sync (before the step, layer by layer)",
    "save": "async (the default: behind the step) or layers (each layer as soon as it is computed)",
    "single_flight": "true: of engines that want one prefix at a time one computes, others wait",
    "wait_s": "single_flight: how long a request waits for another engine at most (10)",
    "pin_s": "how long a match stays loadable while its request waits to be admitted (60)",
    "load_failure": "recompute (the default) or fail",
}
_CHOICES = {
    "load": ("async", "sync"),
    "save": ("async", "layers"),
    "load_failure": ("recompute", "fail"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The extra config with its defaults."""

    weft: str
    namespace: str | None = None
    version: int | None = None
    version_file: str | None = None
    load: str = "async"
    save: str = "async"
    single_flight: bool = False
    wait_s: float = 10.0
    pin_s: int = 60
    load_failure: str = "recompute"

    @property
    def versioned(self) -> bool:
        """Whether the user says which weights these are."""
        return self.version is not None or self.version_file is not None


def read(extra: Mapping[str, Any]) -> Settings:
    """The settings in `extra`. Errors: ValueError naming what is wrong."""
    unknown = sorted(set(extra) - set(KEYS))
    if unknown:
        raise ValueError(
            f"kv_connector_extra_config: {', '.join(map(repr, unknown))} is not known to "
            f"WeftConnector; it knows {', '.join(KEYS)}"
        )
    kinds: dict[str, type | tuple[type, ...]] = {
        "version": int,
        "pin_s": int,
        "wait_s": (int, float),
        "single_flight": bool,
    }
    for key, value in extra.items():
        kind = kinds.get(key, str)
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong or (key in _CHOICES and value not in _CHOICES[key]):
            raise ValueError(f"kv_connector_extra_config: {key}={value!r}; it is: {KEYS[key]}")
        if kind in (int, (int, float)) and value < 0:
            raise ValueError(f"kv_connector_extra_config: {key}={value!r} is below 0")
    store = extra.get("weft", "")
    if "connect=" not in store:
        raise ValueError(
            f"kv_connector_extra_config: weft={store!r} names no node: the engine's processes meet "
            'in one, so it must have connect=, like {"weft": "connect=unix:/run/weft/weft.sock"}'
        )
    if "version" in extra and "version_file" in extra:
        raise ValueError("kv_connector_extra_config: version and version_file are both given")
    return Settings(**extra)
