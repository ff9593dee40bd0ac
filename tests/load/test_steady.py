"""When a block begins to count, and when it ends; time is passed in."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from firsttoken.core.words import EndedBy
from firsttoken.load.plan import Block, PlannedArm
from firsttoken.load.schedules.turn import Window
from firsttoken.load.steady import Steady, half_width
from reports.statistics import interval_ranks

ARM = PlannedArm(arm="target", url="http://127.0.0.1:1", model="m")


def block(steady_s: float = 10.0) -> Block:
    return Block(0, 0, ARM, 5, None, 2.0, steady_s)


def window() -> Window:
    return Window(0, 2 * NS_PER_S)


def live(steady: Steady, of: Window, *, growth: float = 0.0, until_s: float = 300.0) -> float:
    """Let time pass, five first tokens a tick; return when nothing new may begin."""
    drawn = random.Random(1)  # noqa: S311 - a simulation
    now_ns = 0
    while now_ns < until_s * NS_PER_S:
        seconds = now_ns / NS_PER_S
        for _ in range(5):
            ttft_ms = 300 * drawn.lognormvariate(0, 0.3)
            sent_ns = now_ns - int(ttft_ms * NS_PER_MS)
            steady.heard(sent_ns, ttft_ms, steady=of.steady(sent_ns))
        pause_s = steady.look(now_ns, round(5 + growth * seconds))
        if pause_s == 0:
            return seconds
        now_ns += int(pause_s * NS_PER_S)
    raise AssertionError("it never ended")


def test_fixed_lengths_stay_as_planned() -> None:
    of = window()
    steady = Steady(block(), of, elastic=True)
    assert (of.steady_ns, of.stop_ns) == (2 * NS_PER_S, 12 * NS_PER_S)
    assert live(steady, of) == pytest.approx(12)
    assert (steady.settled, steady.ended_by) == (None, None)


def test_the_steady_part_begins_with_rest() -> None:
    of = window()
    steady = Steady(block(), of, elastic=True, settle_cap_s=30)
    ended = live(steady, of)
    assert steady.settled is True
    assert of.steady_ns is not None
    assert 8 <= of.steady_ns / NS_PER_S < 20
    assert ended == pytest.approx(of.steady_ns / NS_PER_S + 10)


def test_a_load_that_never_rests_is_measured_from_the_cap_on() -> None:
    of = window()
    steady = Steady(block(), of, elastic=True, settle_cap_s=20)
    ended = live(steady, of, growth=2.0)
    assert steady.settled is False
    assert of.steady_ns is not None
    assert of.steady_ns / NS_PER_S == pytest.approx(22, abs=1)
    assert ended == pytest.approx(of.steady_ns / NS_PER_S + 10)


@pytest.mark.parametrize(("growth", "settled"), [(0.0, True), (2.0, False)])
def test_planned_starts_are_tested_when_they_are_over(growth: float, settled: bool) -> None:
    of = window()
    steady = Steady(block(20), of, elastic=False, settle_cap_s=30, until_ci=0.01, until_cap_s=100)
    assert (of.steady_ns, of.stop_ns) == (2 * NS_PER_S, 22 * NS_PER_S)
    assert live(steady, of, growth=growth) == pytest.approx(22)
    assert steady.settled is settled
    assert steady.ended_by is None


def test_it_goes_on_until_the_figure_is_sharp() -> None:
    of = window()
    steady = Steady(block(), of, elastic=True, until_ci=0.05, until_cap_s=200)
    ended = live(steady, of)
    assert steady.ended_by is EndedBy.INTERVAL
    assert steady.ci_half_width is not None
    assert steady.ci_half_width <= 0.05
    assert 12 <= ended < 202
    assert of.stop_ns == pytest.approx(ended * NS_PER_S)


def test_it_stops_at_the_cap_however_blunt() -> None:
    of = window()
    steady = Steady(block(), of, elastic=True, until_ci=0.0001, until_cap_s=30)
    assert live(steady, of) == pytest.approx(32, abs=1.1)
    assert steady.ended_by is EndedBy.CAP


def test_failures_count_as_later_than_everything() -> None:
    assert half_width([100.0] * 190 + [math.inf] * 10) is None
    assert half_width([100.0] * 200) == 0.0
    assert half_width([100.0] * 20) is None
    assert half_width([]) is None


@given(n=st.integers(72, 20_000))
def test_ranks_are_those_of_the_report_or_next_to_them(n: int) -> None:
    ordered = [float(rank) for rank in range(1, n + 1)]
    found = half_width(ordered)
    low, high = interval_ranks(n, 0.95)
    if found is None:
        assert n < 140
        return
    assert found * 2 * math.ceil(0.95 * n - 1e-9) == pytest.approx(high - low, abs=3.01)
