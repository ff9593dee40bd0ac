"""Restarts: when they are due, what happens around them, and that there are not too many."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.catalogue import ActionResult as Result
from firsttoken.core.errors import UserError
from router.actions.recovery import (
    Cause,
    Policy,
    Recovery,
    Symptoms,
    cause_of,
    decide,
)
from router.actions.restart import Patience, Restarter
from router.health.breaker import BreakerRules
from router.health.monitor import Monitor

POLICY = Policy()


@pytest.mark.parametrize(
    ("symptoms", "cause"),
    [
        (Symptoms(), None),
        (Symptoms(dead=True), Cause.DEAD),
        (Symptoms(memory_share=0.9), None),
        (Symptoms(memory_share=0.901), Cause.MEMORY),
        (Symptoms(dead=True, memory_share=0.95), Cause.DEAD),
    ],
)
def test_causes(symptoms: Symptoms, cause: Cause | None) -> None:
    assert cause_of(symptoms, POLICY) is cause


@pytest.mark.parametrize(
    ("restarts_s", "now_s", "refusal"),
    [
        ((), 0, ""),
        ((0,), 59, "the last restart was less than 60 s ago"),
        ((0,), 60, ""),
        ((0, 100), 160, ""),
        ((0, 100, 200), 300, "there were 3 restarts in the last hour"),
        ((0, 100, 200), 3599, "there were 3 restarts in the last hour"),
        ((0, 100, 200), 3600, ""),
    ],
)
def test_limits(restarts_s: tuple[float, ...], now_s: float, refusal: str) -> None:
    assert decide(restarts_s, Cause.DEAD, POLICY, now_s).refusal == refusal
    assert decide(restarts_s, None, POLICY, now_s).cause is None


@given(st.lists(st.floats(0, 400), max_size=80))
def test_never_more_than_the_limits_allow(pauses: list[float]) -> None:
    now_s = 0.0
    done: tuple[float, ...] = ()
    for pause_s in pauses:
        now_s += pause_s
        if not decide(done, Cause.MEMORY, POLICY, now_s).refusal:
            assert not done or now_s - done[-1] >= 60
            done = (*done, now_s)
    for first, fourth in zip(done, done[3:], strict=False):
        assert fourth - first >= 3600


class Rig:
    """A recovery of the backend ``a``, in simulated time."""

    def __init__(self, patience: Patience = Patience()) -> None:  # noqa: B008 - it is frozen
        self.now_s = 0.0
        self.symptoms = Symptoms()
        self.in_flight = 0
        self.drains_at_s: float | None = None
        self.answers_at_s = 0.0
        self.error: Exception | None = None
        self.restarts: list[float] = []
        self.probes = 0
        self.loads_s = 0.0
        """For which the model has to be loaded before it gives a token."""
        self.actions: list[tuple[Cause, Result]] = []
        self.circuit_probe = asyncio.Event()
        self.later = asyncio.Event()
        self.monitor = Monitor(
            ["a", "b"],
            BreakerRules(),
            self._circuit_probe,
            lambda *_: None,
            now_s=lambda: self.now_s,
        )
        self.memory: list[float | None] = []
        """What is held, each time that is asked."""
        self.restarter = Restarter(
            "a",
            patience,
            self,
            self.monitor,
            in_flight=self._in_flight,
            probe=self._probe,
            ready=self._ready,
            memory=self._memory,
            now_s=lambda: self.now_s,
            sleep=self._sleep,
        )
        self.recovery = Recovery(
            POLICY,
            self.restarter,
            symptoms=lambda: self.symptoms,
            on_action=lambda *action: self.actions.append(action),
            now_s=lambda: self.now_s,
            sleep=self._sleep,
        )

    def restart(self) -> None:
        assert self.monitor.drained == {"a"}
        self.restarts.append(self.now_s)
        if self.error is not None:
            raise self.error

    def _in_flight(self) -> int:
        if self.drains_at_s is not None and self.now_s >= self.drains_at_s:
            self.in_flight = 0
        return self.in_flight

    async def _probe(self) -> bool:
        assert self.monitor.drained == {"a"}
        self.probes += 1
        return self.now_s >= self.answers_at_s

    async def _ready(self, seconds: float) -> bool:
        if not await self._probe():
            return False
        self.now_s += min(seconds, self.loads_s)
        return self.loads_s <= seconds

    async def _memory(self) -> float | None:
        return self.memory.pop(0) if self.memory else None

    async def _circuit_probe(self, name: str) -> bool:
        assert name == "a"
        await self.circuit_probe.wait()
        return False

    async def _sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s >= 5:
            self.later.set()
        await asyncio.sleep(0)


async def test_nothing_is_done_without_a_cause() -> None:
    rig = Rig()
    await rig.recovery.tick()
    rig.symptoms = Symptoms(memory_share=0.9)
    await rig.recovery.tick()
    assert (rig.restarts, rig.actions, rig.probes) == ([], [], 0)


async def test_a_dead_engine_is_restarted_at_once_and_readmitted_when_it_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    rig = Rig()
    rig.in_flight = 5
    rig.answers_at_s = 3.0
    rig.symptoms = Symptoms(dead=True)
    rig.monitor.unhealthy("a")
    await rig.recovery.tick()
    assert rig.restarts == [0.0]
    assert rig.probes == 4
    assert rig.monitor.blocked == frozenset()
    assert not rig.monitor.dead("a")
    assert rig.actions == [(Cause.DEAD, Result.SUCCEEDED)]
    lines = [record.getMessage() for record in caplog.records if "restart of" in record.message]
    assert lines == ["restart of a (dead) succeeded: it answers again in 3.0 s"]
    await rig.monitor.aclose()


async def test_an_engine_full_of_memory_is_drained_first() -> None:
    rig = Rig()
    rig.in_flight, rig.drains_at_s = 5, 2.5
    rig.symptoms = Symptoms(memory_share=0.95)
    await rig.recovery.tick()
    assert rig.restarts == [pytest.approx(2.5, abs=0.11)]
    assert rig.actions == [(Cause.MEMORY, Result.SUCCEEDED)]


async def test_the_drain_has_an_end() -> None:
    rig = Rig()
    rig.in_flight = 1
    rig.symptoms = Symptoms(memory_share=0.95)
    await rig.recovery.tick()
    assert rig.restarts == [pytest.approx(10.0, abs=0.11)]


async def test_an_engine_that_does_not_come_back_stays_out() -> None:
    rig = Rig(Patience(ready_s=20))
    rig.answers_at_s = 1e9
    rig.symptoms = Symptoms(dead=True)
    rig.monitor.unhealthy("a")
    await rig.recovery.tick()
    assert rig.now_s == 20
    assert rig.monitor.blocked == {"a"}
    assert rig.monitor.drained == frozenset()
    assert rig.actions == [(Cause.DEAD, Result.FAILED)]
    await rig.monitor.aclose()


@pytest.mark.parametrize("still_serves", [True, False])
async def test_a_restart_that_could_not_be_made_leaves_what_was(
    still_serves: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    rig.error = UserError("cannot start docker: No such file or directory")
    rig.answers_at_s = 0.0 if still_serves else 1e9
    rig.symptoms = Symptoms(memory_share=0.95)
    await rig.recovery.tick()
    assert rig.actions == [(Cause.MEMORY, Result.FAILED)]
    assert "cannot start docker" in caplog.text
    assert rig.monitor.blocked == (frozenset() if still_serves else {"a"})
    await rig.monitor.aclose()


async def test_the_limits_hold_over_successes_and_a_refusal_is_told_once() -> None:
    rig = Rig()
    rig.symptoms = Symptoms(memory_share=0.95)
    for _ in range(4000):
        await rig.recovery.tick()
        rig.now_s += 1
    assert rig.restarts == [0, 60, 120, 3600, 3660, 3720]
    told = [result for _, result in rig.actions]
    assert told.count(Result.SUCCEEDED) == 6
    assert told.count(Result.REFUSED) == 8  # one for each time it was held back, and for each why
    rig.symptoms = Symptoms()
    await rig.recovery.tick()
    rig.symptoms = Symptoms(memory_share=0.95)
    await rig.recovery.tick()
    assert [result for _, result in rig.actions].count(Result.REFUSED) == 9


@pytest.mark.parametrize(("loads_s", "result"), [(100.0, Result.SUCCEEDED), (110.0, Result.FAILED)])
async def test_a_model_may_take_its_time_to_load(loads_s: float, result: Result) -> None:
    rig = Rig()
    rig.answers_at_s = 15.0
    rig.loads_s = loads_s
    rig.symptoms = Symptoms(dead=True)
    rig.monitor.unhealthy("a")
    await rig.recovery.tick()
    assert rig.actions == [(Cause.DEAD, result)]
    assert rig.now_s <= 120
    await rig.monitor.aclose()


async def test_another_recovery_keeps_to_the_same_limits() -> None:
    before, after = Rig(), Rig()
    before.symptoms = after.symptoms = Symptoms(memory_share=0.95)
    await before.recovery.tick()
    after.restarter.take_over(before.restarter)
    after.now_s = 59
    await after.recovery.tick()
    assert after.actions == [(Cause.MEMORY, Result.REFUSED)]
    after.now_s = 60
    await after.recovery.tick()
    assert after.restarts == [60]


async def test_it_runs_until_it_is_closed_and_outlives_a_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.error = ValueError("a fault of the adapter")
    rig.symptoms = Symptoms(memory_share=0.95)
    rig.recovery.start()
    await asyncio.wait_for(rig.later.wait(), 10)
    assert "a fault of the adapter" in caplog.text
    assert rig.monitor.drained == frozenset()
    await rig.recovery.aclose()
    await rig.monitor.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("memory", "result"),
    [
        ([0.95, 0.4], Result.SUCCEEDED),
        ([0.95, 0.95], Result.FAILED),
        ([0.95, None], Result.SUCCEEDED),
        ([None], Result.SUCCEEDED),
    ],
)
async def test_a_restart_for_memory_has_to_free_some(
    memory: list[float | None], result: Result
) -> None:
    rig = Rig()
    rig.memory = memory
    outcome = await rig.restarter.restart(drain=True, memory=True)
    assert outcome.result is result
    assert rig.memory == []
    assert rig.monitor.blocked == frozenset()  # it answers, whatever it holds


async def test_there_is_one_restart_at_a_time_over_a_reload_too() -> None:
    before, after = Rig(), Rig()
    before.answers_at_s = 5.0
    first = asyncio.create_task(before.restarter.restart(drain=False))
    await asyncio.sleep(0)
    assert (await before.restarter.restart(drain=False)).result is Result.REFUSED
    after.restarter.take_over(before.restarter)
    assert (await after.restarter.restart(drain=False)).result is Result.REFUSED
    after.symptoms = Symptoms(dead=True)
    await after.recovery.tick()
    assert (after.restarts, after.actions) == ([], [])
    assert (await first).result is Result.SUCCEEDED
    assert before.restarts == [0.0]
    assert not after.restarter.under_way


async def test_closed_before_it_was_started() -> None:
    await Rig().recovery.aclose()
