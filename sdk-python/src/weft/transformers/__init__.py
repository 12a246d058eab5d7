"""Weft for Hugging Face transformers: a `Cache` that loads the longest prefix of a prompt that Weft
knows, and saves what is new. Needs `weft-kv[transformers]`; see docs/transformers.md.

    namespace = ModelNamespace(store, "me/llama", model)
    cache = WeftCache(namespace, input_ids)
    sequences = model.generate(input_ids, past_key_values=cache)
"""

try:
    from .cache import WeftCache
    from .namespace import ModelNamespace
except ModuleNotFoundError as error:
    words = f"weft.transformers needs {error.name}: pip install 'weft-kv[transformers]'"
    raise ModuleNotFoundError(words, name=error.name) from error

__all__ = ["ModelNamespace", "WeftCache"]
