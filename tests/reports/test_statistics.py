"""Quantiles and proportions against known values and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports import statistics

Draw = np.random.Generator


def test_minimum_samples_are_the_known_ones() -> None:
    assert statistics.minimum_n(0.95) == 72
    assert statistics.minimum_n(0.99) == 368
    assert statistics.minimum_n(0.5) == 6


@pytest.mark.parametrize("p", [0.5, 0.9, 0.95, 0.99])
def test_minimum_sample_is_where_both_ends_appear(p: float) -> None:
    n = statistics.minimum_n(p)
    low, high = statistics.interval_ranks(n, p)
    assert low >= 1
    assert high <= n
    short_low, short_high = statistics.interval_ranks(n - 1, p)
    assert short_low < 1 or short_high > n - 1


@pytest.mark.parametrize(("n", "ranks"), [(100, (90, 100)), (500, (465, 485)), (1000, (936, 964))])
def test_ranks_of_p95_are_the_tabulated_ones(n: int, ranks: tuple[int, int]) -> None:
    assert statistics.interval_ranks(n, 0.95) == ranks


@pytest.mark.parametrize("n", [6, 72, 137, 368, 2_000])
@pytest.mark.parametrize("p", [0.5, 0.95, 0.99])
def test_ranks_cover_by_the_binomial_distribution(n: int, p: float) -> None:
    if n < statistics.minimum_n(p):
        return
    low, high = statistics.interval_ranks(n, p)
    covered = stats.binom.cdf(high - 1, n, p) - stats.binom.cdf(low - 1, n, p)
    assert covered >= 0.95


def test_quantile_is_an_observed_value() -> None:
    values = np.arange(1.0, 101.0)
    assert statistics.quantile(values, 0.95) == statistics.Estimate(95.0, 90.0, 100.0, 100)
    assert statistics.quantile(values, 0.5).value == 50.0
    assert statistics.quantile(range(1, 21), 0.95).value == 19.0


def test_quantile_agrees_with_numpy_inverted_cdf() -> None:
    values = np.random.default_rng(5).lognormal(size=317)
    for p in (0.05, 0.5, 0.9, 0.95, 0.99):
        expected = np.quantile(values, p, method="inverted_cdf")
        assert statistics.quantile(values, p).value == expected


def test_infinitely_late_requests_count() -> None:
    values = [100.0] * 90 + [math.inf] * 10
    estimate = statistics.quantile(values, 0.95)
    assert estimate.value == math.inf
    assert estimate.ci_high == math.inf
    assert statistics.quantile(values, 0.5).value == 100.0


def test_small_samples_are_not_bounded() -> None:
    one = statistics.quantile([3.0], 0.95)
    assert one == statistics.Estimate(3.0, None, None, 1)
    assert statistics.quantile([], 0.95) == statistics.NOTHING
    assert statistics.quantile(range(50), 0.95).ci_high is None


def _lognormal(draw: Draw, n: int) -> statistics.FloatArray:
    return draw.lognormal(5.3, 0.6, n)


def _hybrid(draw: Draw, n: int) -> statistics.FloatArray:
    local, remote = draw.lognormal(5.3, 0.2, n), draw.lognormal(7.6, 0.2, n)
    return np.where(draw.random(n) < 0.85, local, remote)


_HYBRID_P95 = float(
    np.exp(7.6 + 0.2 * stats.norm.ppf(2 / 3))
)  # local never gets there: the top 15 % are remote, two thirds up
_LOGNORMAL = stats.lognorm(0.6, scale=math.exp(5.3))


@pytest.mark.parametrize(
    ("draw_from", "p", "n", "truth"),
    [
        (_lognormal, 0.95, 72, float(_LOGNORMAL.ppf(0.95))),
        (_lognormal, 0.95, 300, float(_LOGNORMAL.ppf(0.95))),
        (_lognormal, 0.5, 40, float(_LOGNORMAL.ppf(0.5))),
        (_hybrid, 0.95, 300, _HYBRID_P95),
    ],
)
def test_quantile_interval_covers(draw_from, p: float, n: int, truth: float) -> None:  # type: ignore[no-untyped-def]
    draw = np.random.default_rng(11)
    covered = 0
    for _ in range(2_000):
        estimate = statistics.quantile(draw_from(draw, n), p)
        assert estimate.ci_low is not None
        assert estimate.ci_high is not None
        covered += estimate.ci_low <= truth <= estimate.ci_high
    assert covered / 2_000 >= 0.94


def test_proportion_known_values() -> None:
    none = statistics.proportion(0, 100)
    assert none.ci_low == 0.0
    assert none.ci_high == pytest.approx(1 - 0.025 ** (1 / 100))
    half = statistics.proportion(5, 10)
    assert half.ci_low == pytest.approx(0.1871, abs=1e-4)
    assert half.ci_high == pytest.approx(0.8129, abs=1e-4)
    assert statistics.proportion(10, 10).ci_high == 1.0
    assert statistics.proportion(0, 0) == statistics.NOTHING


def test_without_errors_two_percent_needs_183_requests() -> None:
    high = [statistics.proportion(0, n).ci_high for n in (182, 183)]
    assert high[0] is not None
    assert high[1] is not None
    assert high[0] >= 0.02 > high[1]


@pytest.mark.parametrize("p", [0.001, 0.02, 0.3])
@pytest.mark.parametrize("n", [50, 400])
def test_proportion_interval_covers_exactly(p: float, n: int) -> None:
    covered = 0.0
    for events in range(n + 1):
        estimate = statistics.proportion(events, n)
        assert estimate.ci_low is not None
        assert estimate.ci_high is not None
        if estimate.ci_low <= p <= estimate.ci_high:
            covered += float(stats.binom.pmf(events, n, p))
    assert covered >= 0.95


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="events"):
        statistics.proportion(3, 2)


def test_median_ignores_missing_values() -> None:
    assert statistics.median([5.0, math.nan, 1.0, 3.0]) == 3.0
    assert statistics.median([math.nan]) is None


_values = st.lists(
    st.floats(min_value=0, allow_nan=False, allow_infinity=True), min_size=1, max_size=200
)


@given(_values, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_quantile_properties(values: list[float], p: float) -> None:
    estimate = statistics.quantile(values, p)
    assert estimate.value in values
    assert estimate.n == len(values)
    assert estimate.value is not None
    assert sum(value <= estimate.value for value in values) >= p * len(values) - 1e-6
    if estimate.ci_low is not None:
        assert estimate.ci_low <= estimate.value
    if estimate.ci_high is not None:
        assert estimate.value <= estimate.ci_high
    assert statistics.quantile(values[::-1], p) == estimate


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_proportion_properties(drawn: tuple[int, int]) -> None:
    events, n = drawn
    estimate = statistics.proportion(events, n)
    assert estimate.ci_low is not None
    assert estimate.ci_high is not None
    assert estimate.value is not None
    assert 0 <= estimate.ci_low <= estimate.value <= estimate.ci_high <= 1
