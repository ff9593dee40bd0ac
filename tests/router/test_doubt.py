"""Local replies whose first tokens look unsure, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from firsttoken.core.settings import conditions
from firsttoken.core.settings.own import Hedging
from firsttoken.core.words import ErrorType, Outcome, Reason
from router.gate import ConfidenceRules
from tests.router.scripted import Fail, Script
from tests.router.simulation import Visit, World, sim_backend, world
from tests.router.virtual_time import run

SURE = Script(tokens=6, margin=0.9)
UNSURE = Script(tokens=6, margin=0.01)
PLAIN = Script(tokens=4)
CLOUD = sim_backend("cloud", triggers=("local_model_confidence < 0.8",))
LOW = Reason.LOW_CONFIDENCE.value


def scene(
    act: Callable[[World], Awaitable[None]],
    local: Script,
    cloud: Script = PLAIN,
    *backends: Any,
    **changes: Any,
) -> None:
    """Play one scene."""

    async def main() -> None:
        scripts = {"local": local, "cloud": cloud, "backup": PLAIN}
        known = backends or (sim_backend("local"), CLOUD)
        rules = ConfidenceRules(tokens=3, budget_s=0.4)
        async with world(scripts, *known, **({"confidence": rules} | changes)) as made:
            await act(made)

    run(main())


def is_whole(visit: Visit, made: World, backend: str) -> bool:
    """Whether the client has one whole reply of this backend."""
    ((name, number),) = visit.sources
    whole = visit.reply.text == "".join(made.transport.calls[number].tokens)
    return whole and name == visit.header("backend") == backend


@pytest.mark.parametrize("dialect", ["openai", "ollama"])
@pytest.mark.parametrize("front", ["openai", "ollama", "ollama_generate"])
def test_an_unsure_reply_gives_way(dialect: str, front: str) -> None:
    async def act(made: World) -> None:
        visit = await made.ask(dialect=front)
        assert is_whole(visit, made, "cloud")
        assert (visit.header("reason"), visit.header("attempts")) == (LOW, "2")
        local, cloud = made.attempts
        assert (local.outcome, local.error_type) == (Outcome.CANCELLED, None)
        assert local.ended_ns == cloud.first_token_ns
        # Three tokens were held, not the reply.
        assert cloud.started_ns - (local.first_token_ns or 0) == pytest.approx(0.04e9)
        decision = made.decisions[0]
        assert decision.confidence == pytest.approx(0.444, abs=0.001)
        assert (decision.tier, decision.outcome) == ("remote", Outcome.SUCCESS)
        assert made.metric("fallbacks") == 0

    scene(act, UNSURE, PLAIN, sim_backend("local", dialect=dialect), CLOUD)


@pytest.mark.parametrize("dialect", ["openai", "ollama"])
@pytest.mark.parametrize("front", ["openai", "ollama", "ollama_generate"])
def test_a_sure_reply_is_served_and_shows_no_probabilities(dialect: str, front: str) -> None:
    async def act(made: World) -> None:
        visit = await made.ask(dialect=front)
        assert is_whole(visit, made, "local")
        assert made.calls("local")[0].probabilities
        assert made.calls("cloud") == []
        assert visit.header("reason") == "default_local"
        assert b"logprob" not in visit.body.replace(b'"logprobs":null', b"")
        assert (made.decisions[0].confidence or 0) > 0.9

    scene(act, SURE, PLAIN, sim_backend("local", dialect=dialect), CLOUD)


@pytest.mark.parametrize(
    "cloud",
    [
        Script(fail=Fail.REFUSED),
        Script(fail=Fail.STATUS, status=503),
        Script(fail=Fail.STATUS, status=400),
        Script(fail=Fail.SILENT),
        Script(fail=Fail.CUT),
    ],
)
@pytest.mark.parametrize("tokens", [3, 6, 40])
def test_the_held_reply_is_served_whole_where_the_other_fails(cloud: Script, tokens: int) -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert is_whole(visit, made, "local")
        assert visit.header("reason") == "default_local"
        assert made.decisions[0].outcome is Outcome.SUCCESS
        outcomes = {each.backend: (each.outcome, each.committed) for each in made.attempts}
        assert outcomes["local"] == (Outcome.SUCCESS, True)
        assert outcomes["cloud"][1] is False

    scene(act, replace(UNSURE, tokens=tokens), cloud)


def test_the_next_one_that_asked_for_such_replies_comes_before_the_held_one() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert is_whole(visit, made, "backup")
        assert visit.header("attempts") == "3"

    backup = sim_backend("backup", triggers=("local_model_confidence < 0.9",))
    scene(act, UNSURE, Script(fail=Fail.REFUSED), sim_backend("local"), CLOUD, backup)


def test_a_remote_reply_is_never_doubted() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert is_whole(visit, made, "cloud")
        assert visit.header("reason") == LOW
        assert visit.still_open == []
        assert [call.probabilities for call in made.transport.calls] == [True, False]
        # The slot of the reply that gave way is free again.
        assert (await made.ask()).header("backend") == "cloud"

    backup = sim_backend("backup", triggers=CLOUD.triggers)
    scene(act, UNSURE, replace(UNSURE, tokens=4), sim_backend("local", slots=1), CLOUD, backup)


def test_a_trigger_that_does_not_hold_is_none() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        # The one that asked failed; the other asked for replies far less sure only.
        assert is_whole(visit, made, "local")
        assert made.calls("backup") == []

    backup = sim_backend("backup", triggers=("local_model_confidence < 0.3",))
    scene(act, UNSURE, Script(fail=Fail.REFUSED), sim_backend("local"), CLOUD, backup)


def test_who_did_not_ask_for_such_replies_gets_none() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert is_whole(visit, made, "local")
        assert [call.backend for call in made.transport.calls] == ["local", "cloud"]

    backup = sim_backend("backup", triggers=("local_model_timeout",))
    scene(act, UNSURE, Script(fail=Fail.REFUSED), sim_backend("local"), CLOUD, backup)


def test_the_threshold_of_the_default_strategy() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert (visit.header("backend"), visit.header("reason")) == ("cloud", LOW)

    doubt = conditions.parse("local_model_confidence < 0.5", conditions.TRIGGERS)
    backends = (sim_backend("local"), sim_backend("cloud"))
    scene(act, UNSURE, PLAIN, *backends, rules={"doubt": doubt})


@pytest.mark.parametrize(
    "local",
    [
        Script(tokens=6),
        Script(tokens=6, zeros=True),
        Script(tokens=2, margin=0.01),
        # The third token comes after the budget.
        Script(tokens=6, margin=0.01, gap_s=0.3),
    ],
)
def test_without_evidence_the_local_reply_is_served(local: Script) -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert made.calls("local")[0].probabilities
        assert is_whole(visit, made, "local")
        assert made.calls("cloud") == []
        assert made.decisions[0].confidence is None
        assert visit.waited_s <= 0.4 + 1e-6

    scene(act, local)


TOOLS = [{"type": "function", "function": {"name": "light", "parameters": {}}}]


@pytest.mark.parametrize(
    ("question", "asked", "reason"),
    [
        ("hello", {}, Reason.RULE_SIMPLE),
        ("tell me more", {"model": "local"}, Reason.NAMED_MODEL),
        ("tell me more", {"stream": False}, Reason.DEFAULT_LOCAL),
        ("tell me more", {"fields": {"tools": TOOLS}}, Reason.DEFAULT_LOCAL),
    ],
)
def test_who_is_not_doubted(question: str, asked: dict[str, Any], reason: Reason) -> None:
    async def act(made: World) -> None:
        visit = await made.ask(question, **asked)
        assert (visit.header("backend"), visit.header("reason")) == ("local", reason)
        assert not made.calls("local")[0].probabilities
        assert made.decisions[0].confidence is None

    scene(act, UNSURE)


async def _late(made: World) -> None:
    made.teach("local", 0.31)


async def _busy(made: World) -> None:
    made.serving.watch.cpu_share = 0.95


@pytest.mark.parametrize("press", [_late, _busy])
def test_there_must_be_room_in_the_budget(press: Callable[[World], Awaitable[None]]) -> None:
    async def act(made: World) -> None:
        await press(made)
        visit = await made.ask()
        assert not made.calls("local")[0].probabilities
        assert is_whole(visit, made, "local")

    scene(act, UNSURE)


def test_no_tokens_are_looked_at_where_the_settings_say_so() -> None:
    async def act(made: World) -> None:
        assert is_whole(await made.ask(), made, "local")
        assert not made.calls("local")[0].probabilities

    scene(act, UNSURE, confidence=ConfidenceRules(tokens=0))


def test_an_engine_that_refuses_is_asked_again_without_and_remembered() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert is_whole(visit, made, "local")
        assert [call.probabilities for call in made.calls("local")] == [True, False]
        assert visit.header("attempts") == "1"
        assert made.calls("cloud") == []
        assert made.metric("errors") == 0
        await made.ask()
        assert [call.probabilities for call in made.calls("local")] == [True, False, False]

    scene(act, replace(UNSURE, refuses_probabilities=True))


def test_a_bad_request_does_not_end_the_doubt_of_all_others() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert visit.status == 400
        assert len(made.calls("local")) == 2
        made.scripts = {"local": UNSURE, "cloud": PLAIN}
        assert is_whole(await made.ask(), made, "cloud")

    scene(act, Script(fail=Fail.STATUS, status=400))


def test_a_client_that_asked_for_probabilities_has_them() -> None:
    async def act(made: World) -> None:
        visit = await made.ask(fields={"logprobs": True, "top_logprobs": 5})
        (call,) = made.calls("local")
        assert call.request.extra["top_logprobs"] == 5
        frames = [line[6:] for line in visit.body.splitlines() if line.startswith(b"data: {")]
        choices = [choice for frame in frames for choice in orjson.loads(frame)["choices"]]
        assert sum(bool(choice.get("logprobs")) for choice in choices) == 6

    scene(act, SURE)


def test_an_unsure_reply_waits_for_the_hedge_that_is_racing_already() -> None:
    async def act(made: World) -> None:
        made.teach("local", 0.25)
        visit = await made.ask()
        assert is_whole(visit, made, "cloud")
        assert visit.header("reason") == LOW
        assert visit.header("attempts") == "2"
        assert made.decisions[0].hedge == "won"

    local = Script(tokens=6, margin=0.01, headers_s=0.01, first_s=0.29)
    scene(act, local, Script(first_s=0.3), hedging=Hedging(enable=True))


def test_where_that_hedge_fails_the_unsure_reply_is_served() -> None:
    async def act(made: World) -> None:
        made.teach("local", 0.25)
        visit = await made.ask()
        assert is_whole(visit, made, "local")
        assert made.metric("errors", backend="cloud") == 1

    local = Script(tokens=6, margin=0.01, headers_s=0.01, first_s=0.29)
    scene(act, local, Script(fail=Fail.CUT, first_s=0.3), hedging=Hedging(enable=True))


def test_a_hedge_that_failed_before_leaves_the_reason_right() -> None:
    async def act(made: World) -> None:
        made.teach("local", 0.2)
        visit = await made.ask()
        assert is_whole(visit, made, "backup")
        assert visit.header("reason") == LOW

    local = Script(tokens=6, margin=0.01, headers_s=0.01, first_s=0.29)
    backup = sim_backend("backup", triggers=("local_model_confidence < 0.8",))
    refused = Script(fail=Fail.REFUSED)
    backends = (sim_backend("local"), CLOUD, backup)
    scene(act, local, refused, *backends, hedging=Hedging(enable=True))


def test_a_held_reply_that_breaks_off_is_a_failure() -> None:
    async def act(made: World) -> None:
        visit = await made.ask()
        assert is_whole(visit, made, "cloud")
        assert visit.header("reason") == Reason.FAILOVER
        assert made.metric("errors", backend="local", error_type=ErrorType.PROTOCOL) == 1

    scene(act, replace(UNSURE, fail=Fail.CUT, after=2))


@pytest.mark.parametrize("leave_s", [0.05, 0.07, 0.1, 0.2, 0.5, 1.06])
def test_a_client_that_leaves_while_a_reply_is_held(leave_s: float) -> None:
    async def act(made: World) -> None:
        visit = await made.ask(leave_s=leave_s)
        assert visit.still_open == []
        assert made.decisions[0].outcome is Outcome.CANCELLED
        assert {each.error_type for each in made.attempts} == {ErrorType.CLIENT_GONE}
        await asyncio.sleep(0)

    scene(act, UNSURE, Script(first_s=2.0), sim_backend("local", slots=1), CLOUD)
