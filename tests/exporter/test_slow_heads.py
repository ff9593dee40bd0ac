"""A client that does not finish its request holds no connection for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from exporter.slow_heads import BoundedProtocol

WHOLE = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Quick(BoundedProtocol):
    """With less patience than in earnest."""

    request_s = 0.1


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("ok"))])
    server = uvicorn.Server(uvicorn.Config(app, http=Quick, lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        yield int(listener.getsockname()[1])
        server.should_exit = True
        await serving


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nhost:",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
    ],
)
async def test_a_request_that_does_not_arrive_is_given_up(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(4):  # uvicorn's own bound between two requests is 5 s
        await reader.read()
    writer.close()


async def test_the_next_request_is_given_up_too(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(WHOLE)
    await reader.readuntil(b"ok")
    writer.write(b"GET / HT")
    async with asyncio.timeout(4):
        await reader.read()
    writer.close()


async def test_whole_requests_are_answered_one_after_the_other(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(WHOLE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(2) == b"ok"
        await asyncio.sleep(Quick.request_s * 1.5)
    writer.close()
