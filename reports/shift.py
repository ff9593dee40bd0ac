"""How far a candidate lies from a baseline: shifts of quantiles and of rates, with intervals.

Pure; takes arrays. A request that never got its first token enters as ``inf``. A shift is relative:
0.1 means ten per cent later than the baseline, ``inf`` that the candidate never gets there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from reports.autocorrelation import effective_n
from reports.statistics import CONFIDENCE, FloatArray, quantile_rank

DRAWS = 20_000
"""Of the bootstrap: enough for a tail of 0.1 % to rest on twenty of them."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What became of one quantile."""

    p: float
    baseline: float
    """Sample quantile of the baseline, in the unit of the values; so is ``candidate``."""
    candidate: float
    absolute: float
    """Candidate minus baseline."""
    relative: float
    """Candidate divided by baseline, minus 1."""
    ci_low: float
    """Lower end of the 95 % interval of ``relative``."""
    ci_high: float
    n_baseline: int
    n_candidate: int
    p_worse: float
    """One-sided p-value against "not later": small where the candidate is shown to be later."""
    p_better: float
    """One-sided p-value against "not sooner"."""


def _ordered(values: npt.ArrayLike, side: str) -> FloatArray:
    data: FloatArray = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    if data.size == 0:
        raise ValueError(f"the {side} holds no value")
    if np.isnan(data[-1]):
        raise ValueError(f"the {side} holds NaN")
    return data


