"""The contract with the real client, in front of the real engine and of the emulated cloud: where
what is said does not matter, the rules hold whoever says it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pytest

from firsttoken.engines.options import EngineOptions, default_model
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials.voice_device import Device, Kind, Provider
from firsttoken.upstreams.cloud import Behaviour, Cloud
from firsttoken.upstreams.draws import Span
from firsttoken.upstreams.server import running
from router.backends.requests import ReplyOptions
from tests.router.conftest import Running, Start, backend
from tests.router.voice.scenes import CALLS, quick, stream, talk
from tests.router.voice.test_contract_dialogue import DIALOGUES

MOST_TOKENS = 8
HARDEST = ("content null", "an answer at the end of the list", "an answer that nobody asked for")


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineSupervisor]:
    options = EngineOptions(
        model=default_model(),
        slots=1,  # every prompt finds the beginning of the one before in its cache
        context_per_slot=2048,
        threads=2,
        preload=False,
        prompt_cache_mib=0,
    )
    with EngineSupervisor(options) as supervisor:
        yield supervisor


@dataclass
class House:
    """A router in front of one real server."""

    router: Running
    name: str

    async def ask(self, body: dict[str, Any]) -> Any:
        return await stream(self.router.url, body | {"max_tokens": MOST_TOKENS})


@pytest.fixture(params=["engine", "emulated cloud"])
async def house(
    request: pytest.FixtureRequest, start: Start, engine: EngineSupervisor
) -> AsyncIterator[House]:
    limits = {name: ReplyOptions(max_tokens=MOST_TOKENS) for name in ("local", "cloud")}
    if request.param == "engine":
        only = backend("local", engine.url, model=engine.options.model_name)
        yield House(await start(backends=(only,), options=limits), request.param)
        return
    quickly = Behaviour(first_token_s=Span(0.002, 0.005), tokens_per_second=2000)
    async with running(Cloud(quickly)) as url:
        only = backend("cloud", url, model="qwen-flash")
        yield House(await start(backends=(only,), options=limits), request.param)


async def test_every_class_of_call(house: House) -> None:
    """1.2: each gets a whole stream by the rules of 1.4, and text. Of the engine, which reads each
    prompt, one of each kind is asked."""
    for name, body in CALLS.items():
        if house.name == "engine" and name not in {"chat", "after_tool", "intent"}:
            continue
        found = await house.ask(body)
        assert (name, found.status) == (name, 200)
        assert found.is_whole
        assert found.calls() or found.text.strip()
        assert not {"content"} & {delta.get("content") for delta in found.deltas}
        assert b"reasoning" not in found.raw


async def test_all_dialogues_at_once(house: House) -> None:
    """1.3: what strict servers refuse is served."""
    body = talk("Hello!", tools=False)
    first, last = body["messages"]
    names = HARDEST if house.name == "engine" else tuple(DIALOGUES)
    body["messages"] = [first, *chain.from_iterable(DIALOGUES[name] for name in names), last]
    found = await house.ask(body)
    assert found.status == 200
    assert found.is_whole
    assert found.text.strip()
    assert (await house.router.settled(1))[0]["outcome"] == "success"


@pytest.mark.parametrize(("kind", "tools"), [(Kind.OPENAI, True), (Kind.OLLAMA, False)])
async def test_a_conversation(house: House, kind: Kind, tools: bool) -> None:
    """1.1 and 1.4: two turns of the stand-in device, by each provider and in each mode."""
    url = house.router.url
    base = f"{url}/v1/" if kind is Kind.OPENAI else f"{url}/"
    timeout = {"connect": 2.0, "read": 20.0, "write": 5.0, "pool": 2.0}
    provider = Provider(kind, base, timeout=timeout, more={"max_tokens": MOST_TOKENS})
    device = Device(provider, tools=tools, **quick())
    try:
        for text in ("Hello!", "Thank you!"):
            heard = await asyncio.to_thread(device.say, text)
            assert heard.error is None
            assert heard.passed or heard.called
    finally:
        device.close()


async def test_a_barge_in(house: House) -> None:
    """1.4: closing the stream cancels the request."""
    device = Device(Provider(Kind.OPENAI, f"{house.router.url}/v1"), tools=False, **quick())

    def interrupt() -> None:
        asked = device.ask(talk("讲个长长的故事吧", tools=False)["messages"])
        next(part for part in asked if part.choices and part.choices[0].delta.content)
        asked.close()

    await asyncio.to_thread(interrupt)
    device.close()
    (decision,) = await house.router.settled(1)
    # What is quick may have been done by then.
    assert decision["outcome"] in {"cancelled", "success"}
