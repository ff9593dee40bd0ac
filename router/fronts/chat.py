"""The OpenAI front: ``/v1/chat/completions`` and ``/v1/models``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
from starlette.types import Receive, Scope, Send

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import (
    ATTEMPTS_HEADER,
    BACKEND_HEADER,
    CACHE_HEADER,
    EMULATED_HEADER,
    REASON_HEADER,
    TIER_HEADER,
    ErrorType,
)
from firsttoken.wire.dialect import Dialect, RequestError
from router.account import Account
from router.backends.faults import Fault, client_status
from router.fronts.http import BodyError, ClientGone, Exchange, Keys
from router.gate import Opened
from router.pipeline import Pipeline

_JSON = "application/json"

_STREAM_HEADERS = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))

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


class ChatCompletions:
    """``POST /v1/chat/completions``, streamed or not.

    Args:
        pipeline: returns the pipeline, which exists once the server has started.
        dialect: OpenAI's.
        keys: who may enter.
    """

    def __init__(self, pipeline: Callable[[], Pipeline], dialect: Dialect, keys: Keys) -> None:
        self._pipeline = pipeline
        self._dialect = dialect
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange = Exchange(scope, receive, send)
        pipeline = self._pipeline()
        if not self._keys.admit(exchange.bearer_token()):
            await _refuse(exchange, self._dialect, 401, "the API key is missing or wrong")
            return
        limits = pipeline.config.limits
        try:
            body = await exchange.body(limits.body_bytes, limits.body_seconds)
            request = self._dialect.parse_request(body)
        except BodyError as error:
            await _refuse(exchange, self._dialect, error.status, str(error))
        except RequestError as error:
            await _refuse(exchange, self._dialect, 400, str(error))
        except ClientGone:
            return
        else:
            client = _ChatClient(exchange, self._dialect, stream=request.stream)
            serving = pipeline.serve(request, exchange.request_id, client)
            try:
                await exchange.while_connected(serving)
            except asyncio.CancelledError:
                # The server stops, and its time for requests in flight is over.
                await client.stop()


class _ChatClient:
    """A client that speaks OpenAI; see :class:`router.pipeline.Client`."""

    def __init__(self, exchange: Exchange, dialect: Dialect, *, stream: bool) -> None:
        self._exchange = exchange
        self._dialect = dialect
        self._stream = stream
        self.write = exchange.write
        self.end = exchange.end

    async def begin(self, opened: Opened, account: Account) -> None:
        headers = _route_headers(account)
        headers.append(("server-timing", _server_timing(opened, account)))
        emulated = opened.reply.header(EMULATED_HEADER)
        if emulated is not None:
            headers.append((EMULATED_HEADER, emulated))
        if self._stream:
            await self._exchange.start(
                200, self._dialect.content_type, (*headers, *_STREAM_HEADERS)
            )
        else:
            await self._exchange.start(200, _JSON, headers)

    async def refuse(self, fault: Fault, account: Account) -> None:
        headers = _route_headers(account)
        if fault.retry_after is not None:
            headers.append(("retry-after", fault.retry_after))
        if fault.error_type is not ErrorType.OVERLOADED:
            headers.append(_NO_RETRY)
        status = client_status(fault)
        code = fault.error_type.value
        body = self._dialect.write_error(status, code, fault.message)
        await self._exchange.reply(status, _JSON, body, headers)

    async def break_off(self, fault: Fault) -> None:
        body = self._dialect.write_error(
            client_status(fault), fault.error_type.value, fault.message
        )
        # An error object in place of a chunk, and no end mark: every client library raises on it.
        await self._exchange.write(b"data: " + body.replace(b"\n", b" ") + b"\n\n")
        await self._exchange.end()

    async def stop(self) -> None:
        """End the exchange because the router does; nothing is left to be cancelled then."""
        fault = Fault(ErrorType.OVERLOADED, "the router is shutting down")
        if self._exchange.begun:
            await self.break_off(fault)
        else:
            await _refuse(self._exchange, self._dialect, client_status(fault), fault.message)


class Models:
    """``GET /v1/models``: every model that can be asked for, known from the settings alone."""

    def __init__(self, backends: tuple[Backend, ...], dialect: Dialect, keys: Keys) -> None:
        names: dict[str, str] = {}
        for backend in backends:
            for name in (backend.model, *backend.model_aliases):
                names.setdefault(name, backend.name)
        self._body = orjson.dumps(
            {
                "object": "list",
                "data": [
                    {"id": name, "object": "model", "created": 0, "owned_by": owner}
                    for name, owner in names.items()
                ],
            }
        )
        self._dialect = dialect
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange = Exchange(scope, receive, send)
        if self._keys.admit(exchange.bearer_token()):
            await exchange.reply(200, _JSON, self._body)
        else:
            await _refuse(exchange, self._dialect, 401, "the API key is missing or wrong")


async def _refuse(exchange: Exchange, dialect: Dialect, status: int, message: str) -> None:
    """Answer a request that is not accepted."""
    body = dialect.write_error(status, _ERROR_CODES.get(status, "api_error"), message)
    # What was not read of the body is not worth reading.
    headers = [("connection", "close")] if status in {408, 413} else []
    await exchange.reply(status, _JSON, body, headers)


def _route_headers(account: Account) -> list[tuple[str, str]]:
    decision = account.decision
    headers = [
        (TIER_HEADER, decision.tier.value),
        (ATTEMPTS_HEADER, str(decision.attempts)),
        (CACHE_HEADER, "bypass"),
    ]
    if decision.reason is not None:
        headers.append((BACKEND_HEADER, decision.backend))
        headers.append((REASON_HEADER, decision.reason.value))
    return headers


def _server_timing(opened: Opened, account: Account) -> str:
    """Return where the time to the first token went, in milliseconds: the router's own work, failed
    attempts, the backend."""
    record = opened.record
    first_ns = account.first_started_ns or record.started_ns
    ready_ns = record.first_token_ns or record.headers_ns or record.started_ns
    return ", ".join(
        f"{name};dur={duration_ns / NS_PER_MS:.3f}"
        for name, duration_ns in (
            ("router", first_ns - account.accepted_ns),
            ("fallback", record.started_ns - first_ns),
            ("backend", ready_ns - record.started_ns),
        )
    )
