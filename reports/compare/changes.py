"""How much each figure changed from one side to the other, with its interval and a plain word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from reports import text
from reports.autocorrelation import effective_n, whole
from reports.compare.change import NO_DIFFERENCE, TOO_FEW, Change, Direction, Place
from reports.compare.measures import DELAYS, RATES, Delay, Rate
from reports.gate.rule import MINIMUM_EFFECT
from reports.shift import RateShift, Shift, paired_quantile_shift, quantile_shift, rate_shift
from reports.statistics import CONFIDENCE, FloatArray, minimum_n, quantile, quantile_rank

MINIMUM_RATE_N = 20
"""Fewer requests than these bound no rate: none of 20 still leaves room for one in six."""
RARE = 0.99
"""Quantiles from here on are left out where the sample cannot bound them."""


class Samples(NamedTuple):
    """The rows of both sides, and their rounds where they took turns."""

    reference: pd.DataFrame
    candidate: pd.DataFrame
    rounds: Sequence[tuple[pd.DataFrame, pd.DataFrame]]
    """Empty: they did not take turns."""
    dropped: tuple[int, int] = (0, 0)
    """Starts of each side that were due and never made: requests that nobody answered."""


def _rounded(value: float, digits: int = 4) -> float:
    """Round a ratio or share; a zero has no sign."""
    return round(value, digits) + 0.0


def _worth(values: FloatArray, p: float) -> float:
    return effective_n(values, p) if values.size else 0.0


def _said(low: float, high: float, less: str, more: str) -> str:
    """Return the word for an interval: beyond zero on one side, or not."""
    return more if low > 0 else less if high < 0 else NO_DIFFERENCE


def bounded(n: int, worth: int, p: float) -> bool:
    """Return whether a sample bounds its quantile ``p`` on both sides.

    It does where it has the values that the quantile takes if they are independent, and the
    drawn quantiles of :func:`reports.shift.quantile_shift`, which spread as those of ``worth``
    independent values do, are its smallest or its largest value seldom enough to leave the ends
    of the interval inside.
    """
    if n < minimum_n(p):
        return False
    share, k, tail = worth / n, quantile_rank(n, p), (1.0 - CONFIDENCE) / 2.0
    drawn = stats.beta(k * share, (n + 1 - k) * share)
    return bool(drawn.cdf(1.0 / n) <= tail and drawn.sf(1.0 - 1.0 / n) <= tail)


def _paired(delay: Delay, p: float, samples: Samples, target_ms: float) -> Shift | None:
    """Return the paired shift of rounds; None where not two rounds have values on both sides."""
    cut = [
        (delay.values(one, target_ms), delay.values(other, target_ms))
        for one, other in samples.rounds
    ]
    both = [(one, other) for one, other in cut if one.size and other.size]
    if len(both) < 2:
        return None
    return paired_quantile_shift([one for one, _ in both], [other for _, other in both], p)


def delay_change(
    delay: Delay, p: float, place: Place, samples: Samples, target_ms: float
) -> Change | None:
    """Return what became of one quantile; None where neither side has a value, or a rare quantile
    that the samples cannot bound."""
    dropped = samples.dropped if delay.planned_only else (0, 0)
    one, other = (
        np.concatenate([delay.values(rows, target_ms), np.full(count, np.inf)])
        for rows, count in zip((samples.reference, samples.candidate), dropped, strict=True)
    )
    if not one.size and not other.size:
        return None
    worth = (whole(_worth(one, p)), whole(_worth(other, p)))
    paired = None if any(dropped) else _paired(delay, p, samples, target_ms)
    # Where whole rounds are drawn, what their requests share is in the spread between rounds.
    counted = (one.size, other.size) if paired else worth
    enough = bounded(one.size, counted[0], p) and bounded(other.size, counted[1], p)
    if p >= RARE and not enough:
        return None
    shift = paired
    if shift is None and one.size and other.size:
        shift = quantile_shift(
            one, other, p, effective_baseline=worth[0], effective_candidate=worth[1]
        )
    relative = None if shift is None or not math.isfinite(shift.relative) else shift.relative
    word = TOO_FEW
    if enough and shift is not None:
        word = _said(shift.ci_low, shift.ci_high, "faster", "slower")
    direction = {"faster": Direction.BETTER, "slower": Direction.WORSE, TOO_FEW: Direction.UNKNOWN}
    return Change(
        *place,
        measure=delay.name,
        quantile=p,
        label=f"{delay.label} p{p * 100:g}",
        unit="ms",
        reference=text.round_ms(quantile(one, p).value),
        candidate=text.round_ms(quantile(other, p).value),
        absolute=None if shift is None else text.round_ms(shift.absolute),
        relative=None if relative is None else _rounded(relative),
        ci_low=_rounded(shift.ci_low) if enough and shift else None,
        ci_high=_rounded(shift.ci_high) if enough and shift else None,
        n_reference=one.size,
        n_candidate=other.size,
        worth_reference=worth[0],
        worth_candidate=worth[1],
        paired=paired is not None,
        direction=direction.get(word, Direction.NONE),
        word=word,
        small=word in ("faster", "slower")
        and relative is not None
        and abs(relative) < MINIMUM_EFFECT,
    )


def rate_change(rate: Rate, place: Place, samples: Samples, target_ms: float) -> Change | None:
    """Return what became of a rate; None where neither side has a request that counts."""
    dropped = samples.dropped if rate.counts_dropped else (0, 0)
    one, other = (
        np.concatenate([rate.events(rows, target_ms), np.ones(count)])
        for rows, count in zip((samples.reference, samples.candidate), dropped, strict=True)
    )
    if not one.size and not other.size:
        return None
    worth = (whole(_worth(_rarer(one), 0.5)), whole(_worth(_rarer(other), 0.5)))
    shift: RateShift | None = None
    if one.size and other.size:
        shift = rate_shift(
            (int(one.sum()), one.size),
            (int(other.sum()), other.size),
            effective_baseline=worth[0],
            effective_candidate=worth[1],
        )
    enough = min(one.size, other.size) >= MINIMUM_RATE_N
    word = TOO_FEW
    if enough and shift is not None:
        word = _said(shift.ci_low, shift.ci_high, rate.less, rate.more)
    better = rate.more if rate.more_is_better else rate.less
    worse = rate.less if rate.more_is_better else rate.more
    direction = {better: Direction.BETTER, worse: Direction.WORSE, TOO_FEW: Direction.UNKNOWN}
    return Change(
        *place,
        measure=rate.name,
        quantile=None,
        label=rate.label,
        unit="share",
        reference=_rounded(float(one.mean())) if one.size else None,
        candidate=_rounded(float(other.mean())) if other.size else None,
        absolute=None if shift is None else _rounded(shift.absolute),
        relative=None,
        ci_low=_rounded(shift.ci_low) if enough and shift else None,
        ci_high=_rounded(shift.ci_high) if enough and shift else None,
        n_reference=one.size,
        n_candidate=other.size,
        worth_reference=worth[0],
        worth_candidate=worth[1],
        paired=False,
        direction=direction.get(word, Direction.NONE),
        word=word,
        small=False,
    )


def _rarer(events: FloatArray) -> FloatArray:
    """Return the events, or what is none, whichever there is less of: the form in which
    :func:`reports.autocorrelation.effective_n` sees their dependence."""
    return 1.0 - events if events.size and events.mean() > 0.5 else events


def changes(place: Place, samples: Samples, target_ms: float) -> Iterator[Change]:
    """Yield what became of each figure of two samples."""
    planned = any(
        bool(np.isfinite(rows["planned_rate"].to_numpy(dtype=np.float64)).any())
        for rows in (samples.reference, samples.candidate)
    )
    for delay in DELAYS:
        if delay.planned_only and not planned:
            continue
        for p in delay.quantiles:
            found = delay_change(delay, p, place, samples, target_ms)
            if found is not None:
                yield found
    for rate in RATES:
        found = rate_change(rate, place, samples, target_ms)
        if found is not None:
            yield found
