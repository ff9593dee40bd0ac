"""The queue before the local engine, as requests meet it, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from firsttoken.core.catalogue import CircuitState
from firsttoken.core.settings.own import Admission, Hedging
from firsttoken.core.words import ErrorType, Outcome, Reason
from router.admission import Admission as Queue
from router.health.breaker import BreakerRules
from router.policy.prediction import FirstTokenTimes
from tests.router.scripted import Fail, Script
from tests.router.simulation import World, sim_backend, world
from tests.router.virtual_time import run

SCRIPTS = {
    # Its first token after 0.1 s; it holds a slot for 1 s.
    "local": Script(headers_s=0.05, first_s=0.05, tokens=9, gap_s=0.1),
    "cloud": Script(headers_s=0.1, first_s=0.2),
}
HOLD_S = 1.0


def scene(
    act: Callable[[World], Awaitable[None]],
    slots: int | None = 1,
    *,
    deadline_s: float = 20.0,
    cloud: bool = True,
    scripts: dict[str, Script] | None = None,
    **changes: Any,
) -> None:
    """Play one scene."""

    async def main() -> None:
        backends = [sim_backend("local", slots=slots, first_token_timeout_s=deadline_s)]
        if cloud:
            backends.append(sim_backend("cloud"))
        async with world(scripts or SCRIPTS, *backends, **changes) as made:
            await act(made)
            await asyncio.gather(*made.tasks)

    run(main())


def queue_of(made: World) -> Queue:
    """Return the local backend's queue."""
    return made.serving._admissions["local"]


async def talk(made: World, turns: int) -> None:
    """Let the queue learn for how long a slot is held."""
    for _ in range(turns):
        await made.ask(model="local")


def test_the_wait_is_measured_apart_from_the_backends_first_token() -> None:
    async def act(made: World) -> None:
        await talk(made, 20)
        made.visit()
        await asyncio.sleep(0.25)
        visit = await made.ask()
        record = made.attempts[-1]
        assert visit.header("backend") == "local"
        assert record.queue_ms == pytest.approx((HOLD_S - 0.25) * 1000)
        assert record.first_token_s == pytest.approx(0.1)
        assert visit.waited_s == pytest.approx(HOLD_S - 0.25 + 0.1)
        timings = [
            part.strip().split(";dur=") for part in visit.headers["server-timing"].split(",")
        ]
        spent = {name: float(value) for name, value in timings}
        assert spent["queue"] == pytest.approx((HOLD_S - 0.25) * 1000, abs=0.01)
        assert spent["backend"] == pytest.approx(100, abs=0.01)
        asked = made.metric("backend_ttft", backend="local")
        # Sum and count of 22: what is measured of the backend has no wait in it.
        assert asked == pytest.approx(22 + 22 * 0.1)
        usual_s = made.serving.gate.times["local"].quantile(0.95, 12, made.now_ns())
        assert usual_s == pytest.approx(0.1)

    scene(act)


def test_a_full_queue_sends_to_the_cloud_at_once() -> None:
    async def act(made: World) -> None:
        await talk(made, 3)
        for _ in range(3):
            made.visit()
            await asyncio.sleep(0.01)
        visit = await made.ask()
        assert (visit.header("backend"), visit.header("reason")) == ("cloud", Reason.QUEUE_FULL)
        assert visit.header("attempts") == "1"
        assert made.calls("cloud")[0].at_s == visit.began_s
        assert queue_of(made).waiting == 2

    scene(act, admission=Admission(queue=2))


def test_a_wait_that_breaks_the_deadline_sends_to_the_cloud_at_once() -> None:
    async def act(made: World) -> None:
        await talk(made, 10)
        for _ in range(3):
            made.visit()
        await asyncio.sleep(0.01)
        visit = await made.ask()
        # Three replies of one second are before it.
        assert (visit.header("backend"), visit.header("reason")) == (
            "cloud",
            Reason.PREDICTED_LATE,
        )
        assert made.calls("cloud")[0].at_s == visit.began_s

    scene(act, deadline_s=2.5)


def test_the_other_backends_usual_first_token_is_the_deadline_where_it_is_known() -> None:
    async def act(made: World) -> None:
        await talk(made, 10)
        made.teach("local", 0.1)
        made.teach("cloud", 0.5)
        made.visit()
        await asyncio.sleep(0.2)
        assert (await made.ask()).header("reason") == Reason.PREDICTED_LATE

    scene(act)


def test_a_short_wait_stays_local() -> None:
    async def act(made: World) -> None:
        await talk(made, 10)
        made.teach("cloud", 4.0)
        made.visit()
        await asyncio.sleep(0.01)
        visit = await made.ask()
        assert (visit.header("backend"), visit.header("reason")) == ("local", "default_local")
        assert made.calls("cloud") == []

    scene(act)


@pytest.mark.parametrize("slots", [1, 3, 20])
def test_first_come_first_served_and_no_more_at_once_than_slots(slots: int) -> None:
    async def act(made: World) -> None:
        for _ in range(20):
            made.visit(model="local")
            await asyncio.sleep(0.001)
        await asyncio.gather(*made.tasks)
        assert made.transport.busiest["local"] == slots
        assert [call.request_id for call in made.calls("local")] == [f"r{n}" for n in range(20)]
        waits = [record.queue_ms or 0.0 for record in made.attempts]
        assert waits == sorted(waits)

    scene(act, slots, deadline_s=60.0, cloud=False, admission=Admission(queue=20))


