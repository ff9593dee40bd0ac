"""The streaming client of every scenario, and of the calibration.

One client is one talker's: a kept connection, one request at a time. It uses plain blocking
sockets, which gevent makes cooperative where it has patched the process, and which work as they
are in a thread. A stamp is read from the clock right after ``recv`` returned, before anything is
parsed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from firsttoken.core.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.words import REQUEST_ID_HEADER, ErrorType
from firsttoken.load.body import Body, body_of
from firsttoken.load.endpoint import Endpoint
from firsttoken.load.exchange import Exchange
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest, Dialect, HttpCall
from firsttoken.wire.http_reply import HttpReply, ReplyError

RECEIVE_BYTES = 64 * 1024
LINGER_S = 1.0
"""How long the end of the HTTP message is waited for after the end of the stream. It is not part
of the request's time; a server that is slower loses its connection."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client waits, seconds."""

    total_s: float = 30.0
    """From the start of the request, connecting included, to its end."""
    connect_s: float = 10.0
    silence_s: float = 30.0
    """Between two reads: to the first token, and from then on as a stall."""


@dataclass(frozen=True, slots=True)
class Line:
    """How one arm is reached: shared by all of its talkers, made before the ramp."""

    endpoint: Endpoint
    dialect: Dialect
    api_key: str | None = field(default=None, repr=False)
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise UserError("the API key holds characters that no header may: is it a whole file?")

    @classmethod
    def to(cls, url: str, dialect: str, api_key_env: str | None, timeout_s: float) -> Line:
        """Prepare the way to a server: its name looked up, TLS built, the key read.

        Raises:
            UserError: a bad URL, an unknown dialect, or a key variable that is not set.
        """
        api_key = os.environ.get(api_key_env) if api_key_env else None
        if api_key_env and not api_key:
            raise UserError(f"the variable {api_key_env}, which should hold the key, is not set")
        limits = Limits(total_s=timeout_s, connect_s=min(10.0, timeout_s), silence_s=timeout_s)
        return cls(Endpoint.resolve(url), dialects.get(dialect), api_key, limits)


