"""Keys: 128 bits that name a block. `Keys` is a numpy array of ITEM, the ABI's weft_item, so that
it crosses as it lies.

A key in calls is a str (the key of its UTF-8 bytes), an int below 2**128, or one item of Keys.
"""

from __future__ import annotations

import reprlib
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import lowlevel
from .errors import failure
from .options import Option, render

if TYPE_CHECKING:
    from typing_extensions import Buffer

OP = np.dtype(
    [
        ("tag", "<u8"),
        ("key_hi", "<u8"),
        ("key_lo", "<u8"),
        ("offset", "<u8"),
        ("size", "<u4"),
        ("start", "<u4"),
        ("space", "<u4"),
        ("region", "<u4"),
        ("timeout_ms", "<u4"),
        ("ttl_s", "<u4"),
        ("flags", "<u4"),
        ("kind", "<u2"),
        ("part", "<u2"),
    ]
)
ITEM = np.dtype(
    [("key_hi", "<u8"), ("key_lo", "<u8"), ("offset", "<u8"), ("size", "<u4"), ("status", "<i4")]
)
EVENT = np.dtype(
    [("tag", "<u8"), ("value", "<u8"), ("handle", "<u8"), ("status", "<i4"), ("detail", "<u4")]
)
OP_STRUCT = struct.Struct("<4Q7I2H")
EVENT_STRUCT = struct.Struct("<3QiI")
ITEM_STRUCT = struct.Struct("<3QIi")

Keys: TypeAlias = npt.NDArray[np.void]
Key: TypeAlias = "str | int | np.void | Keys"
KeyList: TypeAlias = "Keys | Sequence[Key] | str | int"


def _ids(tokens: npt.ArrayLike | Iterable[int]) -> npt.NDArray[Any]:
    """`tokens` as an array of ids that fit. Errors: InvalidError naming what does not."""
    wrong = ""
    given: Any = tokens
    if isinstance(tokens, (str, bytes, bytearray)):
        wrong = f"{reprlib.repr(tokens)} is text; a tokenizer makes ids of it (key_of: one key)"
    elif not hasattr(tokens, "__len__"):
        try:
            given = list(tokens)  # type: ignore[arg-type]
        except TypeError:
            wrong = f"{tokens!r} is no sequence of ids"
    ids = np.asarray([] if wrong else given)
    if not wrong and ids.ndim != 1:
        wrong = f"an array of shape {ids.shape}; one dimension is needed"
    elif ids.size and ids.dtype.kind not in "iu":
        wrong = f"{ids.dtype}, {ids[0]!r} first, not integers below 2**32"
    elif ids.size and (ids.min() < 0 or int(ids.max()) > 0xFFFFFFFF):
        wrong = f"{ids.dtype} from {ids.min()} to {ids.max()}, not integers below 2**32"
    if wrong:
        raise failure(lowlevel.WEFT_EINVAL, f"tokens: {wrong}")
    return ids


def keys(
    tokens: npt.ArrayLike | Iterable[int],
    *,
    block_tokens: int,
    scheme: str = "vllm-sha256-cbor",
    chain: bytearray | None = None,
    mm: Iterable[str] = (),
    **options: Option,
) -> Keys:
    """The keys of a prompt's full blocks, in order, as the engine of `scheme` makes them.

    tokens: n ids below 2**32, one dimension. chain: 32 bytes, the digest to go on from (zeros at
    first), replaced by the last one. options: seed=, lora=, salt=, start= (where tokens[0] is in
    the prompt). mm: "WHERE+LENGTH:ID" for each image. Returns n // block_tokens keys. Errors:
    InvalidError. Threads: any; the GIL is not held."""
    ids = _ids(tokens)
    if not hasattr(block_tokens, "__index__") or not 0 < block_tokens <= 0xFFFFFFFF:
        raise failure(
            lowlevel.WEFT_EINVAL, f"block_tokens={block_tokens!r}: a whole number from 1 to 2**32-1"
        )
    made = np.zeros(ids.size // block_tokens, ITEM)
    text = render("\n".join(f"mm={one}" for one in mm), {"scheme": scheme, **options})
    count = lowlevel.keys(text, chain, ids.astype(np.uint32), block_tokens, made)
    return made[:count]


def named(key: Key) -> str:
    """How words name a key: a str as it is, else its 32 hexadecimal digits."""
    high, low = lowlevel.split(key)
    return repr(key) if isinstance(key, str) else f"{high:016x}{low:016x}"


def key_of(content: Buffer | str) -> Keys:
    """The key of anything else, one item: of its bytes' SHA-256 (a str's UTF-8). content:
    contiguous."""
    made = np.zeros(1, ITEM)
    lowlevel.key_of(content.encode() if isinstance(content, str) else content, made)
    return made


def as_keys(given: KeyList) -> Keys:
    """Keys of one key or a list of keys. Contiguous Keys come back as they are, not copied."""
    if isinstance(given, np.ndarray) and given.dtype == ITEM:
        return np.ascontiguousarray(given).reshape(-1)
    many: Any = [given] if isinstance(given, (str, int, np.void)) else given
    made = np.zeros(len(many), ITEM)
    for at, one in enumerate(many):
        made["key_hi"][at], made["key_lo"][at] = lowlevel.split(one)
    return made
