"""Beginnings of prompts that are read before anybody asks: when, and when again."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from firsttoken.core.settings.voice import Prefix, Voice
from firsttoken.wire.dialect import ChatRequest
from router.voice.warming import MOST_PAUSE_S, PAUSE_S, Warmer, beginning_of
from tests.router.scripted import Call, Fail, Script
from tests.router.simulation import sim_backend, world
from tests.router.virtual_time import run
from tests.router.voice.bodies import body, user
from tests.router.voice.test_foresight import turn
from tests.router.voice.test_readers import asked


def test_only_the_leading_system_prompt_is_a_beginning() -> None:
    request = turn("a")
    request.messages.append({"role": "system", "content": "later"})
    found = beginning_of(request)
    assert found is not None
    assert [each["role"] for each in found.messages] == ["system", "user"]
    assert beginning_of(ChatRequest("m", [user("hi")], stream=True)) is None


def test_what_could_not_be_read_is_wanted_again_after_longer_and_longer_pauses() -> None:
    async def told() -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        asked_s: list[float] = []

        async def ask(request: ChatRequest) -> bool:
            asked_s.append(round(loop.time() - began_s, 3))
            return len(asked_s) == 10

        warmer = Warmer(ask)
        task = asyncio.create_task(warmer.run())
        warmer.seen(turn("a"))
        await asyncio.sleep(1.0)
        warmer.seen(turn("a"))  # a talker is no reason to try at once
        await asyncio.sleep(3000.0)
        pauses = [later - sooner for sooner, later in pairwise(asked_s)]
        assert pauses[:3] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S]
        assert pauses[-1] == MOST_PAUSE_S
        assert len(asked_s) == 10
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(told())


def test_nothing_is_asked_of_an_engine_that_is_blocked_and_all_stays_wanted() -> None:
    async def told() -> None:
        asked: list[ChatRequest] = []
        usable = False

        async def ask(request: ChatRequest) -> bool:
            asked.append(request)
            return True

        warmer = Warmer(ask, lambda: usable)
        task = asyncio.create_task(warmer.run())
        warmer.seen(turn("a"))
        warmer.seen(turn("a", persona="B"))
        await asyncio.sleep(20.0)
        assert not asked
        usable = True
        await asyncio.sleep(PAUSE_S)
        assert len(asked) == 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(told())


def warm_file(folder: Path) -> Voice:
    """Return settings with one file to be warmed."""
    request = body(user("你好"))
    file = folder / "persona.json"
    told = {"model": "auto", "messages": request.messages, "tools": request.tools}
    file.write_bytes(orjson.dumps(told))
    return Voice(clients="all", prefix=Prefix(warm_files=(str(file),)))


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do at once what is done in threads: there are none in virtual time."""

    async def at_once(act: object, *values: object) -> object:
        return act(*values)  # type: ignore[operator]

    monkeypatch.setattr(asyncio, "to_thread", at_once)


@pytest.mark.usefixtures("no_threads")
def test_a_file_is_read_as_soon_as_the_engine_is_known_and_again_until_it_was(
    tmp_path: Path,
) -> None:
    async def told() -> None:
        refused = 2

        def script(call: Call) -> Script:
            nonlocal refused
            if call.backend == "local" and refused:
                refused -= 1
                return Script(fail=Fail.REFUSED)
            return Script()

        async with world(script, voice=warm_file(tmp_path)) as made:
            known = asyncio.Event()
            serving = made.serving
            serving.readers._known = lambda _: known.wait()  # type: ignore[assignment,return-value]
            await asyncio.sleep(10.0)
            assert not made.calls("local")
            known.set()
            await asyncio.sleep(1.5)
            assert len(made.calls("local")) == 1
            await asyncio.sleep(PAUSE_S + 1.5)
            assert len(made.calls("local")) == 2
            await asyncio.sleep(100.0)
            assert [call.request.max_tokens for call in made.calls("local")] == [1, 1, 1]
            visit = await made.ask("你好", **asked(body(user("你好"))))
            assert visit.header("backend") == "local"

    run(told())


@pytest.mark.usefixtures("no_threads")
def test_a_drained_engine_is_left_alone(tmp_path: Path) -> None:
    async def told() -> None:
        async with world({"local": Script()}, sim_backend("local"), voice=warm_file(tmp_path)) as m:
            m.serving.monitor.drain("local")
            await asyncio.sleep(60.0)
            assert not m.calls("local")
            m.serving.monitor.readmit("local", healthy=True)
            await asyncio.sleep(PAUSE_S + 2.0)
            assert len(m.calls("local")) == 1

    run(told())
