"""Memory summaries delay nobody who talks, and get through; intents go first. In virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any

import pytest

from firsttoken.core.settings import conditions
from firsttoken.core.settings.voice import Voice
from firsttoken.core.words import ErrorType, Outcome, Reason, Tier
from router.admission import Admission as Queue
from router.policy.background import in_background
from router.policy.plan import Plan, PlannedAttempt, Rules, State, plan
from router.policy.signals import Signals
from router.voice.background import MOST_BEGUN, PATIENCE_S, SETTLE_S
from tests.router.scripted import Call, Fail, Script
from tests.router.simulation import Visit, World, sim_backend, world
from tests.router.virtual_time import run

SUMMARY = {"before": [{"role": "system", "content": "# 时空记忆编织者\n…"}]}
INTENT = {"before": [{"role": "system", "content": "你是一个意图识别助手。handle_exit_intent …"}]}
CHAT = {"before": [{"role": "system", "content": "<speaker_recognition>\n小猫头鹰"}]}

SPOKEN_S = 1.0
"""For how long an answer holds a slot."""
WRITTEN_S = 10.0
"""How long a summary takes."""


def scripts(call: Call) -> Script:
    """Return an answer of one second, its first token after 0.1 s; or a long summary."""
    if _is_summary(call):
        return Script(headers_s=0.1, first_s=0.9, tokens=10, gap_s=0.9)
    return Script(headers_s=0.05, first_s=0.05, tokens=9, gap_s=0.1)


def _is_summary(call: Call) -> bool:
    return "时空" in str(call.request.messages[0]["content"])


def scene(
    act: Callable[[World], Awaitable[None]],
    *backends: Any,
    script: Callable[[Call], Script] = scripts,
    **changes: Any,
) -> None:
    """Play one scene, with one local backend of two slots where none is given."""

    async def main() -> None:
        known = backends or (sim_backend("local", slots=2),)
        async with world(script, *known, **changes) as made:
            await act(made)
            await asyncio.gather(*made.tasks)

    run(main())


def queue_of(made: World) -> Queue:
    """Return the local backend's queue."""
    return made.serving.queues["local"]


def summaries(made: World) -> list[Call]:
    """Return the calls for summaries that reached the local backend."""
    return [call for call in made.calls("local") if _is_summary(call)]


def test_with_a_cloud_a_summary_goes_there() -> None:
    async def act(made: World) -> None:
        visit = await made.ask(**SUMMARY)
        assert (visit.header("backend"), visit.header("reason")) == ("cloud", Reason.BACKGROUND)
        chat = await made.ask(**CHAT)
        assert chat.header("backend") == "local"
        assert made.decisions[0].plan == [
            {"backend": "cloud", "reason": Reason.BACKGROUND},
            {"backend": "local", "reason": Reason.FAILOVER},
        ]

    scene(act, sim_backend("local"), sim_backend("cloud"))


def test_it_waits_until_nobody_talks_and_comes_whole() -> None:
    async def act(made: World) -> None:
        talking = made.visit(**CHAT)
        await asyncio.sleep(0.2)
        visit = await made.ask(**SUMMARY)
        talked = await talking
        (call,) = summaries(made)
        assert call.at_s == pytest.approx(talked.began_s + SPOKEN_S + SETTLE_S, abs=0.01)
        assert visit.status == 200
        assert visit.waited_s == pytest.approx(SPOKEN_S - 0.2 + SETTLE_S + WRITTEN_S, abs=0.05)
        assert visit.reply.text == "".join(call.tokens)
        assert visit.header("reason") == Reason.DEFAULT_LOCAL
        record = made.attempts[-1]
        assert record.queue_ms == pytest.approx(800, abs=10)
        # Nobody waited for a first token: it is in no figure.
        assert record.first_token_ns is None
        assert made.metric("ttft", backend="local") == pytest.approx(1 + talked.waited_s)

    scene(act)


