"""The HTTP server under the three: framing, order, limits, and what becomes of clients that go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from firsttoken.core.errors import UserError
from firsttoken.upstreams import connection as limits
from firsttoken.upstreams.script import (
    CUT,
    Counters,
    Framing,
    Head,
    Headers,
    Request,
    Script,
    Whole,
)
from firsttoken.upstreams.server import running
from tests.upstreams.raw import Client, ask, connect


@dataclass
class Stage:
    """An app whose paths are the cases of this file."""

    counters: Counters = field(default_factory=Counters)
    headers: Headers = (("x-stage", "1"),)
    ended: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a script has ended."""

    def answer(self, request: Request) -> Script:
        if request.path == "/unanswerable":
            raise RuntimeError("a bug")
        return self.counters.count(request.path, self._script(request))

    def _script(self, request: Request) -> Script:
        try:
            match request.path:
                case "/echo":
                    yield Whole(request.body, headers=(("x-query", request.query),))
                case "/slow":
                    yield 0.05
                    yield Whole(b"slow")
                case "/stream" | "/until_close" | "/then_close":
                    yield Head("text/plain", framing=FRAMINGS[request.path])
                    for text in (b"a", b"b", b"c"):
                        yield text
                        yield 0.001
                case "/cut":
                    yield Head("text/plain")
                    yield b"half"
                    yield CUT
                case "/forever":
                    yield Head("text/plain")
                    while True:
                        yield b"x"
                        yield 0.001
                case "/flood":
                    yield Head("text/plain")
                    while True:
                        yield b"x" * 100_000
                        yield 0.0
                case "/bug":
                    raise RuntimeError("a bug")
        finally:
            self.ended.append(request.path)
            self.over.set()


FRAMINGS = {
    "/stream": Framing.CHUNKED,
    "/until_close": Framing.UNTIL_CLOSE,
    "/then_close": Framing.CHUNKED_THEN_CLOSE,
}


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest_asyncio.fixture
async def url(stage: Stage) -> AsyncIterator[str]:
    async with running(stage) as address:
        yield address


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with connect(url) as opened:
        yield opened


async def test_a_connection_is_kept(client: Client, stage: Stage) -> None:
    for body in (b"one", b"", b"three"):
        reply = await client.ask("/echo?q=1", body)
        assert (reply.status, reply.body, reply.headers["x-query"]) == (200, body, "q=1")
        assert reply.headers["x-stage"] == "1"
    assert stage.counters.all_connections == 1


async def test_one_write_is_one_chunk(client: Client) -> None:
    reply = await client.ask("/stream")
    assert reply.chunks == [b"a", b"b", b"c"]
    assert reply.complete
    assert (await client.ask("/stream")).complete


async def test_body_until_the_connection_closes(client: Client) -> None:
    reply = await client.ask("/until_close")
    assert reply.body == b"abc"
    assert "transfer-encoding" not in reply.headers
    assert "content-length" not in reply.headers
    assert reply.headers["connection"] == "close"


async def test_chunked_and_announced_to_close(client: Client) -> None:
    reply = await client.ask("/then_close")
    assert reply.complete
    assert reply.headers["connection"] == "close"
    assert await client.at_end()


async def test_client_asks_to_close(client: Client) -> None:
    reply = await client.ask("/echo", b"bye", {"connection": "close"})
    assert reply.headers["connection"] == "close"
    assert await client.at_end()


async def test_http_1_0_is_closed_after_its_reply(client: Client) -> None:
    client.writer.write(b"GET /echo HTTP/1.0\r\n\r\n")
    assert (await client.rest(await client.head())).status == 200
    assert await client.at_end()


async def test_cut_leaves_the_reply_incomplete_and_counts_no_leaver(
    client: Client, stage: Stage
) -> None:
    reply = await client.ask("/cut")
    assert reply.body == b"half"
    assert not reply.complete
    assert stage.ended == ["/cut"]
    assert stage.counters.kinds["/cut"].client_gone == 0


async def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    await client.send("/slow")
    await client.send("/echo", b"second")
    await client.send("/stream")
    replies = [await client.rest(await client.head()) for _ in range(3)]
    assert [reply.body for reply in replies] == [b"slow", b"second", b"abc"]


class LateLoop:
    """A loop whose timers fire 7 ms late, each of them."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.due: list[float] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, when: float, _: object) -> None:
        self.due.append(when)
        self.now_s = when + 0.007

    def call_later(self, _: float, __: object) -> None:
        """Idle timers play no part here."""


class Sink:
    """A transport that takes everything."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to close."""

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, _: str) -> Sink:
        return self

    def setsockopt(self, *_: int) -> None:
        """As a socket has it."""


