"""When the starts of an open loop are due: drawn before the first, the same for every arm."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence

from firsttoken.core.clock import NS_PER_S
from firsttoken.load.schedules.options import Arrivals

_Gap = Callable[[random.Random, float], float]
"""Draws one gap of mean 1; the second argument is the burstiness."""


def _gamma_gap(draw: random.Random, burstiness: float) -> float:
    shape = burstiness**-2
    return draw.gammavariate(shape, 1 / shape)


_GAPS: dict[Arrivals, _Gap] = {
    Arrivals.CONSTANT: lambda _draw, _burstiness: 1.0,
    Arrivals.POISSON: lambda draw, _burstiness: draw.expovariate(1.0),
    Arrivals.GAMMA: _gamma_gap,
}


def starts_of(rate: float, seconds: float) -> int:
    """Return how many starts a part of ``seconds`` holds at ``rate`` a second."""
    return round(rate * seconds)


def planned_offsets(
    rate: float,
    spans: Sequence[float],
    seed: str,
    arrivals: Arrivals,
    burstiness: float = 1.0,
) -> array[int]:
    """Return the offsets of all starts of a block, ns after its start, in order.

    ``spans`` are the seconds of the block's parts, warm-up and steady. Each is drawn apart, and
    holds :func:`starts_of` starts exactly: as many gaps are drawn, and stretched together until
    their sum is the length of the part. A random share of the first gap comes before the first
    start, the same share in every part, so that constant gaps stay constant from part to part.

    ``burstiness`` is the coefficient of variation of the gaps (standard deviation over mean) where
    ``arrivals`` is gamma, whose shape is 1 / burstiness^2: 1 is Poisson, below 1 more regular,
    above 1 in bunches.
    """
    draw = random.Random(f"{seed}/arrivals")  # noqa: S311 - not a secret
    phase = draw.random()
    offsets = array("q")
    start_ns = 0
    for seconds in spans:
        gaps = [_GAPS[arrivals](draw, burstiness) for _ in range(starts_of(rate, seconds))]
        length_ns = int(seconds * NS_PER_S)
        offsets.extend(start_ns + offset for offset in _spread(gaps, phase, length_ns))
        start_ns += length_ns
    return offsets


def _spread(gaps: list[float], phase: float, length_ns: int) -> list[int]:
    """Return one offset a gap, from 0 to before ``length_ns``: ``phase`` of the first gap lies
    before the first offset, the rest of it after the last one."""
    total = sum(gaps)
    if total <= 0:  # gaps so uneven that each was rounded to nothing
        gaps = [1.0] * len(gaps)
        total = float(len(gaps))
    offsets = []
    at = 0.0
    for number, gap in enumerate(gaps):
        at += gap * phase if number == 0 else gap
        offsets.append(min(int(at / total * length_ns), length_ns - 1))
    return offsets
