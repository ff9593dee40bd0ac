"""The router in another program's process: the names of the deployment guide's Python section."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings, from_mapping
from firsttoken.core.words import ErrorType
from firsttoken.engines.options import EngineOptions, default_model
from firsttoken.engines.supervisor import EngineSupervisor
from router.service import HybridLLMError, HybridLLMService
from tests.router.upstream import (
    Upstream,
    answer,
    delta,
    refuse,
    silent,
    then_cut,
    then_silent,
)

MORE = {"messages": [{"role": "user", "content": "tell me more"}]}
SIMPLE = {"messages": [{"role": "user", "content": "你好"}]}
COMPLEX = {"messages": [{"role": "user", "content": "帮我写代码"}]}


@dataclass
class Turn:
    """A message as a program of its own may have it."""

    role: str
    content: str


@dataclass
class Request:
    """A request that is no mapping."""

    messages: list[Turn]
    max_tokens: int | None = None
    temperature: float | None = None
    other: dict[str, Any] = field(default_factory=dict)


def settings(near: str, far: str | None, timeout: float = 20.0, **sections: Any) -> Settings:
    local = {"endpoint": near, "dialect": "openai", "model": "small", "slots": 4}
    remote = {"name": "cloud", "endpoint": far, "dialect": "openai", "model": "large", "slots": 4}
    values: dict[str, Any] = {
        "llm_routing": {
            "local_model": {**local, "timeout": timeout},
            "remote_models": [remote] if far else [],
        },
        "routing_logic": {
            "simple_queries": {"patterns": ["你好|hello"]},
            "complex_queries": {"patterns": ["写代码"], "route_to": "remote_models"},
        },
        "local_optimization": {"model_loading": {"preload": False}},
        # Nobody answers there, so that the backends are asked by the tests alone.
        "health_check": {"local_model": {"endpoint": "http://127.0.0.1:9"}},
        "hedging": {"enable": False},
        "confidence": {"tokens": 0},
    }
    return from_mapping(values | sections)


@dataclass
class Pair:
    near: Upstream
    far: Upstream

    def settings(self, **sections: Any) -> Settings:
        return settings(self.near.url, self.far.url, **sections)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with Upstream(answer("near", " by")) as near, Upstream(answer("far", " off")) as far:
        yield Pair(near, far)


async def test_it_answers_like_ollama_and_says_who_answered_and_why(pair: Pair) -> None:
    async with HybridLLMService(pair.settings()) as service:
        reply = await service.route_request(MORE)
    assert reply["model"] == "small"
    assert reply["response"] == reply["message"]["content"] == "near by"
    assert reply["done"] is True
    assert reply["done_reason"] == "stop"
    assert (reply["prompt_eval_count"], reply["eval_count"]) == (7, 3)
    assert (reply["tier"], reply["backend"], reply["reason"]) == ("local", "local", "default_local")
    assert 0 < reply["ttft_ms"] < 20_000


async def test_the_policy_decides_and_every_route_has_a_fallback(pair: Pair) -> None:
    async with HybridLLMService(pair.settings()) as service:
        assert (await service.route_request(COMPLEX))["reason"] == "rule_complex"
        assert (await service.route_request(SIMPLE))["reason"] == "rule_simple"
        pair.near.script, pair.far.script = answer("near"), refuse(500)
        assert (await service.route_request(COMPLEX))["response"] == "near"
    pair.near.script, pair.far.script = silent, answer("far", " off")
    async with HybridLLMService(pair.settings(timeout=0.25)) as service:
        for request in (SIMPLE, MORE):
            reply = await service.route_request(request)
            assert (reply["response"], reply["reason"]) == ("far off", "failover")


async def test_a_request_may_be_an_object(pair: Pair) -> None:
    async with HybridLLMService(pair.settings()) as service:
        await service.route_request(Request([Turn("user", "hi there")], 9, 0.0))
    (call,) = pair.near.calls
    assert call.body["messages"] == [{"role": "user", "content": "hi there"}]
    assert (call.body["max_tokens"], call.body["temperature"]) == (9, 0.0)
    assert call.body["model"] == "small"


async def test_one_model_can_be_called_alone(pair: Pair) -> None:
    caching = {"local_cache": {"enable": True}}
    async with HybridLLMService(pair.settings(caching_strategy=caching)) as service:
        assert (await service.call_local_model(COMPLEX))["response"] == "near by"
        assert (await service.call_remote_model(SIMPLE))["response"] == "far off"
        assert (await service.route_request(MORE))["tier"] == "local"
        assert (await service.call_remote_model(MORE))["tier"] == "remote"
        asked = len(pair.far.calls)
        pair.near.script = refuse(500)
        with pytest.raises(HybridLLMError) as caught:
            await service.call_local_model(MORE)
        assert caught.value.error_type is ErrorType.HTTP_5XX
        assert len(pair.far.calls) == asked


async def test_no_remote_model(pair: Pair) -> None:
    async with HybridLLMService(settings(pair.near.url, None)) as service:
        assert service.remote_endpoints == []
        assert (await service.route_request(COMPLEX))["tier"] == "local"
        with pytest.raises(HybridLLMError) as caught:
            await service.call_remote_model(MORE)
    assert caught.value.error_type is ErrorType.OVERLOADED


async def test_a_reply_is_found_in_the_cache(pair: Pair) -> None:
    caching = {"local_cache": {"enable": True}}
    async with HybridLLMService(pair.settings(caching_strategy=caching)) as service:
        first = await service.route_request(MORE)
        second = await service.route_request(MORE)
        assert [piece async for piece in service.stream_request(MORE)] == ["near", " by"]
    assert (second["tier"], second["reason"]) == ("cache", "cache_exact")
    assert (second["response"], second["model"]) == (first["response"], "small")
    assert len(pair.near.calls) == 1


async def test_pieces_come_as_the_backend_writes_them(pair: Pair) -> None:
    pair.near.script = then_silent(delta("first"))
    async with HybridLLMService(pair.settings(timeout=1.0)) as service:
        pieces = service.stream_request(MORE)
        assert await anext(pieces) == "first"
        with pytest.raises(HybridLLMError) as caught:
            await anext(pieces)
    assert caught.value.error_type is ErrorType.STALLED


async def test_leaving_a_stream_frees_the_backend(pair: Pair) -> None:
    pair.near.script = then_silent(delta("first"))
    async with HybridLLMService(pair.settings()) as service:
        async with aclosing(service.stream_request(MORE)) as pieces:
            assert await anext(pieces) == "first"
        await pair.near.until(lambda: pair.near.connections == 0)


async def test_a_caller_that_is_cancelled_frees_the_backend(pair: Pair) -> None:
    pair.near.script = silent
    async with HybridLLMService(pair.settings(timeout=30.0)) as service:
        asking = asyncio.create_task(service.route_request(MORE))
        await pair.near.until(lambda: len(pair.near.calls) == 1)
        asking.cancel()
        await asyncio.wait((asking,))
        assert asking.cancelled()
        await pair.near.until(lambda: pair.near.connections == 0)
    assert pair.far.calls == []


async def test_a_caller_that_reads_slowly_gets_everything(pair: Pair) -> None:
    pieces = [f"{number} " for number in range(1000)]
    pair.near.script = answer(*pieces)
    got = []
    async with HybridLLMService(pair.settings()) as service:
        async for piece in service.stream_request(MORE):
            got.append(piece)
            if len(got) == 1:
                # The backend writes more than is kept unread meanwhile.
                for _ in range(1000):
                    await asyncio.sleep(0)
    assert got == pieces


@pytest.mark.parametrize(
    ("script", "error_type"),
    [
        (refuse(500), ErrorType.HTTP_5XX),
        (refuse(401), ErrorType.AUTH),
        (refuse(429), ErrorType.RATE_LIMITED),
        (silent, ErrorType.FIRST_TOKEN_TIMEOUT),
        (then_cut(delta("a")), ErrorType.PROTOCOL),
        (then_cut(delta("a"), b'data: {"error":{"message":"x"}}\n\n'), ErrorType.PROTOCOL),
    ],
)
async def test_one_exception_says_what_went_wrong(
    pair: Pair, script: Any, error_type: ErrorType
) -> None:
    pair.near.script = script
    timeout = 0.25 if error_type is ErrorType.FIRST_TOKEN_TIMEOUT else 20.0
    async with HybridLLMService(settings(pair.near.url, None, timeout)) as service:
        with pytest.raises(HybridLLMError) as caught:
            await service.route_request(MORE)
        assert caught.value.error_type is error_type
        assert str(caught.value)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": "many"},
        {"messages": [{"role": "user", "content": object()}]},
        object(),
    ],
)
async def test_a_malformed_request_asks_nobody(pair: Pair, request_: object) -> None:
    async with HybridLLMService(pair.settings()) as service:
        with pytest.raises(HybridLLMError) as caught:
            await service.route_request(request_)
    assert caught.value.error_type is ErrorType.HTTP_4XX
    assert pair.near.calls == pair.far.calls == []


def test_without_arguments_it_has_the_guides_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_LLM_ENDPOINT", "QWEN_API_KEY", "OPENAI_API_KEY", "LLM_HYBRID_MODE"):
        monkeypatch.delenv(name, raising=False)
    service = HybridLLMService()
    assert service.local_endpoint == "http://localhost:11434"
    assert [each["name"] for each in service.remote_endpoints] == ["qwen_cloud", "openai_backup"]
    assert service.remote_endpoints[1]["url"] == "https://api.openai.com"
    assert service.is_simple_query(SIMPLE["messages"])
    assert service.is_simple_query([Turn("user", "hello there")])
    assert not service.is_simple_query(COMPLEX["messages"])
    assert not service.is_simple_query([])


def test_prompts() -> None:
    service = HybridLLMService()
    assert service.format_prompt([Turn("user", "你好")]) == "你好"
    talk = [("system", "be brief"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    assert service.format_prompt([Turn(*turn) for turn in talk]) == (
        "be brief\n\nUser: a\nAssistant: b\nUser: c"
    )
    with pytest.raises(HybridLLMError):
        service.format_prompt([])


def test_a_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "hybrid.yaml"
    path.write_text("llm_routing: {local_model: {endpoint: 'http://127.0.0.1:9'}}\n")
    assert HybridLLMService(path).local_endpoint == "http://127.0.0.1:9"
    assert HybridLLMService(str(path)).local_endpoint == "http://127.0.0.1:9"
    path.write_text("llm_rooting: {}\n")
    with pytest.raises(UserError, match="llm_rooting"):
        HybridLLMService(path)


def test_each_event_loop_begins_anew() -> None:
    """A script may call ``asyncio.run`` more than once, and forget to close."""

    async def ask(service: HybridLLMService) -> Any:
        return (await service.call_local_model(MORE))["response"]

    async def twice() -> list[Any]:
        async with Upstream(answer("near")) as near:
            service = HybridLLMService(settings(near.url, None))
            found = [await ask(service), await asyncio.to_thread(_in_a_loop, ask, service)]
            await service.aclose()
            found.append(await ask(service))
            await service.aclose()
            return found

    first, second, third = asyncio.run(twice())
    assert (first, third) == ("near", "near")
    assert second == "this service runs in another event loop"


def test_a_service_outlives_the_loop_it_was_used_in() -> None:
    async def ask(service: HybridLLMService) -> ErrorType:
        with pytest.raises(HybridLLMError) as caught:
            await service.call_local_model(MORE)
        return caught.value.error_type

    service = HybridLLMService(settings("http://127.0.0.1:9", None))
    assert asyncio.run(ask(service)) is ErrorType.CONNECT
    assert asyncio.run(ask(service)) is ErrorType.CONNECT


def _in_a_loop(ask: Any, service: HybridLLMService) -> str:
    try:
        return str(asyncio.run(ask(service)))
    except RuntimeError as error:
        return str(error)


async def test_with_the_real_engine() -> None:
    options = EngineOptions(
        model=default_model(), slots=2, context_per_slot=512, threads=1, preload=False
    )
    engine = EngineSupervisor(options)
    await asyncio.to_thread(engine.start)
    try:
        routing = {
            "local_model": {"endpoint": engine.url, "model": options.model_name, "timeout": 20}
        }
        async with HybridLLMService(from_mapping({"llm_routing": routing})) as service:
            request = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 6}
            reply = await service.route_request(request)
            assert reply["model"] == options.model_name
            assert reply["response"]
            assert reply["eval_count"] == 6
            assert reply["done_reason"] == "length"
            pieces = [piece async for piece in service.stream_request(request)]
            assert 2 <= len(pieces) <= 6
    finally:
        await asyncio.to_thread(engine.stop)
