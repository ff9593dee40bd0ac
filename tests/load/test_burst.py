"""Bursts in virtual time: all devices wake at the same moment."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firsttoken.core.clock import NS_PER_S
from firsttoken.load.corpus import read_corpus
from firsttoken.load.schedules.burst import Burst
from firsttoken.load.schedules.options import BurstOptions
from firsttoken.load.schedules.turn import Starts, Turn, Wait, Window
from firsttoken.load.script import Script
from tests.load.virtual import START_NS, play, window_of

CORPUS = read_corpus(Path(__file__).parents[2] / "loadtests" / "corpora")


def burst(users: int, seed: int = 1, **options: Any) -> Burst:
    script = Script(CORPUS, [users], seed, 0.0)
    return Burst(script, 0, users, 8, 32, options=BurstOptions(**options), seed=seed)


def test_all_wake_at_once_in_the_middle_of_each_period() -> None:
    schedule = burst(6, period_seconds=10.0)
    window = window_of(3, 30)
    sent = play(schedule, 6, window)
    assert Counter(each.due_ns / NS_PER_S for each in sent) == {1.5: 6, 8.0: 6, 18.0: 6, 28.0: 6}
    assert schedule.starts(window) == Starts(scheduled=18, late=0, dropped=0)
    assert len({(each.turn.session, each.turn.number) for each in sent}) == 24
    assert not schedule.elastic


@settings(deadline=None, max_examples=30)
@given(
    users=st.integers(1, 8),
    periods=st.integers(1, 5),
    warmup_s=st.sampled_from([0.0, 0.5, 3.0, 12.0]),
    period_s=st.sampled_from([0.5, 2.0, 10.0]),
    service_s=st.sampled_from([0.01, 0.7, 3.0, 25.0]),
    spread=st.sampled_from([0.0, 0.3]),
)
def test_every_wake_up_is_begun_or_counted_as_dropped(
    users: int, periods: int, warmup_s: float, period_s: float, service_s: float, spread: float
) -> None:
    schedule = burst(users, period_seconds=period_s, spread_ms=spread * period_s * 1000)
    window = window_of(warmup_s, periods * period_s)
    sent = play(schedule, users, window, service_s=lambda _: service_s)
    starts = schedule.starts(window)
    assert starts is not None
    assert starts.scheduled == users * periods
    counted = [each for each in sent if window.steady(START_NS + each.due_ns)]
    assert len(counted) == starts.scheduled - starts.dropped
    assert sum(each.sent_ns - each.due_ns > 10_000_000 for each in counted) == starts.late
    for user in range(users):
        mine = [each for each in sent if each.user == user]
        assert [each.turn.number for each in mine] == list(range(len(mine)))
        for one, other in pairwise(mine):
            assert one.due_ns < other.due_ns
            assert other.sent_ns == max(other.due_ns, one.ended_ns)


def test_who_is_still_hearing_a_reply_is_late_and_keeps_its_wake_up() -> None:
    schedule = burst(1, period_seconds=2.0)
    window = window_of(0, 6)
    sent = play(schedule, 1, window, service_s=lambda _: 2.5)
    assert [(each.due_ns / 1e9, each.sent_ns / 1e9) for each in sent] == [
        (1.0, 1.0),
        (3.0, 3.5),
        (5.0, 6.0),
    ]
    assert sent[1].ttft_user_ms == pytest.approx(500)
    assert schedule.starts(window) == Starts(3, late=2, dropped=0)


def test_who_slept_through_several_speaks_once() -> None:
    schedule = burst(1, period_seconds=2.0)
    window = window_of(0, 10)
    sent = play(schedule, 1, window, service_s=lambda _: 7.0)
    assert [each.due_ns / 1e9 for each in sent] == [1.0, 7.0, 9.0]
    assert schedule.starts(window) == Starts(5, late=2, dropped=2)


def test_a_spread_scatters_the_devices_within_it() -> None:
    window = window_of(0, 10)
    sent = play(burst(50, period_seconds=10.0, spread_ms=500.0), 50, window)
    due = [each.due_ns / 1e9 for each in sent]
    assert all(5.0 <= at < 5.5 for at in due)
    assert len(set(due)) == 50
    assert due == [
        each.due_ns / 1e9
        for each in play(burst(50, period_seconds=10.0, spread_ms=500.0), 50, window)
    ]


def test_who_joins_later_did_not_miss_what_was_before() -> None:
    schedule = burst(2, period_seconds=10.0)
    window = Window(START_NS, START_NS)
    assert schedule.next(0, START_NS, window) == Wait(START_NS + 5 * NS_PER_S)
    assert schedule.next(1, START_NS + 12 * NS_PER_S, window) == Wait(START_NS + 15 * NS_PER_S)
    found = schedule.next(0, START_NS + 5 * NS_PER_S, window)
    assert isinstance(found, Turn)
    assert schedule.starts(window) is None


def test_a_wake_up_that_came_within_the_block_is_owed_after_it() -> None:
    schedule = burst(1, period_seconds=2.0)
    window = window_of(0, 4)
    assert isinstance(schedule.next(0, START_NS, window), Wait)
    assert isinstance(schedule.next(0, START_NS + NS_PER_S, window), Turn)
    later_ns = START_NS + 5 * NS_PER_S
    assert schedule.owes(later_ns, window), "the wake-up at 3 s, while it heard its reply"
    assert isinstance(schedule.next(0, later_ns, window), Turn)
    assert not schedule.owes(later_ns, window)
    assert schedule.next(0, later_ns, window) is None


def test_a_spread_wider_than_half_a_period_is_refused() -> None:
    with pytest.raises(ValidationError, match="spread_ms"):
        BurstOptions(period_seconds=1.0, spread_ms=501.0)
