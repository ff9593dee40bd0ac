"""When a cloud is asked too, and what is sent to it from the start."""

from __future__ import annotations

import math

import numpy as np

from firsttoken.core.settings import Settings
from reports.advice.facts import FEW, Facts, p95_of
from reports.advice.model import Advice, Confidence, Effect, Figure, Gain, Line
from reports.comparison import NEVER_MS
from reports.statistics import FloatArray, median, quantile_rank

GRID = 200
"""Quantiles by which each of two distributions is represented."""
MOST_OF_IT = 0.9


def _grid(values: FloatArray) -> FloatArray:
    ordered = np.sort(values)
    ranks = [quantile_rank(ordered.size, (at + 0.5) / GRID) - 1 for at in range(GRID)]
    found: FloatArray = ordered[ranks]
    return found


def hedged_p95(local: FloatArray, remote: FloatArray, delay_ms: float) -> float:
    """Return the TTFT p95 if a cloud were asked too after ``delay_ms``, and the first one served.

    Local and remote delays are taken as independent of each other; requests hedged do not make
    the local engine faster for the others. Source of the idea: Dean and Barroso, "The Tail at
    Scale", Communications of the ACM 56, 2013.
    """
    first = np.minimum(_grid(local)[:, None], delay_ms + _grid(remote)[None, :]).ravel()
    at = quantile_rank(first.size, 0.95) - 1
    return float(np.partition(first, at)[at])


def best_delay(local: FloatArray, remote: FloatArray) -> tuple[float, float, float]:
    """Return the longest delay that brings :data:`MOST_OF_IT` of the best gain of the p95, the p95
    then, and the share of the requests that would be asked twice."""
    seen = local[np.isfinite(local)]
    later = np.quantile(seen, np.linspace(0.05, 0.95, 19)) if seen.size else np.empty(0)
    delays = np.unique(np.concatenate([[0.0], later]))
    tails = np.array([hedged_p95(local, remote, float(delay)) for delay in delays])
    # An hour stands for never, so that gains can be compared.
    before = min(hedged_p95(local, remote, math.inf), NEVER_MS)
    gains = before - np.minimum(tails, NEVER_MS)
    at = int(np.flatnonzero(gains >= MOST_OF_IT * gains.max())[-1])
    return float(delays[at]), float(tails[at]), float((local > delays[at]).mean())


def hedging(facts: Facts, settings: Settings) -> Advice | None:
    """The delay at which a hedge wins, from the distribution of local first tokens."""
    if facts.local.size < FEW or facts.remote.size < FEW:
        return None
    before = p95_of(facts.local)
    if before is None:
        return None
    delay, after, share = best_delay(facts.local, facts.remote)
    middle = median(facts.remote) or 0.0
    evidence = [
        Figure("local TTFT p95", before, "ms", int(facts.local.size)),
        Figure("cloud TTFT median" + (" (emulated)" if facts.remote_emulated else ""),
               round(middle, 1), "ms", int(facts.remote.size)),
    ]  # fmt: skip
    if facts.hedged is not None:
        evidence.append(Figure("asked twice in this run", float(facts.hedged), n=facts.n))
        evidence.append(Figure("of them won by the cloud", float(facts.hedges_won), n=facts.n))
    gained = before - after
    if not (gained > 0.05 * before):
        return Advice(
            key="hedging",
            effect=Effect.HELPS_NOTHING,
            finding=f"No delay lets a hedge win: a cloud needs {middle:.0f} ms for its first "
            f"token, the local p95 is {before:.0f} ms.",
            evidence=tuple(evidence),
            gain=Gain("both distributions, taken as independent", ttft_p95_ms=0.0),
            confidence=Confidence.ESTIMATED,
        )
    extra = min(1.0, math.ceil(share * 20) / 20)
    now = settings.hedging
    enough = now.enable and now.extra_load >= share
    return Advice(
        key="hedging",
        effect=Effect.HELPS,
        finding=f"Asking the cloud too after {delay:.0f} ms would bring the local p95 from "
        f"{before:.0f} to {after:.0f} ms; {share:.0%} of the local requests would be asked twice.",
        evidence=(*evidence, Figure("extra_load at hand", now.extra_load, "share")),
        gain=Gain(
            "both distributions, taken as independent; the router finds the delay by itself"
            + (", and what it needs is allowed already" if enough else ""),
            ttft_p95_ms=0.0 if enough else round(gained, 1),
        ),
        confidence=Confidence.ESTIMATED,
        lines=(Line("hedging.enable", value=True), Line("hedging.extra_load", extra)),
        elsewhere=("each hedge is paid for at the cloud",),
    )


def complex_share(facts: Facts, _settings: Settings) -> Advice | None:
    """More than one request in twenty at a slow cloud is the p95 over all tiers."""
    share, late = facts.complex_share, facts.remote
    if not share or facts.remote_share is None or late.size < FEW or facts.local.size < FEW:
        return None
    middle, total = median(late) or 0.0, facts.ttft_p95_ms.value
    local = p95_of(facts.local)
    if facts.remote_share <= 0.05 or middle <= facts.target_ms or total is None or local is None:
        return None
    gained = total - local
    if gained <= 0:
        return None
    return Advice(
        key="complex",
        effect=Effect.HELPS,
        finding=f"{share:.0%} of the requests go to the cloud for being complex; its first token "
        f"takes {middle:.0f} ms, so the p95 over all tiers is the cloud's.",
        evidence=(
            Figure("requests sent to the cloud", round(facts.remote_share, 4), "share", facts.n),
            Figure("of all, for being complex", round(share, 4), "share", facts.n),
            Figure("cloud TTFT median" + (" (emulated)" if facts.remote_emulated else ""),
                   round(middle, 1), "ms", int(late.size)),
            Figure("local TTFT p95", local, "ms", int(facts.local.size)),
        ),
        gain=Gain(
            "the p95 of what the local model answered here; its load would grow, and nothing is "
            "said of how good the answers would be",
            ttft_p95_ms=round(gained, 1) if math.isfinite(gained) else None,
        ),
        confidence=Confidence.ESTIMATED,
        lines=(Line("routing_logic.complex_queries.route_to", "local_model"),),
    )  # fmt: skip
