"""The guide's three sentences against slow responses."""

from __future__ import annotations

import math

from firsttoken.core.settings import Settings
from reports.advice.caches import EXACT, SEMANTIC, hits, p95_without
from reports.advice.facts import Facts
from reports.advice.guide.said import Said
from reports.advice.model import NONE, UNKNOWN, Confidence, Effect, Figure, Gain, Line, known
from reports.statistics import median

SHORT_CTX = 1024


def num_ctx(facts: Facts, _settings: Settings) -> Said:
    if not facts.whole_tokens.size:
        return Said(
            Effect.NOT_SHOWN,
            "The run has no token counts, so it cannot tell what would overflow a slot of 1024.",
        )
    n = int(facts.whole_tokens.size)
    over = int((facts.whole_tokens > SHORT_CTX).sum())
    longest = float(facts.whole_tokens.max())
    evidence = (
        Figure("prompt and reply, longest", longest, "tokens", n),
        Figure("over 1024 tokens", float(over), n=n),
        Figure("overflowed already", float(facts.overflowed), n=facts.n),
    )
    if over or facts.overflowed:
        return Said(
            Effect.HARMS,
            f"{over} of {n} conversations hold more than 1024 tokens and {facts.overflowed} "
            "requests overflowed already: a smaller context makes more of them fail.",
            evidence,
            Gain("these requests would overflow", error_share=-round(over / n, 4)),
            Confidence.MEASURED,
        )
    return Said(
        Effect.HELPS_NOTHING,
        f"The longest conversation holds {longest:.0f} tokens: an engine computes what is there, "
        "not what there is room for, so the first token stays; only memory is freed.",
        evidence,
        NONE,
        Confidence.MECHANISM,
    )


def temperature(facts: Facts, _settings: Settings) -> Said:
    return Said(
        Effect.HELPS_NOTHING,
        "The temperature is applied to what the model has computed already: it changes which token "
        "comes first, not when.",
        known("TTFT p50 here, at one temperature", facts.ttft_p50_ms.value, "ms", facts.n),
        NONE,
    )


def cache(facts: Facts, _settings: Settings) -> Said:
    found = hits(facts)
    lines = (Line(EXACT, value=True), Line(SEMANTIC, value=True))
    keep = ("the similarity threshold stays: below it, answers to another question are served",)
    if not facts.routed:
        return Said(
            Effect.NOT_SHOWN, "This run did not go through the router, which keeps the caches.",
            lines=lines, elsewhere=keep,
        )  # fmt: skip
    evidence = (Figure("answered by a cache", round(found.size / facts.n, 4), "share", facts.n),)
    if not found.size:
        return Said(
            Effect.NOT_SHOWN,
            "No request of this run was answered by a cache: nothing in it was said twice, or the "
            "caches are off.",
            evidence,
            lines=lines,
            elsewhere=keep,
        )
    before, after = p95_without(facts), facts.ttft_p95_ms.value
    gain = UNKNOWN
    if before is not None and after is not None and math.isfinite(before) and math.isfinite(after):
        gain = Gain("p95 with its cached answers, and without", round(before - after, 1))
    return Said(
        Effect.HELPS,
        f"The caches answered {found.size} of {facts.n} requests in "
        f"{median(found) or 0.0:.1f} ms at the median.",
        evidence,
        gain,
        Confidence.MEASURED,
        lines,
        keep,
    )
