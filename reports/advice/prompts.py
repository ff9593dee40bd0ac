"""Length of prompts: the context of a slot, and what the engine has read already."""

from __future__ import annotations

import numpy as np

from firsttoken.core.settings import Settings
from reports.advice.facts import Facts, p95_of
from reports.advice.model import UNKNOWN, Advice, Confidence, Effect, Figure, Gain, Line

STEP = 1024
"""num_ctx is advised in steps of so many tokens."""
PREFILL_SHARE = 0.4
"""Share of TTFT from which on reading the prompt is worth shortening."""
COLD_SHARE = 0.7
"""Share of the prompt tokens in the prefix cache below which more of it could be."""
NUM_CTX = "local_optimization.model_loading.num_ctx"


def _up(tokens: float) -> int:
    return int(-(-tokens // STEP) * STEP)


def context(facts: Facts, settings: Settings) -> Advice | None:
    """Prompts and replies against the context of a slot."""
    loading = settings.local_optimization.model_loading
    held = settings.engine.context or loading.num_ctx
    longest = float(facts.whole_tokens.max()) if facts.whole_tokens.size else 0.0
    prompt = float(facts.prompt_tokens.max()) if facts.prompt_tokens.size else 0.0
    near = prompt + loading.num_predict > held
    if not facts.overflowed and not near:
        return None
    wanted = _up(max(prompt, longest, float(held) if facts.overflowed else 0.0)
                 + loading.num_predict)  # fmt: skip
    failed = facts.errors.get("context_overflow", 0)
    evidence = (
        Figure("requests too long for a slot", float(facts.overflowed), n=facts.n),
        Figure("longest prompt served locally", prompt, "tokens", int(facts.prompt_tokens.size)),
        Figure("num_ctx at hand", float(held), "tokens"),
        Figure("num_predict at hand", float(loading.num_predict), "tokens"),
    )
    lines = (Line("engine.context" if settings.engine.context else NUM_CTX, wanted),)
    memory = (
        "memory: slots x num_ctx tokens of KV cache; firsttoken engine refuses what does not fit",
    )
    if facts.overflowed:
        return Advice(
            key="context",
            effect=Effect.HELPS,
            finding=f"{facts.overflowed} of {facts.n} requests were too long for a slot of {held} "
            "tokens.",
            evidence=evidence,
            gain=Gain(
                "they would be answered locally; how long their prompts take to read is not known",
                error_share=round(failed / facts.n, 4) if failed else None,
            ),
            confidence=Confidence.MEASURED,
            lines=lines,
            elsewhere=memory,
        )
    return Advice(
        key="context",
        effect=Effect.NOT_SHOWN,
        finding=f"The longest prompt ({prompt:.0f} tokens) with a reply of num_predict "
        f"{loading.num_predict} does not fit a slot of {held}, though none overflowed here.",
        evidence=evidence,
        gain=UNKNOWN,
        confidence=Confidence.MECHANISM,
        lines=lines,
        elsewhere=memory,
    )


def prefix(facts: Facts, _settings: Settings) -> Advice | None:
    """Reading the prompt: how much of TTFT it is, and how much the engine had read already."""
    read_ms, ttft = facts.mean("prefill"), facts.local[np.isfinite(facts.local)]
    if not facts.engine_told or read_ms is None or facts.cached_share is None or not ttft.size:
        return None
    share = read_ms / float(ttft.mean())
    if share < PREFILL_SHARE or facts.cached_share >= COLD_SHARE:
        return None
    p95 = p95_of(facts.phases["prefill"]) or 0.0
    new = 1 - facts.cached_share
    saved = p95 * (1 - min(1.0, (1 - COLD_SHARE) / new))
    return Advice(
        key="prefix",
        effect=Effect.HELPS,
        finding=f"Reading the prompt takes {share:.0%} of the local first token, and only "
        f"{facts.cached_share:.0%} of the prompt tokens were in the engine's cache.",
        evidence=(
            Figure("prefill, mean", round(read_ms, 1), "ms", facts.phase_n),
            Figure("prefill, p95", p95, "ms", facts.phase_n),
            Figure("prompt tokens from the cache", facts.cached_share, "share", facts.cached_n),
            Figure("prompt tokens, median", float(np.median(facts.prompt_tokens)), "tokens",
                   int(facts.prompt_tokens.size)),
        ),
        gain=Gain(
            f"with {COLD_SHARE:.0%} from the cache the p95 of the prefill falls in proportion to "
            "the tokens still read",
            ttft_p95_ms=round(saved, 1),
        ),
        confidence=Confidence.ESTIMATED,
        elsewhere=(
            "begin with what never changes (persona, tools), end with what does (date, user)",
            "as many slots as talkers: each conversation then keeps its slot, and its cache",
        ),
    )  # fmt: skip
