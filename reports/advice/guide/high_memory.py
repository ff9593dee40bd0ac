"""The guide's three sentences against high memory."""

from __future__ import annotations

import numpy as np

from firsttoken.core.settings import Settings
from reports import text
from reports.advice.facts import Facts
from reports.advice.guide.said import Said
from reports.advice.machine import ACCEPTED, MEMORY_ALERT
from reports.advice.model import NONE, Confidence, Effect, Figure, Gain, Line


def keep_alive(facts: Facts, _settings: Settings) -> Said:
    peak = facts.memory.value
    evidence = [] if peak is None else [Figure("memory, peak", peak, "share", facts.memory.n)]
    line = (Line("local_optimization.model_loading.keep_alive", "24h"),)
    if facts.loads_ms.size:
        middle = float(np.median(facts.loads_ms))
        evidence.append(Figure("load, median", round(middle, 1), "ms", int(facts.loads_ms.size)))
        return Said(
            Effect.HARMS,
            f"{facts.loads_ms.size} requests waited for the model to be loaded, {middle:.0f} ms at "
            "the median: a shorter keep_alive makes more of them.",
            tuple(evidence),
            Gain("of a request that finds the model unloaded", ttft_p95_ms=-round(middle, 1)),
            Confidence.MEASURED,
            line,
        )
    needed = peak is not None and peak > MEMORY_ALERT
    return Said(
        Effect.HARMS,
        "The model stayed loaded throughout; unloading it sooner frees memory only while nobody "
        "talks, and the next one to talk waits for it to be loaded"
        + (" (memory is above 85 % here)." if needed else "."),
        tuple(evidence),
        Gain("the time to load the model, which this run did not see"),
        Confidence.MECHANISM,
        line,
    )


def clear_cache(facts: Facts, _settings: Settings) -> Said:
    share, read_ms = facts.cached_share, facts.mean("prefill")
    if share is None or not facts.engine_told or read_ms is None:
        return Said(
            Effect.NOT_SHOWN,
            "The run does not tell how much of the prompts the engine had in its cache.",
        )
    evidence = (
        Figure("prompt tokens from the cache", share, "share", facts.cached_n),
        Figure("prefill, mean", round(read_ms, 1), "ms", facts.phase_n),
    )
    if share < 0.05:
        return Said(
            Effect.HELPS_NOTHING,
            f"Only {text.quantity(share, 'share')} of the prompt tokens came from the engine's "
            "cache: there is next to nothing to clear.",
            evidence,
            NONE,
            Confidence.MEASURED,
        )
    loss = read_ms * share / max(1 - share, 0.01)
    return Said(
        Effect.HARMS,
        f"{text.quantity(share, 'share')} of the prompt tokens came from the engine's cache: "
        "cleared, they have to be read again.",
        evidence,
        Gain("at most: prefill in proportion to the tokens read", ttft_p95_ms=-round(loss, 1)),
        Confidence.ESTIMATED,
    )


def restart(facts: Facts, _settings: Settings) -> Said:
    peak = facts.memory.value
    if peak is None:
        return Said(Effect.NOT_SHOWN, "Memory was not sampled in this run.")
    evidence = (Figure("memory in use, peak", peak, "share", facts.memory.n),)
    if peak <= MEMORY_ALERT:
        return Said(
            Effect.HARMS,
            f"At most {text.quantity(peak, 'share')} of the memory was in use: a restart frees "
            "nothing that is needed, cuts off answers and empties the engine's cache.",
            evidence,
            Gain("the prompts read again after a restart, and the answers cut off"),
            Confidence.MEASURED,
        )
    return Said(
        Effect.HELPS,
        f"{text.quantity(peak, 'share')} of the memory was in use: a guarded restart frees what "
        f"leaked; if it comes back, fewer slots are the cure (target {ACCEPTED:.0%}).",
        evidence,
        Gain("the first token does not move; it keeps the engine from being killed"),
        Confidence.MEASURED,
        (Line("recovery.adapter", "ollama"), Line("recovery.memory", 0.85)),
    )
