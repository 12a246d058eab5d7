"""The model's shape, on which training, the numpy model and the layout of its blocks in Weft
agree."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of the transformer; all are counts, `context` the tokens it was trained to look back
    on."""

    vocabulary: int = 256
    width: int = 128
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 32
    hidden: int = 288
    context: int = 2304
    rope_base: float = 10_000.0

    def frequencies(self) -> np.ndarray:
        """Angle per position of each half of a head: float32 [head_size / 2]."""
        return (self.rope_base ** -(np.arange(0, self.head_size, 2) / self.head_size)).astype(
            np.float32
        )


SHAPE = Shape()
