"""Serves an app on loopback: for a test in its own process, or as the work of a process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import uvloop

from firsttoken.core.child import die_with_parent
from firsttoken.core.errors import UserError
from firsttoken.upstreams.connection import App, Connection

HOST = "127.0.0.1"


@asynccontextmanager
async def running(app: App, port: int = 0) -> AsyncIterator[str]:
    """Serve ``app`` on loopback; yield its URL. On exit every connection is closed at once.

    Raises:
        UserError: the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    connections: set[Connection] = set()
    try:
        server = await loop.create_server(
            lambda: Connection(app, connections), HOST, port, backlog=1024
        )
    except OSError as error:
        raise UserError(f"cannot listen on {HOST}:{port}: {error.strerror or error}") from error
    try:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in list(connections):
            connection.abort()


async def _serve_until_signal(app: App, port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(app, port) as url:
        print(orjson.dumps({"url": url}).decode(), flush=True)  # the ready line
        await stop.wait()


def run(app: App, port: int) -> None:
    """Serve ``app`` as this process's work: print the ready line, return after SIGTERM or SIGINT.

    Raises:
        UserError: the port cannot be had.
    """
    die_with_parent()
    uvloop.run(_serve_until_signal(app, port))
