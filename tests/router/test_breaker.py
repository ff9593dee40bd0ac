"""The breaker as pure functions, its monitor in simulated time, and both behind the router."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.catalogue import CircuitState
from firsttoken.core.words import ErrorType
from router.config import Health
from router.health.breaker import (
    SLICES,
    TRIPPING,
    Breaker,
    BreakerRules,
    after_failure,
    after_probe,
    after_success,
    opened,
    start_probe,
    taken_out,
)
from router.health.monitor import Monitor
from tests.router.conftest import DEADLINE_S, Start
from tests.router.upstream import answer, silent

RULES = BreakerRules(failures=3, first_cool_down_s=1.0, longest_cool_down_s=8.0)


def test_a_circuit_opens_probes_and_closes() -> None:
    breaker = Breaker()
    for _ in range(3):
        assert breaker.state is CircuitState.CLOSED
        breaker = after_failure(breaker, ErrorType.CONNECT, RULES, 10.0)
    assert breaker.state is CircuitState.OPEN
    assert after_success(breaker, RULES, 10.0) == breaker
    assert opened(breaker, RULES, 10.5) == breaker
    assert start_probe(breaker, 10.9) is None
    probing = start_probe(breaker, 11.0)
    assert probing is not None
    assert probing.state is CircuitState.HALF_OPEN
    assert start_probe(probing, 99.0) is None
    again = after_probe(probing, succeeded=False, rules=RULES, now_s=12.0)
    assert (again.state, again.probe_at_s) == (CircuitState.OPEN, 14.0)
    assert after_probe(probing, succeeded=True, rules=RULES, now_s=12.0) == Breaker()
    undecided = after_probe(again, succeeded=None, rules=RULES, now_s=20.0)
    assert (undecided.cool_down_s, undecided.probe_at_s) == (again.cool_down_s, 22.0)


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker = after_failure(breaker, ErrorType.PROTOCOL, RULES, 0.0)
        breaker = after_failure(breaker, ErrorType.PROTOCOL, RULES, 0.0)
        for _ in range(4):
            breaker = after_success(breaker, RULES, 0.0)
    assert breaker.state is CircuitState.CLOSED


def alternating(count: int, every_s: float, rules: BreakerRules = RULES) -> CircuitState:
    """Return the state after as many attempts, of which each second one failed."""
    breaker = Breaker()
    for number in range(count):
        now_s = 1000 + number * every_s
        if number % 2:
            breaker = after_failure(breaker, ErrorType.OVERLOADED, rules, now_s)
        else:
            breaker = after_success(breaker, rules, now_s)
        assert len(breaker.recent) <= SLICES
    return breaker.state


@pytest.mark.parametrize(
    ("count", "every_s", "state"),
    [
        (9, 1.0, CircuitState.CLOSED),  # too few
        (10, 1.0, CircuitState.OPEN),
        (100, 3.4, CircuitState.CLOSED),  # never as many within half a minute
        (10, 2.9, CircuitState.OPEN),
    ],
)
def test_too_large_a_share_of_failures_opens(
    count: int, every_s: float, state: CircuitState
) -> None:
    assert alternating(count, every_s) is state


def test_the_share_is_a_setting() -> None:
    assert alternating(100, 0.1, BreakerRules(failure_share=0.51)) is CircuitState.CLOSED
    assert alternating(100, 0.1, BreakerRules(least_attempts=101)) is CircuitState.CLOSED


@pytest.mark.parametrize(
    ("interval_s", "timeout_s"), [(30.0, 5.0), (10.0, 4.0), (2.0, 0.5), (1.0, 0.4)]
)
def test_a_backend_is_found_within_one_interval_of_its_return(
    interval_s: float, timeout_s: float
) -> None:
    rules = BreakerRules.of_probes(3, interval_s, timeout_s)
    # It returns just after a probe began; that one and the next take all the time they may.
    assert timeout_s + rules.longest_cool_down_s + timeout_s <= interval_s
    assert rules.first_cool_down_s <= rules.longest_cool_down_s


@pytest.mark.parametrize("error_type", sorted(set(ErrorType) - TRIPPING))
def test_failures_that_say_nothing_of_health(error_type: ErrorType) -> None:
    assert after_failure(Breaker(failures=2), error_type, RULES, 0.0) == Breaker(failures=2)


EVENTS = st.one_of(
    st.just("success"),
    st.sampled_from(list(ErrorType)),
    st.booleans(),
    st.floats(0.0, 20.0),
)


@given(st.lists(EVENTS, max_size=60))
def test_any_history_keeps_the_rules(events: list[str | ErrorType | bool | float]) -> None:
    now_s, breaker, probes = 0.0, Breaker(), 0
    for event in events:
        before = breaker
        if isinstance(event, ErrorType):
            breaker = after_failure(breaker, event, RULES, now_s)
        elif isinstance(event, bool):
            if breaker.state is CircuitState.HALF_OPEN:
                breaker = after_probe(breaker, event, RULES, now_s)
                probes -= 1
        elif event == "success":
            breaker = after_success(breaker, RULES, now_s)
        else:
            now_s += float(event)
            probing = start_probe(breaker, now_s)
            if probing is not None:
                assert now_s >= breaker.probe_at_s
                breaker = probing
                probes += 1
        assert probes == (breaker.state is CircuitState.HALF_OPEN)
        assert 0 <= breaker.failures < RULES.failures
        if breaker.state is CircuitState.OPEN:
            assert 1.0 <= breaker.cool_down_s <= 8.0
        if before.state is CircuitState.OPEN and breaker.state is CircuitState.CLOSED:
            pytest.fail("an open circuit closed without a probe")


class Clock:
    """Simulated time: sleeping moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


