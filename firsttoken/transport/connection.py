"""One kept HTTP/1.1 connection and the reply it carries: one parser, one wake-up a chunk."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from firsttoken.core.words import ErrorType
from firsttoken.transport.dial import Origin
from firsttoken.transport.protocol import TransportError
from firsttoken.wire.http_reply import HttpReply, ReplyError

UNREAD_BYTES = 262_144
"""Of a reply that are kept for its reader before the backend is made to wait."""


class Pool(Protocol):
    """Whoever keeps connections."""

    def opened(self, connection: Connection, /) -> None:
        """Note a connection that was made."""

    def idle(self, connection: Connection, /) -> None:
        """Note a connection that can carry another request."""

    def lost(self, connection: Connection, /) -> None:
        """Forget a connection that has ended."""


class Connection(asyncio.Protocol):
    """One connection to a backend; it carries one reply at a time."""

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self.origin = origin
        self.loop = asyncio.get_running_loop()
        self.idle_since_s = 0.0
        self._pool = pool
        self._reply: HttpStream | None = None
        self._paused = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._reply is None:
            self.abort()  # Nobody asked for these bytes.
        else:
            self._reply.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.ended(exc)

    # What the pool and a reply call.

    @property
    def usable(self) -> bool:
        """Whether it can carry another request, as far as anybody knows."""
        return not self._transport.is_closing()

    def ask(self, request: bytes) -> HttpStream:
        """Send a request; return its reply, of which nothing has arrived yet."""
        self._reply = HttpStream(self)
        self._transport.write(request)
        return self._reply

    def done(self, *, reusable: bool) -> None:
        """Part from a reply that is complete."""
        self._reply = None
        # A backend that answers before it has read the request reads its rest as the next one.
        if reusable and self.usable and not self._transport.get_write_buffer_size():
            self.pause(wanted=False)
            self.idle_since_s = self.loop.time()
            self._pool.idle(self)
        else:
            self.abort()

    def pause(self, *, wanted: bool) -> None:
        """Stop reading, or go on."""
        if wanted is not self._paused and self.usable:
            self._paused = wanted
            if wanted:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()


class HttpStream:
    """One reply on its way; see :class:`firsttoken.transport.protocol.Reply`."""

    def __init__(self, connection: Connection) -> None:
        self.status = 0
        self.touched = False
        """Whether any byte of it has arrived."""
        # None once the reply is over: the connection may belong to another one by then.
        self._connection: Connection | None = connection
        # Kept, since looking it up is a system call in Python 3.11.
        self._loop = connection.loop
        self._parser = HttpReply()
        self._pieces: list[bytes] = []
        self._unread = 0
        self._fault: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: str) -> str | None:
        """See :meth:`Reply.header`."""
        return self._parser.headers.get(name.lower())

    async def opened(self) -> HttpStream:
        """Return the reply itself when its headers have arrived; closed where this is cancelled.

        Raises:
            TransportError: the connection ended before, or the reply cannot be read.
        """
        try:
            while not self.status and self._connection is not None:
                await self._arrival()
        except BaseException:
            self.close()
            raise
        if not self.status:
            raise TransportError(ErrorType.PROTOCOL, self._fault or "the reply has no status")
        return self

    async def read(self) -> bytes:
        """See :meth:`Reply.read`."""
        while not self._pieces and self._connection is not None:
            await self._arrival()
        if self._pieces:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._unread = 0
            if self._connection is not None:
                self._connection.pause(wanted=False)
            return data
        if self._fault is not None:
            raise TransportError(ErrorType.PROTOCOL, self._fault)
        return b""

    def close(self) -> None:
        """See :meth:`Reply.close`."""
        if self._connection is not None:
            self._over("the reply was closed").abort()

    # What the connection calls.

    def feed(self, data: bytes) -> None:
        """Take bytes of the connection."""
        connection = self._connection
        if connection is None:
            return
        self.touched = True
        parser = self._parser
        try:
            piece = parser.feed(data)
            if not self.status and parser.status is not None:
                self._open(parser.status)
        except ReplyError as error:
            self._over(str(error)).abort()
            return
        if piece:
            self._pieces.append(piece)
            self._unread += len(piece)
            if self._unread > UNREAD_BYTES:
                connection.pause(wanted=True)
        if parser.complete:
            self._over(None).done(reusable=parser.reusable)
        elif piece or self.status:
            self._wake()

    def ended(self, error: Exception | None) -> None:
        """Take the end of the connection."""
        if self._connection is None:
            return
        if self.status and self._parser.until_close and error is None:
            self._over(None)
            return
        what = "the reply did" if self.status else "a reply"
        reason = error.strerror if isinstance(error, OSError) else None
        self._over(f"the connection ended before {what}" + (f": {reason}" if reason else ""))

    def _open(self, status: int) -> None:
        encoding = self._parser.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise ReplyError(f"the reply is encoded as {encoding[:40]}, which was not asked for")
        self.status = status

    def _over(self, fault: str | None) -> Connection:
        """Part from the connection, and return it."""
        connection, self._connection = self._connection, None
        assert connection is not None  # noqa: S101 - every caller has looked
        self._fault = fault
        self._wake()
        return connection

    async def _arrival(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
