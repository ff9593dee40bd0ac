"""Who is let in first at a local engine, and who gives way, by a clock that stands still."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import CallClass
from router.admission import HEAD_START_S, MOST_BEHIND, Admission, QueueFullError, Ticket
from tests.router.test_admission import Clock, admission, settle

AHEAD_S = max(HEAD_START_S.values())


def entered(queue: Admission, clock: Clock, *calls: CallClass) -> list[Ticket]:
    """Let them come one after the other, a tenth of a second apart."""
    tickets = []
    for call in calls:
        clock.move(0.1)
        tickets.append(queue.enter(clock.ns, call))
    return tickets


def served(queue: Admission, clock: Clock, tickets: list[Ticket]) -> list[int]:
    """Give every slot back as soon as it was granted; return who got one, in that order."""
    order: list[int] = []
    while len(order) < len(tickets):
        clock.move(0.1)
        now = [n for n, each in enumerate(tickets) if each.granted_ns is not None]
        order += [n for n in now if n not in order]
        for number in now:
            tickets[number].leave()
    return order


def test_an_intent_goes_before_the_chats_that_wait() -> None:
    queue, clock = admission(1)
    queue.enter(0)
    calls = CallClass.CHAT, CallClass.INTENT, CallClass.CHAT, CallClass.AFTER_TOOL, CallClass.INTENT
    tickets = entered(queue, clock, *calls)
    holder = next(iter(queue._holders))
    holder.leave()
    assert served(queue, clock, tickets) == [1, 4, 3, 0, 2]


def test_nobody_is_overtaken_by_those_who_come_much_later() -> None:
    queue, clock = admission(1)
    holder = queue.enter(0)
    (chat,) = entered(queue, clock, CallClass.CHAT)
    clock.move(AHEAD_S)
    intents = entered(queue, clock, *[CallClass.INTENT] * 5)
    holder.leave()
    assert chat.granted_ns == clock.ns
    assert not any(each.granted_ns for each in intents)


def test_behind_everybody_is_granted_only_where_nobody_else_is() -> None:
    for slots in (1, 4, None):
        queue, clock = admission(slots)
        talker = queue.enter(0)
        first, second = queue.enter_behind(0), queue.enter_behind(0)
        assert (queue.in_use, queue.waiting, queue.waiting_behind) == (1, 0, 2)
        assert queue.waited_for == 1
        clock.move(1)
        talker.leave()
        assert first.granted_ns == clock.ns
        assert second.granted_ns is None
        assert (queue.in_use, queue.waited_for, queue.waiting_behind) == (1, 0, 1)
        # Nobody who talks waits for it.
        assert queue.predicted_wait_s(clock.ns) == 0
        assert not queue.full
        first.leave()
        assert second.granted_ns == clock.ns
        second.leave()
        assert (queue.in_use, queue.waiting_behind) == (0, 0)


async def test_it_gives_way_and_is_the_first_of_its_line_again() -> None:
    queue, clock = admission(4)
    told: list[int] = []
    first, second = queue.enter_behind(0), queue.enter_behind(0)
    await first.granted()
    first.on_disturbed = lambda: told.append(clock.ns)
    clock.move(1)
    talker = queue.enter(clock.ns)
    assert talker.granted_ns == clock.ns
    assert told == [clock.ns]
    assert first.granted_ns is None
    again = asyncio.create_task(first.granted())
    await settle()
    assert not again.done()
    clock.move(1)
    talker.leave()
    # Taken away before whoever waits has run.
    talker = queue.enter(clock.ns)
    await settle()
    assert not again.done()
    talker.leave()
    await again
    assert told == [NS_PER_S]
    first.leave()
    await second.granted()
    second.leave()


async def test_who_waits_behind_may_leave() -> None:
    queue, _ = admission(1)
    talker, waiting = queue.enter(0), queue.enter_behind(0)
    task = asyncio.create_task(waiting.granted())
    await settle()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert queue.waiting_behind == 0
    talker.leave()
    assert queue.in_use == 0


def test_the_line_behind_is_bounded() -> None:
    queue, _ = admission(1)
    queue.enter(0)
    for _ in range(MOST_BEHIND):
        queue.enter_behind(0)
    with pytest.raises(QueueFullError):
        queue.enter_behind(0)
    queue.enter(0)


STEP = st.tuples(
    st.sampled_from(["talk", "talk", "behind", "leave", "leave", "resize"]),
    st.sampled_from(list(CallClass)),
    st.integers(0, 1000),
    st.floats(0, 3),
)


@settings(max_examples=100, deadline=None)
@given(slots=st.integers(1, 4), steps=st.lists(STEP, max_size=60))
def test_any_order_of_comings_and_goings(
    slots: int, steps: list[tuple[str, CallClass, int, float]]
) -> None:
    queue, clock = admission(slots, most_waiting=8)
    talkers: list[Ticket] = []
    calls: dict[Ticket, tuple[CallClass, int]] = {}
    behind: list[Ticket] = []
    for what, call, number, seconds in steps:
        clock.move(seconds)
        here = talkers + behind
        waiting = {each for each in talkers if each.granted_ns is None}
        if what == "talk" and not queue.full:
            free = sum(each.granted_ns is not None for each in talkers) < (queue.slots or 0)
            ticket = queue.enter(clock.ns, call)
            talkers.append(ticket)
            calls[ticket] = call, clock.ns
            # No talker ever waits for somebody behind.
            assert not free or waiting or ticket.granted_ns == clock.ns
        elif what == "behind" and queue.waiting_behind < MOST_BEHIND:
            behind.append(queue.enter_behind(clock.ns))
        elif what == "leave" and here:
            ticket = here[number % len(here)]
            ticket.leave()
            (talkers if ticket in talkers else behind).remove(ticket)
        elif what == "resize":
            queue.resize(1 + number % 4)
        guests = [each for each in behind if each.granted_ns is not None]
        assert len(guests) <= 1
        # Behind everybody: there is a guest just where nobody else is.
        assert bool(guests) == (bool(behind) and not talkers)
        granted = [each for each in talkers if each.granted_ns == clock.ns and each in waiting]
        left = [each for each in talkers if each.granted_ns is None]
        for taken in granted:
            for other in left:
                (kind, came), (its_kind, its_came) = calls[taken], calls[other]
                assert kind is not its_kind or came <= its_came
                assert came <= its_came + AHEAD_S * NS_PER_S
    for ticket in talkers + behind:
        ticket.leave()
    assert (queue.in_use, queue.waiting, queue.waiting_behind) == (0, 0, 0)
