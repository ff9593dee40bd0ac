"""What operators and programs read: health, metrics, decisions, attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson
from starlette.types import Receive, Scope, Send

from exporter.instruments import CONTENT_TYPE
from firsttoken.wire import dialects
from firsttoken.wire.dialect import Dialect
from router.fronts.chat import admit
from router.fronts.http import JSON, Exchange, Keys
from router.ledger import Ledger
from router.serving import Serving

PAGE = 1_000
"""Records in one reply at most: writing them takes 2 ms, in which nobody else is served."""

_Record = TypeVar("_Record")
Handler = Callable[[Exchange, Scope], Awaitable[None]]


class Endpoint:
    """An ASGI endpoint of one handler, which asks for a key where it has keys.

    A key that is missing or wrong is answered in ``dialect``.
    """

    def __init__(
        self, handler: Handler, keys: Keys | None = None, dialect: Dialect | None = None
    ) -> None:
        self._handler = handler
        self._keys = keys
        self._dialect = dialect or dialects.get("ollama")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange = Exchange(scope, receive, send)
        if self._keys is None or await admit(exchange, self._dialect, self._keys) is not None:
            await self._handler(exchange, scope)


async def healthz(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001
    """Answer that the process is alive."""
    await exchange.reply(200, JSON, b'{"status":"ok"}')


def readyz(serving: Callable[[], Serving]) -> Handler:
    """Return the handler that answers 200 while a backend can serve, else 503; it also tells how
    long the queues of the local backends are."""

    async def handle(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001
        now = serving()
        ready = now.monitor.any_usable
        queues = {
            name: {"slots": queue.slots, "in_use": queue.in_use, "waiting": queue.waiting}
            for name, queue in now.queues.items()
        }
        body = {"ready": ready, "blocked": sorted(now.monitor.blocked), "queues": queues}
        await exchange.reply(200 if ready else 503, JSON, orjson.dumps(body))

    return handle


def metrics(render: Callable[[], bytes], settle: Callable[[], None]) -> Handler:
    """Return the handler of ``/metrics``; rendering takes milliseconds and runs in a thread.

    ``settle`` is called first, in the event loop.
    """

    async def handle(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001
        settle()
        await exchange.reply(200, CONTENT_TYPE, await asyncio.to_thread(render))

    return handle


def records(ledger: Ledger[_Record], key: str) -> Handler:
    """Return the handler of a ledger: ``?after=N`` gives ``{"next": N2, "more": ..., key: [...]}``,
    at most ``PAGE`` records; where there are more, they are read with ``?after=N2``."""

    async def handle(exchange: Exchange, scope: Scope) -> None:
        number = _after(scope["query_string"])
        if number is None:
            message = b'{"error":"after: expected a whole number of at least 0"}'
            await exchange.reply(400, JSON, message)
            return
        following, found = ledger.after(number, PAGE)
        page = {"next": following, "more": len(found) == PAGE, key: found}
        await exchange.reply(200, JSON, orjson.dumps(page))

    return handle


def _after(query: bytes) -> int | None:
    """Return the number in ``after=N``; 0 without it, None where it is none."""
    for pair in query.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if name == "after":
            return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
    return 0
