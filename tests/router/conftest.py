from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from firsttoken.core.settings import conditions
from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.own import Hedging
from firsttoken.core.words import Tier
from router.app import Router, create_app
from router.backends.requests import ReplyOptions
from router.config import Health, Limits, RouterConfig
from router.gate import ConfidenceRules
from router.health.breaker import BreakerRules
from router.policy.plan import Rules
from router.policy.signals import compile_patterns
from router.server import LimitedProtocol
from tests.router.upstream import Script, Upstream, answer

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the world's from the disk takes longer than a test."""

PATIENCE_S = 20.0
"""To the first token, in tests of something else: a machine that stands still for a second or two
is no backend's fault."""

DEADLINE_S = 0.5
"""To the first token, where a test waits for it to pass."""

PATTERNS = compile_patterns(
    ["你好|hello|hi", "谢谢|thank you"], ["写代码|编程|programming", "翻译|translate"]
)


def backend(name: str, url: str = "http://127.0.0.1:9", **changes: Any) -> Backend:
    """Return a backend: ``local`` is local, others are remote."""
    values: dict[str, Any] = {
        "name": name,
        "tier": Tier.LOCAL if name.startswith("local") else Tier.REMOTE,
        "base_url": url,
        "dialect": "openai",
        "model": f"{name}-model",
        "first_token_timeout_s": PATIENCE_S,
        "slots": 64,
    }
    triggers = changes.get("triggers", ())
    values["conditions"] = tuple(conditions.parse(each, conditions.TRIGGERS) for each in triggers)
    return Backend(**(values | changes))


def chat(text: str = "tell me more", *, stream: bool = True, **fields: Any) -> dict[str, Any]:
    """Return a request body."""
    messages = [{"role": "user", "content": text}]
    return {"model": "auto", "messages": messages, "stream": stream, **fields}


@dataclass
class Running:
    """A router that serves, a client for it, and its backends."""

    url: str
    http: httpx.AsyncClient
    local: Upstream
    cloud: Upstream
    router: Router | None = None

    async def ask(self, text: str = "tell me more", **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", None)
        return await self.http.post(
            "/v1/chat/completions", json=chat(text, **fields), headers=headers
        )

    async def attempts(self) -> list[dict[str, Any]]:
        reply = await self.http.get("/debug/attempts")
        found: list[dict[str, Any]] = reply.json()["attempts"]
        return found

    async def decisions(self) -> list[dict[str, Any]]:
        reply = await self.http.get("/debug/decisions")
        found: list[dict[str, Any]] = reply.json()["decisions"]
        return found

    async def settled(self, count: int) -> list[dict[str, Any]]:
        """Wait until ``count`` requests have their outcome; return their decisions."""
        async with asyncio.timeout(5):
            while True:
                found = await self.decisions()
                if len(found) >= count:
                    return found

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels."""
        text = (await self.http.get("/metrics")).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a router in front of two scripted backends, ``local`` and ``cloud``.

    ``deadline_s`` is that of ``local`` alone.
    """
    async with AsyncExitStack() as stack:

        async def begin(
            local: Script | None = None, cloud: Script | None = None, **changes: Any
        ) -> Running:
            near = await stack.enter_async_context(Upstream(local or answer("near")))
            far = await stack.enter_async_context(Upstream(cloud or answer("far")))
            backend_changes = changes.pop("backend", {})
            deadline_s = changes.pop("deadline_s", PATIENCE_S)
            near_changes = {"first_token_timeout_s": deadline_s} | backend_changes
            backends = changes.pop("backends", None) or (
                backend("local", near.url, **near_changes),
                backend("cloud", far.url, api_key="secret-of-cloud", **backend_changes),
            )
            values: dict[str, Any] = {
                "rules": Rules(backends, **changes.pop("rules", {})),
                "patterns": PATTERNS,
                "options": {"local": ReplyOptions(max_tokens=64, temperature=0.7, top_p=0.9)},
                "breaker": BreakerRules(failures=1000, least_attempts=1000),
                "health": Health(active=False),
                "hedging": Hedging(enable=False),
                "confidence": ConfidenceRules(tokens=0),
                "limits": Limits(body_bytes=20_000, body_seconds=0.3),
            }
            config = RouterConfig(**(values | changes))
            router = Router(config)
            settings: dict[str, Any] = {
                "http": LimitedProtocol,
                "log_level": "critical",
                "lifespan": "on",
                "ws": "none",
                "server_header": False,
                "port": 0,
            }
            server = uvicorn.Server(uvicorn.Config(create_app(router), **settings))
            # The steps of Server.serve without its signal handlers, its ticks and its drain.
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup()
            stack.push_async_callback(server.lifespan.shutdown)
            stack.callback(server.servers[0].close)
            port = server.servers[0].sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, timeout=10, verify=NO_CERTIFICATES)
            )
            return Running(url, http, near, far, router)

        yield begin
