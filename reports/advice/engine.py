"""Slots, threads and loading of the local engine."""

from __future__ import annotations

import math

import numpy as np

from firsttoken.core.settings import Settings
from reports.advice.facts import FEW, Facts, p95_of
from reports.advice.model import UNKNOWN, Advice, Confidence, Effect, Figure, Gain, Line, known
from reports.limits import BUSY_SHARE, QUEUE_SHARE

WAITING = ("queue", "connect", "engine_queue", "wait")
"""Phases in which a request waits for the engine: in the router, for its headers (llama.cpp sends
them once a slot is free), in the engine's own queue, and what is left inside of it."""
FULL_SHARE = 0.8
"""Replies written at once, of the requests in flight, below which the others wait for a slot."""
IDLE_SHARE = 0.6
"""Share of the cores below which an engine with work to do leaves some of them idle."""


def waiting_ms(facts: Facts) -> float | None:
    """Return how long a local request waits for the engine on average."""
    parts = [facts.mean(phase) for phase in WAITING]
    return None if any(part is None for part in parts) else sum(part or 0.0 for part in parts)


def queued(facts: Facts) -> bool:
    """Whether requests wait for a slot while others' replies are written."""
    waited, ttft = waiting_ms(facts), _mean_ttft(facts)
    if waited is None or not ttft or facts.in_flight is None or facts.answering is None:
        return False
    return waited > QUEUE_SHARE * ttft and facts.answering < FULL_SHARE * facts.in_flight


def _mean_ttft(facts: Facts) -> float | None:
    seen = facts.local[np.isfinite(facts.local)]
    return float(seen.mean()) if seen.size else None


def slots(facts: Facts, settings: Settings) -> Advice | None:
    """A slot that waits is the first token: fewer slots than talkers."""
    if not queued(facts) or facts.in_flight is None or facts.answering is None:
        return None
    wanted = max(math.ceil(facts.in_flight), 1)
    step_ms = (facts.tpot_ms or 0.0) * wanted / max(facts.answering, 1.0)
    prefill = p95_of(facts.phases["prefill"]) if facts.engine_told else 0.0
    after_ms = 2 * step_ms + (prefill or 0.0)
    before = facts.ttft_p95_ms.value
    gain = UNKNOWN
    if before is not None and facts.tpot_ms:
        gain = Gain(
            f"with a slot for each, a first token waits for two decode steps of {wanted} replies "
            f"({step_ms:.0f} ms each at unchanged total speed) and for its prompt; try it with "
            "firsttoken tune --try",
            ttft_p95_ms=max(0.0, round(before - after_ms, 1)),
        )
    return Advice(
        key="slots",
        effect=Effect.HELPS,
        finding=f"{facts.in_flight:.0f} requests are in flight and no more than "
        f"{facts.answering:.0f} answered at once: the others wait for a slot.",
        evidence=(
            Figure("requests in flight, exceeded 5 % of the time", facts.in_flight, n=facts.n),
            Figure("replies written at once", facts.answering, n=facts.n),
            Figure("mean wait for the engine", round(waiting_ms(facts) or 0.0, 1), "ms",
                   facts.phase_n),
            *known("TTFT p95", facts.ttft_p95_ms.value, "ms", facts.n),
            Figure("engine.slots in the settings at hand", float(settings.engine.slots)),
        ),
        gain=gain,
        confidence=Confidence.ESTIMATED,
        lines=(Line("engine.slots", wanted), Line("llm_routing.local_model.slots", wanted)),
        elsewhere=(f"Ollama: OLLAMA_NUM_PARALLEL={wanted} in the environment of ollama serve",),
    )  # fmt: skip