async def test_lateness_does_not_add_up(stage: Stage) -> None:
    connection, loop, sink = limits.Connection(stage, set()), LateLoop(), Sink()
    connection._loop = loop  # type: ignore[assignment]
    connection.connection_made(sink)  # type: ignore[arg-type]
    connection.data_received(b"GET /stream HTTP/1.1\r\n\r\n")
    for _ in range(3):
        connection._play()
    # Three waits of a millisecond, each due as planned at the start, however late the one before.
    assert loop.due == pytest.approx([100.001, 100.002, 100.003])
    assert sink.written[1:] == [b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"]


async def test_a_request_may_come_byte_by_byte(client: Client) -> None:
    for byte in b"POST /echo?a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nyes":
        client.writer.write(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)
    reply = await client.rest(await client.head())
    assert (reply.body, reply.headers["x-query"]) == (b"yes", "a")


async def test_head_has_no_body(client: Client) -> None:
    reply = await client.ask("/echo", b"12345", method="HEAD")
    assert reply.headers["content-length"] == "5"
    assert (await client.ask("/echo", b"next")).body == b"next"


async def test_expect_100_continue(client: Client) -> None:
    client.writer.write(b"POST /echo HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert (await client.head()).status == 100
    client.writer.write(b"ok")
    assert (await client.rest(await client.head())).body == b"ok"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"not http\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nx-long: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x-many: 1\r\n" * 12_000 + b"\r\n", 431),
        (b"GET /slow HTTP/1.1\r\n\r\n" * 40, 429),
    ],
)
async def test_what_is_over_a_limit_is_refused(
    client: Client, request_bytes: bytes, status: int
) -> None:
    client.writer.write(request_bytes)
    reply = await client.rest(await client.head())
    assert reply.status == status
    assert reply.headers["x-stage"] == "1"
    assert await client.at_end()


async def test_a_body_over_the_limit_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", 1000)
    assert (await client.ask("/echo", b"x" * 1000)).status == 200
    assert (await client.ask("/echo", b"x" * 1001)).status == 413


async def test_an_idle_connection_is_closed(
    url: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IDLE_TIMEOUT_S", 0.05)
    async with connect(url) as opened:
        opened.writer.write(b"POST /echo HTTP/1.1\r\ncontent-length: 10\r\n\r\nha")
        assert await opened.at_end()
    assert stage.counters.kinds == {}


async def test_connections_over_the_limit_are_turned_away(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 1)
    async with connect(url) as first:
        assert (await first.ask("/echo", b"1")).status == 200
        async with connect(url) as second:
            assert await second.at_end()
        assert (await first.ask("/echo", b"2")).status == 200


async def test_a_client_that_leaves_stops_its_stream(url: str, stage: Stage) -> None:
    async with connect(url) as opened:
        await opened.send("/forever")
        reply = await opened.head()
        await opened.chunk(reply)
    async with asyncio.timeout(10):
        await stage.over.wait()
    count = stage.counters.kinds["/forever"]
    assert (count.requests, count.open, count.client_gone) == (1, 0, 1)
    assert stage.counters.open_connections == 0


async def test_a_client_that_reads_nothing_is_cut_off(
    client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_UNSENT_BYTES", 1 << 20)
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    await client.send("/flood")
    async with asyncio.timeout(10):
        await stage.over.wait()
    assert stage.counters.kinds["/flood"].client_gone == 1


@pytest.mark.parametrize("path", ["/bug", "/unanswerable"])
async def test_a_bug_closes_the_connection_and_is_logged(
    url: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with connect(url) as opened:
            await opened.send(path)
            assert await opened.at_end()
    assert "the connection is closed" in caplog.text
    assert (await ask(url, "/echo", b"alive")).body == b"alive"


async def test_leaving_the_block_closes_every_connection(stage: Stage) -> None:
    async with running(stage) as address:
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        opened = Client(reader, writer)
        await opened.send("/forever")
        await opened.head()
        await asyncio.sleep(0)
    with suppress(ConnectionError):
        async with asyncio.timeout(5):
            await opened.reader.read()
    assert stage.ended == ["/forever"]
    writer.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(host, int(port))


async def test_a_port_that_is_taken(url: str, stage: Stage) -> None:
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}: "):
        async with running(stage, port):
            pass
