"""The ASGI application."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.routing import Route

from firsttoken.core.clock import NS_PER_S, NowNs, monotonic_ns
from firsttoken.wire import dialects
from router.account import Books
from router.backends.transport import AiohttpTransport, Transport
from router.config import RouterConfig
from router.fronts.http import Keys
from router.fronts.openai import ChatCompletions, Models
from router.fronts.operations import Endpoint, healthz, metrics, readyz, records
from router.gate import Gate
from router.health.monitor import Monitor
from router.ledger import Ledger
from router.meters import Meters
from router.pipeline import Pipeline


def create_app(
    config: RouterConfig,
    *,
    transport: Callable[[], Transport] = AiohttpTransport,
    now_ns: NowNs = monotonic_ns,
    draw: Callable[[], float] | None = None,
) -> Starlette:
    """Return the application.

    Args:
        config: what it is told.
        transport: makes the connection to the backends, inside the event loop.
        now_ns: the clock of stamps and breakers.
        draw: random numbers in [0, 1) for weighted shares.
    """
    openai = dialects.get("openai")
    keys = Keys(config.api_keys)
    meters = Meters(config.rules)
    books = Books(meters, now_ns)
    started: list[Pipeline] = []

    def pipeline() -> Pipeline:
        return started[0]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        wire = transport()
        backends = {backend.name: backend for backend in config.rules.backends}

        async def probe(name: str) -> bool:
            return await gate.probe(backends[name], config.probe_timeout_s)

        monitor = Monitor(
            backends,
            config.breaker,
            probe,
            meters.circuit_changed,
            now_s=lambda: now_ns() / NS_PER_S,
        )
        gate = Gate(wire, openai, config.options, monitor, now_ns)
        started.append(Pipeline(config, gate, monitor, books, draw or random.random))
        try:
            yield
        finally:
            started.clear()
            await monitor.aclose()
            await wire.aclose()

    chat = ChatCompletions(pipeline, openai, keys)
    models = Models(config.rules.backends, openai, keys)
    attempts = records(cast("Ledger[object]", books.attempts), "attempts")
    decisions = records(cast("Ledger[object]", books.decisions), "decisions")
    # A base URL that ends in a slash makes clients ask for //v1.
    fronts = [
        route
        for prefix in ("/v1", "//v1")
        for route in (
            Route(f"{prefix}/chat/completions", chat, methods=["POST"]),
            Route(f"{prefix}/models", models, methods=["GET"]),
        )
    ]
    return Starlette(
        routes=[
            *fronts,
            Route("/healthz", Endpoint(healthz), methods=["GET"]),
            Route("/readyz", Endpoint(readyz(lambda: pipeline().monitor)), methods=["GET"]),
            Route("/metrics", Endpoint(metrics(meters.render)), methods=["GET"]),
            Route("/debug/attempts", Endpoint(attempts, keys), methods=["GET"]),
            Route("/debug/decisions", Endpoint(decisions, keys), methods=["GET"]),
        ],
        lifespan=lifespan,
    )
