"""The ASGI application: routes, and which settings are in force."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

import orjson
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from firsttoken.core.catalogue import Rating
from firsttoken.core.clock import NS_PER_S, NowNs, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.transport.http1 import HttpTransport
from firsttoken.transport.protocol import Transport
from firsttoken.wire import dialects
from router.account import Books
from router.actions.loop import AlertLoop
from router.cache.store import Caches
from router.config import RouterConfig
from router.fronts.alerts import alerts
from router.fronts.chat import Chat
from router.fronts.feedback import Feedback
from router.fronts.http import JSON, Exchange, Keys
from router.fronts.load_test import load_test
from router.fronts.models import Listing, ollama_running, ollama_tags, openai_models
from router.fronts.operations import Endpoint, healthz, metrics, readyz, records
from router.meters import Meters
from router.serving import Serving
from router.voice.clock import ClockMemory

_log = logging.getLogger(__name__)

DRAIN_S = 60.0
"""For requests of the settings before to end after a reload."""


class Router:
    """The settings in force, and how others come into force.

    Args:
        config: what it is told at first.
        load: reads the settings anew; None where they come from nowhere.
        transport: makes the connections to the backends, inside the event loop.
        now_ns: the clock of stamps and breakers.
        draw: random numbers in [0, 1).
    """

    def __init__(
        self,
        config: RouterConfig,
        load: Callable[[], RouterConfig] | None = None,
        *,
        transport: Callable[[], Transport] = HttpTransport,
        now_ns: NowNs = monotonic_ns,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self.keys = Keys(config.api_keys)
        self.books = Books(Meters(config.rules), now_ns, config.conversation_idle_s)
        self._clocks = ClockMemory(now_s=self._now_s)
        self._load = load
        self._transport = transport
        self._now_ns = now_ns
        self._draw = draw
        self._serving: Serving | None = None
        self.alerts = AlertLoop(
            config.alerts, lambda: self.serving.actions.hands, self.books.meters.acted
        )
        self._leaving: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()

    @property
    def serving(self) -> Serving:
        """What serves now; exists between :meth:`start` and :meth:`aclose`."""
        if self._serving is None:
            raise RuntimeError("the router was not started")
        return self._serving

    async def start(self) -> None:
        """Begin to serve."""
        self._serving = self._made(self.config, None)
        await self._serving.start()
        await self.alerts.start()

    async def aclose(self) -> None:
        """End the work in the background and all connections."""
        for task in tuple(self._leaving):
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self.alerts.aclose()
        if self._serving is not None:
            await self._serving.aclose()
            self._serving = None

    async def reload(self) -> None:
        """Read the settings anew and serve by them, whole or not at all.

        Requests under way end by the settings they began with.

        Raises:
            UserError: they are wrong; those before stay in force.
        """
        if self._load is None:
            raise UserError("there is no settings file to read again")
        async with self._reloading:
            config = await asyncio.to_thread(self._load)
            before = self.serving
            kept = _answers(config) == _answers(self.config)
            after = self._made(config, before.caches if kept else None)
            self.books.meters.configured(config.rules)
            self.books.conversations.idle_s = config.conversation_idle_s
            # Nothing of this gives way to another task: both would write the same metrics.
            after.take_over(before)
            before.retire()
            await after.start()
            self.config, self._serving = config, after
            self.keys.replace(config.api_keys)
            task = asyncio.get_running_loop().create_task(_drained(before))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            await self.alerts.configure(config.alerts)
        _log.warning("the settings were reloaded")

    def _made(self, config: RouterConfig, caches: Caches | None) -> Serving:
        if caches is None:
            caches = Caches.of(config.caching, self.books.meters, self._now_s)
        return Serving(
            config,
            self.books,
            self._transport(),
            caches,
            self._clocks,
            now_ns=self._now_ns,
            draw=self._draw,
        )

    def _now_s(self) -> float:
        return self._now_ns() / NS_PER_S


def _answers(config: RouterConfig) -> tuple[object, ...]:
    """Return what the replies in the caches depend on."""
    backends = (
        (each.name, each.base_url, each.dialect, each.model, each.model_aliases)
        for each in config.rules.backends
    )
    return config.caching, config.options, config.voice, *backends


async def _drained(serving: Serving) -> None:
    """Close ``serving`` when its last request has ended."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await serving.pipeline.idle.wait()
    finally:
        await serving.aclose()


