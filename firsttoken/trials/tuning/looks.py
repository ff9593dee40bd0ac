"""What a look at a candidate showed, and which candidate leads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from firsttoken.trials.tuning.candidates import Candidate
from reports.statistics import FloatArray, quantile_rank


class Stage(StrEnum):
    """What a look is for."""

    SEEK = "seek"
    PROVE = "prove"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at one candidate showed; arrays hold a value a request of the steady part,
    in order of sending."""

    candidate: Candidate
    stage: Stage
    delays: FloatArray = field(repr=False)
    """TTFT in ms; a request that failed is ``inf``."""
    accepted: int
    failed: int
    failures: FloatArray = field(repr=False)
    """1.0 for each accepted request that failed and 0.0 for each other, in order of sending."""
    seconds: float
    """Of the steady part."""
    warmup: float
    """Seconds before it."""
    took_s: float
    """In all: engine started, talkers begun, last reply ended."""
    cold_ms: float | None = None
    """The longest that a prompt took to be read, the warm-up included: one that nothing of was in
    the cache."""
    hold_ms: float | None = None
    """Median time for which a reply held its slot: its prompt read, its tokens written."""
    tpot_ms: float | None = None
    tokens_per_second: float | None = None
    disturbed: tuple[str, ...] = ()
    """Why its figures cannot be trusted."""


def p95(delays: FloatArray) -> float:
    """Return the sample's p95; ``inf`` without values, for nothing was shown."""
    if delays.size == 0:
        return math.inf
    at = quantile_rank(delays.size, 0.95) - 1
    return float(np.partition(delays, at)[at])


def _key(item: Seen) -> tuple[float, float]:
    middle = float(np.median(item.delays)) if item.delays.size else math.inf
    return p95(item.delays), middle


def best_of(items: Sequence[Seen]) -> Seen | None:
    """Return the look with the smallest p95, of equal ones the smaller median, then the first."""
    return min(items, key=_key, default=None)


def leader(seen: Sequence[Seen], reference: Candidate) -> Candidate | None:
    """Return the candidate with the smallest TTFT p95 while seeking; None: none beat the
    reference."""
    sought = [item for item in seen if item.stage is Stage.SEEK]
    first = next((item for item in sought if item.candidate == reference), None)
    others = [item for item in sought if item.candidate != reference]
    best = best_of(others)
    if best is None or first is None or _key(best) >= _key(first):
        return None
    return best.candidate
