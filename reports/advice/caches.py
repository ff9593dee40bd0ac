"""The router's own caches."""

from __future__ import annotations

import numpy as np

from firsttoken.core.settings import Settings
from reports.advice.facts import FEW, Facts, p95_of
from reports.advice.model import UNKNOWN, Advice, Confidence, Effect, Figure, Gain, Line, known
from reports.statistics import FloatArray, median

EXACT = "caching_strategy.local_cache.enable"
SEMANTIC = "caching_strategy.semantic_cache.enable"


def hits(facts: Facts) -> FloatArray:
    """Return the first tokens of everything that a cache answered."""
    return np.concatenate([facts.exact, facts.semantic])


def cache(facts: Facts, settings: Settings) -> Advice | None:
    """What the caches answered, and what they could."""
    if not facts.routed:
        return None
    found = hits(facts)
    strategy = settings.caching_strategy
    off = [
        path
        for path, on in (
            (EXACT, strategy.local_cache.enable),
            (SEMANTIC, strategy.semantic_cache.enable),
        )
        if not on
    ]
    evidence = (
        Figure("answered by the exact cache", round(facts.exact.size / facts.n, 4), "share",
               facts.n),
        Figure("answered by the semantic cache", round(facts.semantic.size / facts.n, 4), "share",
               facts.n),
    )  # fmt: skip
    if found.size:
        return Advice(
            key="cache",
            effect=Effect.HELPS,
            finding=f"The caches answered {found.size} of {facts.n} requests, in "
            f"{median(found) or 0.0:.1f} ms at the median.",
            evidence=(
                *evidence,
                *known("TTFT p95 without these answers", p95_without(facts), "ms",
                       facts.n - int(found.size)),
            ),
            gain=Gain("they are there already: keep them on", ttft_p95_ms=0.0),
            confidence=Confidence.MEASURED,
            lines=tuple(Line(path, value=True) for path in (EXACT, SEMANTIC)),
        )  # fmt: skip
    if not off:
        return None
    return Advice(
        key="cache",
        effect=Effect.NOT_SHOWN,
        finding="No request was answered by a cache, and not every cache is on.",
        evidence=evidence,
        gain=UNKNOWN,
        confidence=Confidence.MECHANISM,
        lines=tuple(Line(path, value=True) for path in off),
    )


def p95_without(facts: Facts) -> float | None:
    """Return the TTFT p95 of what no cache answered."""
    rest = np.concatenate([facts.local, facts.remote if facts.remote_share else np.empty(0)])
    return p95_of(rest) if rest.size >= FEW else None
