"""The breaker as pure functions, its monitor in simulated time, and both behind the router."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.catalogue import CircuitState
from firsttoken.core.words import ErrorType
from router.health.breaker import (
    TRIPPING,
    Breaker,
    BreakerRules,
    after_failure,
    after_probe,
    after_success,
    start_probe,
)
from router.health.monitor import Monitor
from tests.router.conftest import Start
from tests.router.upstream import answer, silent

RULES = BreakerRules(failures=3, first_cool_down_s=1.0, longest_cool_down_s=8.0)


def test_a_circuit_opens_probes_and_closes() -> None:
    breaker = Breaker()
    for _ in range(3):
        assert breaker.state is CircuitState.CLOSED
        breaker = after_failure(breaker, ErrorType.CONNECT, RULES, 10.0)
    assert breaker.state is CircuitState.OPEN
    assert after_success(breaker) == breaker
    assert start_probe(breaker, 10.9) is None
    probing = start_probe(breaker, 11.0)
    assert probing is not None
    assert probing.state is CircuitState.HALF_OPEN
    assert start_probe(probing, 99.0) is None
    again = after_probe(probing, succeeded=False, rules=RULES, now_s=12.0)
    assert (again.state, again.probe_at_s) == (CircuitState.OPEN, 14.0)
    assert after_probe(probing, succeeded=True, rules=RULES, now_s=12.0) == Breaker()


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker = after_failure(breaker, ErrorType.PROTOCOL, RULES, 0.0)
        breaker = after_failure(breaker, ErrorType.PROTOCOL, RULES, 0.0)
        breaker = after_success(breaker)
    assert breaker.state is CircuitState.CLOSED


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
            breaker = after_success(breaker)
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
        assert monitor.state("a") is CircuitState.HALF_OPEN
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


async def test_a_monitor_that_is_closed_leaves_no_task() -> None:
    async def probe(name: str) -> bool:
        return False

    monitor = Monitor(["a"], RULES, probe, lambda *_: None, now_s=time.monotonic)
    for _ in range(3):
        monitor.failed("a", ErrorType.CONNECT)
    assert not monitor.any_usable
    await monitor.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_dead_backend_costs_nobody_after_its_circuit_opened(start: Start) -> None:
    rules = BreakerRules(failures=2, first_cool_down_s=0.05, longest_cool_down_s=0.1)
    router = await start(local=silent, breaker=rules, probe_timeout_s=0.1)
    for _ in range(2):
        assert (await router.ask("hi")).headers["x-firsttoken-attempts"] == "2"
    assert await router.metric("llm_backend_up", backend="local") == 0
    for _ in range(10):
        reply = await router.ask("hi")
        assert reply.headers["x-firsttoken-attempts"] == "1"
        assert reply.headers["x-firsttoken-reason"] == "local_unhealthy"
    assert (await router.http.get("/readyz")).status_code == 200

    router.local.script = answer("back")
    async with asyncio.timeout(3):
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