async def test_the_monitor_probes_one_at_a_time_until_the_backend_is_back() -> None:
    clock = Clock()
    probes: list[float] = []
    changes: list[tuple[str, CircuitState]] = []
    closed = asyncio.Event()

    async def probe(name: str) -> bool:
        assert name == "a"
        assert changes[-1] == ("a", CircuitState.HALF_OPEN)
        probes.append(clock.now_s)
        await asyncio.sleep(0)
        return len(probes) == 5

    def changed(name: str, state: CircuitState) -> None:
        changes.append((name, state))
        if len(changes) > 2 and state is CircuitState.CLOSED:
            closed.set()

    monitor = Monitor(
        ["a", "b"], RULES, probe, changed, now_s=lambda: clock.now_s, sleep=clock.sleep
    )
    for _ in range(20):
        monitor.failed("a", ErrorType.FIRST_TOKEN_TIMEOUT)
    assert monitor.blocked == {"a"}
    assert monitor.any_usable
    await closed.wait()
    assert probes == [1.0, 3.0, 7.0, 15.0, 23.0]
    assert monitor.blocked == frozenset()
    await monitor.aclose()


class Rig:
    """A monitor of backends ``a`` and ``b`` whose probes answer what they are told to."""

    def __init__(self, probe: bool | Exception = False) -> None:
        self.clock = Clock()
        self.probe: bool | Exception = probe
        self.probes = 0
        self.at_once = 0
        self.closed = asyncio.Event()
        self.monitor = Monitor(
            ["a", "b"],
            RULES,
            self._ask,
            self._changed,
            now_s=lambda: self.clock.now_s,
            sleep=self.clock.sleep,
        )
        self.closed.clear()

    async def _ask(self, name: str) -> bool:
        assert name == "a"
        self.probes += 1
        self.at_once += 1
        assert self.at_once == 1
        await asyncio.sleep(0)
        self.at_once -= 1
        if isinstance(self.probe, Exception):
            raise self.probe
        return self.probe

    def _changed(self, name: str, state: CircuitState) -> None:
        if name == "a" and state is CircuitState.CLOSED:
            self.closed.set()


async def spin(times: int = 30) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_failed_active_probes_open_and_count_as_dead() -> None:
    rig = Rig()
    assert not rig.monitor.dead("a")
    rig.monitor.unhealthy("a")
    rig.monitor.unhealthy("a")
    assert rig.monitor.blocked == {"a"}
    assert rig.monitor.dead("a")
    rig.probe = True
    await rig.closed.wait()
    assert not rig.monitor.dead("a")
    assert rig.monitor.blocked == frozenset()
    await rig.monitor.aclose()


async def test_half_open_probes_that_fail_count_as_dead_too() -> None:
    rig = Rig()
    for _ in range(3):
        rig.monitor.failed("a", ErrorType.CONNECT)
    assert not rig.monitor.dead("a")
    await spin()
    assert rig.probes >= 3
    assert rig.monitor.dead("a")
    assert not rig.monitor.dead("b")
    await rig.monitor.aclose()


async def test_a_drained_backend_gets_neither_requests_nor_probes() -> None:
    rig = Rig()
    rig.monitor.unhealthy("a")
    rig.monitor.drain("a")
    await spin()
    assert rig.probes <= 1
    assert rig.monitor.blocked == rig.monitor.drained == {"a"}
    rig.monitor.readmit("a", healthy=True)
    assert rig.monitor.blocked == rig.monitor.drained == frozenset()
    assert not rig.monitor.dead("a")
    await spin()
    assert rig.probes <= 1
    await rig.monitor.aclose()


