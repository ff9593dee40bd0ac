"""What an engine takes of memory, for the table of docs/deploy.md.

    total = weights + slots x context x KV + logits + base
    KV    = 2 x layers x key-value heads x head dimension x bytes of an item    (per token)

Keys and values are 16-bit floats; ``q8_0`` keeps 32 of them in 34 bytes. Logits: llama.cpp reserves
those of one batch of 512 tokens, 4 bytes each. Base: the process without a model, as
``firsttoken.engines.memory`` has it.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
F16 = 2.0
Q8_0 = 34 / 32
BATCH = 512
BASE = 80 * MIB
HELD_AT_MOST = 0.8
"""The acceptance target of memory: the share of its limit that an engine may hold."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model as its configuration file describes it, and the size of its weights."""

    name: str
    layers: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    weights_mb: int
    """Of the file that is pulled, 10^6 bytes."""

    def kv_bytes(self, item: float = F16) -> int:
        """Return the bytes of one token in the cache."""
        return round(2 * self.layers * self.kv_heads * self.head_dim * item)

    @property
    def fixed(self) -> int:
        """Return the bytes that do not depend on slots."""
        return self.weights_mb * 10**6 + BATCH * self.vocabulary * 4 + BASE

    def total(self, slots: int, context: int, item: float = F16) -> int:
        """Return the bytes of an engine with ``slots`` slots of ``context`` tokens."""
        return self.fixed + slots * context * self.kv_bytes(item)

    def slots(self, limit: int, context: int, item: float = F16) -> int:
        """Return how many slots fit so that :data:`HELD_AT_MOST` of ``limit`` bytes is held."""
        left = int(limit * HELD_AT_MOST) - self.fixed
        return max(0, left // (context * self.kv_bytes(item)))


QWEN2_1_5B = Model("Qwen2-1.5B q4_0", 28, 2, 128, 151_936, 935)
MODELS = (
    QWEN2_1_5B,
    Model("Qwen2-0.5B q4_0", 24, 2, 64, 151_936, 352),
    Model("TinyLlama-1.1B q4_0", 22, 4, 64, 32_000, 638),
    Model("Phi-3-mini q4_0", 32, 32, 96, 32_064, 2_176),
    Model("ChatGLM3-6B q4_0", 28, 2, 128, 65_024, 3_500),
    Model("SmolLM2-135M q4_1", 30, 3, 64, 49_152, 98),
)
LIMITS_GIB = (2, 3, 4, 6)
CONTEXTS = (2048, 4096, 5120)


def table_of_models() -> list[tuple[str, ...]]:
    """Return the cells of the table of models: name, KV a token, and slots at 2 and at 4 GiB."""
    return [
        (
            model.name,
            f"{model.weights_mb:,} MB",
            f"{model.kv_bytes():,}",
            f"{round(model.fixed / MIB):,}",
            *(str(model.slots(gib << 30, 2048)) for gib in (2, 4)),
            *(str(model.slots(gib << 30, 5120)) for gib in (2, 4)),
        )
        for model in MODELS
    ]


def table_of_limits() -> list[tuple[str, ...]]:
    """Return the cells of the table of limits: slots of Qwen2-1.5B by limit and context."""
    return [
        (
            f"{gib} G",
            *(str(QWEN2_1_5B.slots(gib << 30, context)) for context in CONTEXTS),
            *(str(QWEN2_1_5B.slots(gib << 30, context, Q8_0)) for context in CONTEXTS),
        )
        for gib in LIMITS_GIB
    ]


if __name__ == "__main__":
    for row in (*table_of_models(), *table_of_limits()):
        print(f"| {' | '.join(row)} |")
    print(round(QWEN2_1_5B.total(6, 2048) / MIB), round(QWEN2_1_5B.total(24, 2048) / MIB))