def test_it_is_given_up_when_somebody_comes_and_begun_anew() -> None:
    async def act(made: World) -> None:
        waiting = made.visit(**SUMMARY)
        await asyncio.sleep(WRITTEN_S)
        assert len(made.transport.open) == 1
        talking = made.visit(**CHAT)
        await asyncio.sleep(0.001)
        # At once, although a slot was free.
        assert [call.request_id for call in made.transport.open.values()] == ["r1"]
        assert (await talking).waited_s == pytest.approx(0.1)
        visit = await waiting
        first, second = summaries(made)
        assert visit.sources == {("local", second.number)}
        assert visit.reply.text == "".join(second.tokens)
        again_s = first.at_s + WRITTEN_S - SETTLE_S + SPOKEN_S + SETTLE_S
        assert second.at_s == pytest.approx(again_s, abs=0.01)
        (attempt,) = (each for each in made.attempts if each.request_id == "r0")
        assert (attempt.outcome, attempt.committed) == (Outcome.SUCCESS, True)

    scene(act)


def test_a_whole_reply_gives_way_too() -> None:
    async def act(made: World) -> None:
        waiting = made.visit(stream=False, **SUMMARY)
        await asyncio.sleep(2)
        await made.ask(**CHAT)
        visit = await waiting
        assert visit.sources == {("local", summaries(made)[1].number)}

    scene(act)


def test_one_at_a_time_in_the_order_in_which_they_came() -> None:
    async def act(made: World) -> None:
        visits = [made.visit(**SUMMARY) for _ in range(3)]
        await asyncio.sleep(WRITTEN_S / 2)
        assert queue_of(made).waiting_behind == 2
        await made.ask(**CHAT)
        await asyncio.gather(*visits)
        assert [call.request_id for call in summaries(made)] == ["r0", "r0", "r1", "r2"]

    scene(act)


@pytest.mark.parametrize("seed", range(3))
def test_talkers_wait_as_long_as_without_summaries(seed: int) -> None:
    def waits(*, with_summaries: bool) -> tuple[list[float], list[Visit]]:
        found: list[float] = []
        written: list[Visit] = []

        async def act(made: World) -> None:
            draw = random.Random(seed)  # noqa: S311 - a schedule, no secret
            chats = []
            for _ in range(60):
                await asyncio.sleep(draw.expovariate(1.2))
                chats.append(made.visit(**CHAT))
                if draw.random() < 0.15 and with_summaries:
                    made.visit(**SUMMARY)
            found.extend([(await each).waited_s for each in chats])
            await asyncio.gather(*made.tasks)
            written.extend(each for each in made.visits if each.before == SUMMARY["before"])

        scene(act)
        return found, written

    alone, nothing = waits(with_summaries=False)
    beside, written = waits(with_summaries=True)
    assert beside == pytest.approx(alone)
    assert not nothing
    assert len(written) > 3
    # They get through in the end, as soon as it is quiet.
    for visit in written:
        assert visit.status == 200
        assert len(visit.sources) == 1


def test_where_it_is_never_quiet_it_fails_and_blames_nobody() -> None:
    async def act(made: World) -> None:
        waiting = made.visit(**SUMMARY)
        for _ in range(MOST_BEGUN):
            await asyncio.sleep(SETTLE_S + 1)
            assert not waiting.done()
            await made.ask(**CHAT)
            # A short pause is none.
            await asyncio.sleep(SETTLE_S / 2)
            await made.ask(**CHAT)
        visit = await waiting
        assert (visit.status, visit.headers["retry-after"]) == (503, "30")
        assert len(summaries(made)) == MOST_BEGUN
        (decision,) = (each for each in made.decisions if each.request_id == "r0")
        assert decision.outcome is Outcome.REJECTED
        assert made.metric("errors", error_type=ErrorType.OVERLOADED) == 1
        assert not made.serving.monitor.blocked
        assert queue_of(made).waiting_behind == 0

    scene(act)


