"""The relay's transport, over real sockets and, for its parser's edge, without any."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.core.words import ErrorType
from firsttoken.transport import dial, http1
from firsttoken.transport.connection import UNREAD_BYTES, Connection
from firsttoken.transport.dial import Origin
from firsttoken.transport.http1 import HttpTransport
from firsttoken.transport.protocol import Reply, TransportError
from firsttoken.wire.http_reply import MAX_HEADER_BYTES

LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX-Word: Yes\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
FRAMINGS = {
    "length": LENGTH,
    "chunked": CHUNKED,
    "trailers": CHUNKED[:-2] + b"x-cost: 1\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + LENGTH,
    "until close": UNTIL_CLOSE,
    "closing": LENGTH.replace(b"X-Word: Yes", b"connection: close"),
}

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A server that hands each connection to ``handler``."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.accepted = 0
        self.open = 0
        self.url = ""
        self.changed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        try:
            await self.handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.open -= 1
            self.changed.set()

    async def until_closed(self) -> None:
        """Wait until no connection is open."""
        async with asyncio.timeout(5):
            while self.open:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(handler)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1/chat?x=1"
    try:
        yield server
    finally:
        listener.close()


@asynccontextmanager
async def transport(
    tls: ssl.SSLContext | None = None, connect_timeout_s: float = 2.0
) -> AsyncIterator[HttpTransport]:
    made = HttpTransport(connect_timeout_s, tls)
    try:
        yield made
    finally:
        await made.aclose()


async def request(reader: asyncio.StreamReader) -> bytes:
    """Return the next request, head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(length[0].partition(b":")[2]) if length else 0)


