"""Weft's keys of vLLM's block hashes: of a digest the big-endian integers of its last 16 bytes.

With sha256_cbor these are the keys that `weft.keys` makes of the same tokens, so that a gateway
finds an engine's blocks. vLLM has mixed LoRA, cache salt and images into the hashes already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..keys import ITEM, Keys


def keys_of(hashes: Sequence[bytes]) -> Keys:
    """One key for each hash, in order. hashes: 16 bytes or more each."""
    made = np.zeros(len(hashes), ITEM)
    if len(hashes):
        words = np.frombuffer(b"".join(one[-16:] for one in hashes), ">u8").reshape(-1, 2)
        made["key_hi"], made["key_lo"] = words[:, 0], words[:, 1]
    return made