def create_app(router: Router) -> ASGIApp:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        await router.start()
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[None]] = set()

        def hang_up() -> None:
            task = loop.create_task(_reload_quietly(router))
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        # Elsewhere than in the main thread there are no signals.
        with suppress(ValueError, RuntimeError):
            loop.add_signal_handler(signal.SIGHUP, hang_up)
        try:
            yield
        finally:
            await router.aclose()

    async def reload(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001
        try:
            await router.reload()
        except UserError as error:
            await exchange.reply(422, JSON, orjson.dumps({"error": str(error)}))
        else:
            await exchange.reply(200, JSON, b'{"reloaded":true}')

    async def version_of(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001
        await exchange.reply(200, JSON, orjson.dumps({"version": version("firsttoken")}))

    keys, books = router.keys, router.books
    attempts = records(books.attempts, "attempts")
    decisions = records(books.decisions, "decisions")
    shown = metrics(books.meters.render, books.settle)
    announce = load_test(books.load_test, books.now_s)
    webhook = alerts(router.alerts, books.meters.delivered)
    openai, ollama = dialects.get("openai"), dialects.get("ollama")

    def chat(name: str) -> Chat:
        return Chat(lambda: router.serving.pipeline, dialects.get(name), keys)

    def listing(body: Callable[..., dict[str, object]], name: str) -> Listing:
        return Listing(lambda: router.config.rules.backends, body, dialects.get(name), keys)

    def rate(rating: Rating) -> None:
        books.meters.feedback(rating).inc()

    # A base URL that ends in a slash makes clients ask for //v1.
    fronts = [
        Route(f"{slash}{path}", endpoint, methods=[method])
        for slash in ("", "/")
        for path, endpoint, method in (
            ("/v1/chat/completions", chat(openai.name), "POST"),
            ("/v1/feedback", Feedback(books.ratings, rate, keys), "POST"),
            ("/v1/models", listing(openai_models, openai.name), "GET"),
            ("/api/chat", chat(ollama.name), "POST"),
            ("/api/generate", chat("ollama_generate"), "POST"),
            ("/api/tags", listing(ollama_tags, ollama.name), "GET"),
            ("/api/ps", listing(ollama_running, ollama.name), "GET"),
            ("/api/version", Endpoint(version_of), "GET"),
        )
    ]
    app = Starlette(
        routes=[
            *fronts,
            Route("/", Endpoint(healthz), methods=["GET"]),
            Route("/healthz", Endpoint(healthz), methods=["GET"]),
            Route("/readyz", Endpoint(readyz(lambda: router.serving)), methods=["GET"]),
            Route("/metrics", Endpoint(shown), methods=["GET"]),
            Route("/debug/attempts", Endpoint(attempts, keys), methods=["GET"]),
            Route("/debug/decisions", Endpoint(decisions, keys), methods=["GET"]),
            Route("/-/reload", Endpoint(reload, keys), methods=["POST"]),
            Route("/-/alerts", Endpoint(webhook), methods=["POST"]),
            Route("/-/load-test", Endpoint(announce, keys), methods=["POST"]),
        ],
        lifespan=lifespan,
    )
    chats = {route.path: route.endpoint for route in fronts if isinstance(route.endpoint, Chat)}

    async def shortcut(scope: Scope, receive: Receive, send: Send) -> None:
        """Lead chats past the middleware, which would wrap each chunk of a stream twice."""
        found = chats.get(scope["path"]) if scope["type"] == "http" else None
        if found is not None and scope["method"] == "POST":
            await found(scope, receive, send)
        else:
            await app(scope, receive, send)

    return shortcut


async def _reload_quietly(router: Router) -> None:
    """Reload at a signal: nobody waits for an answer, so failures go to the log."""
    try:
        await router.reload()
    except UserError as error:
        _log.error("the settings were not reloaded: %s", error)
    except Exception:  # noqa: BLE001 - nobody else would ever hear of it
        _log.exception("the settings were not reloaded")