def always(*pieces: bytes, close: bool = False) -> Handler:
    """Answer every request of a connection with these bytes, each piece in a write of its own."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if close:
                return

    return handle


async def whole(reply: Reply) -> bytes:
    """Read a reply to its end, and give it back."""
    pieces = []
    while piece := await reply.read():
        pieces.append(piece)
    reply.close()
    return b"".join(pieces)


async def ask(wire: HttpTransport, url: str) -> tuple[Reply, bytes]:
    async with asyncio.timeout(5):
        reply = await wire.post(url, {"content-type": "text/plain"}, b"ping")
        return reply, await whole(reply)


@contextmanager
def deaf() -> Iterator[int]:
    """Yield a port whose connections are left unanswered, as by a filter on the way: it listens,
    and its backlog is full."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def closed() -> Iterator[int]:
    """Yield a port on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_every_framing_is_read(framing: str) -> None:
    close = framing in {"until close", "closing"}
    async with serving(always(FRAMINGS[framing], close=close)) as server, transport() as wire:
        for _ in range(3):
            reply, body = await ask(wire, server.url)
            assert (reply.status, body) == (200, b"hello")
        assert reply.header("x-WORD") == ("Yes" if b"X-Word" in FRAMINGS[framing] else None)
        assert reply.header("link") is None
        # What may be kept is kept.
        assert server.accepted == (3 if close else 1)


@pytest.mark.parametrize("framing", ["length", "trailers", "interim"])
async def test_a_reply_may_arrive_a_byte_at_a_time(framing: str) -> None:
    data = FRAMINGS[framing]
    async with serving(always(*(bytes([byte]) for byte in data))) as server, transport() as wire:
        assert (await ask(wire, server.url))[1] == b"hello"


@pytest.mark.parametrize("framing", ["length", "chunked", "interim"])
async def test_a_reply_cut_at_any_byte_is_told(framing: str) -> None:
    data = FRAMINGS[framing]
    cuts = iter(range(len(data)))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(data[: next(cuts)])

    async with serving(handle) as server, transport() as wire:
        for _ in data:
            arrived: list[bytes] = []
            with pytest.raises(TransportError, match="the connection ended before") as caught:
                await collect(wire, server.url, arrived)
            assert caught.value.error_type is ErrorType.PROTOCOL
            # What did arrive is handed on first.
            assert b"hello".startswith(b"".join(arrived))
        # Each was new, so none was asked a second time.
        assert server.accepted == len(data)


async def collect(wire: HttpTransport, url: str, arrived: list[bytes]) -> None:
    async with asyncio.timeout(5):
        reply = await wire.post(url, {}, b"")
        while piece := await reply.read():
            arrived.append(piece)


async def test_the_request_is_sent_as_given() -> None:
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await request(reader))
            writer.write(LENGTH)

    async with serving(handle) as server, transport() as wire:
        host = server.url.split("/")[2]
        await whole(await wire.post(server.url, {"authorization": "Bearer k"}, b"ping"))
        await whole(await wire.get(f"http://user@{host}", {"accept": "*/*"}))
    assert seen == [
        f"POST /v1/chat?x=1 HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer k\r\n"
        "content-length: 4\r\n\r\nping".encode(),
        f"GET / HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\n\r\n".encode(),
    ]


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\rb", "密"])
async def test_a_header_cannot_become_two(value: str) -> None:
    async with serving(always(LENGTH)) as server, transport() as wire:
        with pytest.raises(TransportError, match="none may") as caught:
            await wire.post(server.url, {"authorization": value}, b"")
        assert value not in str(caught.value)
        assert server.accepted == 0


async def test_a_stale_connection_is_answered_with_one_silent_retry() -> None:
    asked = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await request(reader)
        asked += 1
        writer.write(LENGTH)
        # The next request on this connection is read and the connection dropped.
        await request(reader)
        asked += 1

    async with serving(handle) as server, transport() as wire:
        for _ in range(3):
            assert (await ask(wire, server.url))[1] == b"hello"
        assert (asked, server.accepted) == (5, 3)


async def test_a_new_connection_that_ends_is_not_retried() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)

    async with serving(handle) as server, transport() as wire:
        with pytest.raises(TransportError, match="ended before a reply"):
            await wire.post(server.url, {}, b"")
        assert server.accepted == 1


async def test_a_kept_connection_that_fails_within_its_reply_is_not_retried() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(LENGTH)
        await request(reader)
        writer.write(LENGTH[:9])

    async with serving(handle) as server, transport() as wire:
        await ask(wire, server.url)
        with pytest.raises(TransportError, match="ended before a reply"):
            await wire.post(server.url, {}, b"")
        assert server.accepted == 1


async def test_connections_idle_for_too_long_are_not_reused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(always(LENGTH)) as server, transport() as wire:
        await ask(wire, server.url)
        monkeypatch.setattr(http1, "IDLE_S", -1.0)
        await ask(wire, server.url)
        assert server.accepted == 2


async def test_a_connection_with_bytes_nobody_asked_for_is_not_reused() -> None:
    async with serving(always(LENGTH + LENGTH)) as server, transport() as wire:
        for _ in range(2):
            assert (await ask(wire, server.url))[1] == b"hello"
        assert server.accepted == 2


async def test_parallel_requests_have_connections_of_their_own() -> None:
    async with serving(always(CHUNKED)) as server, transport() as wire:
        replies = await asyncio.gather(*(ask(wire, server.url) for _ in range(8)))
        assert [body for _, body in replies] == [b"hello"] * 8
        assert server.accepted == 8
        await ask(wire, server.url)
        assert server.accepted == 8
        await wire.aclose()
        await server.until_closed()


async def test_a_refused_connection_is_told() -> None:
    with closed() as port:
        async with transport() as wire:
            with pytest.raises(TransportError, match="no connection: Connection refused") as caught:
                await wire.post(f"http://127.0.0.1:{port}", {}, b"")
    assert caught.value.error_type is ErrorType.CONNECT


@pytest.mark.parametrize("host", ["nobody.invalid", f"{'a' * 70}.invalid"])
async def test_an_unknown_name_is_told(host: str) -> None:
    async with transport() as wire:
        with pytest.raises(TransportError, match="no connection: ") as caught:
            await wire.post(f"http://{host}/", {}, b"")
    assert caught.value.error_type is ErrorType.CONNECT


async def test_a_connection_that_takes_too_long_is_told() -> None:
    with deaf() as port:
        async with transport(connect_timeout_s=0.1) as wire:
            with pytest.raises(TransportError, match=r"no connection within 0\.1 s") as caught:
                await wire.post(f"http://127.0.0.1:{port}", {}, b"")
    assert caught.value.error_type is ErrorType.CONNECT


@pytest.mark.parametrize("bad", [closed, deaf])
async def test_the_next_address_is_tried(
    monkeypatch: pytest.MonkeyPatch, bad: Callable[[], AbstractContextManager[int]]
) -> None:
    looked_up: list[str] = []
    monkeypatch.setattr(dial, "HEAD_START_S", 0.02)
    with bad() as port:
        async with serving(always(LENGTH)) as server, transport() as wire:
            loop = asyncio.get_running_loop()
            real = loop.getaddrinfo

            async def found(host: str, good: int, **kind: int) -> list[Any]:
                if host != "two-addresses.test":  # uvloop asks for addresses too.
                    return await real(host, good, **kind)
                looked_up.append(host)
                stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
                return [(*stream, ("127.0.0.1", each)) for each in (port, good)]

            monkeypatch.setattr(loop, "getaddrinfo", found)
            url = server.url.replace("127.0.0.1", "two-addresses.test")
            assert (await ask(wire, url))[1] == b"hello"
            await asyncio.gather(*(ask(wire, url) for _ in range(3)))
            assert server.accepted == 3
    assert looked_up == ["two-addresses.test"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("tls")
    key, chain = directory / "key.pem", directory / "chain.pem"
    openssl = shutil.which("openssl")
    assert openssl is not None
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", str(key), "-out", str(chain), "-days", "2", "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, chain


async def test_tls(certificate: tuple[Path, Path]) -> None:
    key, chain = certificate
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(chain, key)
    trusting = ssl.create_default_context(cafile=str(chain))
    async with serving(always(CHUNKED), own) as server:
        async with transport(trusting) as wire:
            for _ in range(2):
                assert (await ask(wire, server.url))[1] == b"hello"
            assert server.accepted == 1
        async with transport() as wire:
            with pytest.raises(TransportError, match="self-signed certificate") as caught:
                await wire.post(server.url, {}, b"")
            assert caught.value.error_type is ErrorType.CONNECT


async def test_a_slow_reader_holds_the_backend_back() -> None:
    size = 64 * UNREAD_BYTES
    sent = 0
    stuck = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        writer.transport.set_write_buffer_limits(high=0)
        while sent < size:
            writer.write(bytes(UNREAD_BYTES))
            sent += UNREAD_BYTES
            try:
                async with asyncio.timeout(0.3):
                    await writer.drain()
            except TimeoutError:
                stuck.set()
                await writer.drain()

    async with serving(handle) as server, transport() as wire:
        reply = await wire.post(server.url, {}, b"")
        async with asyncio.timeout(5):
            await stuck.wait()
            # What the system's socket buffers take is beside it.
            assert sent < size
            first = await reply.read()
            assert len(first) <= 2 * UNREAD_BYTES
            assert len(first) + len(await whole(reply)) == size


async def test_closing_an_unfinished_reply_closes_its_connection() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(CHUNKED[:-5])
        await reader.read()

    async with serving(handle) as server, transport() as wire:
        reply = await wire.post(server.url, {}, b"")
        reading = asyncio.ensure_future(whole(reply))
        await asyncio.sleep(0)
        reply.close()
        reply.close()
        await server.until_closed()
        with pytest.raises(TransportError, match="the reply was closed"):
            await reading


async def test_giving_up_before_the_headers_closes_the_connection() -> None:
    arrived = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        arrived.set()
        await reader.read()

    async with serving(handle) as server, transport() as wire:
        asking = asyncio.ensure_future(wire.post(server.url, {}, b""))
        await arrived.wait()
        asking.cancel()
        await server.until_closed()
        assert asking.cancelled()


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 2 * MAX_HEADER_BYTES, "headers are longer"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * MAX_HEADER_BYTES, "headers are longer"),
        (b"HTTP/1.1 103 E\r\nx: y\r\n\r\n" * MAX_HEADER_BYTES, "headers are longer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (LENGTH.replace(b"X-Word: Yes", b"content-encoding: gzip"), "encoded as gzip"),
        (b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "not HTTP|before a reply"),
    ],
)
async def test_what_is_no_reply_is_told(reply: bytes, told: str) -> None:
    async with serving(always(reply, close=True)) as server, transport() as wire:
        with pytest.raises(TransportError, match=told) as caught:
            await ask(wire, server.url)
        assert caught.value.error_type is ErrorType.PROTOCOL
        await server.until_closed()


class Pipe(asyncio.Transport):
    """A connection without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


