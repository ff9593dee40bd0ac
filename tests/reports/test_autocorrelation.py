"""How many independent requests a run is worth: known values, properties, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.trials.statistics_proof import SOURCES, of_quantile
from reports import statistics
from reports.autocorrelation import autocovariance, effective_n, variance_inflation


def _autoregressive(n: int, coefficient: float, seed: int) -> statistics.FloatArray:
    random = np.random.default_rng(seed)
    series = np.empty(n)
    series[0] = random.standard_normal()
    scale = math.sqrt(1 - coefficient**2)
    for at in range(1, n):
        series[at] = coefficient * series[at - 1] + scale * random.standard_normal()
    return series


def test_autocovariance_is_the_sum_of_products() -> None:
    values = np.array([1.0, 4.0, 2.0, 7.0, 6.0])
    off = values - values.mean()
    by_hand = [float((off[: 5 - lag] * off[lag:]).sum() / 5) for lag in range(5)]
    assert autocovariance(values) == pytest.approx(by_hand)


@pytest.mark.parametrize("coefficient", [0.5, 0.8])
def test_inflation_of_an_autoregressive_series_is_the_known_one(coefficient: float) -> None:
    known = (1 + coefficient) / (1 - coefficient)
    found = np.mean(
        [variance_inflation(_autoregressive(4_000, coefficient, seed))[0] for seed in range(20)]
    )
    assert known <= found <= 1.2 * known


def test_independent_values_keep_most_of_their_worth() -> None:
    random = np.random.default_rng(3)
    worth = [effective_n(random.random(2_000), p) / 2_000 for p in (0.5, 0.95) for _ in range(20)]
    assert np.mean(worth) > 0.85
    assert max(worth) <= 1.0


def test_a_slow_hour_makes_a_run_worth_little() -> None:
    values = np.concatenate([np.full(500, 200.0), np.full(500, 400.0)])
    values += np.random.default_rng(1).random(1_000)
    assert effective_n(values, 0.5) < 20


def test_values_that_alternate_are_worth_no_more_than_their_number() -> None:
    assert effective_n(np.tile([1.0, 2.0], 100), 0.5) == 200


@pytest.mark.parametrize(("values", "worth"), [([], 0), ([3.0], 1), ([3.0] * 50, 50)])
def test_little_data(values: list[float], worth: float) -> None:
    assert effective_n(np.array(values)) == worth


def test_failures_are_later_than_everything() -> None:
    random = np.random.default_rng(2)
    values = random.random(300)
    values[::10] = math.inf
    late = np.where(np.isinf(values), 1e9, values)
    assert effective_n(values, 0.95) == effective_n(late, 0.95)


_series = st.lists(st.floats(1.0, 1e6), min_size=4, max_size=120).map(np.array)


@given(_series, st.sampled_from([0.5, 0.9, 0.95]), st.floats(0.001, 1_000.0))
def test_only_the_order_of_the_values_counts(
    values: statistics.FloatArray, p: float, scale: float
) -> None:
    worth = effective_n(values, p)
    assert 1 <= worth <= values.size
    ranks = np.unique(values, return_inverse=True)[1].astype(np.float64)
    assert effective_n(ranks * scale, p) == worth


@given(st.integers(6, 3_000), st.sampled_from([0.5, 0.9, 0.95]), st.floats(0.0, 1.0))
def test_fewer_independent_values_never_narrow_the_ranks(n: int, p: float, share: float) -> None:
    low, high = statistics.interval_ranks(n, p)
    wider_low, wider_high = statistics.dependent_ranks(n, p, n * share)
    assert wider_low <= low + 1
    assert wider_high >= high - 1
    assert statistics.dependent_ranks(n, p, n) == (low, high)


def test_a_quantile_is_bounded_by_what_the_run_is_worth() -> None:
    values = np.arange(1.0, 1_001.0)
    exact = statistics.quantile(values, 0.95)
    assert statistics.quantile(values, 0.95, 1_000.0) == exact
    wide = statistics.quantile(values, 0.95, 100.0)
    assert wide.value == exact.value
    assert (wide.ci_low, wide.ci_high) == (900.0, 991.0)
    assert statistics.quantile(values, 0.95, 71.0).ci_high is None


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name.partition(",")[0])
@pytest.mark.parametrize("p", [0.5, 0.95])
def test_intervals_hold_the_truth(source, p: float) -> None:  # type: ignore[no-untyped-def]
    found = of_quantile(source, p, 1_000, draws=200, seed=4)
    assert found.covered >= 0.925  # 94 %, less what 200 draws may miss by
    if source in SOURCES[2:]:
        assert found.exact_covered is not None
        assert found.exact_covered < 0.8
