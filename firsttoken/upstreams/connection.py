"""One HTTP/1.1 connection that plays scripts: cheap, exact in time, and strict with its limits.

The servers we measure against must cost next to nothing beside what is measured: one write a
token, no task and no queue a request. Requests are parsed by httptools; keep-alive and pipelining
are served in order.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from http import HTTPStatus
from typing import Protocol, cast

import httptools
import orjson

from firsttoken.core.clock import monotonic_ns
from firsttoken.upstreams.script import (
    Counters,
    Framing,
    Head,
    Headers,
    Request,
    Script,
    Whole,
)

MAX_BODY_BYTES = 8 << 20
MAX_HEADER_BYTES = 64 << 10
MAX_PIPELINED = 16
MAX_CONNECTIONS = 4096
MAX_UNSENT_BYTES = 16 << 20
"""A client that leaves more than this unread is cut off."""
IDLE_TIMEOUT_S = 120.0
"""A connection that has asked for nothing whole for this long is closed."""

logger = logging.getLogger(__name__)


class App(Protocol):
    """What a server answers."""

    counters: Counters
    headers: Headers
    """Sent with every reply, those to unreadable requests included."""

    def answer(self, request: Request) -> Script:
        """Return the script of one reply. It is started at once."""


class Connection(asyncio.Protocol):
    """One client connection: parses requests and plays one script after the other."""

    def __init__(self, app: App, connections: set[Connection]) -> None:
        self._app = app
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._script: Script | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._chunked = False
        self._last_reply = False
        self._head_sent = False
        self._head_only = False
        self._read_ns = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body = bytearray()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own
        self._connections.add(self)
        counters = self._app.counters
        counters.open_connections += 1
        counters.all_connections += 1
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_request()
        if len(self._connections) > MAX_CONNECTIONS:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self._connections.discard(self)
        self._app.counters.open_connections -= 1
        self._waiting.clear()
        self._stop()

    def data_received(self, data: bytes) -> None:
        self._read_ns = monotonic_ns()
        try:
            self._parser.feed_data(data)
            self._next_request()
        except httptools.HttpParserError as error:
            # A refusal raised in one of the callbacks below arrives here as the cause.
            cause = error.__context__
            status = cause.status if isinstance(cause, _RefusedError) else HTTPStatus.BAD_REQUEST
            self._refuse(status)
        except httptools.HttpParserUpgrade:
            self._refuse(HTTPStatus.BAD_REQUEST)

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._header_bytes = 0
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._limit_headers(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._limit_headers(len(name) + len(value))
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > MAX_BODY_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._body += body

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            path=path,
            query=query,
            headers=self._headers,
            body=bytes(self._body),
            received_ns=self._read_ns,
        )
        if not self._parser.should_keep_alive():
            request.headers["connection"] = "close"
        if len(self._waiting) >= MAX_PIPELINED:
            raise _RefusedError(HTTPStatus.TOO_MANY_REQUESTS)
        self._waiting.append(request)

    def _limit_headers(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer what cannot be read, and close: the bytes after it have no meaning."""
        self._stop()
        if not self._transport.is_closing():
            body = orjson.dumps({"error": {"message": status.phrase, "type": "invalid_request"}})
            self._last_reply = True
            if not self._head_sent:
                self._write_whole(Whole(body, status))
            self._transport.close()

    # Playing.

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expect_request(self) -> None:
        self._timer = self._loop.call_later(IDLE_TIMEOUT_S, self._transport.close)

    def _next_request(self) -> None:
        """Start the next script where there is a request and none is being answered."""
        if self._script is not None or not self._waiting or self._transport.is_closing():
            return
        self._cancel_timer()
        request = self._waiting.popleft()
        self._head_only = request.method == "HEAD"
        self._last_reply = request.headers.get("connection", "").lower() == "close"
        self._due_s = self._loop.time()
        try:
            self._script = self._app.answer(request)
        except Exception:
            logger.exception("a request could not be answered; the connection is closed")
            self._transport.abort()
        else:
            self._play()

    def _play(self) -> None:
        """Play steps until the script waits or ends."""
        script = self._script
        if script is None:
            return
        self._timer = None
        stamp: int | None = None
        try:
            # A script that cuts or whose client leaves during a write takes itself away.
            while self._script is script:
                step = script.send(stamp)
                stamp = None
                if isinstance(step, bytes):
                    stamp = self._write(step)
                elif isinstance(step, float | int):
                    self._due_s += step
                    self._timer = self._loop.call_at(self._due_s, self._play)
                    return
                elif isinstance(step, Head):
                    stamp = self._begin(step)
                elif isinstance(step, Whole):
                    stamp = self._write_whole(step)
                    self._chunked = False
                else:
                    self._cut(script)
        except StopIteration:
            self._finish()
        except Exception:
            logger.exception("a script failed; the connection is closed")
            self._transport.abort()

    def _begin(self, head: Head) -> int:
        close = head.framing in (Framing.CHUNKED_THEN_CLOSE, Framing.UNTIL_CLOSE)
        self._last_reply = self._last_reply or close
        self._chunked = head.framing in (Framing.CHUNKED, Framing.CHUNKED_THEN_CLOSE)
        framing: Headers = (("transfer-encoding", "chunked"),) if self._chunked else ()
        own = (("content-type", head.content_type), *framing)
        return self._write_head(head.status, own, head.headers, self._framed(head.first))

    def _write_whole(self, whole: Whole) -> int:
        own = (("content-type", whole.content_type), ("content-length", str(len(whole.body))))
        return self._write_head(whole.status, own, whole.headers, whole.body)

    def _write_head(self, status: int, own: Headers, headers: Headers, body: bytes = b"") -> int:
        closing: Headers = (("connection", "close"),) if self._last_reply else ()
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [
            f"{name}: {value}" for name, value in (*own, *self._app.headers, *headers, *closing)
        ]
        self._head_sent = True
        data = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if not self._head_only:
            data += body
        stamp = monotonic_ns()
        self._transport.write(data)
        return stamp

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data

    def _write(self, data: bytes) -> int:
        data = self._framed(data)
        stamp = monotonic_ns()
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._transport.abort()
        return stamp

    def _finish(self) -> None:
        self._script = None
        self._head_sent = False
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
            self._chunked = False
        if self._last_reply:
            self._transport.close()
        elif self._waiting:
            # Through the loop, so that many pipelined requests cannot nest calls.
            self._loop.call_soon(self._next_request)
        else:
            self._expect_request()

    def _cut(self, script: Script) -> None:
        """Close after what was written, and let the script end by itself: no client has left."""
        self._script = None
        next(script, None)
        self._transport.close()

    def _stop(self) -> None:
        """Close the script where it stands: the client has left, or the server stops."""
        self._cancel_timer()
        script, self._script = self._script, None
        if script is not None:
            script.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()


class _RefusedError(Exception):
    """Raised in a parser callback: the request is over a limit."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status