def test_where_the_engine_says_nothing_nobody_waits() -> None:
    async def act(made: World) -> None:
        for _ in range(50):
            made.visit()
        await asyncio.gather(*made.tasks)
        assert made.transport.busiest["local"] == 50
        assert {record.queue_ms for record in made.attempts} == {0.0}

    scene(act, None)


def test_the_width_is_what_the_engine_reports() -> None:
    async def main() -> None:
        backends = (sim_backend("local", first_token_timeout_s=60.0), sim_backend("cloud"))
        running = world(SCRIPTS, *backends)
        async with running as made:
            assert queue_of(made).slots is None
            made.transport.answers["http://local.sim/props"] = {"total_slots": 2}
            await asyncio.sleep(0.1)
            assert queue_of(made).slots == 2
            for _ in range(6):
                made.visit(model="local")
            await asyncio.gather(*made.tasks)
            assert made.transport.busiest["local"] == 2

    run(main())


@pytest.mark.parametrize("how", ["leave_s", "stop_s"])
@pytest.mark.parametrize("after_s", [0.001, 0.5, HOLD_S, HOLD_S + 1e-6, HOLD_S + 0.02])
def test_a_client_that_leaves_the_line_gives_its_place_up(how: str, after_s: float) -> None:
    async def act(made: World) -> None:
        made.visit(model="local")
        await asyncio.sleep(0)
        gone = made.visit(model="local", **{how: after_s})
        await asyncio.sleep(0)
        last = made.visit(model="local")
        left = await gone
        assert left.still_open == []
        assert left.ended_s == pytest.approx(left.began_s + after_s)
        visit = await last
        # It moves up as if nobody had stood before it.
        began_s = max(HOLD_S, after_s)
        assert visit.waited_s == pytest.approx(began_s + 0.1)
        decision = next(each for each in made.decisions if each.request_id == "r1")
        assert (decision.outcome, decision.error_type) == (
            Outcome.CANCELLED,
            ErrorType.CLIENT_GONE,
        )

    scene(act)


def test_a_lost_race_gives_the_place_in_line_up() -> None:
    async def act(made: World) -> None:
        made.visit(model="local")
        await asyncio.sleep(0.01)
        visit = await made.ask()
        # The slots are full, so the cloud is asked at once, beside the wait.
        assert (visit.header("backend"), visit.header("reason")) == ("cloud", Reason.HEDGE_WON)
        assert made.calls("cloud")[0].at_s == visit.began_s
        assert len(made.calls("local")) == 1
        assert queue_of(made).waiting == 0
        assert queue_of(made).in_use == 1

    scene(act, hedging=Hedging(enable=True))


def test_a_wait_in_line_says_nothing_of_the_backends_first_token() -> None:
    async def act(made: World) -> None:
        for _ in range(40):
            made.visit(model="local")
            await asyncio.sleep(0.01)
        await asyncio.gather(*made.tasks)
        late = [each for each in made.attempts if each.error_type is not None]
        assert {each.error_type for each in late} == {ErrorType.FIRST_TOKEN_TIMEOUT}
        assert len(late) > 20
        times = made.serving.gate.times["local"]
        assert isinstance(times, FirstTokenTimes)
        made.teach("local", 0.1)
        # Those that were never asked are no late first tokens.
        assert times.quantile(0.95, 12, made.now_ns()) == pytest.approx(0.1)

    scene(act, deadline_s=1.5, cloud=False, admission=Admission(queue=100))


def test_a_full_queue_of_our_own_is_no_failure_of_the_engine() -> None:
    async def act(made: World) -> None:
        visits = [made.visit(model="local") for _ in range(8)]
        done = await asyncio.gather(*visits)
        assert [visit.status for visit in done] == [200] * 2 + [503] * 6
        assert {visit.headers["retry-after"] for visit in done[2:]} == {"1"}
        outcomes = [each.outcome for each in made.decisions]
        assert outcomes.count(Outcome.REJECTED) == 6
        assert made.serving.monitor.blocked == frozenset()
        open_s = made.metric("_circuit_state", backend="local", state=CircuitState.OPEN)
        assert open_s == 0

    scene(act, cloud=False, admission=Admission(queue=1), breaker=BreakerRules(failures=3))


def test_fewer_slots_leave_who_has_one_alone() -> None:
    async def act(made: World) -> None:
        for _ in range(6):
            made.visit(model="local")
        await asyncio.sleep(0.01)
        queue_of(made).resize(1)
        assert queue_of(made).in_use == 3
        done = await asyncio.gather(*made.tasks)
        assert {visit.status for visit in done} == {200}
        granted = sorted(call.at_s - done[0].began_s for call in made.calls("local"))
        assert granted == pytest.approx([0, 0, 0, 1, 2, 3])

    scene(act, 3)


def test_a_slot_that_a_dead_engine_held_comes_back() -> None:
    async def act(made: World) -> None:
        for _ in range(4):
            visit = await made.ask()
            assert visit.header("backend") == "cloud"
            assert queue_of(made).in_use == 0

    scripts = {**SCRIPTS, "local": Script(fail=Fail.SILENT)}
    scene(act, scripts=scripts, deadline_s=0.5)
