"""How many independent requests a run is worth.

Requests sent one after another meet the same queue, the same slow second of the machine: their
latencies are alike, and ``n`` of them tell less than ``n`` independent ones. What counts for a
quantile is the series of "below it or not", so that is what is looked at, never the latencies
themselves: no heavy tail and no infinite value can hide the dependence.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import fft, stats

from reports.statistics import CONFIDENCE, FloatArray, quantile_rank

NEAR = (0.5, 1.0, 2.0)
"""Where the dependence is looked at: at the odds of the quantile, half and twice those."""


def autocovariance(values: FloatArray) -> FloatArray:
    """Return the autocovariance at lags ``0`` to ``n - 1``, each divided by ``n``.

    By the discrete Fourier transform of the zero-padded series (Wiener-Khinchin), in n log n.
    Source of the divisor, which keeps the sequence positive definite: Priestley, "Spectral
    Analysis and Time Series", 1981, section 5.3.
    """
    n = values.size
    padded = fft.next_fast_len(2 * n, real=True)
    spectrum = fft.rfft(values - values.mean(), padded)
    covariance: FloatArray = fft.irfft(spectrum.real**2 + spectrum.imag**2, padded)[:n] / n
    return covariance


def variance_inflation(values: FloatArray) -> tuple[float, int]:
    """Return how much autocorrelation inflates the variance of the mean, and the window it took.

    The initial monotone sequence estimator: sums of autocovariances at neighbouring lags are added
    up for as long as they are positive, none counting for more than the one before it. Source:
    Geyer, "Practical Markov Chain Monte Carlo", Statistical Science 7, 1992, section 3.3. The
    estimate falls short, because the mean is estimated too; it is raised by the factor of Wolff,
    "Monte Carlo errors with less errors", Computer Physics Communications 156, 2004, equation 49.

    Returns:
        The factor, at least 1, and the number of lags, of both signs and zero, that entered it.
    """
    n = values.size
    covariance = autocovariance(values)
    if covariance[0] <= 0.0:
        return 1.0, 1
    pairs = covariance[: n - n % 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0.0)
    positive = pairs[: ends[0]] if ends.size else pairs
    if positive.size == 0:
        return 1.0, 1
    window = 4 * positive.size + 1
    factor = 2.0 * float(np.minimum.accumulate(positive).sum()) / float(covariance[0]) - 1.0
    return max(factor * (1.0 + window / n), 1.0), window


@lru_cache(maxsize=4096)
def _doubt(degrees: float) -> float:
    """Return how much smaller a sample with a variance known to ``degrees`` is worth: (z / t)^2."""
    tail = (1.0 + CONFIDENCE) / 2.0
    return float((stats.norm.ppf(tail) / stats.t.ppf(tail, degrees)) ** 2)


def effective_n(values: FloatArray, p: float = 0.5) -> float:
    """Return how many independent values tell as much of the quantile ``p`` as these.

    ``n`` divided by the inflation of the variance of "at most the sample quantile" (equation 2.5
    of Heidelberger and Lewis, "Quantile Estimation in Dependent Sequences", Operations Research
    32, 1984). Near the quantile the data may be more dependent than at it, as where slow spells
    begin: the inflation is the largest of those at :data:`NEAR`. It is itself estimated, with a
    relative variance of about ``2 window / n`` (Madras and Sokal, Journal of Statistical Physics
    50, 1988): that of a variance with ``n / window`` degrees of freedom, for which a t quantile
    stands in the place of the normal one.

    Args:
        values: in order of sending, without NaN; ``inf`` allowed.
        p: the quantile that is asked for, in (0, 1).

    Returns:
        Between 1 and ``n``; 0 without values.
    """
    data: FloatArray = np.asarray(values, dtype=np.float64)
    n = data.size
    if n < 4:
        return float(n)
    ordered = np.sort(data)
    worth = float(n)
    for odds in NEAR:
        level = p * odds / (1.0 - p + p * odds)
        below = data <= ordered[quantile_rank(n, level) - 1]
        factor, window = variance_inflation(below.astype(np.float64))
        if factor > 1.0:
            worth = min(worth, n / factor * _doubt(round(max(n / window, 1.0), 1)))
    return max(worth, 1.0)


def whole(effective: float) -> int:
    """Return an effective n as the size of a sample: rounded down, at least 1."""
    return max(math.floor(effective), 1)
