"""First-token times by prompt length, those among them that were given up included."""

from __future__ import annotations

import random
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.clock import NS_PER_S
from router.policy.prediction import (
    LEAST_SAMPLES,
    OLDEST_S,
    WINDOW,
    FirstTokenTimes,
    Sample,
    curve_of,
)

SHORT, LONG = 100, 20_000


def learned(seconds: list[float], prompt_chars: int = SHORT) -> FirstTokenTimes:
    times = FirstTokenTimes()
    for value in seconds:
        times.observe(prompt_chars, value, 0)
    return times


def test_too_few_samples_say_nothing() -> None:
    times = learned([0.3] * (LEAST_SAMPLES - 1))
    assert times.quantile(0.95, SHORT, 0) is None
    times.observe(SHORT, 0.3, 0)
    assert times.quantile(0.95, SHORT, 0) == 0.3


def test_each_length_has_its_own_times() -> None:
    times = learned([0.1] * 30)
    for _ in range(30):
        times.observe(LONG, 4.0, 0)
    assert times.quantile(0.95, SHORT, 0) == 0.1
    assert times.quantile(0.95, LONG, 0) == 4.0
    # Nothing of this length or about it: all there is.
    assert times.quantile(0.5, 3000, 0) == 0.1
    assert times.quantile(0.95, 3000, 0) == 4.0


def test_the_next_bands_help_out() -> None:
    times = FirstTokenTimes()
    for chars in (200, 400, 900):
        for _ in range(LEAST_SAMPLES // 2):
            times.observe(chars, chars / 1000, 0)
    for _ in range(100):
        times.observe(LONG, 9.0, 0)
    assert times.quantile(0.95, 400, 0) == 0.9
    assert times.quantile(0.5, 200, 0) == 0.2


def test_old_samples_are_forgotten() -> None:
    times = learned([5.0] * 50)
    now_ns = int((OLDEST_S + 1) * NS_PER_S)
    assert times.quantile(0.95, SHORT, now_ns) is None
    for _ in range(LEAST_SAMPLES):
        times.observe(SHORT, 0.2, now_ns)
    assert times.quantile(0.95, SHORT, now_ns) == 0.2


def test_the_newest_samples_are_kept() -> None:
    times = learned([5.0] * 1000 + [0.2] * WINDOW)
    assert times.quantile(0.99, SHORT, 0) == 0.2


def test_a_curve_follows_its_samples() -> None:
    times = learned([0.2] * 100)
    assert times.quantile(0.5, SHORT, 0) == 0.2
    for _ in range(110):
        times.observe(SHORT, 0.9, 0)
    assert times.quantile(0.5, SHORT, 0) == 0.9


@given(
    values=st.lists(st.floats(0, 100), min_size=1, max_size=60),
    share=st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0]),
)
def test_without_censored_samples_it_is_the_nearest_rank(values: list[float], share: float) -> None:
    expected = sorted(values)[ceil(round(share * len(values), 6)) - 1]
    curve = curve_of(Sample(value, censored=False) for value in values)
    assert curve.quantile(share) == expected


def test_censored_samples_by_hand() -> None:
    # Four samples: at 2 one of the three still running ends (1/3), at 4 the last one.
    samples = [Sample(number, censored=number in {1, 3}) for number in (1, 2, 3, 4)]
    curve = curve_of(samples)
    assert curve.shares == pytest.approx((1 / 3, 1.0))
    assert [curve.quantile(share) for share in (0.3, 0.34, 0.95)] == [2, 4, 4]


def test_one_that_never_ended_lasts_at_least_so_long() -> None:
    times = FirstTokenTimes()
    for _ in range(30):
        times.observe_at_least(SHORT, 2.0, 0)
    assert times.quantile(0.5, SHORT, 0) == 2.0
    assert curve_of([]).quantile(0.5) == 0.0


def test_hedging_does_not_blind_itself() -> None:
    """What is cancelled at 0.5 s would, left out, bring the 95th percentile down to 0.5 s."""
    rng = random.Random(7)  # noqa: S311 - reproducible, not secret
    truth = [rng.uniform(0.1, 1.1) for _ in range(WINDOW)]
    times, blind = FirstTokenTimes(), FirstTokenTimes()
    for seconds in truth:
        limit = rng.choice([0.5, 2.0])
        if seconds <= limit:
            times.observe(SHORT, seconds, 0)
            blind.observe(SHORT, seconds, 0)
        else:
            times.observe_at_least(SHORT, limit, 0)
    exact = sorted(truth)[int(0.8 * WINDOW) - 1]
    found, without = (kept.quantile(0.8, SHORT, 0) for kept in (times, blind))
    assert found is not None
    assert without is not None
    assert abs(found - exact) < 0.05
    assert without < exact - 0.1
