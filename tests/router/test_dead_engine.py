"""A local engine that dies under 20 users: nobody waits for it, and it is found when it is back."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import httpx
import pytest

from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.settings.guide import FallbackRule
from firsttoken.upstreams.server import running
from router.config import Health
from router.health.breaker import BreakerRules
from router.health.modes import ModeRules, mode_rules
from tests.router.conftest import Running, Start, backend
from tests.router.walls import Engine, Healthy

USERS = 20
DEADLINE_S = 0.8
"""To the first local token."""
INTERVAL_S = 2.8
TIMEOUT_S = 1.3
"""Of one probe: longer than it takes to open the circuit, so that the probe that finds the engine
silent is still under way when the next one is due."""
STALL_S = 1.0
"""For how long a busy machine may stand still."""

SETTINGS: dict[str, Any] = {
    "breaker": BreakerRules.of_probes(3, INTERVAL_S, TIMEOUT_S),
    "health": Health(interval_s=INTERVAL_S, timeout_s=TIMEOUT_S),
}
SWITCH = mode_rules([FallbackRule(condition="local_model_unhealthy", action="switch_to_remote")])
"""What the guide wants of the mode; without it the circuit alone must do."""

PROBES = {"", "probe"}
"""Request ids of the router's own questions."""


class Users:
    """Twenty users of a router, who ask at the same moment."""

    def __init__(self, router: Running) -> None:
        self._router = router
        self.asked = 0

    async def ask(self) -> list[httpx.Response]:
        """Let each of them ask once; return the answers, all of them whole."""
        names = [f"u-{self.asked + number}" for number in range(USERS)]
        self.asked += USERS
        asking = (self._router.ask(headers={"X-Request-Id": name}) for name in names)
        replies = await asyncio.gather(*asking)
        for reply in replies:
            assert reply.status_code == 200
            assert reply.content.endswith(b"data: [DONE]\n\n")
        return replies


def told(replies: list[httpx.Response], name: str) -> set[str]:
    """Return what the router said of its way: the values of one of its headers."""
    return {reply.headers[f"x-firsttoken-{name}"] for reply in replies}


@pytest.mark.parametrize(
    ("hangs", "modes", "reasons"),
    [
        pytest.param(False, ModeRules(), {"local_unhealthy"}, id="refuses"),
        pytest.param(True, SWITCH, {"local_unhealthy", "mode_remote_only"}, id="hangs"),
    ],
)
async def test_nobody_waits_for_a_dead_engine_and_it_serves_again_in_time(
    start: Start, hangs: bool, modes: ModeRules, reasons: set[str]
) -> None:
    async with Engine() as engine, running(Healthy()) as cloud:
        backends = (
            backend("local", engine.url, slots=USERS, first_token_timeout_s=DEADLINE_S),
            backend("cloud", cloud),
        )
        router = await start(backends=backends, modes=modes, **SETTINGS)
        users = Users(router)
        assert told(await users.ask(), "backend") == {"local"}

        if hangs:
            engine.hung = True
            # A probe hangs already when the users come.
            await engine.until(lambda: engine.arrivals[-1].hung)
        else:
            await engine.stop()
        replies = await users.ask()
        assert told(replies, "backend") == {"cloud"}
        assert "failover" in told(replies, "reason")

        for _ in range(3):
            replies = await users.ask()
            assert told(replies, "backend") == {"cloud"}
            assert told(replies, "attempts") == {"1"}
            assert told(replies, "reason") <= reasons
        assert await router.metric("llm_circuit_state", backend="local", state="closed") == 0
        assert await router.metric("llm_mode", mode="remote_only") == bool(modes.rules)

        if hangs:
            # It comes back at the worst moment: a probe has just begun, and will get no answer.
            seen = len(engine.arrivals)
            await engine.until(lambda: len(engine.arrivals) > seen + 1)
            engine.hung = False
        else:
            await engine.listen()
        back_ns = monotonic_ns()
        async with asyncio.timeout(20):
            while "local" not in told(replies, "backend"):
                replies = await users.ask()
        assert told(await users.ask(), "backend") == {"local"}
        assert await router.metric("llm_mode", mode="remote_only") == 0

        await router.settled(users.asked)
        check_attempts(await router.attempts(), back_ns)
        check_arrivals(engine, back_ns)
        decisions = await router.decisions()
        assert len({each["request_id"] for each in decisions}) == len(decisions) == users.asked
        assert {each["outcome"] for each in decisions} == {"success"}
        assert await router.metric("llm_requests_total") == users.asked
        assert await router.metric("llm_requests_total", outcome="success") == users.asked
        assert await router.metric("llm_requests_in_flight") == 0


def check_attempts(attempts: list[dict[str, Any]], back_ns: int) -> None:
    """Check when the engine was asked: never while its circuit was open, and soon after."""
    local = [each for each in attempts if each["backend"] == "local"]
    failed_ns = sorted(each["ended_ns"] for each in local if each["outcome"] != "success")
    assert len(failed_ns) >= SETTINGS["breaker"].failures
    opened_ns = failed_ns[SETTINGS["breaker"].failures - 1]
    again_ns = min(each["started_ns"] for each in local if each["started_ns"] > opened_ns)
    late_ns = again_ns - back_ns
    assert 0 < late_ns <= (INTERVAL_S + STALL_S) * NS_PER_S, late_ns / NS_PER_S


def check_arrivals(engine: Engine, back_ns: int) -> None:
    """Check that the silent engine was probed again and again, one probe at a time."""
    probes = [each for each in engine.arrivals if each.request_id in PROBES]
    silent = [each for each in probes if each.hung]
    assert len(silent) >= 3 or not any(each.hung for each in engine.arrivals)
    for before, after in pairwise(probes):
        assert before.left_ns is not None
        assert before.left_ns <= after.at_ns
    assert probes[-1].at_ns > back_ns
