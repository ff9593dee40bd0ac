"""The transport of production: HTTP/1.1 on kept connections, one parser and one wake-up a chunk.

A relay of tokens needs little of an HTTP client, and pays for the rest with every token; what that
costs is measured by ``benchmarks/router``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache, partial
from typing import NamedTuple
from urllib.parse import urlsplit

from firsttoken.core.words import ErrorType
from firsttoken.transport.connection import Connection, HttpStream
from firsttoken.transport.dial import Dialer, Origin
from firsttoken.transport.protocol import CONNECT_TIMEOUT_S, TransportError

IDLE_S = 60.0
"""How long an idle connection is kept: a new one to a cloud costs three round trips."""

_PORTS = {"http": 80, "https": 443}


class HttpTransport:
    """See :class:`firsttoken.transport.protocol.Transport`. Belongs to one event loop.

    A kept connection may have been closed by the backend at the moment of its reuse (llama.cpp
    drops idle ones after 5 s). That shows as an end before the first byte, is no fault of the
    backend, and is answered with one silent retry on a new connection.

    Args:
        connect_timeout_s: for name resolution, connection and TLS together.
        tls: replaces the context that trusts the system's authorities.
    """

    def __init__(
        self, connect_timeout_s: float = CONNECT_TIMEOUT_S, tls: ssl.SSLContext | None = None
    ) -> None:
        self._dialer = Dialer(connect_timeout_s, tls)
        # No limit on connections: a pool narrower than the talkers would be a queue nobody sees.
        self._open: set[Connection] = set()
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpStream:
        """See :meth:`Transport.post`."""
        return await self._ask("POST", url, headers, body)

    async def get(self, url: str, headers: Mapping[str, str]) -> HttpStream:
        """See :meth:`Transport.get`."""
        return await self._ask("GET", url, headers, None)

    async def aclose(self) -> None:
        """See :meth:`Transport.aclose`."""
        for connection in tuple(self._open):
            connection.abort()

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> HttpStream:
        target = _target(url)
        request = _request(method, target, headers, body)
        kept = self._kept(target.origin)
        if kept is not None:
            reply = kept.ask(request)
            try:
                return await reply.opened()
            except TransportError:
                if reply.touched:
                    raise
        fresh = await self._dialer.connect(target.origin, partial(Connection, self, target.origin))
        return await fresh.ask(request).opened()

    def _kept(self, origin: Origin) -> Connection | None:
        """Take the connection that was idle for the shortest time."""
        idle = self._idle[origin]
        oldest_s = asyncio.get_running_loop().time() - IDLE_S
        while idle:
            connection = idle.pop()
            if connection.usable and connection.idle_since_s > oldest_s:
                return connection
            connection.abort()
        return None

    # What connections tell.

    def opened(self, connection: Connection) -> None:
        """Note a connection that was made."""
        self._open.add(connection)

    def idle(self, connection: Connection) -> None:
        """Keep a connection that has carried its reply, and close those kept for too long."""
        idle = self._idle[connection.origin]
        while idle and idle[0].idle_since_s < connection.idle_since_s - IDLE_S:
            idle.pop(0).abort()
        idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._open.discard(connection)
        idle = self._idle[connection.origin]
        if connection in idle:
            idle.remove(connection)


class _Target(NamedTuple):
    origin: Origin
    host: str
    path: str


@lru_cache(maxsize=256)
def _target(url: str) -> _Target:
    """Take a URL apart; there are as many as the settings name."""
    parts = urlsplit(url)
    origin = Origin(
        parts.scheme == "https", parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)
    )
    path = parts.path or "/"
    return _Target(
        origin,
        parts.netloc.rpartition("@")[2],
        f"{path}?{parts.query}" if parts.query else path,
    )


def _request(method: str, target: _Target, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {target.path} HTTP/1.1", f"host: {target.host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    head = "\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count("\n") == breaks == head.count("\r"):
        with suppress(UnicodeEncodeError):
            return f"{head}\r\n\r\n".encode("latin-1") + (body or b"")
    # What it holds may be a key, so it is not told.
    message = "a header of the request holds a character that none may"
    raise TransportError(ErrorType.PROTOCOL, message)
