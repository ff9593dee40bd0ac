"""Tasks of a report on two cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import pytest

from reports import side_by_side

LARGE = 10**6


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "possible", lambda: True)


def _who(number: int) -> tuple[int, int]:
    return number, os.getpid()


def _meeting() -> list[Callable[[], int]]:
    """Return two tasks that end when both were begun: one process alone would wait for ever."""
    (first_out, first_in), (second_out, second_in) = os.pipe(), os.pipe()

    def meet(into: int, out: int) -> int:
        os.write(into, b".")
        os.read(out, 1)
        return os.getpid()

    return [partial(meet, first_in, second_out), partial(meet, second_in, first_out)]


def test_a_large_run_is_shared_by_two_processes() -> None:
    found = side_by_side.run(_meeting(), rows=LARGE)
    assert len(set(found)) == 2
    assert os.getpid() in found


def test_results_come_in_the_order_of_the_tasks() -> None:
    found = side_by_side.run([partial(_who, n) for n in range(300)], rows=LARGE)
    assert [number for number, _ in found] == list(range(300))


def test_small_runs_are_not_shared() -> None:
    found = side_by_side.run([partial(_who, n) for n in range(3)], rows=100)
    assert {process for _, process in found} == {os.getpid()}


def _only_here(parent: int, number: int) -> int:
    if os.getpid() != parent:
        # As the kernel ends one that takes too much memory.
        os._exit(9)
    return number


def test_what_a_child_fails_at_is_done_here() -> None:
    tasks = [partial(_only_here, os.getpid(), number) for number in range(40)]
    assert side_by_side.run(tasks, rows=LARGE) == list(range(40))


def test_a_fault_of_a_task_is_seen() -> None:
    def fails() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        side_by_side.run([fails, fails], rows=LARGE)


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "CHILD_SECONDS", 0.0)
    parent, (read, write) = os.getpid(), os.pipe()

    def waits_elsewhere(number: int) -> int:
        if os.getpid() != parent:
            os.read(read, 1)
        return number

    tasks = [partial(waits_elsewhere, number) for number in range(4)]
    assert side_by_side.run(tasks, rows=LARGE) == [0, 1, 2, 3]
    os.close(read)
    os.close(write)
