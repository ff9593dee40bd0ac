"""Draws: seeded, and distributed as they say."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.upstreams.draws import Lognormal, Span, uniform


def test_uniform_is_the_same_in_every_release() -> None:
    assert uniform(0, "first_token", "a") == pytest.approx(0.8053019, abs=1e-6)


@given(st.integers(), st.text())
def test_uniform_is_open_and_repeatable(seed: int, label: str) -> None:
    value = uniform(seed, label)
    assert 0 < value < 1
    assert value == uniform(seed, label)


def test_labels_are_not_run_together() -> None:
    assert uniform(1, "a", "b") != uniform(1, "ab")
    assert uniform(1, "a", "b") != uniform(1, "b", "a")
    assert uniform(1, "a") != uniform(2, "a")


def test_uniform_fills_the_interval_evenly() -> None:
    n = 20_000
    values = sorted(uniform(0, "even", str(index)) for index in range(n))
    distance = max(
        max(abs(value - index / n), abs(value - (index + 1) / n))
        for index, value in enumerate(values)
    )
    # Kolmogorov-Smirnov: beyond 1.95 / sqrt(n) lies one sample in a thousand; the seed is fixed.
    assert distance < 1.95 / math.sqrt(n)


@given(
    st.floats(0.001, 100),
    st.floats(1.0, 50),
)
def test_lognormal_has_exactly_the_quantiles_asked_for(low: float, ratio: float) -> None:
    drawn = Lognormal.from_quantiles(Span(low, low * ratio))
    assert drawn.quantile(0.05) == pytest.approx(low)
    assert drawn.quantile(0.95) == pytest.approx(low * ratio)
    assert drawn.quantile(0.5) == pytest.approx(low * math.sqrt(ratio))


def test_lognormal_with_another_share() -> None:
    drawn = Lognormal.from_quantiles(Span(1.0, 2.0), share=0.5)
    assert drawn.quantile(0.25) == pytest.approx(1.0)
    assert drawn.quantile(0.75) == pytest.approx(2.0)


def test_lognormal_refuses_zero() -> None:
    with pytest.raises(ValueError, match="no quantile"):
        Lognormal.from_quantiles(Span(0.0, 1.0))


def test_lognormal_draws_are_lognormal() -> None:
    n = 20_000
    drawn = Lognormal.from_quantiles(Span(1.5, 3.0))
    values = [drawn.quantile(uniform(7, "draw", str(index))) for index in range(n)]
    for share, bound in ((0.05, 1.5), (0.95, 3.0)):
        below = sum(value < bound for value in values) / n
        assert abs(below - share) < 3.3 * math.sqrt(share * (1 - share) / n)
    logs = NormalDist.from_samples([math.log(value) for value in values])
    assert logs.mean == pytest.approx(drawn.mu, abs=4 * drawn.sigma / math.sqrt(n))
    assert logs.stdev == pytest.approx(drawn.sigma, rel=0.02)