class Kept:
    """A pool that counts."""

    def __init__(self) -> None:
        self.open = 0
        self.idled = 0

    def opened(self, _: Connection) -> None:
        self.open += 1

    def idle(self, _: Connection) -> None:
        self.idled += 1

    def lost(self, _: Connection) -> None:
        self.open -= 1


FRAGMENTS = (
    *(LENGTH, CHUNKED, UNTIL_CLOSE, b"HTTP/1.1 ", b"200 OK\r\n", b"\r\n\r\n", b"0\r\n\r\n"),
    *(b"5\r\nhello\r\n", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n"),
)
REPLIES_A_SEED = 100


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_no_bytes_hang_or_leak(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - nothing here is secret

    def piece() -> tuple[bytes, bool]:
        noise = chance.randbytes(chance.randrange(40))
        return chance.choice((noise, *FRAGMENTS)), chance.random() < 0.5

    async def replies() -> None:
        for _ in range(REPLIES_A_SEED):
            pieces = [piece() for _ in range(chance.randrange(8))]
            await _any_bytes(pieces, chance.choice((None, OSError("reset"))))

    asyncio.run(replies())


async def _any_bytes(pieces: list[tuple[bytes, bool]], end: OSError | None) -> None:
    """Feed pieces, each with whether the reader gets its turn after it, then the end."""
    pool, pipe = Kept(), Pipe()
    connection = Connection(pool, Origin(tls=False, host="", port=0))
    connection.connection_made(pipe)
    stream = connection.ask(b"")

    async def read() -> None:
        with suppress(TransportError):
            await whole(await stream.opened())

    reading = asyncio.ensure_future(read())
    for piece, turn in pieces:
        if pipe.closed:
            break
        connection.data_received(piece)
        if turn:
            await asyncio.sleep(0)
    connection.connection_lost(None if pipe.closed else end)
    for _ in range(5):
        await asyncio.sleep(0)
    assert reading.done()
    await reading
    assert pool.open == 0
    assert pool.idled <= 1
    assert not pipe.paused
