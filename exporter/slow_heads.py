"""A bound on how long a request may take to arrive, for which uvicorn has none.

Without it a few dozen clients that say nothing would hold every connection that there may be, and
Prometheus would be turned away.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 10.0
"""For a request to arrive, from the connection, or from its first byte where it is not the first.
Between two requests uvicorn's own bound holds."""


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, closed where a request takes too long to arrive."""

    request_s = REQUEST_S
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request."""
        super().connection_made(transport)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the clock where a request is whole; start it where another one begins."""
        super().data_received(data)
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._start()
        else:
            self._stop()

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.request_s, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
