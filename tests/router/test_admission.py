"""Slots and the line before them, in simulated time and in every order of events."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.core.clock import NS_PER_S
from router.admission import FIRST_GUESS_S, Admission, QueueFullError, Ticket, predicted_wait_s


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def move(self, seconds: float) -> None:
        self.ns += int(seconds * NS_PER_S)


def admission(slots: int | None, **more: int) -> tuple[Admission, Clock]:
    clock = Clock()
    return Admission(slots, clock, **more), clock


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(4):
        await asyncio.sleep(0)


async def test_a_free_slot_is_granted_at_once_and_the_rest_wait_in_line() -> None:
    queue, clock = admission(2)
    first, second, third, fourth = (queue.enter(0) for _ in range(4))
    await first.granted()
    await second.granted()
    assert (queue.in_use, queue.waiting) == (2, 2)
    clock.move(1.5)
    waits = asyncio.gather(third.granted(), fourth.granted())
    await settle()
    first.leave()
    first.leave()
    await settle()
    assert third.granted_ns == clock.ns
    assert fourth.granted_ns is None
    second.leave()
    await waits
    assert (queue.in_use, queue.waiting) == (2, 0)


async def test_without_a_cap_everybody_enters() -> None:
    queue, clock = admission(None)
    for ticket in [queue.enter(0) for _ in range(100)]:
        await ticket.granted()
    assert (queue.in_use, queue.waiting, queue.full) == (100, 0, False)
    assert queue.predicted_wait_s(clock.ns) == 0
    queue.resize(4)
    assert queue.enter(0).granted_ns is None


def test_the_line_is_bounded() -> None:
    for slots, more, places in ((1, {}, 16), (20, {}, 20), (4, {"most_waiting": 0}, 0)):
        queue, _ = admission(slots, **more)
        for _ in range(slots + places):
            assert not queue.full
            queue.enter(0)
        assert queue.full
        with pytest.raises(QueueFullError):
            queue.enter(0)
        assert (queue.in_use, queue.waiting) == (slots, places)


async def test_a_cancelled_wait_gives_its_place_up() -> None:
    queue, _ = admission(1)
    holder, waiting, last = (queue.enter(0) for _ in range(3))
    task = asyncio.create_task(waiting.granted())
    await settle()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert queue.waiting == 1
    holder.leave()
    await last.granted()


async def test_a_wait_cancelled_as_its_slot_comes_hands_the_slot_on() -> None:
    queue, _ = admission(1)
    holder, waiting, last = (queue.enter(0) for _ in range(3))
    task = asyncio.create_task(waiting.granted())
    await settle()
    holder.leave()
    task.cancel()
    await settle()
    assert task.cancelled()
    await last.granted()
    assert (queue.in_use, queue.waiting) == (1, 0)


async def test_a_ticket_that_has_left() -> None:
    queue, _ = admission(1)
    queue.enter(0)
    waiting = queue.enter(0)
    task = asyncio.create_task(waiting.granted())
    await settle()
    waiting.leave()
    await settle()
    assert task.cancelled()
    with pytest.raises(RuntimeError):
        await waiting.granted()


async def test_another_number_of_slots() -> None:
    queue, _ = admission(1)
    tickets = [queue.enter(0) for _ in range(4)]
    queue.resize(3)
    assert [ticket.granted_ns for ticket in tickets] == [0, 0, 0, None]
    queue.resize(1)
    tickets[0].leave()
    tickets[1].leave()
    assert (queue.in_use, queue.waiting) == (1, 1)
    tickets[2].leave()
    assert tickets[3].granted_ns == 0


def test_the_predicted_wait() -> None:
    queue, clock = admission(2)
    assert queue.predicted_wait_s(0) == 0
    first = queue.enter(0)
    assert queue.predicted_wait_s(0) == 0
    second = queue.enter(0)
    new = queue.predicted_wait_s(0)
    assert new == pytest.approx(FIRST_GUESS_S)
    queue.enter(0)
    assert queue.predicted_wait_s(0) == pytest.approx(2 * new)
    clock.move(1)
    older = queue.predicted_wait_s(clock.ns)
    assert older < 2 * new
    first.leave()
    second.leave()
    queue.enter(clock.ns)
    # Both held a slot for one second: the guess is forgotten.
    assert queue.predicted_wait_s(clock.ns) == pytest.approx(1.0)


def test_who_is_late_stays_late() -> None:
    ages = [predicted_wait_s([age] * 4, 1.0, 1, 4) for age in (0.0, 0.5, 1.0, 4 / 3, 10.0, 60.0)]
    assert ages[0] > ages[1] > ages[2] > ages[3] < ages[4] < ages[5]
    assert predicted_wait_s([], 1.0, 0, 4) == 0
    assert predicted_wait_s([], 1.0, 4, 4) == pytest.approx(1.0)


@given(
    ages=st.lists(st.floats(0, 1e4), max_size=30),
    mean=st.floats(1e-3, 1e3),
    places=st.integers(0, 60),
)
def test_a_predicted_wait_is_finite_and_grows_with_the_line(
    ages: list[float], mean: float, places: int
) -> None:
    wait = predicted_wait_s(ages, mean, places, max(1, len(ages)))
    assert 0 <= wait < float("inf")
    assert predicted_wait_s(ages, mean, places + 1, max(1, len(ages))) > wait


OPERATION = st.tuples(
    st.sampled_from(["enter", "enter", "enter", "leave", "leave", "cancel", "settle", "resize"]),
    st.integers(0, 1000),
)


@settings(max_examples=300, deadline=None)
@given(slots=st.integers(0, 4), operations=st.lists(OPERATION, max_size=60))
async def test_any_order_of_events(slots: int, operations: list[tuple[str, int]]) -> None:
    queue, clock = admission(slots, most_waiting=6)
    tickets: list[Ticket] = []
    tasks: list[asyncio.Task[None]] = []
    inside: set[int] = set()
    done = [asyncio.Event() for _ in operations]

    async def visit(number: int) -> None:
        try:
            await tickets[number].granted()
            inside.add(number)
            await done[number].wait()
        finally:
            inside.discard(number)
            tickets[number].leave()

    shrunk = False
    for name, number in operations:
        clock.move(0.1)
        if name == "enter" and not queue.full:
            tickets.append(queue.enter(clock.ns))
            tasks.append(asyncio.create_task(visit(len(tasks))))
        elif name == "resize":
            shrunk = shrunk or number % 5 < (queue.slots or 0)
            queue.resize(number % 5)
        elif name == "leave" and tasks:
            done[number % len(tasks)].set()
        elif name == "cancel" and tasks:
            tasks[number % len(tasks)].cancel()
        await (settle() if name == "settle" else asyncio.sleep(0))
        room = queue.slots or 0
        assert shrunk or queue.in_use <= room
        assert len(inside) <= queue.in_use
        assert queue.waiting <= 6
        # No slot lies idle while somebody waits.
        assert not queue.waiting or queue.in_use >= room
        # First come, first served: who got a slot came before everybody who waits.
        places = [index for index, ticket in enumerate(tickets) if ticket.granted_ns is not None]
        stamps = [tickets[index].granted_ns or 0 for index in places]
        assert stamps == sorted(stamps)
    queue.resize(None)
    await settle()
    # No wake-up is lost: everybody still here is inside.
    assert queue.waiting == 0
    assert len(inside) == queue.in_use == sum(not task.done() for task in tasks)
    for event in done:
        event.set()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert (queue.in_use, queue.waiting) == (0, 0)
