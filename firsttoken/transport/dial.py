"""How a connection to a backend is made: name, address, TLS, within one limit of time."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from firsttoken.core.words import ErrorType
from firsttoken.transport.protocol import TransportError

HEAD_START_S = 0.25
"""Of one address over the next: a family that is filtered on the way must not cost the connection
(RFC 8305 section 5)."""

NAME_KEPT_S = 60.0
"""How long a looked-up name is believed."""

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)
_Address = tuple[int, Any]
"""Family and socket address."""


class Origin(NamedTuple):
    """Where connections go."""

    tls: bool
    host: str
    port: int


class Dialer:
    """Makes connections.

    Args:
        timeout_s: for name resolution, connection and TLS together.
        tls: replaces the context that trusts the system's authorities.
    """

    def __init__(self, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._timeout_s = timeout_s
        self._tls = tls
        self._names: dict[Origin, tuple[float, Sequence[_Address]]] = {}

    async def connect(self, origin: Origin, make: Callable[[], _Protocol]) -> _Protocol:
        """Return the protocol, made by ``make``, of a new connection to ``origin``.

        Raises:
            TransportError: there is none within the limit of time.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connect(origin, make)
        except TimeoutError as error:
            self._names.pop(origin, None)
            message = f"no connection within {self._timeout_s:g} s"
            raise TransportError(ErrorType.CONNECT, message) from error
        except (OSError, UnicodeError) as error:
            self._names.pop(origin, None)
            message = f"no connection: {_reason(error)}"
            raise TransportError(ErrorType.CONNECT, message) from error

    async def _connect(self, origin: Origin, make: Callable[[], _Protocol]) -> _Protocol:
        # A context takes tens of milliseconds to build, which the streams under way must not feel.
        if origin.tls and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        connected = await _quickest(await self._addresses(origin))
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(
                make,
                sock=connected,
                ssl=self._tls if origin.tls else None,
                server_hostname=origin.host if origin.tls else None,
            )
        except BaseException:
            connected.close()
            raise
        return protocol

    async def _addresses(self, origin: Origin) -> Sequence[_Address]:
        loop = asyncio.get_running_loop()
        expires_s, addresses = self._names.get(origin, (0.0, ()))
        if expires_s <= loop.time():
            found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
            addresses = [(family, address) for family, _, _, _, address in found]
            self._names[origin] = (loop.time() + NAME_KEPT_S, addresses)
        return addresses


def _reason(error: OSError | UnicodeError) -> str:
    """Say what the system says; an event loop's own words name addresses."""
    if isinstance(error, ssl.SSLError | socket.gaierror):
        return error.strerror or "TLS failed"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "the name is unknown"


async def _quickest(addresses: Sequence[_Address]) -> socket.socket:
    """Return a socket connected to the first address that answers; each has a head start.

    Raises:
        OSError: none can be connected to.
    """
    loop = asyncio.get_running_loop()
    untried = deque(addresses)
    trying: dict[asyncio.Task[None], socket.socket] = {}
    trouble: BaseException = OSError("the name has no address")
    try:
        while untried or trying:
            if untried:
                family, address = untried.popleft()
                each = socket.socket(family, socket.SOCK_STREAM)
                each.settimeout(0)
                trying[loop.create_task(loop.sock_connect(each, address))] = each
            head_start_s = HEAD_START_S if untried else None
            done, _ = await asyncio.wait(
                trying, timeout=head_start_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    return trying.pop(task)
                trouble = error
                trying.pop(task).close()
        raise trouble
    finally:
        for task in trying:
            task.cancel()
        await asyncio.gather(*trying, return_exceptions=True)
        for each in trying.values():
            each.close()
