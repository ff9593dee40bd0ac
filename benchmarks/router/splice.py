"""The floor: a process that only copies bytes between a client and a server, on uvloop.

    python -m benchmarks.router.splice --upstream http://127.0.0.1:9001

It parses nothing, so nothing in Python that looks at a request can cost less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from typing import cast
from urllib.parse import urlsplit

import uvloop

from firsttoken.core.child import die_with_parent


class _Half(asyncio.Protocol):
    """One side of a pair of connections; what it receives, the other one sends."""

    def __init__(self, upstream: tuple[str, int] | None = None) -> None:
        self._upstream = upstream
        self._early: list[bytes] = []
        self._opening: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.other: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        if self._upstream is not None:
            self._opening = asyncio.ensure_future(self._open(*self._upstream))

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        if self.other is not None:
            self.other.close()

    async def _open(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self.other, back = await loop.create_connection(_Half, host, port)
        back.other = self.transport
        for data in self._early:
            self.other.write(data)


async def _serve(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: _Half((host, port)), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(json.dumps({"url": url}), flush=True)
    await stop.wait()


def main() -> None:
    """Serve until SIGTERM."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="benchmarks.router.splice")
    parser.add_argument("--upstream", required=True, help="base URL of the server")
    upstream = urlsplit(parser.parse_args().upstream)
    uvloop.run(_serve(upstream.hostname or "127.0.0.1", upstream.port or 80))


if __name__ == "__main__":
    main()
