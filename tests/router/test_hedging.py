"""When a hedge is made, and how many at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.hedging import CEILING_S, DEFAULT_DELAY_S, FLOOR_S, Budget, hedge_delay_s


@pytest.mark.parametrize(
    ("p95_s", "delay_s"),
    [(None, DEFAULT_DELAY_S), (0.01, FLOOR_S), (0.35, 0.35), (7.0, CEILING_S)],
)
def test_the_delay_is_what_the_engine_itself_takes(p95_s: float | None, delay_s: float) -> None:
    assert hedge_delay_s(p95_s) == delay_s
    assert hedge_delay_s(p95_s, at_once=True) == 0


@pytest.mark.parametrize(
    ("at_once", "wait_s", "other_s", "delay_s"),
    [
        # The cloud would be there before the slowest local tokens are.
        (False, 0.0, 0.3, 0.4),
        (True, 0.0, 0.9, 0.0),
        # It would be later than 99 of 100: only one that is later still is worth asking for.
        (False, 0.0, 2.0, 1.0),
        (True, 0.0, 2.0, 1.0),
        # Who waits for a slot has that to wait too.
        (True, 1.5, 2.0, 0.0),
        (True, 0.5, 2.0, 1.5),
    ],
)
def test_a_hedge_that_cannot_win_is_not_made(
    at_once: bool, wait_s: float, other_s: float, delay_s: float
) -> None:
    found = hedge_delay_s(0.4, at_once=at_once, p99_s=1.0, wait_s=wait_s, other_s=other_s)
    assert found == delay_s


@given(
    st.none() | st.floats(0, 10), st.booleans(), st.floats(0, 10), st.floats(0, 10), st.floats(0, 9)
)
def test_what_is_known_only_ever_delays_a_hedge(
    p95_s: float | None, at_once: bool, p99_s: float, wait_s: float, other_s: float
) -> None:
    least = hedge_delay_s(p95_s, at_once=at_once)
    for p99, other in ((p99_s, None), (None, other_s)):
        assert hedge_delay_s(p95_s, at_once=at_once, p99_s=p99, other_s=other) == least
    told = hedge_delay_s(p95_s, at_once=at_once, p99_s=p99_s, wait_s=wait_s, other_s=other_s)
    may_win = least + other_s <= wait_s + p99_s
    assert told == (least if may_win else max(least, wait_s + p99_s))


def test_ten_requests_pay_for_one_hedge() -> None:
    budget = Budget(saved=0)
    assert not budget.take()
    for _ in range(10):
        assert not budget.take()
        budget.accepted()
    assert budget.take()
    assert not budget.take()
    assert budget.saved == 0


def test_no_more_than_the_most_is_saved() -> None:
    budget = Budget(most=5)
    for _ in range(1000):
        budget.accepted()
    assert [budget.take() for _ in range(7)] == [True] * 5 + [False] * 2


def test_without_a_share_there_is_no_hedge() -> None:
    budget = Budget(share=0, saved=0)
    budget.accepted()
    assert not budget.take()


@given(
    share=st.floats(0, 1),
    most=st.floats(0, 8),
    saved=st.floats(0, 8),
    asks=st.lists(st.booleans(), max_size=300),
)
def test_the_extra_load_is_bounded(
    share: float, most: float, saved: float, asks: list[bool]
) -> None:
    budget = Budget(share, most, saved)
    hedges = 0
    for number, asked in enumerate(asks, 1):
        budget.accepted()
        hedges += asked and budget.take()
        assert hedges <= min(saved, most) + share * number + 1e-6
        assert 0 <= budget.saved <= most
