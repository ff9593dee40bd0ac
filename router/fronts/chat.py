"""Chat in the dialects of the clients: OpenAI's, and Ollama's two."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.words import (
    ATTEMPTS_HEADER,
    BACKEND_HEADER,
    CACHE_HEADER,
    EMULATED_HEADER,
    REASON_HEADER,
    TIER_HEADER,
    ErrorType,
    Tier,
)
from firsttoken.wire.dialect import Dialect, ReplyIdentity, RequestError
from firsttoken.wire.events import End, Event, Failure, Text
from router.account import Account, Books
from router.attempt import Opened
from router.backends.faults import Fault, client_status
from router.fronts.http import JSON, BodyError, ClientGone, Exchange, Keys
from router.pipeline import Pipeline, Visit, new_identity

_STREAM_HEADERS = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))

_WAIT = b": waiting\n\n"
"""A comment: a client that reads events passes over it."""

_NO_RETRY = ("x-should-retry", "false")
"""The official clients repeat a request by themselves; after every backend failed that would only
make the user wait longer."""

_ERROR_CODES = {
    400: "invalid_request_error",
    401: "authentication_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


class Chat:
    """An endpoint that chats in one dialect, streamed or not.

    Args:
        pipeline: returns the pipeline in force.
        dialect: of the clients.
        keys: who may enter.
    """

    def __init__(self, pipeline: Callable[[], Pipeline], dialect: Dialect, keys: Keys) -> None:
        self._pipeline = pipeline
        self._dialect = dialect
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange = Exchange(scope, receive, send)
        tenant = await admit(exchange, self._dialect, self._keys)
        if tenant is None:
            return
        limits = self._pipeline().config.limits
        try:
            body = await exchange.body(limits.body_bytes, limits.body_seconds)
            request = self._dialect.parse_request(body)
        except BodyError as error:
            await refuse(exchange, self._dialect, error.status, str(error))
            return
        except RequestError as error:
            await refuse(exchange, self._dialect, 400, str(error))
            return
        except ClientGone:
            return
        if not request.messages:
            # Ollama's way to have a model loaded; the router sees to that by itself.
            identity = ReplyIdentity(secrets.token_hex(12), request.model, int(time.time()))
            loaded = self._dialect.write_reply(identity, [End(0, "load")])
            await exchange.reply(200, JSON, loaded)
            return
        client = _ChatClient(exchange, self._dialect, stream=request.stream)
        # The one in force now that the body is here: what served before a reload may have ended.
        visit = Visit(request, tenant, client, told=exchange.told())
        serving = self._pipeline().serve(visit, exchange.request_id)
        try:
            await exchange.while_connected(serving)
        except asyncio.CancelledError:
            # The server stops, and its time for requests in flight is over.
            await client.stop(self._pipeline().books)


class _ChatClient:
    """The client of one exchange; see :class:`router.pipeline.Client`."""

    def __init__(self, exchange: Exchange, dialect: Dialect, *, stream: bool) -> None:
        self._exchange = exchange
        self.dialect = dialect
        self.spoken_failure = ""
        self.last_words: Callable[[], bytes] | None = None
        self._stream = stream
        self.write = exchange.write
        self.end = exchange.end

    async def wait(self) -> None:
        if not self._exchange.begun:
            await self._exchange.start(200, self.dialect.content_type, _STREAM_HEADERS)
        await self._exchange.write(_WAIT)

    async def begin(self, account: Account, opened: Opened | None) -> None:
        if self._exchange.begun:
            return
        headers = _route_headers(account)
        headers.append(("server-timing", _server_timing(account, opened)))
        emulated = opened.reply.header(EMULATED_HEADER) if opened else None
        if emulated is not None:
            headers.append((EMULATED_HEADER, emulated))
        if self._stream:
            headers.extend(_STREAM_HEADERS)
        await self._exchange.start(
            200, self.dialect.content_type if self._stream else JSON, headers
        )

    async def refuse(self, fault: Fault, account: Account) -> None:
        if self._exchange.begun:
            await self.break_off(fault)
            return
        headers = _route_headers(account)
        if self.spoken_failure:
            account.apologised(fault.error_type)
            await self._speak(headers)
            return
        if fault.retry_after is not None:
            headers.append(("retry-after", fault.retry_after))
        if fault.error_type is not ErrorType.OVERLOADED:
            headers.append(_NO_RETRY)
        status = client_status(fault)
        body = self.dialect.write_error(status, fault.error_type.value, fault.message)
        await self._exchange.reply(status, JSON, body, headers)

    async def break_off(self, fault: Fault) -> None:
        if self.last_words is not None:
            await self._exchange.write(self.last_words())
            await self._exchange.end()
            return
        # An error in place of the next frame, and no end mark: every client library raises on it.
        failure = Failure(0, fault.error_type, fault.message, client_status(fault))
        writer = self.dialect.writer(ReplyIdentity("", "", 0), include_usage=False)
        await self._exchange.write(writer.write(failure))
        await self._exchange.end()

    async def _speak(self, headers: list[tuple[str, str]]) -> None:
        """Answer with the canned sentence: a talking device has no other way to tell."""
        identity = new_identity("firsttoken")
        said: list[Event] = [Text(0, self.spoken_failure), End(0, "stop")]
        if self._stream:
            writer = self.dialect.writer(identity, include_usage=False)
            body = b"".join(map(writer.write, said))
            headers = [*headers, *_STREAM_HEADERS]
        else:
            body = self.dialect.write_reply(identity, said)
        media_type = self.dialect.content_type if self._stream else JSON
        await self._exchange.reply(200, media_type, body, headers)

    async def stop(self, books: Books) -> None:
        """End the exchange because the router does; nothing is left to be cancelled then. Its
        account is closed by now, so a canned sentence is entered in ``books`` here."""
        fault = Fault(ErrorType.OVERLOADED, "the router is shutting down")
        if self._exchange.ended:
            return
        if self._exchange.begun:
            await self.break_off(fault)
        elif self.spoken_failure:
            books.meters.voice.failures(fault.error_type).inc()
            await self._speak([(TIER_HEADER, Tier.NONE.value)])
        else:
            await refuse(self._exchange, self.dialect, client_status(fault), fault.message)


async def admit(exchange: Exchange, dialect: Dialect, keys: Keys) -> str | None:
    """Return who asks; None where the key is missing or wrong, which is then answered."""
    tenant = keys.tenant(exchange.bearer_token())
    if tenant is None:
        await refuse(exchange, dialect, 401, "the API key is missing or wrong")
    return tenant


async def refuse(exchange: Exchange, dialect: Dialect, status: int, message: str) -> None:
    """Answer a request that is not accepted."""
    body = dialect.write_error(status, _ERROR_CODES.get(status, "api_error"), message)
    # What was not read of the body is not worth reading.
    headers = [("connection", "close")] if status in {408, 413} else []
    await exchange.reply(status, JSON, body, headers)


def _route_headers(account: Account) -> list[tuple[str, str]]:
    decision = account.decision
    headers = [
        (TIER_HEADER, decision.tier.value),
        (ATTEMPTS_HEADER, str(decision.attempts)),
        (CACHE_HEADER, decision.cache.value),
    ]
    if decision.reason is not None:
        headers.append((BACKEND_HEADER, decision.backend))
        headers.append((REASON_HEADER, decision.reason.value))
    return headers


def _server_timing(account: Account, opened: Opened | None) -> str:
    """Return where the time to the first token went, in milliseconds: the router's own work,
    attempts that were given up, the wait for a slot, the backend."""
    if opened is None:
        return f"router;dur={(account.now_ns() - account.accepted_ns) / NS_PER_MS:.3f}"
    record = opened.record
    first_ns = account.first_started_ns or record.started_ns
    ready_ns = record.first_token_ns or record.headers_ns or record.started_ns
    queue_ms = record.queue_ms or 0.0
    parts = (
        ("router", (first_ns - account.accepted_ns) / NS_PER_MS),
        ("fallback", (record.started_ns - first_ns) / NS_PER_MS),
        ("queue", queue_ms),
        ("backend", (ready_ns - record.started_ns) / NS_PER_MS - queue_ms),
    )
    return ", ".join(f"{name};dur={milliseconds:.3f}" for name, milliseconds in parts)
