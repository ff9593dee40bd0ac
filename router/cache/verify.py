"""Checks, afterwards and in the background, whether a hit by meaning was right.

Both questions are put to the local model at temperature 0, while nobody else needs it. Where the
two answers mean something else, so did the questions: the hit was false, and its entry is dropped.
A model's answers differ in wording too, so this is an estimate of the rate of false hits, for its
trend, and no proof against a single one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from firsttoken.core.catalogue import CacheCheck
from firsttoken.core.settings.backend import Backend
from firsttoken.language.encoder import Encoder
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.replies import collect
from router.account import AttemptRecord
from router.attempt import Asker, AttemptFailed
from router.cache.store import Caches, Lookup

ANSWER_TOKENS = 48
"""Of each of the two answers."""

SAME_ANSWER = 0.6
"""Cosine similarity from which two answers count as the same."""


class Verifier:
    """Checks hits.

    Args:
        asker: asks the local backend.
        caches: where a false entry is dropped.
        idle: returns the local backend while it is idle, else None: no check is made then.
        on_result: is told of each check.
    """

    def __init__(
        self,
        asker: Asker,
        caches: Caches,
        idle: Callable[[], Backend | None],
        on_result: Callable[[CacheCheck], None],
    ) -> None:
        self._asker = asker
        self._caches = caches
        self._idle = idle
        self._on_result = on_result

    async def check(self, lookup: Lookup) -> None:
        """Check the hit of ``lookup``."""
        request, hit, encoder = lookup.request, lookup.hit, self._caches.encoder
        if request is None or hit is None or encoder is None:
            return
        backend = self._idle()
        if backend is None:
            return
        try:
            told = await self._answer(request, lookup.text, backend)
            kept = await self._answer(request, hit.text, backend)
        except AttemptFailed:
            self._on_result(CacheCheck.FAILED)
            return
        # Whole answers take tens of milliseconds, for which nobody else is to wait.
        if await asyncio.to_thread(_similarity, encoder, told, kept) >= SAME_ANSWER:
            self._on_result(CacheCheck.AGREED)
            return
        self._on_result(CacheCheck.DIFFERED)
        self._caches.forget(lookup)

    async def _answer(self, request: ChatRequest, question: str, backend: Backend) -> str:
        messages: list[dict[str, Any]] = [
            *request.messages[:-1],
            {"role": "user", "content": question},
        ]
        asked = replace(
            request, messages=messages, stream=False, temperature=0.0, max_tokens=ANSWER_TOKENS
        )
        record = AttemptRecord("verify", backend.name, backend.model, self._asker.now_ns())
        opened = await self._asker.open(backend, asked, record)
        opened.close()
        return collect(opened.events).text


def _similarity(encoder: Encoder, one: str, other: str) -> float:
    return float(encoder.encode(one) @ encoder.encode(other))