class _RequestOverError(Exception):
    """The request is over, for this reason."""

    def __init__(self, error_type: ErrorType, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class StreamClient:
    """One talker's client. Not for use by two threads or greenlets at once."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._socket: socket.socket | None = None
        self._deadline_ns = 0
        self._hang_up_after_ns: int | None = None
        self._t_ns = 0
        """The stamp of the last read."""

    def ask(
        self,
        request: ChatRequest,
        exchange: Exchange,
        hang_up_after_ms: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send ``request`` and follow its stream to the end; ``exchange`` says how it went.

        ``headers`` are sent beside those of the dialect.

        ``hang_up_after_ms`` after its first speakable sentence, a reply that still streams is given
        up, as a person does who interrupts: the connection is closed and the exchange is
        ``cancelled``, with the stamps it has. A reply that ends before is not touched by it.

        Whatever server and network do is an outcome of the exchange, not an exception. The
        exchange is complete when this returns. An exception thrown in from outside (the talker is
        being stopped) closes the connection, marks the exchange ``cancelled`` and passes on.
        """
        limits = self._line.limits
        call = self._line.dialect.build_request(request, self._line.api_key)
        self._deadline_ns = monotonic_ns() + int(limits.total_s * NS_PER_S)
        self._hang_up_after_ns = (
            None if hang_up_after_ms is None else int(hang_up_after_ms * NS_PER_MS)
        )
        keep = False
        try:
            written = self._write(call, exchange.request_id, headers or {})
            reply, data = self._hand_over(written, exchange)
            keep = self._follow(reply, data, exchange)
        except _RequestOverError as trouble:
            exchange.fail(trouble.error_type, str(trouble), monotonic_ns())
        except BaseException:
            exchange.fail(ErrorType.CLIENT_GONE, "the talker was stopped", monotonic_ns())
            raise
        finally:
            if not keep:
                self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _write(self, call: HttpCall, request_id: str, further: Mapping[str, str]) -> bytes:
        headers = {
            "host": self._line.endpoint.host_header,
            "user-agent": "firsttoken",
            "accept-encoding": "identity",
            **{name.lower(): value for name, value in call.headers.items()},
            **further,
            REQUEST_ID_HEADER: request_id,
            "content-length": str(len(call.body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"POST {self._line.endpoint.prefix}{call.path} HTTP/1.1\r\n"
        return f"{start}{head}\r\n".encode("latin-1") + call.body

    def _hand_over(self, request: bytes, exchange: Exchange) -> tuple[HttpReply, bytes]:
        """Send and wait for the first bytes of the reply.

        A kept connection may have been closed by the server at any moment: when it ends before a
        single byte came, the request is sent once more on a new one. That is no fault of the
        server.
        """
        while True:
            connection, exchange.conn_reused = self._connected()
            if exchange.t_send_ns is None:
                exchange.t_send_ns = monotonic_ns()
            data = b""
            with suppress(OSError):
                connection.settimeout(self._patience(ErrorType.FIRST_TOKEN_TIMEOUT)[0])
                try:
                    connection.sendall(request)
                except TimeoutError as error:
                    raise _RequestOverError(
                        ErrorType.STALLED, "the server took no request"
                    ) from error
                data = self._receive(exchange)
            if data:
                return HttpReply(), data
            if not exchange.conn_reused:
                raise _RequestOverError(ErrorType.PROTOCOL, "the server closed without a reply")
            self.close()

    def _connected(self) -> tuple[socket.socket, bool]:
        """Return the connection and whether it has carried a request before."""
        if self._socket is not None:
            # TLS may hold a ticket nobody read yet: there, only sending tells.
            if self._line.endpoint.tls is not None or not _is_stale(self._socket):
                return self._socket, True
            self.close()
        remaining = (self._deadline_ns - monotonic_ns()) / NS_PER_S
        timeout = min(self._line.limits.connect_s, remaining)
        try:
            self._socket = self._line.endpoint.connect(timeout)
        except OSError as error:
            raise _RequestOverError(ErrorType.CONNECT, f"cannot connect: {error}") from error
        return self._socket, False

    def _patience(self, silent: ErrorType) -> tuple[float, ErrorType]:
        """Return how long to wait for the socket, seconds, and what it means if in vain."""
        remaining = (self._deadline_ns - monotonic_ns()) / NS_PER_S
        if remaining <= 0:
            raise _RequestOverError(ErrorType.TOTAL_TIMEOUT, "the reply took too long")
        if remaining <= self._line.limits.silence_s:
            late = silent is ErrorType.FIRST_TOKEN_TIMEOUT
            return remaining, silent if late else ErrorType.TOTAL_TIMEOUT
        return self._line.limits.silence_s, silent

    def _until_hang_up(
        self, exchange: Exchange, timeout: float, meaning: ErrorType
    ) -> tuple[float, ErrorType]:
        """Return how long to wait and what it means if in vain, where the person interrupts."""
        spoken_ns = exchange.t_first_sentence_ns
        if self._hang_up_after_ns is None or spoken_ns is None or exchange.outcome is not None:
            return timeout, meaning
        left = (spoken_ns + self._hang_up_after_ns - monotonic_ns()) / NS_PER_S
        if left <= 0:
            raise _RequestOverError(ErrorType.CLIENT_GONE, "the person interrupted")
        return (left, ErrorType.CLIENT_GONE) if left < timeout else (timeout, meaning)

    def _receive(self, exchange: Exchange) -> bytes:
        """Return the next bytes, empty at the end of the connection; stamp the read."""
        connection = self._socket
        if connection is None:
            return b""
        waiting = exchange.t_first_token_ns is None
        silent = ErrorType.FIRST_TOKEN_TIMEOUT if waiting else ErrorType.STALLED
        timeout, meaning = self._patience(silent)
        if self._hang_up_after_ns is not None:
            timeout, meaning = self._until_hang_up(exchange, timeout, meaning)
        connection.settimeout(timeout)
        try:
            data = connection.recv(RECEIVE_BYTES)
        except TimeoutError as error:
            raise _RequestOverError(meaning, f"nothing came for {timeout:.1f} s") from error
        except OSError:
            # A reset is an end like any other: how bad it is, what arrived before it tells.
            data = b""
        self._t_ns = monotonic_ns()
        return data

    def _follow(self, reply: HttpReply, data: bytes, exchange: Exchange) -> bool:
        """Read the reply to its end; return whether the connection may be kept."""
        body: Body | None = None
        while data:
            t_ns = self._t_ns
            try:
                piece = reply.feed(data)
            except ReplyError as error:
                raise _RequestOverError(ErrorType.PROTOCOL, str(error)) from error
            if body is None and reply.status is not None:
                exchange.take_headers(reply.status, reply.headers, t_ns)
                body = body_of(reply, self._line.dialect, exchange)
            over = body is not None and bool(piece) and body.feed(piece, t_ns)
            if over or reply.complete:
                break
            data = self._receive(exchange)
        if body is None:
            raise _RequestOverError(ErrorType.PROTOCOL, "the connection ended within the headers")
        body.close(self._t_ns, whole=reply.complete or (not data and reply.until_close))
        return self._finish_message(reply, exchange)

    def _finish_message(self, reply: HttpReply, exchange: Exchange) -> bool:
        """Read what HTTP still owes after the end of the stream, so that the connection can be
        kept; return whether it can."""
        if not reply.complete and not reply.until_close and exchange.error_type is None:
            self._deadline_ns = monotonic_ns() + int(LINGER_S * NS_PER_S)
            with suppress(_RequestOverError, ReplyError):
                while not reply.complete and (data := self._receive(exchange)):
                    reply.feed(data)
        return reply.complete and reply.reusable


def _is_stale(connection: socket.socket) -> bool:
    """Whether an idle connection is over, or holds bytes that nobody asked for."""
    connection.settimeout(0)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
    return True
