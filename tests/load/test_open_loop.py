"""Open loop in virtual time: starts by the clock, and what a queue does to the two first tokens."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.load.corpus import read_corpus
from firsttoken.load.schedules.open_loop import OpenLoop
from firsttoken.load.schedules.options import Arrivals, OpenLoopOptions
from firsttoken.load.schedules.turn import WHOLE, Share, Starts
from firsttoken.load.script import Script
from tests.load.virtual import Sent, play, window_of

CORPUS = read_corpus(Path(__file__).parents[2] / "loadtests" / "corpora")
WARMUP_S, STEADY_S = 4.0, 60.0
WINDOW = window_of(WARMUP_S, STEADY_S)
SLOTS, SERVICE_S = 4, 0.5
CAPACITY = SLOTS / SERVICE_S


def open_loop(rate: float, share: Share = WHOLE, seed: int = 1, **options: Any) -> OpenLoop:
    return OpenLoop(
        Script(CORPUS, [8], seed, 0.0),
        0,
        (WARMUP_S, STEADY_S),
        (8, 32),
        options=OpenLoopOptions(rate=rate, **options),
        seed=seed,
        share=share,
    )


def overloaded(users: int) -> tuple[list[Sent], Starts]:
    """Play 1.5 times the capacity; return what counts."""
    schedule = open_loop(1.5 * CAPACITY)
    sent = play(schedule, users, WINDOW, slots=SLOTS, service_s=lambda _: SERVICE_S)
    starts = schedule.starts(WINDOW)
    assert starts is not None
    return [each for each in sent if each.due_ns >= WARMUP_S * 1e9], starts


def thirds(values: list[float]) -> list[float]:
    third = len(values) // 3
    return [fmean(values[at * third : (at + 1) * third]) for at in range(3)]


def test_with_few_talkers_an_overload_shows_in_what_the_user_waits_alone() -> None:
    sent, starts = overloaded(users=8)
    assert len(sent) == starts.scheduled == round(1.5 * CAPACITY * STEADY_S)
    ttft, ttft_user = (
        thirds([getattr(each, name) for each in sent]) for name in ("ttft_ms", "ttft_user_ms")
    )
    assert max(ttft) < 1.1 * min(ttft), "8 talkers cannot queue deeper than 8"
    # The backlog grows by a third of the starts: 20 s a minute. What is owed is made after the end.
    assert ttft_user[0] > 3 * ttft[0]
    assert ttft_user[1] > ttft_user[0] + 5000
    assert ttft_user[2] > ttft_user[1] + 5000
    assert starts.late > 0.95 * starts.scheduled
    assert starts.dropped == 0


def test_with_many_talkers_none_is_late_and_both_grow() -> None:
    sent, starts = overloaded(users=1000)
    assert starts == (len(sent), 0, 0)
    assert all(each.ttft_ms == each.ttft_user_ms for each in sent)
    one, two, three = thirds([each.ttft_ms for each in sent])
    assert two > one + 5000
    assert three > two + 5000


def test_below_capacity_nothing_is_late() -> None:
    schedule = open_loop(0.5 * CAPACITY)
    sent = play(schedule, 32, WINDOW, slots=SLOTS, service_s=lambda _: SERVICE_S)
    starts = schedule.starts(WINDOW)
    assert starts == (round(0.5 * CAPACITY * STEADY_S), 0, 0)
    assert [each.sent_ns for each in sent] == [each.due_ns for each in sent]


def test_a_start_that_waited_too_long_is_dropped_and_counted() -> None:
    schedule = open_loop(1.5 * CAPACITY, drop_after_seconds=2.0)
    sent = play(schedule, 8, WINDOW, slots=SLOTS, service_s=lambda _: SERVICE_S)
    starts = schedule.starts(WINDOW)
    assert starts is not None
    made = sum(each.due_ns >= WARMUP_S * 1e9 for each in sent)
    assert starts.dropped == starts.scheduled - made > 0.2 * starts.scheduled
    assert max(each.sent_ns - each.due_ns for each in sent) < 2e9
    assert starts.late <= made


@settings(max_examples=25)
@given(kind=st.sampled_from(list(Arrivals)), seed=st.integers(0, 99), users=st.integers(1, 40))
def test_every_arm_and_every_pool_makes_the_same_starts(
    kind: Arrivals, seed: int, users: int
) -> None:
    def made(users: int) -> list[Any]:
        schedule = open_loop(2.0, seed=seed, arrivals=kind)
        sent = play(schedule, users, WINDOW, service_s=lambda number: number % 3)
        made = [(each.turn.session, each.due_ns, each.turn.messages) for each in sent]
        # Two starts may be due at the same nanosecond.
        return sorted(made, key=lambda each: each[0])

    assert made(users) == made(40)


@pytest.mark.parametrize("workers", [2, 3])
def test_several_load_generators_make_each_start_once(workers: int) -> None:
    whole = play(open_loop(3.0), 64, WINDOW)
    schedules = [open_loop(3.0, Share(index, workers)) for index in range(workers)]
    parts = [play(schedule, 64, WINDOW) for schedule in schedules]
    for index, part in enumerate(parts):
        assert {each.turn.session % workers for each in part} == {index}
    together = [
        (each.due_ns, each.turn.session, each.turn.messages[1]) for part in parts for each in part
    ]
    assert sorted(together, key=lambda each: each[0]) == [
        (each.due_ns, each.turn.session, each.turn.messages[1]) for each in whole
    ]
    counted = [schedule.starts(WINDOW) for schedule in schedules]
    assert sum(starts.scheduled for starts in counted if starts) == round(3.0 * STEADY_S)


def test_what_is_said_does_not_repeat_as_long_as_the_corpus_lasts() -> None:
    sent = play(open_loop(6.0), 64, WINDOW)
    assert len(sent) == 384
    assert len({str(each.turn.messages) for each in sent}) == 384
