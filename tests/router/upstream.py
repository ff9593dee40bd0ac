"""A backend in the test's own process that does exactly what its script says, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson


@dataclass
class Call:
    """One request that arrived, and the connection to answer it on."""

    headers: dict[str, str]
    body: dict[str, Any]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keep: bool = True

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, content_type: str = "text/event-stream") -> None:
        """Send the headers of a chunked reply."""
        await self.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n"
            "transfer-encoding: chunked\r\n\r\n".encode()
        )

    async def chunk(self, data: bytes) -> None:
        """Send one piece of a chunked reply."""
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def last_chunk(self) -> None:
        """End a chunked reply."""
        await self.write(b"0\r\n\r\n")

    async def whole(self, body: bytes, status: int = 200, extra: str = "") -> None:
        """Send a reply that is not chunked; ``extra`` is lines of headers."""
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
        await self.write(head.encode() + body)

    async def until_gone(self) -> None:
        """Wait until the other side closes the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(1024):
                pass
        self.keep = False

    def cut(self) -> None:
        """Close the connection in the middle of whatever was being sent."""
        self.keep = False
        self.writer.close()


Script = Callable[[Call], Awaitable[None]]


@dataclass
class Upstream:
    """The server. ``script`` may be changed while it runs."""

    script: Script
    calls: list[Call] = field(default_factory=list)
    connections: int = 0
    """Open now."""
    accepted: int = 0
    """Connections ever."""
    under_way: int = 0
    """Calls whose connection is not free for another yet."""
    url: str = ""
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        await self.listen(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def listen(self, port: int) -> None:
        """Accept connections, on a given port after :meth:`stop`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Refuse and drop all connections."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self.until(lambda: self.connections == 0)

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait until ``condition`` holds; it is tried after each call and closed connection."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.accepted += 1
        self._writers.add(writer)
        try:
            keep = True
            while keep:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                if first.startswith("GET "):
                    # What the router asks about the backend itself is no call of a client.
                    writer.write(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n")
                    continue
                pairs = (line.partition(":") for line in lines if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                call = Call(headers, orjson.loads(body), reader, writer)
                self.calls.append(call)
                self._changed.set()
                self.under_way += 1
                try:
                    await self.script(call)
                finally:
                    self.under_way -= 1
                keep = call.keep
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)
            self.connections -= 1
            self._changed.set()


def delta(content: str | None, finish: str | None = None) -> bytes:
    """Return one frame of an OpenAI stream."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return _frame({"choices": [choice]})


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n'
DONE = b"data: [DONE]\n\n"
FINISH = (
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"timings":{"cache_n":3,"prompt_n":4,"prompt_ms":12.5,"predicted_n":3,"predicted_ms":20.0}}'
    b"\n\n"
)
USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,'
    b'"prompt_tokens_details":{"cached_tokens":3}}}\n\n'
)


def _frame(value: object) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def answer_frames(*texts: str) -> list[bytes]:
    """Return the frames of a whole streamed answer."""
    return [ROLE, *(delta(text) for text in texts), FINISH, USAGE, DONE]


def answer(*texts: str) -> Script:
    """Answer properly, streamed or not, with these pieces of text."""

    async def script(call: Call) -> None:
        if not call.body.get("stream"):
            await call.whole(whole_reply("".join(texts)))
            return
        await call.head()
        for frame in answer_frames(*texts):
            await call.chunk(frame)
            await asyncio.sleep(0)
        await call.last_chunk()

    return script


def whole_reply(text: str) -> bytes:
    """Return the body of a reply that is not streamed."""
    return orjson.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
    )


def refuse(status: int, code: str = "x", message: str = "no", extra: str = "") -> Script:
    """Answer with an error status."""

    async def script(call: Call) -> None:
        body = orjson.dumps({"error": {"message": message, "type": code, "code": code}})
        await call.whole(body, status, extra=extra)

    return script


async def silent(call: Call) -> None:
    """Accept, and say nothing."""
    await call.until_gone()


def then_silent(*pieces: bytes) -> Script:
    """Send headers and these pieces, then nothing more."""

    async def script(call: Call) -> None:
        await call.head()
        for piece in pieces:
            await call.chunk(piece)
        await call.until_gone()

    return script


def then_cut(*pieces: bytes) -> Script:
    """Send headers and these pieces, then close the connection without an end."""

    async def script(call: Call) -> None:
        await call.head()
        for piece in pieces:
            await call.chunk(piece)
        call.cut()

    return script


def then_end(*pieces: bytes) -> Script:
    """Send headers and these pieces, then end the reply properly."""

    async def script(call: Call) -> None:
        await call.head()
        for piece in pieces:
            await call.chunk(piece)
        await call.last_chunk()

    return script


async def pings(call: Call) -> None:
    """Send comments for ever."""
    await call.head()
    try:
        while True:
            await call.chunk(b": ping\n\n")
            await asyncio.sleep(0.02)
    except ConnectionError:
        call.keep = False


async def roles(call: Call) -> None:
    """Send role-only frames for ever."""
    await call.head()
    try:
        while True:
            await call.chunk(ROLE)
            await asyncio.sleep(0.02)
    except ConnectionError:
        call.keep = False


async def drip(call: Call) -> None:
    """Send the first frame a byte at a time, too slowly."""
    await call.head()
    try:
        for byte in delta("late"):
            await call.chunk(bytes([byte]))
            await asyncio.sleep(0.02)
        await call.until_gone()
    except ConnectionError:
        call.keep = False
