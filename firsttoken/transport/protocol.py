"""How bytes travel to a backend and back, behind one small protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from firsttoken.core.words import ErrorType

CONNECT_TIMEOUT_S = 2.0
"""For name resolution, connection and TLS together."""


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

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        """Send a GET; see :meth:`post`."""

    async def aclose(self) -> None:
        """Close all connections."""
