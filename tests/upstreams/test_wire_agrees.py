"""Our readers understand these servers, whose bytes were written without them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from firsttoken.core.words import ErrorType
from firsttoken.upstreams.cloud import DASHSCOPE_PATH, Behaviour, Cloud
from firsttoken.upstreams.draws import Span
from firsttoken.upstreams.faults import FaultWall
from firsttoken.upstreams.misbehaviour import FAULTS, THOUGHTS, TOKENS, Tempo
from firsttoken.upstreams.server import running
from firsttoken.wire import dialects
from firsttoken.wire.events import End, Event, Failure, Reasoning, Text, Usage
from tests.upstreams.raw import CHAT, Reply, ask, chat
from tests.upstreams.test_faults import SILENT, STATUSES, fault

DIALECTS = {
    CHAT: "openai",
    "/api/chat": "ollama",
    "/api/generate": "ollama_generate",
    DASHSCOPE_PATH: "dashscope",
}
BAD_ENDS = ("cut_", "error_", "malformed_", "oversized_")


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    async with running(FaultWall(Tempo(token_s=0.001, drip_s=0.0002))) as address:
        yield address


def read(reply: Reply, dialect: str) -> list[Event]:
    reader = dialects.get(dialect).reader()
    events = [
        event
        for chunk, stamp in zip(reply.chunks, reply.stamps_ns, strict=True)
        for event in reader.feed(chunk, stamp)
    ]
    return events + reader.close(reply.stamps_ns[-1])


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("name", sorted(set(FAULTS) - SILENT - set(STATUSES)))
async def test_streams(url: str, name: str, path: str) -> None:
    events = read(await fault(url, name, path), DIALECTS[path])
    if name.startswith(BAD_ENDS):
        assert isinstance(events[-1], Failure)
        spoken = TOKENS[0] if "after_first_token" in name else ""
        assert text_of(events) == spoken
    else:
        assert isinstance(events[-1], End)
        assert events[-1].finish_reason == "stop"
        assert text_of(events) == "".join(TOKENS)
    thoughts = tuple(event.text for event in events if isinstance(event, Reasoning))
    assert thoughts == (THOUGHTS if name == "reasoning_first" else ())


@pytest.mark.parametrize("path", DIALECTS)
async def test_whole_replies(url: str, path: str) -> None:
    reply = await fault(url, "ok", path, stream=False)
    events = dialects.get(DIALECTS[path]).read_reply(reply.body, 1)
    assert text_of(events) == "".join(TOKENS)
    assert isinstance(events[-1], End)


@pytest.mark.parametrize("path", DIALECTS)
async def test_cut_streams_are_protocol_errors(url: str, path: str) -> None:
    last = read(await fault(url, "cut_after_first_token", path), DIALECTS[path])[-1]
    assert isinstance(last, Failure)
    assert last.error_type is ErrorType.PROTOCOL


@pytest.mark.parametrize("incremental", [True, False])
async def test_dashscope_of_the_cloud(*, incremental: bool) -> None:
    fast = Behaviour(first_token_s=Span(0.001, 0.002), tokens_per_second=5000)
    parameters = {"incremental_output": incremental, "result_format": "message", "max_tokens": 5}
    messages = [{"role": "user", "content": "讲个故事"}]
    body = {"model": "qwen-flash", "input": {"messages": messages}, "parameters": parameters}
    async with running(Cloud(fast)) as address:
        native = await ask(
            address,
            DASHSCOPE_PATH,
            body,
            {"X-DashScope-SSE": "enable", "X-Request-Id": "a"},
        )
        openai = await ask(
            address, CHAT, chat("m", "讲个故事", max_tokens=5), {"X-Request-Id": "a"}
        )
    events = read(native, "dashscope")
    assert text_of(events) == text_of(read(openai, "openai")) == openai.text()
    assert [event.output_tokens for event in events if isinstance(event, Usage)][-1] == 5
    assert events[-1] == End(events[-1].t_ns, "length")