async def test_a_backend_readmitted_ill_is_left_to_the_probes() -> None:
    rig = Rig()
    rig.monitor.drain("a")
    rig.monitor.readmit("a", healthy=False)
    assert rig.monitor.blocked == {"a"}
    rig.probe = True
    await rig.closed.wait()
    assert rig.monitor.blocked == frozenset()
    await rig.monitor.aclose()


async def test_a_healthy_readmission_is_told_whatever_the_circuit_was_before() -> None:
    rig = Rig()
    rig.closed.clear()
    rig.monitor.drain("a")
    rig.monitor.readmit("a", healthy=True)
    assert rig.closed.is_set()
    rig.monitor.stop()
    rig.closed.clear()
    rig.monitor.readmit("a", healthy=True)
    assert not rig.closed.is_set()
    await rig.monitor.aclose()


async def test_a_probe_that_a_readmission_overtook_decides_nothing() -> None:
    rig = Rig()
    rig.monitor.unhealthy("a")
    for _ in range(20):
        await asyncio.sleep(0)
        if rig.at_once:
            break
    assert rig.at_once
    rig.monitor.drain("a")
    rig.monitor.readmit("a", healthy=True)
    await spin()
    assert rig.monitor.blocked == frozenset()
    # Open again at once: still one probe at a time.
    for _ in range(5):
        rig.monitor.unhealthy("a")
        await asyncio.sleep(0)
        rig.monitor.readmit("a", healthy=True)
        rig.monitor.unhealthy("a")
    await spin()
    await rig.monitor.aclose()


