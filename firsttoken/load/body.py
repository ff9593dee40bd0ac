"""The body of a reply on its way into the exchange: streamed, whole, or an HTTP error."""

from __future__ import annotations

from typing import Protocol

from firsttoken.core.words import ErrorType
from firsttoken.load.exchange import Exchange
from firsttoken.wire import faults
from firsttoken.wire.dialect import Dialect
from firsttoken.wire.events import Event
from firsttoken.wire.http_reply import HttpReply

MAX_ERROR_BODY_BYTES = 64 * 1024


class Body(Protocol):
    """How the body of one reply is read."""

    def feed(self, piece: bytes, t_ns: int) -> bool:
        """Take the body's bytes of one socket read; return whether there is no more to read."""

    def close(self, t_ns: int, *, whole: bool) -> None:
        """Take the end of the body; ``whole`` says that its framing did not cut it short. The
        exchange has an outcome afterwards."""


def body_of(reply: HttpReply, dialect: Dialect, exchange: Exchange) -> Body:
    """Return how to read the body of ``reply``, whose headers have arrived."""
    if reply.status != 200:
        return _ErrorBody(reply, dialect, exchange)
    content_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json" and "json" not in dialect.content_type:
        return _WholeBody(dialect, exchange)
    return _StreamedBody(dialect, exchange)


class _StreamedBody:
    """A stream, as it was asked for."""

    def __init__(self, dialect: Dialect, exchange: Exchange) -> None:
        self._reader = dialect.reader()
        self._exchange = exchange

    def feed(self, piece: bytes, t_ns: int) -> bool:
        return _take(self._exchange, self._reader.feed(piece, t_ns))

    def close(self, t_ns: int, *, whole: bool) -> None:  # noqa: ARG002 - the reader knows better
        if self._exchange.outcome is None:
            _take(self._exchange, self._reader.close(t_ns))
        self._exchange.fail(ErrorType.PROTOCOL, "the stream was cut", t_ns)


class _WholeBody:
    """A stream was asked for, and the server answered all at once: the first token comes last."""

    def __init__(self, dialect: Dialect, exchange: Exchange) -> None:
        self._dialect = dialect
        self._exchange = exchange
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes, t_ns: int) -> bool:  # noqa: ARG002 - only the end counts
        self._pieces.append(piece)
        return False

    def close(self, t_ns: int, *, whole: bool) -> None:
        if whole:
            _take(self._exchange, self._dialect.read_reply(b"".join(self._pieces), t_ns))
        self._exchange.fail(ErrorType.PROTOCOL, "the reply was cut", t_ns)


class _ErrorBody:
    """What the server says with a status other than 200."""

    def __init__(self, reply: HttpReply, dialect: Dialect, exchange: Exchange) -> None:
        self._reply = reply
        self._dialect = dialect
        self._exchange = exchange
        self._said = bytearray()

    def feed(self, piece: bytes, t_ns: int) -> bool:  # noqa: ARG002 - only the end counts
        self._said += piece[: MAX_ERROR_BODY_BYTES - len(self._said)]
        return len(self._said) >= MAX_ERROR_BODY_BYTES

    def close(self, t_ns: int, *, whole: bool) -> None:  # noqa: ARG002 - as far as it came
        status = self._reply.status or 0
        said = bytes(self._said)
        error_type = faults.error_type(status, said)
        if status == 503 and "retry-after" in self._reply.headers:
            # It says when to come back: turned away for load. Any other 503 is a fault.
            error_type = ErrorType.OVERLOADED
        message = self._dialect.read_error(said)
        self._exchange.fail(error_type, f"HTTP {status}: {message}", t_ns)


def _take(exchange: Exchange, events: list[Event]) -> bool:
    """Note events; return whether one of them was the last of the reply."""
    over = False
    for event in events:
        over = exchange.take(event) or over
    return over
