"""Rest is found where there is rest, and only there."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from firsttoken.load.settling import _MAX_SLOTS, Settling, trend

Series = Callable[[float, random.Random], float]


def settles_at(
    ttft_ms: Series, in_flight: Series, *, rate: float = 10.0, seed: int = 0, until_s: float = 30.0
) -> float | None:
    """Return after how many seconds the load was found at rest; None: not within ``until_s``."""
    drawn = random.Random(seed)  # noqa: S311 - a simulation
    settling = Settling(0)
    arrival_s = drawn.expovariate(rate)
    for tick in range(1, int(until_s * 10) + 1):
        now_s = tick / 10
        while arrival_s <= now_s:
            value = max(ttft_ms(arrival_s, drawn), 0.1)
            settling.add(int(arrival_s * NS_PER_S) - int(value * NS_PER_MS), value)
            arrival_s += drawn.expovariate(rate)
        settling.in_flight(tick * NS_PER_S // 10, round(max(in_flight(now_s, drawn), 0)))
        if tick % 5 == 0 and settling.settled(tick * NS_PER_S // 10):
            return now_s
    return None


def flat(_: float, drawn: random.Random) -> float:
    return 300 * drawn.lognormvariate(0, 0.4)


def level(_: float, drawn: random.Random) -> float:
    return 10 + drawn.gauss(0, 1)


def autocorrelated(rho: float) -> Series:
    state = [0.0]

    def value(_: float, drawn: random.Random) -> float:
        state[0] = rho * state[0] + (1 - rho * rho) ** 0.5 * drawn.gauss(0, 1)
        return 300 * math.exp(0.4 * state[0])

    return value


@pytest.mark.parametrize("rate", [4.0, 40.0])
def test_level_noise_settles_soon(rate: float) -> None:
    found = [settles_at(flat, level, rate=rate, seed=seed) for seed in range(30)]
    assert None not in found
    assert sorted(at or 0 for at in found)[27] <= 15


def test_autocorrelated_noise_settles_too() -> None:
    found = [settles_at(autocorrelated(0.9), level, seed=seed) for seed in range(30)]
    assert sum(at is not None for at in found) >= 29


@pytest.mark.parametrize("growth", [0.5, 2.0])
def test_a_growing_queue_never_settles(growth: float) -> None:
    def growing(t_s: float, drawn: random.Random) -> float:
        return 3 + growth * t_s + drawn.gauss(0, 0.5)

    assert {settles_at(flat, growing, seed=seed) for seed in range(30)} == {None}


def test_a_warm_up_settles_after_it() -> None:
    def warming(t_s: float, drawn: random.Random) -> float:
        return flat(t_s, drawn) * (3 if t_s < 5 else 1)

    found = [settles_at(warming, level, seed=seed) for seed in range(30)]
    assert None not in found
    assert min(at or 0 for at in found) > 5


def test_nothing_is_said_before_there_is_enough() -> None:
    settling = Settling(0)
    assert not settling.settled(30 * NS_PER_S)
    few = [settles_at(flat, level, rate=0.3, until_s=20)]
    assert few == [None]


def test_what_came_before_the_beginning_does_not_count() -> None:
    settling = Settling(100 * NS_PER_S)
    for number in range(1000):
        settling.add(99 * NS_PER_S, float(number % 7))
        settling.in_flight(99 * NS_PER_S, 5)
    assert not any(settling.settled((106 + n) * NS_PER_S) for n in range(5))


@pytest.mark.parametrize("window_s", [6.0, None])
def test_memory_is_bounded(window_s: float | None) -> None:
    settling = Settling(0, window_s)
    for second in range(0, 3600, 3):
        settling.add(second * NS_PER_S, 100.0 + second % 5)
        settling.in_flight(second * NS_PER_S, 5)
    assert len(settling._slots) <= _MAX_SLOTS
    assert sum(len(slot.ttft_ms) for slot in settling._slots) <= 64 * _MAX_SLOTS
    if window_s is None:
        assert settling.settled(3600 * NS_PER_S)


def test_a_whole_steady_part_that_drifts_is_told() -> None:
    drifting, at_rest = Settling(0, None), Settling(0, None)
    drawn = random.Random(1)  # noqa: S311 - a simulation
    for tenth in range(600):
        t_ns = tenth * NS_PER_S // 10
        value = flat(0, drawn)
        at_rest.add(t_ns, value)
        drifting.add(t_ns, value * (1 + tenth / 300))
        at_rest.in_flight(t_ns, 5)
        drifting.in_flight(t_ns, 5)
    assert at_rest.settled(62 * NS_PER_S)
    assert not drifting.settled(62 * NS_PER_S)


@given(
    slope=st.floats(-100, 100),
    level_=st.floats(-1000, 1000),
    n=st.integers(6, 20),
)
@settings(max_examples=50)
def test_the_line_through_points_on_a_line_is_that_line(
    slope: float, level_: float, n: int
) -> None:
    found = trend([(float(x), level_ + slope * x) for x in range(n)], n, 0.9)
    assert found is not None
    assert found.change == pytest.approx(slope * n, abs=1e-6)
    assert found.change_low <= found.change + 1e-6
    assert found.change_high >= found.change - 1e-6


def test_the_interval_is_that_of_the_textbook() -> None:
    # Kendall's S of 8 values has the variance 8 * 7 * 21 / 18; at 95 % C = 1.96 * 8.083 = 15.84:
    # of 28 slopes the 6.08th and the 22.92nd, taken outwards the 6th and the 23rd.
    values = [1.0, 5.0, 2.0, 8.0, 3.0, 9.0, 4.0, 7.0]
    slopes = sorted((values[b] - values[a]) / (b - a) for b in range(8) for a in range(b))
    found = trend(list(enumerate(values)), 1.0, 0.95)
    assert found is not None
    assert (found.change_low, found.change_high) == (slopes[5], slopes[22])


def test_too_few_points_make_no_line() -> None:
    assert trend([(float(x), 1.0) for x in range(5)], 5, 0.9) is None
