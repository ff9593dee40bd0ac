"""What an engine will take of memory, before it is started."""

from __future__ import annotations

from dataclasses import dataclass

from firsttoken.engines.gguf import Header

_BYTES_PER_CACHE_ITEM = 2  # keys and values are kept as 16-bit floats
_BYTES_PER_LOGIT = 4
_BASE_BYTES = 80 << 20
"""The Python process, llama.cpp's code and its HTTP threads, measured without a model."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes by what they are for."""

    weights: int
    kv_cache: int
    compute: int
    prompt_cache: int = 0

    @property
    def total(self) -> int:
        """All of it, bytes."""
        return self.weights + self.kv_cache + self.compute + self.prompt_cache


def kv_bytes_per_token(meta: Header) -> int:
    """Return the KV cache of one token, bytes: over the layers, key-value heads times the length
    of a key plus that of a value, 16 bits each.

    An upper bound for models with sliding-window attention. 0 where the file does not give the
    numbers (an architecture without attention).
    """
    layers = meta.whole("block_count") or 0
    heads = meta.whole("attention.head_count") or 0
    width = meta.whole("embedding_length") or 0
    head_width = width // heads if heads else 0
    key = meta.whole("attention.key_length") or head_width
    value = meta.whole("attention.value_length") or head_width
    groups = meta.wholes("attention.head_count_kv") or (heads,)
    kv_heads = sum(groups) if len(groups) > 1 else groups[0] * layers if groups else 0
    return kv_heads * (key + value) * _BYTES_PER_CACHE_ITEM


def estimate(
    meta: Header, slots: int, ctx: int, micro_batch: int = 128, prompt_cache: int = 0
) -> MemoryNeed:
    """Return what ``slots`` slots of ``ctx`` tokens will take of memory, with ``prompt_cache``
    bytes granted to prompts that have left their slot.

    weights = bytes of the tensors; KV cache = slots x ctx x :func:`kv_bytes_per_token`; compute =
    the logits and activations of one micro-batch, and the process itself.
    """
    vocabulary = meta.metadata.get("tokenizer.ggml.tokens.length", 0)
    words = vocabulary if isinstance(vocabulary, int) else 0
    width = meta.whole("embedding_length") or 0
    rows = max(slots, micro_batch)
    logits = slots * words * _BYTES_PER_LOGIT
    # Some eight rows of the embedding's width and the widest layer's are alive at once.
    activations = rows * (8 * width + 2 * (meta.whole("feed_forward_length") or 4 * width)) * 4
    return MemoryNeed(
        weights=meta.data_end - meta.data_start,
        kv_cache=slots * ctx * kv_bytes_per_token(meta),
        compute=logits + activations + _BASE_BYTES,
        prompt_cache=prompt_cache,
    )


def memory_needed(meta: Header, slots: int, ctx: int) -> int:
    """Return the bytes an engine with ``slots`` slots of ``ctx`` tokens will take at most, the
    prompt cache apart."""
    return estimate(meta, slots, ctx).total


def slots_that_fit(meta: Header, ctx: int, available: int) -> int:
    """Return the largest number of slots of ``ctx`` tokens that ``available`` bytes hold, up to
    1,024; 0 where not even one fits."""
    low, high = 0, 1024
    while low < high:
        middle = (low + high + 1) // 2
        if memory_needed(meta, middle, ctx) <= available:
            low = middle
        else:
            high = middle - 1
    return low
