"""Trains the quickstart's model: a byte-level decoder-only transformer, on the processor, with JAX.

Needs `pip install jax numpy`; nothing else of Weft needs JAX. The shape is that of today's large
models in small: RMSNorm before each half layer, rotary positions, grouped-query attention, SwiGLU,
no biases, embedding tied to the output. Short windows come first, where a byte costs little, then
windows as long as the context, so that positions up to it are trained. The schedule runs on the
clock (--minutes), not on steps, and a checkpoint is written every two minutes, so that a slow
machine gives a worse model and not a missing one.

    python train.py --minutes 30 --out weights-1.npz
    python train.py --minutes 4 --from weights-1.npz --tests --out weights-2.npz # fine-tuned

Matrices are updated by Muon (a momentum step made orthogonal by a Newton-Schulz iteration; Jordan
and others, 2024), everything else by Adam. Weights are written as float16.
"""

import argparse
import functools
import time

import corpus
import jax
import jax.numpy as jnp
import numpy as np
from shape import SHAPE, Shape

PHASES = ((0.45, 128, 32), (0.7, 512, 8), (1.0, SHAPE.context, 2))
"""Until which share of the time, which window, how many windows a step."""


def initial(shape: Shape, seed: int) -> dict[str, jax.Array]:
    """Returns fresh weights, by the names that the numpy model reads: stacked over layers, [layer,
    in, out]."""
    rng = np.random.default_rng(seed)

    def matrix(*size: int, gain: float = 1.0) -> jax.Array:
        return jnp.asarray(rng.normal(0, gain / size[-2] ** 0.5, size), jnp.float32)

    layers, width = shape.layers, shape.width
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    small = 1 / (2 * layers) ** 0.5
    return {
        "embed": jnp.asarray(rng.normal(0, 0.02, (shape.vocabulary, width)), jnp.float32),
        "norm_attention": jnp.ones((layers, width)),
        "query": matrix(layers, width, queries),
        "key": matrix(layers, width, keys),
        "value": matrix(layers, width, keys),
        "output": matrix(layers, queries, width, gain=small),
        "norm_mlp": jnp.ones((layers, width)),
        "gate": matrix(layers, width, shape.hidden),
        "up": matrix(layers, width, shape.hidden),
        "down": matrix(layers, shape.hidden, width, gain=small),
        "norm_final": jnp.ones(width),
    }


def rms_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * scale


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Turns [batch, time, head, size] by the angles of its positions; first half against second
    half."""
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate((a * cos - b * sin, b * cos + a * sin), -1)


def attention(q: jax.Array, k: jax.Array, v: jax.Array, shape: Shape) -> jax.Array:
    """Causal attention in query chunks of at most 256, each against the keys up to its end only.

    Heads are outermost and the division by the sum comes last: three times as fast here as the
    plain form.
    """
    batch, time_, _, size = q.shape
    group, pairs = shape.heads // shape.kv_heads, batch * shape.kv_heads
    q = q.reshape(batch, time_, shape.kv_heads, group, size).transpose(0, 2, 3, 1, 4) / size**0.5
    k = k.transpose(0, 2, 3, 1).reshape(pairs, size, time_)
    v = v.transpose(0, 2, 1, 3).reshape(pairs, time_, size)
    out = []
    step = min(time_, 256)
    for begin in range(0, time_, step):
        end = begin + step
        rows = q[:, :, :, begin:end].reshape(pairs, group * step, size)
        scores = (rows @ k[:, :, :end]).reshape(pairs, group, step, end)
        scores += jnp.where(jnp.arange(end)[None] <= jnp.arange(begin, end)[:, None], 0.0, -1e30)
        share = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
        mixed = (share.reshape(pairs, group * step, end) @ v[:, :end]).reshape(
            pairs, group, step, size
        )
        out.append((mixed / share.sum(-1, keepdims=True)).reshape(batch, -1, step, size))
    return jnp.concatenate(out, 2).transpose(0, 2, 1, 3).reshape(batch, time_, -1)


def loss_of(weights: dict[str, jax.Array], tokens: jax.Array, shape: Shape) -> jax.Array:
    """Mean cross-entropy in nats of tokens[:, 1:] given what is before each; tokens: [batch, time +
    1]."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    batch, time_ = inputs.shape
    angles = jnp.arange(time_)[:, None] * jnp.asarray(shape.frequencies())[None]
    cos, sin = jnp.cos(angles)[None, :, None], jnp.sin(angles)[None, :, None]

    def layer(x: jax.Array, w: dict[str, jax.Array]) -> tuple[jax.Array, None]:
        h = rms_norm(x, w["norm_attention"])
        q = rotate((h @ w["query"]).reshape(batch, time_, shape.heads, -1), cos, sin)
        k = rotate((h @ w["key"]).reshape(batch, time_, shape.kv_heads, -1), cos, sin)
        v = (h @ w["value"]).reshape(batch, time_, shape.kv_heads, -1)
        x = x + attention(q, k, v, shape) @ w["output"]
        h = rms_norm(x, w["norm_mlp"])
        return x + (jax.nn.silu(h @ w["gate"]) * (h @ w["up"])) @ w["down"], None

    x = weights["embed"][inputs]
    for i in range(shape.layers):
        x, _ = layer(x, {n: w[i] for n, w in weights.items() if n not in ("embed", "norm_final")})
    logits = rms_norm(x, weights["norm_final"]) @ weights["embed"].T
    chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)