async def test_a_probe_that_breaks_is_a_failed_one(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(ValueError("no such thing"))
    rig.monitor.unhealthy("a")
    await spin()
    assert rig.probes > 1
    assert "the probe of a could not be made" in caplog.text
    await rig.monitor.aclose()


async def test_the_last_success_is_remembered() -> None:
    rig = Rig()
    assert rig.monitor.seconds_since_success("a") is None
    rig.monitor.succeeded("a")
    rig.clock.now_s = 7.0
    assert rig.monitor.seconds_since_success("a") == 7.0


async def test_a_monitor_that_is_closed_leaves_no_task() -> None:
    async def probe(name: str) -> bool:
        return False

    monitor = Monitor(["a"], RULES, probe, lambda *_: None, now_s=time.monotonic)
    for _ in range(3):
        monitor.failed("a", ErrorType.CONNECT)
    assert not monitor.any_usable
    await monitor.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_probe_that_tells_nothing_is_neither_for_nor_against() -> None:
    clock, told = Clock(), iter([None, None, None, None, True])
    dead: list[bool] = []
    closed = asyncio.Event()

    async def probe(name: str) -> bool | None:
        dead.append(monitor.dead("a"))
        return next(told)

    def changed(name: str, state: CircuitState) -> None:
        if clock.now_s and state is CircuitState.CLOSED:
            closed.set()

    monitor = Monitor(["a"], RULES, probe, changed, now_s=lambda: clock.now_s, sleep=clock.sleep)
    for _ in range(3):
        monitor.failed("a", ErrorType.FIRST_TOKEN_TIMEOUT)
    await closed.wait()
    assert dead == [False] * 5
    assert clock.now_s == 5.0  # nor is the pause between two of them any longer
    await monitor.aclose()


async def test_another_monitor_goes_on_where_one_ended() -> None:
    asked, release = asyncio.Event(), asyncio.Event()
    told: list[tuple[str, CircuitState]] = []

    async def probe(name: str) -> bool:
        assert name == "open"
        asked.set()
        await release.wait()
        return True

    def made(changed: Any) -> Monitor:
        names = ["well", "open", "drained", "new"]
        return Monitor(names, RULES, probe, changed, now_s=lambda: 0.0, sleep=_at_once)

    before = made(lambda *_: None)
    before._rules = replace(RULES, first_cool_down_s=0.0)
    before.unhealthy("open")
    await asked.wait()  # half open
    before.drain("drained")
    before.failed("well", ErrorType.CONNECT)
    closed = asyncio.Event()

    def changed(name: str, state: CircuitState) -> None:
        told.append((name, state))
        if state is CircuitState.CLOSED:
            closed.set()

    after = made(changed)
    closed.clear()
    told.clear()
    after.take_over(before, ["well", "open", "drained"])
    before.stop()
    assert after.blocked == {"open", "drained"}
    assert after.dead("open")
    assert told == [("open", CircuitState.OPEN), ("drained", CircuitState.OPEN)]
    # The one before tells nobody anything any more, and probes no more.
    before._on_change = lambda *_: told.clear()
    before.unhealthy("new")
    assert len(told) == 2
    release.set()
    await asyncio.wait_for(closed.wait(), 5)
    assert after.blocked == {"drained"}
    for monitor in (before, after):
        await monitor.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _at_once(seconds: float) -> None:
    await (asyncio.sleep(0) if seconds == 0 else asyncio.Event().wait())


async def test_a_dead_backend_costs_nobody_after_its_circuit_opened(start: Start) -> None:
    rules = BreakerRules(failures=2, first_cool_down_s=0.05, longest_cool_down_s=0.1)
    health = Health(active=False, timeout_s=0.1)
    router = await start(local=silent, deadline_s=DEADLINE_S, breaker=rules, health=health)
    for _ in range(2):
        assert (await router.ask("hi")).headers["x-firsttoken-attempts"] == "2"
    assert await router.metric("llm_backend_up", backend="local") == 0
    for _ in range(10):
        reply = await router.ask("hi")
        assert reply.headers["x-firsttoken-attempts"] == "1"
        assert reply.headers["x-firsttoken-reason"] == "local_unhealthy"
    assert (await router.http.get("/readyz")).status_code == 200

    router.local.script = answer("back")
    async with asyncio.timeout(20):
        while True:
            if await router.metric("llm_backend_up", backend="local") == 1:
                break
    assert await router.metric("llm_circuit_state", backend="local", state="closed") == 1
    assert (await router.ask("hi")).headers["x-firsttoken-backend"] == "local"
    probes = [call for call in router.local.calls if call.body["max_tokens"] == 1]
    assert probes
    assert await router.metric("llm_attempts_total", backend="local") == 3


async def test_when_all_are_down_all_are_tried(start: Start) -> None:
    rules = BreakerRules(failures=1, first_cool_down_s=60.0, longest_cool_down_s=60.0)
    router = await start(breaker=rules)
    await router.local.stop()
    await router.cloud.stop()
    assert (await router.ask()).status_code == 502
    assert (await router.http.get("/readyz")).status_code == 503
    await router.cloud.listen(router.cloud.port)
    assert (await router.ask()).headers["x-firsttoken-backend"] == "cloud"


def test_a_circuit_opened_from_outside_wants_several_probes_in_a_row() -> None:
    rules = BreakerRules()
    breaker = taken_out(Breaker(), rules, 100.0, hold_s=30.0, probes=3)
    assert start_probe(breaker, 129.9) is None
    now_s, states = 130.0, []
    for succeeded in (True, True, False, True, None, True, True, True):
        probing = start_probe(breaker, now_s)
        assert probing is not None
        breaker = after_probe(probing, succeeded, rules, now_s)
        states.append(breaker.state)
        now_s = breaker.probe_at_s
    assert states == [CircuitState.OPEN] * 7 + [CircuitState.CLOSED]
    assert breaker == Breaker()


def test_a_circuit_that_opened_by_itself_keeps_its_pause_and_wants_more_probes() -> None:
    rules = BreakerRules()
    by_itself = opened(Breaker(), rules, 0.0)
    breaker = taken_out(by_itself, rules, 0.5, hold_s=30.0, probes=2)
    assert breaker.probe_at_s == by_itself.probe_at_s
    probing = start_probe(breaker, 1.0)
    assert probing is not None
    # A probe that was under way is made again: it was asked before the alert came.
    again = taken_out(probing, rules, 1.1, hold_s=30.0, probes=3)
    assert (again.state, again.wanted, again.passed) == (CircuitState.OPEN, 3, 0)
    assert again.probe_at_s == 1.1 + rules.first_cool_down_s
    # Nobody else closes it.
    assert after_success(again, rules, 2.0) == again


async def test_a_probe_under_way_when_the_backend_is_taken_out_is_made_again() -> None:
    now_s, probes = 0.0, 0
    closed = asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        await asyncio.sleep(0)

    async def probe(name: str) -> bool:
        nonlocal probes
        probes += 1
        if probes == 1:
            monitor.take_out(name, 30.0, 3)
        return True

    def changed(name: str, state: CircuitState) -> None:
        if state is CircuitState.CLOSED and probes:
            closed.set()

    monitor = Monitor(["a"], RULES, probe, changed, now_s=lambda: now_s, sleep=sleep)
    monitor.unhealthy("a")
    await asyncio.wait_for(closed.wait(), 10)
    assert probes == 4
    assert now_s == pytest.approx(4.0)
    monitor.take_out("a", 30.0, 2)
    assert monitor.blocked == {"a"}
    assert not monitor.dead("a")  # nothing was said of that
    closed.clear()
    await asyncio.wait_for(closed.wait(), 10)
    assert now_s == pytest.approx(35.0)
    await monitor.aclose()
