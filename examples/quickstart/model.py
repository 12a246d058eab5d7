"""A small transformer in numpy that reads its keys and values from pages, wherever they lie.

A page holds what all layers keep of PAGE tokens: float32 [layers, 2, kv_heads, PAGE, head_size],
keys then values. A sequence is a list of such pages; some are this process's own, others may be
read-only arrays over memory that another process filled: attention reads each page where it is and
never gathers them.

Prefill goes page by page, so that a prompt is computed in the same pieces, by the same arithmetic
on the same shapes, whether its first pages were computed here or found: the logits are then equal
to the last bit, not just close. The library under numpy must use one thread for that
(OPENBLAS_NUM_THREADS=1, set by whoever starts the process).
"""

import numpy as np
from shape import SHAPE, Shape

PAGE = 32
"""Tokens a page."""


def page_shape(shape: Shape = SHAPE) -> tuple[int, ...]:
    """Returns the shape of a page's array, float32."""
    return shape.layers, 2, shape.kv_heads, PAGE, shape.head_size


PAGE_BYTES = int(np.prod(page_shape())) * 4


class Sequence:
    """The tokens computed or found so far: how many, and their pages in order. Owned by one
    thread."""

    def __init__(self) -> None:
        self.length = 0
        self.pages: list[np.ndarray] = []

    def add_found(self, page: np.ndarray) -> None:
        """Goes on behind a full page that somebody else computed; only between full pages."""
        assert self.length == PAGE * len(self.pages), f"{self.length} tokens end inside a page"
        self.pages.append(page.reshape(page_shape()))
        self.length += PAGE

    def page_to_write(self) -> np.ndarray:
        """Returns the page that the next token lies in, a new one of this process where the last is
        full."""
        if self.length == PAGE * len(self.pages):
            self.pages.append(np.zeros(page_shape(), np.float32))
        return self.pages[-1]


def rms_norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + np.float32(1e-5)) * scale


def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Turns [tokens, heads, head_size] by the angles of its positions, [tokens, 1, head_size /
    2]."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate((a * cos - b * sin, b * cos + a * sin), -1)


class Model:
    """The weights of one file, ready to compute with. Any thread may use it; it is not changed."""

    def __init__(self, path: str, shape: Shape = SHAPE) -> None:
        with np.load(path) as file:
            weights = {name: file[name].astype(np.float32) for name in file.files}
        self.shape = shape
        self.embed = weights["embed"]
        self.unembed = np.ascontiguousarray(self.embed.T)
        self.norm_final = weights["norm_final"]
        self.norm_attention, self.norm_mlp = weights["norm_attention"], weights["norm_mlp"]
        self.attend = np.concatenate([weights[n] for n in ("query", "key", "value")], -1)
        self.output, self.down = weights["output"], weights["down"]
        self.gate_up = np.concatenate([weights["gate"], weights["up"]], -1)
        positions = np.arange(shape.context, dtype=np.float32)
        angles = (positions[:, None] * shape.frequencies()[None])[:, None]
        self.cos, self.sin = np.cos(angles), np.sin(angles)

    def forward(self, tokens: bytes, sequence: Sequence) -> np.ndarray:
        """Computes the next tokens of a sequence and writes their keys and values to its last page.

        `tokens` must not cross a page's end nor the context. Returns the logits behind each:
        float32 [tokens, 256].
        """
        begin, count = sequence.length, len(tokens)
        if not 0 < count <= PAGE - begin % PAGE or begin + count > self.shape.context:
            raise ValueError(
                f"{count} tokens at {begin} cross a page of {PAGE} or the context "
                f"{self.shape.context}"
            )
        page = sequence.page_to_write()
        x = self.embed[np.frombuffer(tokens, np.uint8)]
        for layer in range(self.shape.layers):
            h = rms_norm(x, self.norm_attention[layer]) @ self.attend[layer]
            x = x + self._attention(layer, h, begin, sequence.pages, page) @ self.output[layer]
            h = rms_norm(x, self.norm_mlp[layer]) @ self.gate_up[layer]
            gate, up = h[:, : self.shape.hidden], h[:, self.shape.hidden :]
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.down[layer]
        sequence.length += count
        return rms_norm(x, self.norm_final) @ self.unembed

    def _attention(
        self, layer: int, h: np.ndarray, begin: int, pages: list[np.ndarray], page: np.ndarray
    ) -> np.ndarray:
        """Attends from new tokens, `h` their queries, keys and values, to all before and among
        themselves."""
        shape, count = self.shape, len(h)
        group = shape.heads // shape.kv_heads
        heads = h.reshape(count, -1, shape.head_size)
        cos, sin = self.cos[begin : begin + count], self.sin[begin : begin + count]
        turned = rotate(heads[:, : shape.heads + shape.kv_heads], cos, sin)
        place = begin % PAGE
        page[layer, 0, :, place : place + count] = turned[:, shape.heads :].swapaxes(0, 1)
        page[layer, 1, :, place : place + count] = heads[
            :, shape.heads + shape.kv_heads :
        ].swapaxes(0, 1)

        # Rows are (query head of the group, token); keys and values are read page by page, in
        # place.
        q = (
            turned[:, : shape.heads]
            .swapaxes(0, 1)
            .reshape(shape.kv_heads, group * count, shape.head_size)
        )
        q = q * np.float32(shape.head_size**-0.5)
        total = begin + count
        spans = [(at, min(PAGE, total - at)) for at in range(0, total, PAGE)]
        scores = np.empty((shape.kv_heads, group * count, total), np.float32)
        for (at, size), held in zip(spans, pages, strict=True):
            np.matmul(q, held[layer, 0, :, :size].swapaxes(1, 2), out=scores[..., at : at + size])
        if count > 1:
            later = np.triu(np.full((count, count), -np.inf, np.float32), 1)
            scores.reshape(shape.kv_heads, group, count, total)[..., begin:] += later
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        mixed = np.zeros((shape.kv_heads, group * count, shape.head_size), np.float32)
        for (at, size), held in zip(spans, pages, strict=True):
            mixed += scores[..., at : at + size] @ held[layer, 1, :, :size]
        mixed /= scores.sum(-1, keepdims=True)
        return mixed.reshape(shape.heads, count, shape.head_size).swapaxes(0, 1).reshape(count, -1)

    def prefill(self, tokens: bytes, sequence: Sequence) -> np.ndarray:
        """Computes `tokens[sequence.length:]` page by page; returns the logits of them all: float32
        [new, 256]."""
        logits = []
        while sequence.length < len(tokens):
            end = min(len(tokens), (sequence.length // PAGE + 1) * PAGE)
            logits.append(self.forward(tokens[sequence.length : end], sequence))
        return np.concatenate(logits)