def test_its_patience_is_long_but_has_an_end() -> None:
    def script(call: Call) -> Script:
        return scripts(call) if _is_summary(call) else Script(first_s=0.1, tokens=30, gap_s=1.9)

    async def act(made: World) -> None:
        for _ in range(10):
            made.visit(model="local", **CHAT)
        await asyncio.sleep(0.1)
        visit = await made.ask(model="local", **SUMMARY)
        # Asked for by name, it stays there as long as there is hope.
        assert visit.waited_s == pytest.approx(PATIENCE_S, abs=1)
        assert (visit.header("backend"), visit.header("reason")) == ("cloud", Reason.FAILOVER)
        assert made.serving.watch.state.mode == "normal"

    local = sim_backend("local", slots=2, first_token_timeout_s=1000.0)
    scene(act, local, sim_backend("cloud", first_token_timeout_s=20.0), script=script)


def test_a_client_that_gives_up_sooner_is_told_before() -> None:
    async def act(made: World) -> None:
        made.visit(**CHAT)
        says = {"x-stainless-read-timeout": "10"}
        visit = await made.ask(says=says, stream=False, **SUMMARY)
        assert visit.status == 503
        assert visit.waited_s == pytest.approx(9.0)
        visit = await made.ask(says=says, dialect="ollama", **SUMMARY)
        assert visit.status == 503

    scene(act)


QUICK = {"x-stainless-read-timeout": "6"}
WAIT = b": waiting\n\n"


def test_a_client_of_a_stream_is_told_to_wait() -> None:
    """Its timeout is that of a talk, and a summary takes longer."""

    async def act(made: World) -> None:
        visit = await made.ask(says=QUICK, **SUMMARY)
        assert visit.waited_s == pytest.approx(2.0)
        assert visit.body.startswith(WAIT)
        assert visit.body.count(WAIT) == 5  # every 2 s of 11
        assert visit.reply.text
        assert visit.whole
        assert visit.told is None
        assert made.metric("requests", outcome=Outcome.SUCCESS) == 1
        # Who has time enough gets an error status, and may ask again.
        patient = await made.ask(says={"x-stainless-read-timeout": "300"}, **SUMMARY)
        assert WAIT not in patient.body

    scene(act)


def test_a_wait_in_vain_is_broken_off() -> None:
    def script(call: Call) -> Script:
        return Script(headers_s=3.0, first_s=1.0, fail=Fail.CUT, after=3)

    async def act(made: World) -> None:
        visit = await made.ask(says=QUICK, **SUMMARY)
        assert (visit.status, visit.whole) == (200, True)
        assert visit.body.startswith(WAIT)
        assert visit.told is not None
        assert made.metric("requests", outcome=Outcome.ERROR) == 1
        # At once it is an error status as ever.
        made.scripts = lambda _: Script(fail=Fail.REFUSED)
        assert (await made.ask(says=QUICK, **SUMMARY)).status == 502

    scene(act, script=script)


def test_who_leaves_while_told_to_wait_leaves_nothing_behind() -> None:
    async def act(made: World) -> None:
        whole = await made.ask(says=QUICK, **SUMMARY)
        # While it waits, when it is told so, and at the very moment when the reply is whole.
        moments_s = (5.0, 6.0, whole.ended_s - whole.began_s)
        for leave_s, turns in product(moments_s, range(12)):
            visit = await made.ask(says=QUICK, leave_s=leave_s, turns=turns, **SUMMARY)
            assert not visit.still_open
            assert (queue_of(made).in_use, queue_of(made).waiting_behind) == (0, 0)
        assert not made.transport.open

    scene(act)


def test_a_backend_that_fails_is_told_so() -> None:
    def script(call: Call) -> Script:
        return Script(fail=Fail.CUT, after=3)

    async def act(made: World) -> None:
        visit = await made.ask(**SUMMARY)
        assert visit.status == 502
        # What was read was handed to nobody.
        assert not visit.sources
        assert made.metric("errors", error_type=ErrorType.PROTOCOL) == 1
        assert queue_of(made).in_use == 0

    scene(act, script=script)


