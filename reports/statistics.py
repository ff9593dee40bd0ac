"""Quantiles and proportions with intervals that assume nothing of the distribution.

Everything here is pure and takes arrays. Latencies are in milliseconds; a request whose latency
was never observed enters as ``+inf`` (it is later than every value), so no function here
interpolates between order statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.95
"""Level of every interval in a report."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its two-sided interval at :data:`CONFIDENCE`.

    ``value`` is None without data; an end of the interval is None where the sample is too small to
    bound it. ``inf`` means: later than anything observed.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int


NOTHING = Estimate(None, None, None, 0)
"""The estimate without data."""


def quantile_rank(n: int, p: float) -> int:
    """Return the 1-based rank of the sample quantile: the smallest ``k`` with ``k / n >= p``.

    This is the inverse of the empirical distribution function (type 1 of Hyndman and Fan, "Sample
    Quantiles in Statistical Packages", The American Statistician 50, 1996). It always names a
    value that was observed, and needs no arithmetic with infinities.
    """
    if n < 1:
        raise ValueError("a quantile needs at least one value")
    # n * p may come out a hair above the whole number it stands for (0.95 * 20).
    return min(max(math.ceil(n * p - 1e-9), 1), n)


@lru_cache(maxsize=4096)
def interval_ranks(n: int, p: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Return the 1-based ranks ``(low, high)`` of the order statistics that bracket a quantile.

    The number of values below the true quantile is binomial(n, p) whatever the (continuous)
    distribution, hence P(X_(low) <= q < X_(high)) = P(low <= B <= high - 1). Both tails are held
    to half of ``1 - confidence``. Rank 0 or ``n + 1`` means that the sample cannot bound that
    side. Source: Hahn and Meeker, "Statistical Intervals", section 5.2; David and Nagaraja,
    "Order Statistics", section 7.1.
    """
    tail = (1.0 - confidence) / 2.0
    low = int(stats.binom.ppf(tail, n, p))
    high = int(stats.binom.ppf(1.0 - tail, n, p)) + 1
    return low, high


@lru_cache(maxsize=64)
def minimum_n(p: float, confidence: float = CONFIDENCE) -> int:
    """Return the smallest sample whose interval for the quantile ``p`` has two ends.

    A bound on the far side exists once ``max(p, 1 - p) ** n <= (1 - confidence) / 2``: 72 values
    for the 95th percentile, 368 for the 99th.
    """
    tail = (1.0 - confidence) / 2.0
    return math.ceil(math.log(tail) / math.log(max(p, 1.0 - p)))


def dependent_ranks(n: int, p: float, effective_n: float) -> tuple[int, int]:
    """Return the ranks of :func:`interval_ranks` where ``n`` values tell as much as fewer.

    The number of values below the quantile then varies like that of a sample of ``effective_n``,
    scaled up: its ranks are found there and carried over at the same share. Inverting the interval
    of a proportion for that of a quantile: Woodruff, "Confidence Intervals for Medians and Other
    Position Measures", Journal of the American Statistical Association 47, 1952.
    """
    worth = max(min(math.floor(effective_n), n), 1)
    low, high = interval_ranks(worth, p)
    if worth == n:
        return low, high
    # P(X_(low) <= q) is that of at least ``low`` below q, P(q < X_(high)) of at most ``high - 1``.
    scaled_high = math.floor((high - 1) * n / worth) + 1
    return low * n // worth, n + 1 if high > worth else scaled_high


def quantile(values: npt.ArrayLike, p: float, effective_n: float | None = None) -> Estimate:
    """Return the sample quantile ``p`` of ``values`` with its distribution-free interval.

    Args:
        values: one-dimensional, without NaN, in any order; ``inf`` allowed.
        p: in (0, 1).
        effective_n: how many independent values these are worth
            (:func:`reports.autocorrelation.effective_n`); None: each is one.
    """
    data: FloatArray = np.asarray(values, dtype=np.float64)
    n = data.size
    if n == 0:
        return NOTHING
    rank = quantile_rank(n, p)
    low, high = interval_ranks(n, p) if effective_n is None else dependent_ranks(n, p, effective_n)
    wanted = sorted({k - 1 for k in (rank, low, high) if 1 <= k <= n})
    ordered = np.partition(data, wanted)
    return Estimate(
        value=float(ordered[rank - 1]),
        ci_low=float(ordered[low - 1]) if low >= 1 else None,
        ci_high=float(ordered[high - 1]) if high <= n else None,
        n=n,
    )


def proportion(events: int, n: int) -> Estimate:
    """Return ``events / n`` with its Clopper-Pearson interval.

    The interval is exact: it covers at least at the nominal level for every true proportion and
    every n, which near 0 (error rates) the normal approximation does not. Source: Clopper and
    Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934.
    """
    if not 0 <= events <= n:
        raise ValueError(f"{events} events of {n}")
    if n == 0:
        return NOTHING
    tail = (1.0 - CONFIDENCE) / 2.0
    low = 0.0 if events == 0 else float(stats.beta.ppf(tail, events, n - events + 1))
    high = 1.0 if events == n else float(stats.beta.ppf(1.0 - tail, events + 1, n - events))
    return Estimate(value=events / n, ci_low=low, ci_high=high, n=n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for being tested together, in the order given.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6, 1979. Rejecting those at most ``a`` errs with a chance of at most ``a`` in all,
    however the tests depend on each other.
    """
    count = len(p_values)
    corrected = [1.0] * count
    highest = 0.0
    for place, index in enumerate(sorted(range(count), key=lambda at: p_values[at])):
        highest = max(highest, min((count - place) * p_values[index], 1.0))
        corrected[index] = highest
    return corrected


def median(values: npt.ArrayLike) -> float | None:
    """Return the median (:func:`quantile_rank` of 0.5), ignoring NaN; None without values."""
    data: FloatArray = np.asarray(values, dtype=np.float64)
    data = data[~np.isnan(data)]
    if data.size == 0:
        return None
    k = quantile_rank(data.size, 0.5) - 1
    return float(np.partition(data, k)[k])