def orthogonal(m: jax.Array) -> jax.Array:
    """Five Newton-Schulz steps towards the nearest orthogonal matrix, for a stack [layer, in,
    out]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = m.shape[-2] > m.shape[-1]
    x = jnp.swapaxes(m, -1, -2) if tall else m
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(5):
        square = x @ jnp.swapaxes(x, -1, -2)
        x = a * x + (b * square + c * square @ square) @ x
    return (jnp.swapaxes(x, -1, -2) if tall else x) * max(1.0, m.shape[-1] / m.shape[-2]) ** 0.5


@functools.partial(jax.jit, static_argnames="shape", donate_argnums=(0, 1))
def train_step(weights, state, tokens, rate, count, shape):
    """One step: returns weights, optimiser state and the loss. `rate` scales both optimisers, 1 at
    the top."""
    loss, slopes = jax.value_and_grad(loss_of)(weights, tokens, shape)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in slopes.values()))
    clip = jnp.minimum(1.0, 1.0 / norm)
    new_weights, new_state = {}, {}
    for name, weight in weights.items():
        first, second = state[name]
        slope = slopes[name] * clip
        if weight.ndim == 3:
            first = 0.95 * first + slope
            step = 0.02 * orthogonal(slope + 0.95 * first) + 0.02 * 0.05 * weight
        else:
            first = 0.9 * first + 0.1 * slope
            second = 0.99 * second + 0.01 * slope * slope
            step = (
                0.003 * (first / (1 - 0.9**count)) / (jnp.sqrt(second / (1 - 0.99**count)) + 1e-9)
            )
        new_weights[name] = weight - rate * step
        new_state[name] = (first, second)
    return new_weights, new_state, loss


def save(path: str, weights: dict[str, jax.Array]) -> None:
    np.savez_compressed(path, **{name: np.asarray(w, np.float16) for name, w in weights.items()})


def windows(text: np.ndarray, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
    begins = rng.integers(0, len(text) - length - 1, batch)
    return np.stack([text[b : b + length + 1] for b in begins]).astype(np.int32)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--out", required=True)
    options.add_argument(
        "--from", dest="start", help="go on from these weights, with a gentler rate"
    )
    options.add_argument(
        "--tests", action="store_true", help="train on the standard library's tests instead"
    )
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()

    text = np.frombuffer(corpus.split(args.tests)[0], np.uint8)
    if args.start:
        weights = {name: jnp.asarray(w, jnp.float32) for name, w in np.load(args.start).items()}
    else:
        weights = initial(SHAPE, args.seed)
    parameters = sum(w.size for w in weights.values())
    print(f"{parameters:,} parameters, {len(text):,} bytes of text", flush=True)
    state = {name: (jnp.zeros_like(w), jnp.zeros_like(w)) for name, w in weights.items()}
    rng = np.random.default_rng(args.seed)
    top, phases = (0.25, PHASES[-1:]) if args.start else (1.0, PHASES)
    begin = saved = time.monotonic()
    smooth, seen, count = None, 0, 0
    while (done := (time.monotonic() - begin) / (60 * args.minutes)) < 1:
        length, batch = next((length, batch) for until, length, batch in phases if done < until)
        count += 1
        rate = top * min(1, count / 50) * min(1, 0.03 + 1.6 * (1 - done))
        weights, state, loss = train_step(
            weights, state, windows(text, rng, batch, length), rate, float(count), SHAPE
        )
        bits = float(loss) / np.log(2)
        smooth = bits if smooth is None else 0.97 * smooth + 0.03 * bits
        seen += batch * length
        if count % 20 == 0:
            minutes = (time.monotonic() - begin) / 60
            print(
                f"{minutes:5.1f} min  step {count:5}  window {length:5}  {seen:>11,} bytes  "
                f"{smooth:.3f} bits/byte",
                flush=True,
            )
        if time.monotonic() - saved > 120:
            save(args.out, weights)
            saved = time.monotonic()
    save(args.out, weights)


if __name__ == "__main__":
    main()
