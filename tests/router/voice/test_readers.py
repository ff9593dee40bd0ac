"""Long prompts of talking devices on their way through the router, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.settings.voice import Prefix, Voice
from firsttoken.core.words import CallClass, ErrorType, Reason
from firsttoken.wire.dialect import ChatRequest
from router.app import Router
from router.backends.requests import ReplyOptions
from router.voice.clock import ClockMemory
from router.voice.prefill import Prefill
from router.voice.talk import Talk
from tests.router.scripted import Script, SimReply
from tests.router.simulation import World, config_of, sim_backend, world
from tests.router.virtual_time import run
from tests.router.voice.bodies import LOCAL, REMOTE, body, user

SCRIPTS = {"local": Script(), "cloud": Script()}
STILL = Voice(clients="all", prefix=Prefix(warm=False))


def asked(request: ChatRequest) -> dict[str, Any]:
    """Return what makes a client of the simulation send ``request``."""
    return {
        "before": request.messages[:-1],
        "fields": {"tools": request.tools, "max_tokens": 20},
    }


def teach(made: World, tokens_each_s: float) -> None:
    """Let the local engine be known to read a prompt so slowly."""
    reader = made.serving.readers._readers["local"]
    reader.prefill = Prefill()
    for tokens in (100, 1000, 3000):
        reader.prefill.took(tokens, 0.1 + tokens * tokens_each_s)
    assert reader.prefill.line() is not None


def test_a_cold_long_prompt_goes_to_the_cloud_and_a_warm_one_stays() -> None:
    async def told() -> None:
        first = asked(body(user("你好")))
        async with world(SCRIPTS, voice=STILL) as made:
            await made.ask("你好", **first)
            teach(made, 0.004)
            other = asked(body(user("你好")))
            other["before"][0] = {**other["before"][0], "content": "B" * 9000}
            cold = await made.ask("你好", **other)
            again = await made.ask("你好", **first)
        assert again.header("backend") == "local"
        assert cold.header("backend") == "cloud"
        assert cold.header("reason") == Reason.PROMPT_TOO_LONG

    run(told())


def test_an_engine_that_was_restarted_knows_no_prompt() -> None:
    """Also where the restart was planned, and its circuit never open."""

    async def told() -> None:
        request = asked(body(user("你好")))
        async with world(SCRIPTS, voice=STILL) as made:
            await made.ask("你好", **request)
            teach(made, 0.004)
            warm = await made.ask("你好", **request)
            made.serving.monitor.drain("local")
            made.serving.monitor.readmit("local", healthy=True)
            teach(made, 0.004)
            cold = await made.ask("你好", **request)
        assert warm.header("backend") == "local"
        assert cold.header("reason") == Reason.PROMPT_TOO_LONG

    run(told())


@pytest.mark.parametrize("cloud", [True, False])
def test_a_prompt_over_the_context_is_never_cut(cloud: bool) -> None:
    async def told() -> None:
        backends = [
            sim_backend("local", dialect="ollama"),
            *([sim_backend("cloud")] if cloud else []),
        ]
        options = {"local": ReplyOptions(loading={"num_ctx": 1024})}
        voice = Voice(clients="all", spoken_failure="", prefix=Prefix(warm=False))
        async with world(SCRIPTS, *backends, voice=voice, options=options) as made:
            visit = await made.ask("你好", **asked(body(user("你好"))))
            assert not made.calls("local")
        if cloud:
            assert visit.header("reason") == Reason.CONTEXT_OVERFLOW
            return
        assert visit.status == 400
        assert "1024 tokens of one slot" in visit.body.decode()
        assert made.attempts[0].error_type is ErrorType.CONTEXT_OVERFLOW

    run(told())


def test_what_was_sent_to_the_cloud_for_its_length_is_read_in_the_background() -> None:
    async def told() -> None:
        request = asked(body(user("你好")))
        async with world(SCRIPTS, voice=Voice(clients="all")) as made:
            teach(made, 0.004)
            first = await made.ask("你好", **request)
            assert first.header("reason") == Reason.PROMPT_TOO_LONG
            await asyncio.sleep(5.0)
            warmed = made.calls("local")
            second = await made.ask("你好", **request)
        assert [call.request.max_tokens for call in warmed] == [1]
        assert warmed[0].request.messages[-1] == user(".")
        assert second.header("backend") == "local"

    run(told())


def test_an_intent_is_no_beginning_and_is_foreseen_as_it_is_sent() -> None:
    async def told() -> None:
        async with world(SCRIPTS, voice=Voice(clients="all")) as made:
            readers, request = made.serving.readers, body(user("你好"))
            request = replace(request, max_tokens=500)
            for talk in (
                Talk(made.serving.config.voice, CallClass.INTENT, ClockMemory()),
                Talk(made.serving.config.voice, CallClass.SUMMARY, ClockMemory()),
            ):
                readers.foresee(request, talk, {}, lambda: None)
                assert not len(readers._warmers["local"])
            intent = Talk(made.serving.config.voice, CallClass.INTENT, ClockMemory())
            local = readers._readers["local"].backend
            assert readers._as_sent(request, intent, local).max_tokens == 128
            chat = Talk(made.serving.config.voice, CallClass.CHAT, ClockMemory())
            readers.foresee(request, chat, {}, lambda: None)
            assert len(readers._warmers["local"]) == 1

    run(told())


def test_a_request_is_prepared_once_for_each_backend() -> None:
    clocks, request = ClockMemory(), body(user("你好"))
    talk = Talk(Voice(), CallClass.CHAT, clocks)
    first = talk.prepared(request, LOCAL, "openai")
    assert talk.prepared(request, LOCAL, "openai") is first
    other = talk.prepared(request, LOCAL, "ollama")
    assert other is not first
    assert other.messages == first.messages
    assert talk.prepared(request, REMOTE, "openai").messages[-1] == first.messages[-1]
    again = replace(request, messages=[*request.messages, user("and?")])
    assert talk.prepared(again, LOCAL, "openai").messages != first.messages


def test_slots_in_the_settings_are_asked_for_when_a_device_first_speaks() -> None:
    async def told() -> None:
        local = sim_backend("local", slots=2)
        async with world(SCRIPTS, local, sim_backend("cloud"), voice=STILL) as made:
            asked_of: list[str] = []
            get = made.transport.get
            props = {"total_slots": 3, "default_generation_settings": {"n_ctx": 5000}}
            made.transport.answers["http://local.sim/props"] = props

            async def listening(url: str, headers: Mapping[str, str]) -> SimReply:
                asked_of.append(url)
                return await get(url, headers)

            made.transport.get = listening  # type: ignore[method-assign]
            await asyncio.sleep(10.0)
            assert not asked_of
            for _ in range(2):
                await made.ask("你好", **asked(body(user("你好"))))
                await asyncio.sleep(1.0)
            assert asked_of == ["http://local.sim/props"]
            reader = made.serving.readers._readers["local"]
            assert (reader.pinnable, reader.slots, reader.context) == (True, 3, 5000)
            assert made.serving.queues["local"].slots == 2
            assert "id_slot" in made.calls("local")[-1].request.extra

    run(told())


def test_a_reload_keeps_what_was_learned_and_takes_the_new_settings() -> None:
    async def told() -> None:
        async with world(SCRIPTS, voice=STILL) as made:
            await made.ask("你好", **asked(body(user("你好"))))
            before = made.serving.readers
            changed = config_of(sim_backend("local", first_token_timeout_s=7.0), voice=STILL)
            after = World(changed, SCRIPTS).serving.readers
            after.take_over(before, {"local"})
            old, new = before._readers["local"], after._readers["local"]
            assert (new.backend.first_token_timeout_s, old.backend.first_token_timeout_s) == (7, 2)
            assert new.fingerprints is old.fingerprints
            assert new.prefill is old.prefill

    run(told())


def test_the_memory_of_times_goes_by_the_routers_own_clock() -> None:
    router = Router(config_of(), now_ns=lambda: 7 * NS_PER_S)
    assert router._clocks._now_s() == 7.0


def test_other_clients_are_sent_as_they_are() -> None:
    async def told() -> None:
        request = asked(body(user("你好")))
        async with world(SCRIPTS, voice=Voice(clients="none")) as made:
            await made.ask("你好", **request)
            (call,) = made.calls("local")
        assert call.request.messages[:-1] == request["before"]
        assert call.request.tools == request["fields"]["tools"]
        assert not call.request.extra

    run(told())
