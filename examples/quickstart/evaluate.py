"""Judges weights on files they were not trained on, in bits per byte, beside a bigram model of the
same text.

    python evaluate.py weights-1.npz [--tests] [--files 12]

The bigram model counts which byte follows which in the training text (plus one of each) and is told
nothing else. Both predict the first 2,304 bytes (the context) of held-out files at least that long;
fails if the transformer is not better. Lower is better: 8 is knowing nothing.
"""

import argparse
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import corpus  # noqa: E402
import numpy as np  # noqa: E402
from model import Model, Sequence  # noqa: E402


def bigram(text: bytes) -> np.ndarray:
    """Returns log2 of the probability that byte b follows byte a: [a, b]."""
    data = np.frombuffer(text, np.uint8).astype(np.int64)
    counts = np.bincount(data[:-1] * 256 + data[1:], minlength=65536).reshape(256, 256) + 1.0
    return np.log2(counts / counts.sum(1, keepdims=True))


def transformer_bits(model: Model, window: bytes) -> np.ndarray:
    """Returns the bits that each byte of the window but the first costs."""
    logits = model.prefill(window[:-1], Sequence()).astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    chosen = logits[np.arange(len(logits)), np.frombuffer(window[1:], np.uint8)]
    return (np.log(np.exp(logits).sum(1)) - chosen) / np.log(2)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("weights")
    options.add_argument(
        "--tests", action="store_true", help="the standard library's tests, not its modules"
    )
    options.add_argument("--files", type=int, default=12, help="how many held-out files")
    args = options.parse_args()
    model = Model(args.weights)
    train, held_out = corpus.split(args.tests)
    context = model.shape.context
    names = [name for name, text in held_out.items() if len(text) >= context]
    names = names[:: max(1, len(names) // args.files)][: args.files]
    pairs = bigram(train)
    bits, bigram_bits, late = [], [], []
    for name in names:
        window = held_out[name][:context]
        data = np.frombuffer(window, np.uint8)
        bits.append(transformer_bits(model, window))
        bigram_bits.append(-pairs[data[:-1], data[1:]])
        late.append(bits[-1][context // 2 :])
        print(
            f"{name:40} transformer {bits[-1].mean():.3f}   bigram {bigram_bits[-1].mean():.3f}",
            flush=True,
        )
    ours, theirs = np.mean(bits), np.mean(bigram_bits)
    print(
        f"\n{len(names)} held-out files, {context} bytes each, bits per byte: transformer "
        f"{ours:.3f} (second half of the context {np.mean(late):.3f}), bigram {theirs:.3f}: "
        f"better by {theirs - ours:.3f}"
    )
    return 0 if ours < theirs else 1


if __name__ == "__main__":
    sys.exit(main())
