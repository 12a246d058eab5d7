"""Option text: Python values as the ABI's `key=value` lines. The library judges keys and values;
here is only form."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

Option = str | int | float | os.PathLike[str] | Iterable[int] | None


def _value(value: Option) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (str, int, float)):
        text = str(value)
    elif isinstance(value, os.PathLike):
        text = os.fspath(value)
    else:
        text = "/".join(str(one) for one in value or ())
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ',\n"') else text


def render(text: str | None, options: dict[str, Option]) -> str | None:
    """`text` and then `options`, one a line. None values are left out; True is yes; a sequence is
    joined by "/"."""
    lines = [f"{key}={_value(value)}" for key, value in options.items() if value is not None]
    return "\n".join(([text] if text else []) + lines) or None
