"""Talking devices and the rest of the router: fronts, caches, doubts, hedges, other clients."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from firsttoken.core.settings import conditions
from firsttoken.core.settings.guide import CachingStrategy
from firsttoken.core.settings.own import Hedging
from firsttoken.core.settings.voice import Voice
from router.app import create_app
from router.gate import ConfidenceRules
from tests.router.conftest import Running, Start
from tests.router.upstream import (
    DONE,
    FINISH,
    ROLE,
    USAGE,
    Call,
    Script,
    answer,
    delta,
    refuse,
    silent,
    then_cut,
    then_silent,
)
from tests.router.voice.scenes import called, frame, frames, stream, talk

CANNED = Voice().spoken_failure
PATIENT = {"first_token_timeout_s": 30.0}
OFF = Voice(clients="none")


def breaks_off(*texts: str) -> Script:
    """Say the first text, and some time later the others, then cut the connection."""

    async def script(call: Call) -> None:
        await call.head()
        await call.chunk(ROLE + delta(texts[0]))
        await asyncio.sleep(0.03)
        for text in texts[1:]:
            await call.chunk(delta(text))
        call.cut()

    return script


# ---- Ollama's fronts ----------------------------------------------------------------------------


def as_ollama(path: str, *, streamed: bool) -> dict[str, Any]:
    body = talk(tools=False)
    if path == "/api/chat":
        return {"model": "auto", "messages": body["messages"], "stream": streamed}
    system, user = body["messages"]
    prompts = {"system": system["content"], "prompt": user["content"]}
    return {"model": "auto", **prompts, "stream": streamed}


def said(line: dict[str, Any]) -> str:
    return str(line["message"]["content"] if "message" in line else line["response"])


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("streamed", [True, False])
async def test_the_sentence_in_ollamas_own_dialect(start: Start, path: str, streamed: bool) -> None:
    router = await start(local=refuse(500), cloud=refuse(500))
    reply = await router.http.post(path, json=as_ollama(path, streamed=streamed))
    assert reply.status_code == 200
    lines = [orjson.loads(line) for line in reply.content.splitlines()]
    assert "".join(map(said, lines)) == CANNED
    assert lines[-1]["done"] is True
    assert not any("error" in line for line in lines)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_a_cut_reply_in_ollamas_own_dialect(start: Start, path: str) -> None:
    router = await start(local=breaks_off("好的，", "我想"))
    reply = await router.http.post(path, json=as_ollama(path, streamed=True))
    lines = [orjson.loads(line) for line in reply.content.splitlines()]
    assert "".join(map(said, lines)) == "好的，我想。"
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


# ---- Settings -----------------------------------------------------------------------------------


async def test_without_a_sentence_there_are_errors(start: Start) -> None:
    voice = Voice(spoken_failure="")
    router = await start(local=refuse(500), cloud=refuse(503), voice=voice)
    found = await stream(router.url, talk())
    assert (found.status, found.headers["x-should-retry"]) == (502, "false")
    router.local.script = breaks_off("好的，", "我想")
    assert b'"error"' in (await stream(router.url, talk())).raw


async def test_another_sentence(start: Start) -> None:
    voice = Voice(spoken_failure="Sorry, say that again.")
    router = await start(local=refuse(500), cloud=refuse(500), voice=voice)
    assert (await stream(router.url, talk())).text == "Sorry, say that again."


async def test_all_clients_may_be_served_as_devices(start: Start) -> None:
    router = await start(local=refuse(500), cloud=refuse(500), voice=Voice(clients="all"))
    assert CANNED in (await router.ask()).text


RAW: dict[str, Script] = {
    "plain": frames(delta("a"), delta(" b.")),
    "thinking": frames(frame({"reasoning_content": "hm"}), delta("<think>x</think>b.")),
    "numbers": frames(called(1, "x", "f", "{}"), called(1, "", "", "")),
    "word": frames(delta("content")),
    "counts": frames(delta("a"), USAGE),
    "nothing": frames(),
    "error": then_silent(ROLE, delta("a"), b'data: {"error":{"message":"x"}}\n\n'),
    "cut": then_cut(ROLE, delta("half")),
}


@pytest.mark.parametrize("name", RAW)
async def test_nothing_changes_for_other_clients(start: Start, name: str) -> None:
    """Byte for byte what a router without any of this hands on, and asks for."""
    bodies, asked = [], []
    for voice in (Voice(), OFF):
        backend = {"first_token_timeout_s": 1.5} if name == "error" else PATIENT
        router = await start(local=RAW[name], voice=voice, backend=backend)
        try:
            reply = await router.ask(headers={"x-stainless-read-timeout": "0.1"})
            bodies.append(reply.content)
        except Exception as error:  # noqa: BLE001 - a cut is told as an error or as a cut
            bodies.append(type(error).__name__.encode())
        asked.append(
            [(call.body, call.headers.get("authorization")) for call in router.local.calls]
        )
    assert bodies[0] == bodies[1]
    assert asked[0] == asked[1]


async def test_a_device_that_is_switched_off_is_any_client(start: Start) -> None:
    router = await start(local=frames(delta("<think>hm</think>好。")), voice=OFF)
    found = await stream(router.url, talk())
    assert found.text == "<think>hm</think>好。"
    assert router.local.calls[0].body["messages"] == talk()["messages"]


# ---- Caches -------------------------------------------------------------------------------------

STORY = talk("讲个故事吧", tools=False)
"""What is asked about today is kept by no cache."""

CACHES = CachingStrategy.model_validate({"local_cache": {"enable": True}})


async def test_the_caches_keep_what_was_mended(start: Start) -> None:
    pieces = ("<th", "ink>嗯</think>", "好", "的。")
    router = await start(local=frames(*map(delta, pieces)), caching=CACHES)
    first = await stream(router.url, STORY)
    again = await stream(router.url, STORY)
    assert again.headers["x-firsttoken-cache"] == "exact"
    assert first.text == again.text == "好的。"
    whole = await router.http.post("/v1/chat/completions", json=STORY | {"stream": False})
    assert whole.json()["choices"][0]["message"]["content"] == "好的。"
    assert len(router.local.calls) == 1


@pytest.mark.parametrize("script", [breaks_off("好的，", "我"), refuse(500)])
async def test_the_caches_keep_no_half_reply_and_no_sentence(start: Start, script: Script) -> None:
    router = await start(local=script, cloud=script, caching=CACHES)
    first = await stream(router.url, STORY)
    assert first.is_whole
    router.local.script = answer("好的。")
    assert (await stream(router.url, STORY)).text == "好的。"


# ---- Doubts and hedges --------------------------------------------------------------------------


def doubtful(*texts: str, margin: float) -> Script:
    """Answer with the probabilities that the router asks for, if it does."""

    async def script(call: Call) -> None:
        likely = orjson.loads(delta("")[6:])
        await call.head()
        await call.chunk(ROLE)
        for text in texts:
            chunk = orjson.loads(orjson.dumps(likely))
            chunk["choices"][0]["delta"]["content"] = text
            if call.body.get("logprobs"):
                top = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.1 - margin}]
                content = [{"token": "a", "logprob": -0.1, "top_logprobs": top}]
                chunk["choices"][0]["logprobs"] = {"content": content}
            await call.chunk(b"data: " + orjson.dumps(chunk) + b"\n\n")
        await call.chunk(FINISH + DONE)
        await call.last_chunk()

    return script


async def _doubting(start: Start, margin: float) -> Running:
    house = await start()
    assert house.router is not None
    near, far = house.router.config.rules.backends
    trigger = conditions.parse("local_model_confidence < 0.5", conditions.TRIGGERS)
    backends = (near, replace(far, conditions=(trigger,)))
    rules = ConfidenceRules(tokens=3, budget_s=10.0)
    router = await start(backends=backends, confidence=rules)
    router.local, router.cloud = house.local, house.cloud
    texts = ("<think>", "嗯", "</think>", "😊", "好", "的。", "走吧。")
    router.local.script = doubtful(*texts, margin=margin)
    return router


@pytest.mark.parametrize(("margin", "backend"), [(5.0, "local"), (0.0, "cloud")])
async def test_a_doubtful_reply_is_mended_too(start: Start, margin: float, backend: str) -> None:
    router = await _doubting(start, margin)
    found = await stream(router.url, talk(tools=False))
    assert found.is_whole
    assert found.text == ("😊好的。走吧。" if backend == "local" else "far")
    assert b'logprobs":{' not in found.raw
    assert router.local.calls[0].body["logprobs"]
    (decision,) = await router.settled(1)
    assert decision["backend"] == backend


async def test_a_hedge_that_has_nothing_to_say_has_lost(start: Start) -> None:
    async def late(call: Call) -> None:
        await asyncio.sleep(1.0)
        await answer("好的。")(call)

    router = await start(
        local=late, cloud=frames(delta("😊")), hedging=Hedging(enable=True, extra_load=1.0)
    )
    found = await stream(router.url, talk())
    assert found.text == "好的。"
    assert (await router.settled(1))[0]["backend"] == "local"


# ---- Time ---------------------------------------------------------------------------------------


async def test_what_is_held_back_is_no_stall(start: Start) -> None:
    """A call that is held back until it is whole may take longer than the stall deadline, as long
    as the backend goes on."""

    async def slow(call: Call) -> None:
        await call.head()
        await call.chunk(ROLE + delta("我查一下。"))
        await call.chunk(called(0, "a", "get_weather", ""))
        for piece in ('{"ci', 'ty":', ' "', "杭", '州"', "}"):
            await asyncio.sleep(0.5)
            await call.chunk(called(0, "", "", piece))
        await call.chunk(FINISH + DONE)
        await call.last_chunk()

    router = await start(local=slow, backend={"first_token_timeout_s": 2.0})
    found = await stream(router.url, talk())
    (call,) = found.calls()
    assert orjson.loads(call["arguments"]) == {"city": "杭州"}
    assert (await router.settled(1))[0]["outcome"] == "success"


async def test_a_stall_is_finished_as_a_sentence(start: Start) -> None:
    router = await start(
        local=then_silent(ROLE, delta("I think")), backend={"first_token_timeout_s": 2.0}
    )
    found = await stream(router.url, talk())
    assert found.is_whole
    assert found.text == "I think."
    assert (await router.settled(1))[0]["error_type"] == "stalled"


@pytest.mark.parametrize(
    ("script", "text"), [(then_silent(ROLE, delta("I think")), "I think."), (silent, CANNED)]
)
async def test_a_router_that_stops_ends_the_sentence(
    start: Start, script: Script, text: str
) -> None:
    """Requests that are in flight at the end are cancelled; the device hears a whole sentence."""
    house = await start(local=script, backend=PATIENT)
    assert house.router is not None
    body = {"type": "http.request", "body": orjson.dumps(talk()), "more_body": False}
    incoming: asyncio.Queue[Any] = asyncio.Queue()
    incoming.put_nowait(body)
    sent: list[bytes] = []
    spoken = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if b"I think" in sent[-1]:
            spoken.set()

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    serving = asyncio.ensure_future(create_app(house.router)(scope, incoming.get, send))
    await house.local.until(lambda: len(house.local.calls) == 1)
    if script is not silent:
        await spoken.wait()
    serving.cancel()
    await asyncio.wait((serving,))
    raw = b"".join(sent)
    assert raw.endswith(b"data: [DONE]\n\n")
    frames_of = (line.removeprefix(b"data: ") for line in raw.split(b"\n\n"))
    chunks = [orjson.loads(line) for line in frames_of if line.startswith(b"{")]
    assert "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks) == text
    assert await house.metric("llm_spoken_failures_total") == (text == CANNED)


async def test_everybody_is_silent(start: Start) -> None:
    """The sentence comes when the deadlines are over, with one outcome, counted as an error."""
    router = await start(local=silent, cloud=silent, backend={"first_token_timeout_s": 0.2})
    found = await stream(router.url, talk())
    assert found.is_whole
    assert found.text == CANNED
    (decision,) = await router.settled(1)
    assert (decision["outcome"], decision["tier"]) == ("timeout", "none")
    assert await router.metric("llm_requests_total", outcome="timeout", tier="none") == 1
