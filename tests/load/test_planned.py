"""Planned starts and the pool that makes them: nothing is lost, nothing overtakes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.clock import NS_PER_MS
from firsttoken.load.exchange import Exchange
from firsttoken.load.schedules.planned import LATE_NS, PlannedStarts, Position
from firsttoken.load.schedules.turn import Starts, Turn, Wait, Window
from tests.load.virtual import Sent, play, window_of

WINDOW = window_of(0.0, 10.0)


class Row(NamedTuple):
    offset_ms: int
    session: int


class Planned:
    """The least of a schedule around planned starts."""

    elastic = False

    def __init__(self, rows: list[Row], drop_after_ms: int = 10**9) -> None:
        turns = [
            sum(other.session == row.session for other in rows[:at]) for at, row in enumerate(rows)
        ]
        self.planned = PlannedStarts(
            [row.offset_ms * NS_PER_MS for row in rows],
            lambda number: Position(rows[number].session, turns[number]),
            steady_from_ns=0,
            drop_after_ns=drop_after_ms * NS_PER_MS,
        )

    def next(self, user: int, now_ns: int, window: Window) -> Turn | Wait | None:
        found = self.planned.take(user, now_ns, window.start_ns)
        if found is None or isinstance(found, Wait):
            return found
        return Turn(found.t_sched_ns, *found.position, [{"number": found.number}], 1)

    def done(self, user: int, turn: Turn, exchange: Exchange, now_ns: int) -> None:  # noqa: ARG002
        self.planned.ended(turn.session)

    def owes(self, now_ns: int, window: Window) -> bool:  # noqa: ARG002
        return self.planned.owes()

    def starts(self, window: Window) -> Starts:  # noqa: ARG002
        return self.planned.starts()


rows = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 6)), min_size=1, max_size=60).map(
    lambda found: [Row(*each) for each in sorted(found)]
)


def numbers(sent: list[Sent]) -> list[Any]:
    return [each.turn.messages[0]["number"] for each in sent]


@given(
    rows=rows,
    users=st.integers(1, 12),
    service_ms=st.lists(st.integers(1, 3000), min_size=1, max_size=10),
    drop_after_ms=st.sampled_from([50, 1000, 10**9]),
)
def test_each_start_is_made_once_in_its_turn_or_dropped(
    rows: list[Row], users: int, service_ms: list[int], drop_after_ms: int
) -> None:
    schedule = Planned(rows, drop_after_ms)
    sent = play(
        schedule,
        users,
        WINDOW,
        service_s=lambda number: service_ms[number % len(service_ms)] / 1000,
    )
    starts = schedule.starts(WINDOW)
    made = numbers(sent)
    assert len(set(made)) == len(made) == len(rows) - starts.dropped
    assert starts.scheduled == len(rows)
    assert starts.late == sum(each.sent_ns - each.due_ns > LATE_NS for each in sent)
    for each in sent:
        assert each.due_ns == rows[each.turn.messages[0]["number"]].offset_ms * NS_PER_MS
        assert 0 <= each.sent_ns - each.due_ns < drop_after_ms * NS_PER_MS
    for session in {row.session for row in rows}:
        mine = [each for each in sent if each.turn.session == session]
        assert [each.turn.number for each in mine] == sorted(each.turn.number for each in mine)
        assert all(before.ended_ns <= after.sent_ns for before, after in pairwise(mine))
    for each in sent:
        if each.sent_ns == each.due_ns:
            continue
        # Late: all talkers were busy just before it was sent, or its session was.
        before = [
            other
            for other in sent
            if other.sent_ns < each.sent_ns and other.ended_ns >= each.sent_ns
        ]
        own = [other for other in before if other.turn.session == each.turn.session]
        assert own or len(before) == users


def test_nobody_is_woken_for_a_start_that_another_takes() -> None:
    schedule = Planned([Row(100, 0), Row(200, 1), Row(300, 2)])
    found = [schedule.next(user, WINDOW.start_ns, WINDOW) for user in range(4)]
    waits = [WINDOW.start_ns + after_ms * NS_PER_MS for after_ms in (100, 200, 300)]
    assert found == [*map(Wait, waits), None]
    assert schedule.owes(waits[2], WINDOW)


def test_whoever_comes_first_takes_the_first_start() -> None:
    schedule = Planned([Row(100, 0), Row(101, 0), Row(500, 1)])
    waits = [WINDOW.start_ns + after_ms * NS_PER_MS for after_ms in (100, 101, 500)]
    assert [schedule.next(user, WINDOW.start_ns, WINDOW) for user in (0, 1)] == [
        Wait(waits[0]),
        Wait(waits[1]),
    ]
    # The one who was to wait longer is woken before the other: the order stays.
    first = schedule.next(1, waits[1], WINDOW)
    assert isinstance(first, Turn)
    assert (first.session, first.number) == (0, 0)
    assert schedule.next(0, waits[1], WINDOW) == Wait(waits[2]), "the second waits for the first"
    schedule.done(1, first, Exchange("r", 0), waits[1] + 5)
    second = schedule.next(1, waits[1] + 5, WINDOW)
    assert isinstance(second, Turn)
    assert (second.session, second.number, second.t_sched_ns) == (0, 1, waits[1])
