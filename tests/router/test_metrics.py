"""The router's series stay few whatever clients send, and Prometheus' own linter is content."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp, Message

from firsttoken.core.settings.own import Hedging
from router.app import Router, create_app
from router.config import Health, Limits, RouterConfig
from router.gate import ConfidenceRules
from router.policy.plan import Rules
from tests.exporter.promtool import promtool
from tests.router.conftest import PATTERNS, Start, backend
from tests.router.upstream import answer_frames

MOST_SERIES = 1_500
REQUESTS = 10_000


class Ready:
    """A reply that is there, whole."""

    status = 200

    def __init__(self) -> None:
        self._left = [b"".join(answer_frames("one", " two"))]

    def header(self, name: str) -> str | None:
        return "text/event-stream" if name == "content-type" else None

    async def read(self) -> bytes:
        return self._left.pop() if self._left else b""

    def close(self) -> None:
        self._left.clear()


class Answering:
    """A transport behind which every backend answers at once."""

    async def post(self, _url: str, _headers: Mapping[str, str], _body: bytes) -> Ready:
        return Ready()

    async def get(self, _url: str, _headers: Mapping[str, str]) -> Ready:
        return Ready()

    async def aclose(self) -> None:
        pass


@pytest.fixture
async def app() -> AsyncIterator[ASGIApp]:
    """Serve a router of three backends, with nothing on the network."""
    backends = (
        backend("local"),
        backend("qwen_cloud", model_aliases=("qwen",)),
        backend("openai_backup"),
    )
    config = RouterConfig(
        Rules(backends),
        patterns=PATTERNS,
        health=Health(active=False),
        hedging=Hedging(enable=False),
        confidence=ConfidenceRules(tokens=0),
        limits=Limits(),
    )
    router = Router(config, transport=Answering)
    await router.start()
    yield create_app(router)
    await router.aclose()


async def ask(
    app: ASGIApp, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Make one request, without a server; a GET where there is no body."""
    data = b"" if body is None else orjson.dumps(body)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if body is None else "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    incoming = [{"type": "http.request", "body": data, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if not incoming:
            await asyncio.Event().wait()  # the client stays
        return incoming.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


def series(text: str) -> int:
    """Return the number of samples in a page of metrics."""
    return sum(len(family.samples) for family in text_string_to_metric_families(text))


def _question(draw: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    name = draw.choice([f"model-{number}", f'"{number}\n', "模型" + str(number), "local-model"])
    said = draw.choice(["hello", "写代码", "tell me more"]) + str(number)
    fields = {"model": name, "stream": draw.random() < 0.5, "user": f"user-{number}"}
    messages = [{"role": "user", "content": said}]
    return draw.choice(
        [
            ("/v1/chat/completions", {**fields, "messages": messages}),
            ("/api/chat", {**fields, "messages": messages}),
            ("/api/generate", {**fields, "prompt": said}),
            ("/v1/feedback", {"request_id": f"r{number}", "rating": number % 9}),
            (f"/v1/{number}", fields),
        ]
    )


async def test_ten_thousand_names_users_and_routes_do_not_add_series(app: ASGIApp) -> None:
    draw = random.Random(5)  # noqa: S311 - no secret
    statuses = set()
    for number in range(REQUESTS):
        path, body = _question(draw, number)
        identity = {"x-request-id": f"r{number}", "x-session-id": f"s{draw.random()}"}
        status, _ = await ask(app, path, body, identity)
        statuses.add(status)
    assert 200 in statuses
    assert 404 in statuses
    status, page = await ask(app, "/metrics")
    text = page.decode()
    assert status == 200
    assert series(text) <= MOST_SERIES
    assert 'model="other"' in text
    for trace in ("model-", "user-", "模型", "s0."):
        assert trace not in text


async def test_promtool_finds_nothing_to_mend(start: Start) -> None:
    router = await start()
    await router.ask()
    text = (await router.http.get("/metrics")).text
    checked = await asyncio.to_thread(promtool, "check", "metrics", text=text)
    assert checked == (0, "")


async def test_every_backend_has_its_tier(start: Start) -> None:
    router = await start()
    assert await router.metric("llm_backend_info") == 2
    assert await router.metric("llm_backend_info", backend="local", tier="local") == 1
    assert await router.metric("llm_backend_info", backend="cloud", tier="remote") == 1


async def test_the_router_tells_of_its_own_process(start: Start) -> None:
    router = await start()
    assert await router.metric("llm_process_resident_memory_bytes", component="router") > 1e7
    assert await router.metric("llm_process_cpu_seconds_total", component="router") > 0
