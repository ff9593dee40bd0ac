"""Sections 1.1 and 1.2 of the contract with the real client: its two providers, its calls."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import orjson
import pytest

from firsttoken.core.settings.voice import Voice
from firsttoken.trials.voice_device import Device, Kind, Provider
from router.health.breaker import BreakerRules
from tests.router.conftest import NO_CERTIFICATES, PATIENCE_S, Running, Start
from tests.router.upstream import Call, answer, answer_frames, refuse, silent, then_silent
from tests.router.voice.scenes import CALLS, HEARD, frame, frames, quick, stream, talk

CANNED = Voice().spoken_failure
PATIENT = {"first_token_timeout_s": 30.0}

PROVIDERS: dict[str, tuple[Kind, str]] = {
    "openai": (Kind.OPENAI, "/v1"),
    "openai with a slash": (Kind.OPENAI, "/v1/"),
    "openai with two": (Kind.OPENAI, "//v1"),
    "ollama": (Kind.OLLAMA, ""),
    "ollama with /v1": (Kind.OLLAMA, "/v1"),
    "ollama with a slash": (Kind.OLLAMA, "/"),
}
"""Ways to write the address; the ollama provider adds ``/v1`` itself, after a slash too."""


async def say(router: Running, provider: Provider, text: str = "今天出门好吗？") -> Any:
    device = Device(provider, tools=True, **quick())
    try:
        return await asyncio.to_thread(device.say, text)
    finally:
        device.close()


# ---- 1.1 Providers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVIDERS)
async def test_each_way_to_write_the_address_is_served(start: Start, name: str) -> None:
    kind, path = PROVIDERS[name]
    router = await start(local=answer("😊", "好的，", "出门吧。"))
    heard = await say(router, Provider(kind, router.url + path))
    assert (heard.error, heard.spoken) == (None, "😊好的，出门吧。")


@pytest.mark.parametrize("key", ["ollama", "sk-x", "中文", "any-key"])
async def test_any_key_is_accepted_where_none_is_asked_for(start: Start, key: str) -> None:
    router = await start()
    headers = [(b"authorization", f"Bearer {key}".encode())]
    async with httpx.AsyncClient(base_url=router.url, verify=NO_CERTIFICATES) as http:
        reply = await http.post("/v1/chat/completions", json=talk(), headers=headers)
    assert reply.status_code == 200
    assert "near" in reply.text


async def test_a_wrong_key_is_an_error_and_no_sentence(start: Start) -> None:
    router = await start(api_keys=("right",))
    found = await stream(router.url, talk(), authorization="Bearer wrong")
    assert found.status == 401
    assert CANNED.encode() not in found.raw
    assert (await stream(router.url, talk(), authorization="Bearer right")).text == "near"


@pytest.mark.parametrize("body", [{"messages": []}, {"messages": [{"role": "boss"}]}, {}])
async def test_a_malformed_body_is_an_error_and_no_sentence(
    start: Start, body: dict[str, Any]
) -> None:
    router = await start()
    found = await stream(router.url, {"model": "auto", "stream": True, "tools": [], **body})
    assert found.status == 400
    assert router.local.calls == []


async def test_what_the_openai_provider_sends_arrives_and_nothing_else(start: Start) -> None:
    router = await start(cloud=answer("far"))
    more = {"max_tokens": 300, "temperature": 0.7, "top_p": 1.0, "frequency_penalty": 0.0}
    provider = Provider(Kind.OPENAI, f"{router.url}/v1", model_name="cloud", more=more)
    heard = await say(router, provider)
    assert heard.spoken == "far"
    body = router.cloud.calls[0].body
    assert {name: body[name] for name in more} == more
    assert [tool["function"]["name"] for tool in body["tools"]].count("direct_answer") == 1
    assert len(body["tools"]) == 4
    assert not {"stream_options", "tool_choice", "user", "seed", "n"} & set(body)


async def test_the_ollama_provider_sends_no_parameters(start: Start) -> None:
    router = await start()
    provider = Provider(Kind.OLLAMA, router.url, more={"max_tokens": 3})
    assert (await say(router, provider)).spoken == "near"
    # Those of the settings apply.
    assert router.local.calls[0].body["max_tokens"] == 64


async def test_the_word_before_a_qwen3_question_arrives(start: Start) -> None:
    """The ollama provider writes it before the last message for models named so."""
    router = await start()
    await stream(router.url, talk("/no_think 今天出门好吗？"))
    assert "/no_think" in orjson.dumps(router.local.calls[0].body["messages"][-1]).decode()


async def test_only_content_and_calls_are_sent(start: Start) -> None:
    """It reads no reasoning, which would count as silence, and asks for no token counts."""
    router = await start(
        local=frames(frame({"reasoning_content": "hm"}), frame({"content": "好的。"}))
    )
    found = await stream(router.url, talk())
    assert found.is_whole
    assert found.text == "好的。"
    assert b"reasoning" not in found.raw
    assert not any(chunk.get("usage") for chunk in found.chunks)


async def test_headers_as_it_sends_them(start: Start) -> None:
    """It accepts JSON, and reads a stream of events; connections are kept."""
    router = await start()
    headers = {"accept": "application/json", "user-agent": "OpenAI/Python 2.8.1"}
    async with httpx.AsyncClient(base_url=router.url, verify=NO_CERTIFICATES) as http:
        ports = set()
        for _ in range(3):
            reply = await http.post("/v1/chat/completions", json=talk(), headers=headers)
            assert reply.headers["content-type"].startswith("text/event-stream")
            ports.add(reply.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(ports) == 1


async def test_the_retries_of_the_client_are_read(start: Start) -> None:
    router = await start()
    await stream(router.url, talk(), **{"x-stainless-retry-count": "2"})
    assert (await router.settled(1))[0]["retries"] == 2


async def test_the_client_does_not_repeat_what_has_failed_for_good(start: Start) -> None:
    """An error that is final says so: one request, not three."""
    router = await start(local=refuse(500), cloud=refuse(500))
    client = openai.OpenAI(base_url=f"{router.url}/v1", api_key="x", **quick())
    create: Any = client.chat.completions.create
    with client, pytest.raises(openai.APIStatusError) as caught:
        await asyncio.to_thread(create, **CALLS["intent"])
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(router.local.calls) == len(router.cloud.calls) == 1


async def test_the_patience_of_the_client_is_shared_by_the_backends(start: Start) -> None:
    """Its read timeout is the deadline: a silent backend leaves time for the next, and the
    sentence comes before the client gives up."""
    router = await start(local=silent, cloud=silent, backend=PATIENT)
    timeout = {"connect": 2.0, "read": 4.0, "write": 5.0, "pool": 2.0}
    heard = await say(router, Provider(Kind.OPENAI, f"{router.url}/v1", timeout=timeout))
    assert (heard.error, heard.spoken) == (None, CANNED)
    (decision,) = await router.settled(1)
    assert (decision["outcome"], decision["attempts"]) == ("timeout", 2)
    assert len(router.local.calls) == len(router.cloud.calls) == 1


async def test_a_hurried_client_says_nothing_of_the_backend(start: Start) -> None:
    """Whoever has less time than the settings give has not failed: its circuit stays closed."""
    rules = BreakerRules(failures=1, least_attempts=1)
    router = await start(local=silent, cloud=silent, backend=PATIENT, breaker=rules)
    found = await stream(router.url, talk(), **{"x-stainless-read-timeout": "0.4"})
    assert found.text == CANNED
    assert router.router is not None
    assert not router.router.serving.monitor.blocked


async def test_the_patience_of_the_client_ends_a_stall(start: Start) -> None:
    router = await start(local=then_silent(*answer_frames("好的，我想")[:2]), backend=PATIENT)
    found = await stream(router.url, talk(), **{"x-stainless-read-timeout": "3"})
    assert found.is_whole
    assert found.text == "好的，我想。"
    assert (await router.settled(1))[0]["error_type"] == "stalled"


async def test_other_clients_are_not_hurried(start: Start) -> None:
    async def late(call: Call) -> None:
        await asyncio.sleep(0.45)
        await answer("late")(call)

    router = await start(local=late, backend={"first_token_timeout_s": PATIENCE_S})
    reply = await router.ask(headers={"x-stainless-read-timeout": "0.4"})
    assert "late" in reply.text


async def test_lists_and_version_for_its_tester(start: Start) -> None:
    """It looks for a name that equals one of the list exactly."""
    router = await start()
    tags = (await router.http.get("/api/tags")).json()
    assert "local-model" in [model["name"] for model in tags["models"]]
    assert (await router.http.get("/api/version")).json()["version"]
    models = (await router.http.get("/v1/models")).json()
    assert "local-model" in [model["id"] for model in models["data"]]


# ---- 1.2 Classes of calls -----------------------------------------------------------------------

CLASS_OF = {
    "chat": "chat",
    "chat without tools": "chat",
    "after_tool": "after_tool",
    "depth limit": "after_tool",
    "goodbye": "goodbye",
    "intent": "intent",
    "summary": "summary",
}


@pytest.mark.parametrize("name", CALLS)
async def test_each_class_is_known_and_served(start: Start, name: str) -> None:
    router = await start(local=answer('{"a": ', '"好的"}'), cloud=answer('{"a": "好的"}'))
    found = await stream(router.url, CALLS[name])
    assert found.is_whole
    # Character by character: intents and summaries are read by programs.
    assert found.text == '{"a": "好的"}'
    assert (await router.settled(1))[0]["call"] == CLASS_OF[name]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("name", CALLS)
async def test_nobody_answers(start: Start, name: str, streamed: bool) -> None:
    """Where a person listens, a sentence; where a program reads, an error."""
    router = await start(local=refuse(503), cloud=refuse(500))
    body = CALLS[name] | {"stream": streamed}
    async with httpx.AsyncClient(base_url=router.url, verify=NO_CERTIFICATES) as http:
        reply = await http.post("/v1/chat/completions", json=body)
    (decision,) = await router.settled(1)
    assert (decision["outcome"], decision["tier"]) == ("error", "none")
    assert reply.headers["x-firsttoken-tier"] == "none"
    if name not in HEARD:
        assert reply.status_code == 502
        assert reply.headers["x-should-retry"] == "false"
        return
    assert reply.status_code == 200
    if streamed:
        assert reply.content.endswith(b"data: [DONE]\n\n")
        assert CANNED in reply.text
    else:
        assert reply.json()["choices"][0]["message"]["content"] == CANNED


@pytest.mark.parametrize("name", ["intent", "summary"])
async def test_half_an_answer_to_a_program_is_an_error(start: Start, name: str) -> None:
    async def half(call: Call) -> None:
        await call.head()
        await call.chunk(frame({"content": '{"function_call": {"name": "cont'}))
        await asyncio.sleep(0.05)
        call.cut()

    router = await start(local=half, cloud=half)
    found = await stream(router.url, CALLS[name])
    assert b'"error"' in found.raw
    assert b"[DONE]" not in found.raw


def test_the_sentence_is_none_that_its_tester_takes_for_a_failure() -> None:
    for word in ("异常", "错误", "502"):
        assert word not in CANNED
        with pytest.raises(ValueError, match="spoken_failure"):
            Voice(spoken_failure=f"出现{word}了")