def _ratio(candidate: FloatArray, baseline: FloatArray) -> FloatArray:
    """Return the quotients; two that never came, or two zeros, are alike."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: FloatArray = np.divide(candidate, baseline)
    ratio[np.isnan(ratio)] = 1.0
    return ratio


def _shift(
    p: float,
    baseline: FloatArray,
    candidate: FloatArray,
    drawn: FloatArray,
    *,
    widened: float = 1.0,
    beyond: float = 0.0,
) -> Shift:
    """Return the shift of sorted values with the interval that drawn ratios give.

    ``widened``: how much further from the estimate the ends and the tails lie.
    """
    before = baseline[quantile_rank(baseline.size, p) - 1]
    after = candidate[quantile_rank(candidate.size, p) - 1]
    ratio = float(_ratio(np.array([after]), np.array([before]))[0])
    if widened != 1.0 and 0.0 < ratio < math.inf:
        # On the logarithmic scale, where a quotient and its inverse spread alike.
        drawn = ratio * (drawn / ratio) ** widened
    ends = [quantile_rank(drawn.size, level) - 1 for level in _TAILS]
    low, high = np.partition(drawn, ends)[ends]
    return Shift(
        p=p,
        baseline=float(before),
        candidate=float(after),
        absolute=0.0 if before == after else float(after - before),
        relative=ratio - 1.0,
        ci_low=float(low) - 1.0,
        ci_high=float(high) - 1.0,
        n_baseline=baseline.size,
        n_candidate=candidate.size,
        p_worse=_tail(int(np.count_nonzero(drawn <= 1.0 + beyond)), drawn.size),
        p_better=_tail(int(np.count_nonzero(drawn >= 1.0 / (1.0 + beyond))), drawn.size),
    )


_TAILS = ((1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0)


def _tail(count: int, draws: int) -> float:
    """Return a p-value by simulation that is never 0 (Davison and Hinkley, 1997, section 4.2)."""
    return min((count + 1) / (draws + 1), 1.0)


def _resampled(
    ordered: FloatArray, p: float, effective: float, draws: int, random: np.random.Generator
) -> FloatArray:
    """Draw from the bootstrap distribution of a sample quantile without resampling.

    The value of rank ``k`` of ``n`` values drawn with replacement is the one of rank
    ``ceil(n U)``, U being the order statistic ``k`` of ``n`` uniform numbers, that is
    Beta(k, n + 1 - k). Source: Maritz and Jarrett, "A Note on Estimating the Variance of the
    Sample Median", Journal of the American Statistical Association 73, 1978. Of values that are
    worth fewer independent ones both parameters shrink by that share: U keeps its mean and gets
    the larger variance.
    """
    n = ordered.size
    share = min(max(effective, 1.0), n) / n
    k = quantile_rank(n, p)
    levels = random.beta(k * share, (n + 1 - k) * share, draws)
    ranks = np.clip(np.ceil(n * levels).astype(np.intp), 1, n)
    drawn: FloatArray = ordered[ranks - 1]
    return drawn


def quantile_error(
    values: npt.ArrayLike, p: float, effective: float, *, seed: int = 0
) -> tuple[float, float]:
    """Return the logarithm of a sample quantile and its standard error, by bootstrap.

    ``inf`` and NaN where the quantile, or a part of its 95 % interval, never came.

    Raises:
        ValueError: no value, or NaN.
    """
    ordered = _ordered(values, "run")
    drawn = np.sort(_resampled(ordered, p, effective, 2_000, np.random.default_rng(seed)))
    low, high = (float(drawn[quantile_rank(drawn.size, level) - 1]) for level in _TAILS)
    value = float(ordered[quantile_rank(ordered.size, p) - 1])
    if not (low > 0.0 and math.isfinite(high)):
        return math.inf, math.nan
    return math.log(value), math.log(high / low) / (2.0 * float(stats.norm.ppf(_TAILS[1])))


def quantile_shift(
    baseline: npt.ArrayLike,
    candidate: npt.ArrayLike,
    p: float,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    effective_baseline: float | None = None,
    effective_candidate: float | None = None,
    beyond: float = 0.0,
) -> Shift:
    """Return the shift of the quantile ``p`` between two runs with its bootstrap interval.

    Percentiles of the quotients of two independently drawn quantiles are the ends (Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).

    Args:
        baseline: without NaN, in order of sending; ``inf`` allowed; likewise ``candidate``.
        candidate: in the same unit.
        p: in (0, 1).
        seed: of the draws: the same values give the same interval.
        draws: how many.
        effective_baseline: how many independent values it is worth; None: found by
            :func:`reports.autocorrelation.effective_n`. Likewise ``effective_candidate``.
        effective_candidate: see there.
        beyond: the p-values are those of a shift by more than this share either way.

    Raises:
        ValueError: a side is empty or holds NaN.
    """
    sides = []
    random = np.random.default_rng(seed)
    for values, side, effective in (
        (baseline, "baseline", effective_baseline),
        (candidate, "candidate", effective_candidate),
    ):
        ordered = _ordered(values, side)
        worth = effective
        if worth is None:
            worth = effective_n(np.asarray(values, dtype=np.float64), p)
        sides.append((ordered, _resampled(ordered, p, worth, draws, random)))
    (before, drawn_before), (after, drawn_after) = sides
    return _shift(p, before, after, _ratio(drawn_after, drawn_before), beyond=beyond)


def _block_quantiles(blocks: Sequence[FloatArray], weights: FloatArray, p: float) -> FloatArray:
    """Return the quantile ``p`` of each drawn set of blocks.

    ``weights``: (draws, blocks), how often each block was drawn. The smallest pooled value at or
    below which a share ``p`` of what was drawn lies is sought by halving, for all draws at once.
    """
    pooled = np.sort(np.concatenate(blocks))
    counts = np.stack([np.searchsorted(np.sort(b), pooled, side="right") for b in blocks])
    wanted = p * (weights @ np.array([float(b.size) for b in blocks])) - 1e-9
    low = np.zeros(len(weights), dtype=np.intp)
    high = np.full(len(weights), pooled.size - 1, dtype=np.intp)
    for _ in range(pooled.size.bit_length()):
        middle = (low + high) // 2
        reached = np.einsum("db,bd->d", weights, counts[:, middle]) >= wanted
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    found: FloatArray = pooled[high]
    return found


def paired_quantile_shift(
    baseline_blocks: Sequence[npt.ArrayLike],
    candidate_blocks: Sequence[npt.ArrayLike],
    p: float,
    *,
    seed: int = 0,
    draws: int = 4_000,
) -> Shift:
    """Return the shift of the quantile ``p`` between two that took turns.

    Pairs of blocks are drawn with replacement, both sides of a pair together, so that what the
    machine did in a turn falls on both and dependence within a block stays as it was (Field and
    Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society B 69, 2007).
    Few blocks understate the spread: it is widened by ``sqrt(R / (R - 1))`` and the t quantile
    with ``R - 1`` degrees of freedom (Cameron, Gelbach and Miller, "Bootstrap-Based Improvements
    for Inference with Clustered Errors", Review of Economics and Statistics 90, 2008). A single
    pair of blocks tells nothing of that spread and is compared like two runs.

    Args:
        baseline_blocks: R arrays, each one turn of the baseline; without NaN, ``inf`` allowed.
        candidate_blocks: R arrays, each measured beside the baseline's of the same place.
        p: in (0, 1).
        seed: of the draws.
        draws: how many.

    Raises:
        ValueError: no block, an empty one, NaN, or unequal numbers of blocks.
    """
    if len(baseline_blocks) != len(candidate_blocks):
        raise ValueError(
            f"{len(baseline_blocks)} blocks of the baseline, {len(candidate_blocks)} of the "
            "candidate: blocks are compared in pairs"
        )
    before = [_ordered(block, "baseline's block") for block in baseline_blocks]
    after = [_ordered(block, "candidate's block") for block in candidate_blocks]
    count = len(before)
    if count == 0:
        raise ValueError("there is no block to compare")
    if count == 1:
        return quantile_shift(baseline_blocks[0], candidate_blocks[0], p, seed=seed)
    random = np.random.default_rng(seed)
    weights = random.multinomial(count, [1.0 / count] * count, size=draws).astype(np.float64)
    ratios = _ratio(_block_quantiles(after, weights, p), _block_quantiles(before, weights, p))
    spread = float(stats.t.ppf(_TAILS[1], count - 1) / stats.norm.ppf(_TAILS[1]))
    found = _shift(
        p,
        np.sort(np.concatenate(before)),
        np.sort(np.concatenate(after)),
        ratios,
        widened=spread * math.sqrt(count / (count - 1)),
    )
    p_worse, p_better = _tails_of_turns(found.relative, ratios, count)
    return replace(found, p_worse=p_worse, p_better=p_better)


def _tails_of_turns(relative: float, ratios: FloatArray, count: int) -> tuple[float, float]:
    """Return the one-sided p-values of a shift in ``count`` turns: "not later", "not sooner".

    The t test with ``count - 1`` degrees of freedom of the logarithm over its bootstrap standard
    error: two turns drawn again give three values only, whose tail ends at one in four. 1.0 each
    where a side never came in a drawn set, which has no logarithm.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(ratios)
    if not np.isfinite(logs).all():
        return 1.0, 1.0
    error = float(logs.std()) * math.sqrt(count / (count - 1))
    size = math.log1p(relative)
    score = size / error if error > 0.0 else math.copysign(math.inf, size) if size else 0.0
    least = _tail(0, ratios.size)
    return (
        max(float(stats.t.sf(score, count - 1)), least),
        max(float(stats.t.cdf(score, count - 1)), least),
    )


def rank_test(baseline: npt.ArrayLike, candidate: npt.ArrayLike) -> float:
    """Return the two-sided p-value of the Mann-Whitney test that neither tends to be larger.

    Normal approximation, corrected for ties and continuity. Source: Mann and Whitney, "On a Test
    of Whether one of Two Random Variables is Stochastically Larger than the Other", Annals of
    Mathematical Statistics 18, 1947. It takes the values for independent.

    Raises:
        ValueError: a side is empty or holds NaN.
    """
    sides = _ordered(baseline, "baseline"), _ordered(candidate, "candidate")
    found = stats.mannwhitneyu(*sides, alternative="two-sided", method="asymptotic")
    # Without any two different values there is no variance to divide by, and no difference.
    return 1.0 if math.isnan(found.pvalue) else float(found.pvalue)


@dataclass(frozen=True, slots=True)
class RateShift:
    """What became of a rate, such as that of errors. All in shares, ``absolute`` a difference."""

    baseline: float
    candidate: float
    absolute: float
    ci_low: float
    """Lower end of the 95 % interval of ``absolute``."""
    ci_high: float
    n_baseline: int
    n_candidate: int
    p_worse: float
    """One-sided p-value against "not higher"; ``p_better`` against "not lower"."""
    p_better: float


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's score interval (Journal of the American Statistical Association 22, 1927)."""
    z = float(stats.norm.ppf(_TAILS[1]))
    middle = share + z * z / (2.0 * n)
    half = z * math.sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n))
    whole = 1.0 + z * z / n
    return max((middle - half) / whole, 0.0), min((middle + half) / whole, 1.0)