def test_a_client_that_leaves_leaves_the_line() -> None:
    async def act(made: World) -> None:
        made.visit(**CHAT)
        waiting = made.visit(leave_s=0.5, **SUMMARY)
        working = made.visit(leave_s=4.0, **SUMMARY)
        await asyncio.sleep(0.6)
        assert queue_of(made).waiting_behind == 1
        await asyncio.gather(waiting, working)
        assert not made.transport.open
        assert queue_of(made).in_use == 0

    scene(act)


def test_it_can_be_switched_off() -> None:
    async def act(made: World) -> None:
        for _ in range(2):
            made.visit(**CHAT)
        visit = await made.ask(**SUMMARY)
        assert visit.header("backend") == "local"
        assert visit.waited_s == pytest.approx(SPOKEN_S + 1.0, abs=0.1)

    backends = sim_backend("local", slots=2, first_token_timeout_s=20.0), sim_backend("cloud")
    scene(act, *backends, voice=Voice(background=False))
    scene(act, *backends, voice=Voice(clients="none"))


def test_an_intent_is_short_and_goes_first() -> None:
    async def act(made: World) -> None:
        for _ in range(4):
            made.visit(**CHAT)
        await asyncio.sleep(0.01)
        intent = made.visit(fields={"max_tokens": 500}, **INTENT)
        await asyncio.gather(*made.tasks)
        calls = made.calls("local")
        assert [call.request_id for call in calls] == ["r0", "r1", "r4", "r2", "r3"]
        assert calls[2].request.max_tokens == 128
        assert calls[0].request.max_tokens is None
        assert (await intent).status == 200

    scene(act, sim_backend("local", slots=2, first_token_timeout_s=20.0))


def test_what_is_asked_about_a_conversation_is_none_of_its_own() -> None:
    async def act(made: World) -> None:
        await made.ask(**INTENT)
        await made.ask(**CHAT)
        await made.ask(**SUMMARY)
        assert len(made.books.conversations) == 1

    scene(act)


LOCAL, CLOUD = sim_backend("local"), sim_backend("cloud")
LAST = sim_backend("last", triggers=("all_other_models_failed",))


def order(chosen: Plan) -> list[tuple[str, Reason]]:
    """Return the backends of a plan with the reasons."""
    return [(each.backend.name, each.reason) for each in chosen.attempts]


def test_the_plan_of_what_nobody_waits_for() -> None:
    def planned(
        *backends: Any, model: str = "auto", state: State | None = None, **rules: Any
    ) -> list[tuple[str, Reason]]:
        chosen = plan(model, Signals(), Rules(backends, **rules), state or State())
        return order(in_background(chosen))

    behind = ("local", Reason.FAILOVER)
    last = ("last", Reason.ALL_OTHERS_FAILED)
    assert planned(LOCAL, CLOUD) == [("cloud", Reason.BACKGROUND), behind]
    assert planned(CLOUD, LOCAL) == [("cloud", Reason.BACKGROUND), behind]
    assert planned(LOCAL, LAST) == [("local", Reason.DEFAULT_LOCAL), last]
    assert planned(LOCAL, CLOUD, LAST) == [("cloud", Reason.BACKGROUND), behind, last]
    assert planned(LOCAL) == [("local", Reason.DEFAULT_LOCAL)]
    assert planned(LOCAL, CLOUD, hybrid=False) == [("local", Reason.LOCAL_ONLY)]
    assert planned(LOCAL, CLOUD, model="local")[0] == ("local", Reason.NAMED_MODEL)
    blocked = State(blocked=frozenset({"cloud"}))
    assert planned(LOCAL, CLOUD, state=blocked) == [("local", Reason.DEFAULT_LOCAL)]
    assert planned() == []


def test_nobody_races_it() -> None:
    doubt = conditions.parse("local_model_confidence < 0.5", conditions.TRIGGERS)
    later = PlannedAttempt(CLOUD, Reason.FAILOVER, doubt, hedge=True)
    attempts = PlannedAttempt(LOCAL, Reason.DEFAULT_LOCAL), later
    for each in in_background(Plan(attempts)).attempts:
        assert (each.hedge, each.doubt) == (False, None)
        assert each.backend.tier in Tier