def queue(facts: Facts, settings: Settings) -> Advice | None:
    """The router's own queue: bounded by the settings, and worth nothing without free slots."""
    if not facts.routed or not facts.phases:
        return None
    waited = facts.phases["queue"]
    p95 = p95_of(waited) or 0.0
    total = facts.ttft_p95_ms.value
    if total is None or p95 <= QUEUE_SHARE * total or not math.isfinite(total):
        return None
    room = settings.admission.queue
    if room is None:
        room = max(settings.engine.slots, 16)
    return Advice(
        key="queue",
        effect=Effect.HELPS if facts.remote.size >= FEW else Effect.NOT_SHOWN,
        finding=f"Requests wait up to {p95:.0f} ms (p95) in the router's queue for a local slot.",
        evidence=(
            Figure("wait in the router's queue, p95", p95, "ms", waited.size),
            Figure("TTFT p95", total, "ms", facts.n),
        ),
        gain=Gain(
            "a shorter queue sends what would wait to a cloud; how many that are depends on the "
            "load"
        ),
        confidence=Confidence.ESTIMATED,
        lines=(Line("admission.queue", room // 2),),
        elsewhere=("more slots end the wait without a cloud: see slots",),
    )


def threads(facts: Facts, settings: Settings) -> Advice | None:
    """Compute threads against cores."""
    if facts.cores is None or facts.engine_cores is None or facts.local.size < FEW:
        return None
    cores = max(1, int(facts.cores))
    told = settings.engine.threads or settings.local_optimization.inference.num_thread
    evidence = (
        Figure("engine", facts.engine_cores, "cores", facts.n),
        Figure("machine", facts.cores, "cores"),
        Figure("threads in the settings at hand", float(told)),
    )
    path = "local_optimization.inference.num_thread"
    used = facts.engine_cores / facts.cores
    if told > cores:
        return Advice(
            key="threads",
            effect=Effect.HELPS_NOTHING if used >= BUSY_SHARE else Effect.NOT_SHOWN,
            finding=f"num_thread {told} is more than the {cores} cores: threads then wait for each "
            "other at every layer.",
            evidence=evidence,
            gain=Gain(
                "none with the embedded engine, which keeps to the cores; an Ollama takes the "
                "number as it stands",
                ttft_p95_ms=0.0,
            ),
            confidence=Confidence.MECHANISM,
            lines=(Line(path, cores),),
        )
    if used >= IDLE_SHARE or (facts.in_flight or 0.0) < 1 or told >= cores:
        return None
    compute = [facts.mean(phase) for phase in ("prefill", "wait")]
    saved = sum(part or 0.0 for part in compute) * (1 - told / cores)
    return Advice(
        key="threads",
        effect=Effect.HELPS,
        finding=f"The engine used {facts.engine_cores:.2f} of {facts.cores:g} cores while requests "
        "were in flight: it has fewer threads than cores.",
        evidence=evidence,
        gain=Gain(
            f"prefill and wait shrink at most by {told}/{cores}, as the threads grow",
            ttft_p95_ms=round(saved, 1) if facts.phases else None,
        ),
        confidence=Confidence.ESTIMATED,
        lines=(Line(path, cores), Line("engine.threads", cores)),
    )


def loading(facts: Facts, settings: Settings) -> Advice | None:
    """Requests that waited until the model was loaded."""
    if not facts.loads_ms.size:
        return None
    middle = float(np.median(facts.loads_ms))
    share = facts.loads_ms.size / max(facts.local.size, 1)
    gain = Gain("what a load took would be gone", ttft_p95_ms=round(middle, 1))
    if share < 0.05:
        gain = Gain(
            f"{share:.1%} of the requests waited: less than one in twenty moves no p95, only the "
            "worst ones",
            ttft_p95_ms=0.0,
        )
    return Advice(
        key="loading",
        effect=Effect.HELPS,
        finding=f"{facts.loads_ms.size} of {facts.local.size} local requests waited until the "
        f"model was loaded, {middle:.0f} ms at the median.",
        evidence=(
            Figure("load time, median", round(middle, 1), "ms", int(facts.loads_ms.size)),
            Figure("requests that loaded", round(share, 4), "share", int(facts.local.size)),
            Figure("keep_alive at hand", settings.local_optimization.model_loading.keep_alive
                   if isinstance(settings.local_optimization.model_loading.keep_alive, str)
                   else float(settings.local_optimization.model_loading.keep_alive)),
        ),
        gain=gain,
        confidence=Confidence.MEASURED,
        lines=(
            Line("local_optimization.model_loading.preload", value=True),
            Line("local_optimization.model_loading.keep_alive", "24h"),
        ),
    )  # fmt: skip
