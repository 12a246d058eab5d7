"""What the quickstart's model in Python computes, for the tests of the one in Rust.

    python reference.py weights.npz FOLDER <<< '[{"prompt": "...", "generate": 64}, ...]'

Of request n it writes to FOLDER, as the machine's own float32: `n.logits` [generate, 256],
`n.pages` (the prompt's full pages, one after another), and prints a JSON list of what it generated,
as latin-1 text.
"""

import json
import os
import pathlib
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "quickstart"))
import numpy as np  # noqa: E402
from model import PAGE, Model, Sequence  # noqa: E402


def main() -> None:
    weights, folder = sys.argv[1:3]
    model, said = Model(weights), []
    for number, request in enumerate(json.load(sys.stdin)):
        prompt, sequence = request["prompt"].encode("latin-1"), Sequence()
        logits = [model.prefill(prompt, sequence)[-1]]
        text = bytes([int(logits[0].argmax())])
        while len(text) < request["generate"]:
            logits.append(model.forward(text[-1:], sequence)[-1])
            text += bytes([int(logits[-1].argmax())])
        np.stack(logits).tofile(f"{folder}/{number}.logits")
        pages = [page.tobytes() for page in sequence.pages[: len(prompt) // PAGE]]
        pathlib.Path(f"{folder}/{number}.pages").write_bytes(b"".join(pages))
        said.append(text.decode("latin-1"))
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
