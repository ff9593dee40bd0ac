"""Two backends race for one request, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from firsttoken.core.catalogue import HedgeResult
from firsttoken.core.settings.own import Admission, Hedging
from firsttoken.core.words import ErrorType, Outcome, Reason
from router.config import Health
from router.hedging import CEILING_S, DEFAULT_DELAY_S, FLOOR_S
from router.serving import PRESSED_CPU_SHARE
from tests.router.scripted import Fail, Script
from tests.router.simulation import World, sim_backend, world
from tests.router.virtual_time import run

ALWAYS = Hedging(enable=True, extra_load=1.0)
SILENT = Script(fail=Fail.SILENT)
QUICK = Script(headers_s=0.01, first_s=0.04)
LATE = Script(headers_s=0.01, first_s=0.99)
"""Its first token comes after a second."""


def scene(
    act: Callable[[World], Awaitable[None]],
    local: Script,
    cloud: Script = QUICK,
    *backends: Any,
    **changes: Any,
) -> None:
    """Play one scene."""

    async def main() -> None:
        scripts = {"local": local, "cloud": cloud, "backup": QUICK}
        async with world(scripts, *backends, **({"hedging": ALWAYS} | changes)) as made:
            await act(made)

    run(main())


def hedge_s(made: World) -> float:
    """Return how long after the only local call the only cloud call was made."""
    (local,), (cloud,) = made.calls("local"), made.calls("cloud")
    return cloud.at_s - local.at_s


def results(made: World) -> dict[str, float]:
    """Return the hedges counted by result, without zeros."""
    counted = {each.value: made.metric("hedges", result=each) for each in HedgeResult}
    return {name: value for name, value in counted.items() if value}


@pytest.mark.parametrize(
    ("p95_s", "delay_s"),
    [(None, DEFAULT_DELAY_S), (0.05, FLOOR_S), (0.6, 0.6), (1.7, CEILING_S)],
)
def test_a_hedge_starts_when_local_is_later_than_it_usually_is(
    p95_s: float | None, delay_s: float
) -> None:
    async def act(made: World) -> None:
        if p95_s is not None:
            made.teach("local", p95_s)
        visit = await made.ask()
        assert hedge_s(made) == pytest.approx(delay_s)
        assert visit.reply.text == "".join(made.calls("cloud")[0].tokens)
        assert visit.waited_s == pytest.approx(delay_s + 0.05)

    scene(act, SILENT)


def test_the_delay_is_learned_from_the_engine_itself() -> None:
    async def act(made: World) -> None:
        for _ in range(20):
            await made.ask()
        assert made.calls("cloud") == []
        made.scripts = {"local": SILENT, "cloud": QUICK}
        await made.ask()
        (cloud,) = made.calls("cloud")
        assert cloud.at_s - made.calls("local")[-1].at_s == pytest.approx(0.31)

    scene(act, Script(headers_s=0.01, first_s=0.3))


async def _full(made: World) -> None:
    made.scripts = {"local": Script(tokens=40, gap_s=1.0), "cloud": QUICK}
    made.visit(model="local")
    await asyncio.sleep(0.1)
    made.scripts = {"local": QUICK, "cloud": QUICK}


async def _not_loaded(made: World) -> None:
    probe = made.serving.watch._probe
    assert probe is not None
    probe.loaded = False


async def _busy(made: World) -> None:
    made.serving.watch.cpu_share = PRESSED_CPU_SHARE + 0.01


@pytest.mark.parametrize("press", [_full, _not_loaded, _busy])
def test_a_hedge_starts_at_once_where_local_will_be_late(
    press: Callable[[World], Awaitable[None]],
) -> None:
    async def main() -> None:
        local = sim_backend("local", slots=1, first_token_timeout_s=60.0, dialect="ollama")
        scripts = {"local": LATE, "cloud": QUICK}
        health = Health(active=press is _not_loaded)
        running = world(scripts, local, sim_backend("cloud"), hedging=ALWAYS, health=health)
        async with running as made:
            await press(made)
            visit = await made.ask()
            assert made.calls("cloud")[0].at_s == visit.began_s
            assert visit.header("backend") == "cloud"
            await asyncio.gather(*made.tasks)

    run(main())


def test_a_hedge_that_wins_cancels_local() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert (visit.header("backend"), visit.header("reason")) == ("cloud", Reason.HEDGE_WON)
        assert visit.header("attempts") == "2"
        assert visit.still_open == []
        local, cloud = made.attempts
        assert (local.backend, local.outcome, local.error_type) == (
            "local",
            Outcome.CANCELLED,
            None,
        )
        assert (cloud.hedged, cloud.committed, cloud.outcome) == (True, True, Outcome.SUCCESS)
        # Cancelled at the commit, not at the end of the reply.
        assert local.ended_ns == cloud.first_token_ns
        assert results(made) == {"won": 1}
        assert made.decisions[0].hedge is HedgeResult.WON
        assert made.metric("requests", backend="cloud", outcome=Outcome.SUCCESS) == 1
        assert made.metric("fallbacks") == 0

    scene(act, LATE)


def test_a_hedge_that_loses_is_cancelled() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert (visit.header("backend"), visit.header("reason")) == ("local", "default_local")
        assert visit.sources == {("local", 0)}
        cloud, local = made.attempts
        assert (cloud.backend, cloud.outcome, cloud.hedged) == ("cloud", Outcome.CANCELLED, True)
        assert (local.outcome, local.committed) == (Outcome.SUCCESS, True)
        assert cloud.ended_ns == local.first_token_ns
        assert results(made) == {"lost": 1}
        assert made.metric("errors") == 0

    scene(act, LATE, Script(first_s=3.0))


def test_both_at_the_same_moment_is_local() -> None:
    async def act(made: World) -> None:
        for _ in range(20):
            visit = await made.ask()
            assert visit.header("backend") == "local"
        assert results(made) == {"lost": 20}

    # The hedge begins after 0.4 s, then both need till 1 s.
    scene(act, LATE, Script(headers_s=0.01, first_s=0.59))


def test_a_spent_budget_denies() -> None:
    async def act(made: World) -> None:
        first = await made.ask()
        second = await made.ask()
        assert (first.header("backend"), second.header("backend")) == ("cloud", "local")
        assert results(made) == {"won": 1, "denied": 1}
        assert made.decisions[1].hedge is HedgeResult.DENIED
        for _ in range(8):
            await made.ask()
        # Ten requests paid for one more.
        assert results(made) == {"won": 2, "denied": 8}

    scene(act, LATE, hedging=Hedging(enable=True, extra_load=0.1))


@pytest.mark.parametrize(
    ("cloud", "error_type"),
    [
        (Script(fail=Fail.REFUSED), ErrorType.CONNECT),
        (Script(fail=Fail.STATUS, status=503), ErrorType.HTTP_5XX),
        (Script(fail=Fail.STATUS, status=401), ErrorType.AUTH),
        (Script(fail=Fail.CUT), ErrorType.PROTOCOL),
        (Script(fail=Fail.ERROR), ErrorType.HTTP_5XX),
    ],
)
def test_a_hedge_that_fails_leaves_local_alone(cloud: Script, error_type: ErrorType) -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert (visit.header("backend"), visit.header("reason")) == ("local", "default_local")
        assert visit.reply.text == "".join(made.calls("local")[0].tokens)
        assert results(made) == {"failed": 1}
        assert made.metric("errors", backend="cloud", error_type=error_type) == 1
        assert made.decisions[0].outcome is Outcome.SUCCESS

    scene(act, LATE, cloud)


def test_local_fails_while_a_hedge_races() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert (visit.header("backend"), visit.header("reason")) == ("cloud", Reason.FAILOVER)
        assert visit.sources == {("cloud", 1)}
        local, cloud = made.attempts
        assert (local.error_type, cloud.outcome) == (ErrorType.CONNECT, Outcome.SUCCESS)
        assert results(made) == {"won": 1}

    scene(act, Script(fail=Fail.REFUSED, headers_s=0.6), LATE)


def test_when_both_have_failed_the_next_one_is_asked() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert (visit.header("backend"), visit.header("attempts")) == ("backup", "3")
        assert visit.header("reason") == Reason.FAILOVER

    backends = (sim_backend("local"), sim_backend("cloud"), sim_backend("backup"))
    scene(act, Script(fail=Fail.CUT, first_s=0.8), Script(fail=Fail.CUT, first_s=0.9), *backends)


@pytest.mark.parametrize("status", [400, 422])
def test_a_request_that_the_local_backend_refuses_ends_the_race(status: int) -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert visit.status == status
        assert visit.still_open == []
        assert made.decisions[0].outcome is Outcome.ERROR
        assert made.attempts[-1].outcome is Outcome.CANCELLED

    scene(act, Script(fail=Fail.STATUS, status=status, headers_s=0.5), LATE)


@pytest.mark.parametrize("status", [400, 422])
def test_a_hedge_that_is_refused_ends_nothing(status: int) -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert (visit.status, visit.header("backend")) == (200, "local")
        assert results(made) == {"failed": 1}

    scene(act, LATE, Script(fail=Fail.STATUS, status=status, headers_s=0.1))


@pytest.mark.parametrize(
    ("asked", "triggers", "scripts"),
    [
        ({"model": "local"}, (), (LATE, QUICK)),
        ({"stream": False}, (), (LATE, QUICK)),
        ({}, ("all_other_models_failed",), (LATE, QUICK)),
        ({"model": "cloud"}, (), (QUICK, LATE)),
    ],
)
def test_who_is_not_hedged(
    asked: dict[str, Any], triggers: tuple[str, ...], scripts: tuple[Script, Script]
) -> None:
    async def act(made: World) -> None:
        visit = await made.ask(**asked)
        assert visit.status == 200
        assert len(made.attempts) == 1
        assert results(made) == {}

    backends = (sim_backend("local"), sim_backend("cloud", triggers=triggers))
    scene(act, *scripts, *backends)


def test_no_hedge_in_time_no_call() -> None:
    async def act(made: World) -> None:
        await made.ask()
        await asyncio.sleep(5)
        assert made.calls("cloud") == []

    scene(act, Script(headers_s=0.01, first_s=0.38, tokens=30, gap_s=0.1))


@pytest.mark.parametrize("how", ["leave_s", "stop_s"])
@pytest.mark.parametrize("turns", range(10))
def test_a_client_that_leaves_at_the_moment_of_the_commit(how: str, turns: int) -> None:
    """However many turns of the loop lie between the first token and the client's leaving."""

    async def act(made: World) -> None:
        visit = await made.ask(**{how: 1.0}, turns=turns)
        assert visit.still_open == []
        assert made.decisions[0].outcome is Outcome.CANCELLED
        assert made.metric("in_flight") == 0

    scene(act, LATE, Script(first_s=1.5), sim_backend("local", slots=1), sim_backend("cloud"))


def test_a_client_that_leaves_during_a_race_ends_both() -> None:
    async def act(made: World) -> None:
        visit = await made.ask(leave_s=0.7)
        assert visit.left
        assert visit.still_open == []
        assert visit.ended_s == pytest.approx(visit.began_s + 0.7)
        ended = [(each.backend, each.outcome, each.error_type) for each in made.attempts]
        gone = (Outcome.CANCELLED, ErrorType.CLIENT_GONE)
        assert ended == [("local", *gone), ("cloud", *gone)]

    scene(act, SILENT, SILENT, admission=Admission(enable=False))
