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


def test_configured_limits() -> None:
    assert hedge_delay_s(None, floor_s=0.6) == 0.6
    assert hedge_delay_s(0.5, floor_s=0.1, ceiling_s=0.3) == 0.3
    assert hedge_delay_s(0.5, floor_s=0.9, ceiling_s=0.3) == 0.3


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
