"""What preparing a talking device's request costs the router: under 300 microseconds for 15 KB."""

from __future__ import annotations

from itertools import count
from typing import Any
from unittest.mock import AsyncMock

from firsttoken.core.settings.voice import Voice
from firsttoken.core.words import CallClass
from firsttoken.wire.dialect import ChatRequest
from router.voice.clock import ClockMemory
from router.voice.fingerprints import fingerprint
from router.voice.foresight import LocalReader
from router.voice.prepare import prepare
from router.voice.talk import Talk
from router.voice.warming import Warmer
from tests.router.voice.bodies import LOCAL, assistant, body, user

HISTORY = [each for n in range(6) for each in (user(f"第{n}个问题"), assistant(f"answer {n} 🙂"))]
MOST_S = 300e-6


def test_a_prompt_of_this_minute(benchmark: Any) -> None:
    """Nearly every request: the system prompt is the one of the request before."""
    request, clocks = body(*HISTORY, user("and now?"), shuffled=1), ClockMemory()
    found = benchmark(prepare, request, LOCAL, Voice(), CallClass.CHAT, clocks)
    assert len(found.messages) == len(HISTORY) + 2
    assert benchmark.stats.stats.median < MOST_S


def test_a_prompt_of_a_new_minute(benchmark: Any) -> None:
    """The time has to be found anew."""
    minutes, clocks = count(), ClockMemory()

    def fresh() -> tuple[tuple[Any, ...], dict[str, Any]]:
        minute = next(minutes) % 1440
        clock = f"{minute // 60:02d}:{minute % 60:02d}"
        request: ChatRequest = body(*HISTORY, user("and now?"), clock=clock, shuffled=minute)
        return (request, LOCAL, Voice(), CallClass.CHAT, clocks), {}

    benchmark.pedantic(prepare, setup=fresh, rounds=300)
    assert benchmark.stats.stats.median < MOST_S


def test_a_whole_request(benchmark: Any) -> None:
    """All of it: foreseen, noted for warming, prepared for its first attempt, and given a place."""
    request, clocks = body(*HISTORY, user("and now?"), shuffled=1), ClockMemory()
    reader = LocalReader(LOCAL, 8192, lambda: 0.0)
    warmer = Warmer(AsyncMock())

    def serve() -> None:
        talk = Talk(Voice(), CallClass.CHAT, clocks)
        sent = talk.prepared(request, LOCAL, "openai")
        prompt = fingerprint(sent)
        reader.forecast(sent, prompt)
        warmer.seen(sent, prompt)
        sent = talk.prepared(request, LOCAL, "openai")
        prompt = fingerprint(sent)
        reader.forecast(sent, prompt)
        reader.serve(sent, sticky=True, in_use=0, prompt=prompt)[1].close()

    benchmark(serve)
    assert benchmark.stats.stats.median < MOST_S


def test_a_forecast(benchmark: Any) -> None:
    """What the policy asks of a prepared prompt."""
    request = prepare(body(*HISTORY, user("?")), LOCAL, Voice(), CallClass.CHAT, ClockMemory())
    reader = LocalReader(LOCAL, 4096, lambda: 0.0)
    reader.met(24, 4096)
    assert benchmark(reader.forecast, request).tokens > 1000
    assert benchmark.stats.stats.median < MOST_S
