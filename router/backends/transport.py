"""How bytes travel to a backend and back, behind one small protocol."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Protocol

import aiohttp

from firsttoken.core.words import ErrorType

CONNECT_TIMEOUT_S = 2.0
"""For name resolution, connection and TLS together."""

_IDLE_S = 60.0
"""How long an idle connection is kept: a new one to a cloud costs three round trips."""

_NAME_CACHE_S = 60


class TransportError(Exception):
    """The connection failed: it could not be made, or ended before the reply did."""

    def __init__(self, error_type: ErrorType, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class Reply(Protocol):
    """A reply whose headers have arrived."""

    status: int

    def header(self, name: str) -> str | None:
        """Return a header by its name, in any case."""

    async def read(self) -> bytes:
        """Return the bytes that have arrived, waiting for some; empty at the end of the reply.

        Raises:
            TransportError: the connection ended before the reply did.
        """

    def close(self) -> None:
        """Give the connection back if the reply was read to its end, else close it at once."""


class Transport(Protocol):
    """Sends requests to backends."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a POST and return the reply when its headers have arrived.

        Raises:
            TransportError: no connection, or it ended before the headers.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class AiohttpTransport:
    """The transport of production: one aiohttp session for the running event loop.

    A pooled connection may have been closed by the backend at the moment of its reuse (llama.cpp
    drops idle ones after 5 s). That shows as an end before the first byte, is no fault of the
    backend, and is answered with one silent retry on a new connection.
    """

    def __init__(self, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_reuse)
        self._pooled = _session(connect_timeout_s, keep=True, tracing=tracing)
        self._fresh = _session(connect_timeout_s, keep=False)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """See :meth:`Transport.post`."""
        use = _Use()
        try:
            return await self._post(self._pooled, url, headers, body, use)
        except TransportError as error:
            if not use.reused or error.error_type is not ErrorType.PROTOCOL:
                raise
        return await self._post(self._fresh, url, headers, body, None)

    async def aclose(self) -> None:
        """See :meth:`Transport.aclose`."""
        await self._pooled.close()
        await self._fresh.close()

    @staticmethod
    async def _post(
        session: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        use: _Use | None,
    ) -> Reply:
        try:
            response = await session.post(
                url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=use
            )
        except (aiohttp.ClientConnectorError, TimeoutError) as error:
            raise TransportError(ErrorType.CONNECT, _told(error, "no connection")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(
                ErrorType.PROTOCOL, _told(error, "the connection ended before a reply")
            ) from error
        return _AiohttpReply(response)


class _Use:
    """Whether the connection of a request had been used before."""

    __slots__ = ("reused",)

    def __init__(self) -> None:
        self.reused = False


async def _note_reuse(
    session: aiohttp.ClientSession,  # noqa: ARG001 - the shape aiohttp calls
    context: SimpleNamespace,
    params: aiohttp.TraceConnectionReuseconnParams,  # noqa: ARG001
) -> None:
    context.trace_request_ctx.reused = True


class _AiohttpReply:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._content = response.content
        self.status = response.status

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    async def read(self) -> bytes:
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(
                ErrorType.PROTOCOL, _told(error, "the connection ended before the reply did")
            ) from error

    def close(self) -> None:
        self._response.close()


def _session(
    connect_timeout_s: float, *, keep: bool, tracing: aiohttp.TraceConfig | None = None
) -> aiohttp.ClientSession:
    # No limit on connections: a pool narrower than the talkers would be a queue nobody sees.
    connector = (
        aiohttp.TCPConnector(limit=0, ttl_dns_cache=_NAME_CACHE_S, keepalive_timeout=_IDLE_S)
        if keep
        else aiohttp.TCPConnector(limit=0, ttl_dns_cache=_NAME_CACHE_S, force_close=True)
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout_s),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        trace_configs=[tracing] if tracing else [],
    )


def _told(error: BaseException, what: str) -> str:
    """Say what happened, with the operating system's reason where there is one; what the client
    library adds speaks of its own inside, and the message is for whoever asked the router."""
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{what}: {reason}" if reason else what
