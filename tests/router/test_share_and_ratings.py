"""The local share's window, who may be rated, and which load test runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.words import Tier
from router.load_test import LONGEST_S, Announced, LoadTest
from router.ratings import Rated, Ratings
from router.share import LocalShare

_COUNTED = [Tier.LOCAL, Tier.REMOTE]


@given(
    st.lists(st.tuples(st.floats(0, 4), st.sampled_from(list(Tier))), max_size=80),
    st.floats(0, 30),
)
def test_the_share_is_that_of_the_seconds_in_the_window(
    steps: list[tuple[float, Tier]], later_s: float
) -> None:
    share = LocalShare(seconds=10)
    now_s, ended = 0.0, []
    for seconds, tier in steps:
        now_s += seconds
        share.count(tier, now_s)
        ended.append((now_s, tier))
    now_s += later_s
    inside = [tier for at_s, tier in ended if int(at_s) > int(now_s) - 10 and tier in _COUNTED]
    expected = inside.count(Tier.LOCAL) / len(inside) if inside else None
    assert share.ratio(now_s) == expected


def test_the_first_rating_counts() -> None:
    ratings = Ratings()
    ratings.served("tenant", "r1", None)
    ratings.served("tenant", "r2", "s1")
    assert ratings.rate("request", "tenant", "r1") is Rated.COUNTED
    assert ratings.rate("request", "tenant", "r1") is Rated.ALREADY
    ratings.served("tenant", "r1", None)
    assert ratings.rate("request", "tenant", "r1") is Rated.ALREADY
    assert ratings.rate("session", "tenant", "s1") is Rated.COUNTED
    assert ratings.rate("session", "tenant", "r2") is Rated.UNKNOWN
    assert ratings.rate("request", "other", "r2") is Rated.UNKNOWN
    assert ratings.rate("request", "tenant", "r2") is Rated.COUNTED


def test_the_longest_unseen_makes_room() -> None:
    ratings = Ratings(most=3)
    ratings.served("", "r1", "s")
    ratings.served("", "r2", "s")
    ratings.served("", "r3", "s")
    assert len(ratings) == 3
    assert ratings.rate("request", "", "r1") is Rated.UNKNOWN
    assert ratings.rate("session", "", "s") is Rated.COUNTED
    for number in range(1000):
        ratings.served("", f"more-{number}", None)
    assert len(ratings) == 3


def test_one_load_test_at_a_time_and_an_hour_at_most() -> None:
    announced = Announced()
    first, second = LoadTest("first", "steps"), LoadTest("second", "steps")
    assert announced.start(first, 0.0) is None
    assert announced.start(first, 10.0) is None
    assert announced.running(LONGEST_S + 9.9) == first
    assert announced.start(second, 20.0) == first
    assert not announced.stop("first")
    assert announced.running(30.0) == second
    assert announced.stop("second")
    assert announced.running(30.0) is None
    announced.start(first, 100.0)
    assert announced.running(100.0 + LONGEST_S) is None
    assert announced.start(second, 100.0 + LONGEST_S) is None
