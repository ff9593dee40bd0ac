"""Small GGUF files for tests, written by a writer of our own."""

from __future__ import annotations

import struct
from collections.abc import Mapping

Item = int | float | bool | str | list[int] | list[str]


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(item: Item) -> bytes:
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    if item and isinstance(item[0], str):
        return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(text(str(one)) for one in item)
    return struct.pack(f"<IIQ{len(item)}i", 9, 5, len(item), *item)


def gguf(
    metadata: Mapping[str, Item],
    tensors: Mapping[str, tuple[tuple[int, ...], int]],
    data_bytes: int,
    version: int = 3,
) -> bytes:
    """Build a file with 32-bit float tensors: by name its shape and its offset."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, item in metadata.items():
        out += text(key) + value(item)
    for name, (shape, offset) in tensors.items():
        out += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
    return out + bytes(-len(out) % 32) + bytes(data_bytes)


SMALL: dict[str, Item] = {
    "general.architecture": "llama",
    "llama.block_count": 4,
    "llama.context_length": 512,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 128,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "llama.rope.freq_base": 10_000.0,
    "general.quantised": True,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}


def small(**changes: Item) -> bytes:
    """A model of 4 layers with 4 KiB of tensors; ``llama__x=1`` sets ``llama.x``."""
    metadata = {**SMALL, **{key.replace("__", "."): item for key, item in changes.items()}}
    return gguf(metadata, {"a": ((16, 32), 0), "b": ((512,), 2048)}, 4096)
