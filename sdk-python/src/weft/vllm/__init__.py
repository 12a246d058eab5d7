"""Weft for vLLM: `WeftConnector`, vLLM's KV connector over a Weft node. See docs/vllm.md.

Nothing of vLLM or torch is imported before the connector is asked for, so that this package can be
imported, and its small modules used, where neither is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connector import WeftConnector
    from .encoder import WeftEncoderConnector

__all__ = ["WeftConnector", "WeftEncoderConnector"]


def __getattr__(name: str) -> Any:
    if name == "WeftConnector":
        from .connector import WeftConnector

        return WeftConnector
    if name == "WeftEncoderConnector":
        from .encoder import WeftEncoderConnector

        return WeftEncoderConnector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