def rate_shift(
    baseline: tuple[int, int],
    candidate: tuple[int, int],
    *,
    effective_baseline: float | None = None,
    effective_candidate: float | None = None,
) -> RateShift:
    """Return the difference of two rates with its interval.

    The interval is the square-and-add one of Newcombe, "Interval estimation for the difference
    between independent proportions", Statistics in Medicine 17, 1998, method 10; the p-values are
    those of Fisher's exact test. Events that come in bursts are counted down by their design
    effect first (Rao and Scott, "A Simple Method for the Analysis of Clustered Binary Data",
    Biometrics 48, 1992).

    Args:
        baseline: events and requests; likewise ``candidate``.
        candidate: see there.
        effective_baseline: how many independent requests the baseline is worth; None: all.
        effective_candidate: likewise.

    Raises:
        ValueError: no requests, or more events than requests.
    """
    shares, sizes, counts = [], [], []
    for (events, n), effective in (
        (baseline, effective_baseline),
        (candidate, effective_candidate),
    ):
        if n < 1 or not 0 <= events <= n:
            raise ValueError(f"{events} events of {n}")
        size = min(max(effective if effective is not None else n, 1.0), n)
        shares.append(events / n)
        sizes.append(size)
        counts.append((round(events * size / n), max(round(size), 1)))
    (low_b, high_b), (low_c, high_c) = map(_wilson, shares, sizes)
    difference = shares[1] - shares[0]
    (events_b, size_b), (events_c, size_c) = counts
    drawn = stats.hypergeom(size_b + size_c, events_b + events_c, size_c)
    return RateShift(
        baseline=shares[0],
        candidate=shares[1],
        absolute=difference,
        ci_low=difference - math.hypot(shares[1] - low_c, high_b - shares[0]),
        ci_high=difference + math.hypot(high_c - shares[1], shares[0] - low_b),
        n_baseline=baseline[1],
        n_candidate=candidate[1],
        p_worse=min(float(drawn.sf(events_c - 1)), 1.0),
        p_better=min(float(drawn.cdf(events_c)), 1.0),
    )
