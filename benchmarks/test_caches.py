"""Cost of a look-up in the exact and in the semantic cache, and of the encoder before it.

Run: ``python -m pytest benchmarks/test_caches.py -o addopts=``
"""

from __future__ import annotations

from typing import Any

from firsttoken.language import encoder
from firsttoken.wire.dialect import ChatRequest
from router.cache.exact import ExactCache, key_of
from router.cache.semantic import SemanticIndex

ENTRIES = 1_000
LOOK_UPS = 100
QUESTION = "please, what do 7 cats eat?"


def _request(question: str) -> ChatRequest:
    messages = [
        {"role": "system", "content": "You are a helpful voice assistant. " * 300},
        {"role": "user", "content": question},
    ]
    return ChatRequest("auto", messages, stream=True, max_tokens=40)


def test_exact_look_up(benchmark: Any) -> None:
    """Key and look-up of a request with a long system prompt."""
    cache: ExactCache[int] = ExactCache(ENTRIES, 3600.0)
    for number in range(ENTRIES):
        cache.put(key_of(_request(f"What do {number} cats eat?"), "tenant"), number, 0.0)
    asked = _request("What do 7 cats eat?")
    assert benchmark(lambda: cache.get(key_of(asked, "tenant"), 1.0)) == 7


def test_semantic_look_up(benchmark: Any) -> None:
    """A hundred look-ups among a thousand questions of one scope, their vectors known."""
    model, _ = encoder.load(encoder.DEFAULT)
    vector = model.encode(QUESTION)
    index: SemanticIndex[int] = SemanticIndex(ENTRIES, 3600.0)
    for number in range(ENTRIES):
        index.put(b"scope", f"What do {number} cats eat?", lambda: vector, number, 0.0)

    def look_up() -> int:
        asked = [index.lookup(b"scope", QUESTION, lambda: vector, 1.0) for _ in range(LOOK_UPS)]
        return sum(entry is not None and entry.value == 7 for entry in asked)

    assert benchmark(look_up) == LOOK_UPS


def test_encoder(benchmark: Any) -> None:
    """The vector of one short question."""
    model, _ = encoder.load(encoder.DEFAULT)
    assert benchmark(model.encode, QUESTION).ndim == 1
