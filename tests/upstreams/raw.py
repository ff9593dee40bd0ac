"""A client that sees writes, not messages: each HTTP chunk as it came, with its stamp."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

CHAT = "/v1/chat/completions"
LIMIT_S = 20.0


def closed_port() -> int:
    """Return a port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chat(model: str = "any", text: str = "hello", **fields: Any) -> dict[str, Any]:
    """Return the body of a streamed OpenAI chat request."""
    messages = [{"role": "user", "content": text}]
    return {"model": model, "stream": True, "messages": messages, **fields}


@dataclass
class Reply:
    """One reply as it came."""

    status: int
    headers: dict[str, str]
    sent_ns: int
    chunks: list[bytes] = field(default_factory=list)
    """The HTTP chunks; of a reply that is not chunked, its body."""
    stamps_ns: list[int] = field(default_factory=list)
    complete: bool = False
    """Whether the body ended as its framing prescribes."""

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """Return the JSON of each ``data:`` line; ``[DONE]`` as that string."""
        lines = [line for line in self.body.split(b"\n") if line.startswith(b"data:")]
        payloads = [line.removeprefix(b"data:").strip() for line in lines]
        return ["[DONE]" if data == b"[DONE]" else json.loads(data) for data in payloads]

    def deltas(self) -> list[dict[str, Any]]:
        """Return the delta of each OpenAI chunk that has one."""
        events = [event for event in self.events() if isinstance(event, dict)]
        return [event["choices"][0]["delta"] for event in events if event.get("choices")]

    def text(self) -> str:
        """Return the text of an OpenAI stream."""
        return "".join(delta.get("content") or "" for delta in self.deltas())


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> int:
        """Write one request; return the stamp before the write."""
        data = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        method = method or ("GET" if body is None else "POST")
        lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        sent_ns = monotonic_ns()
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await self.writer.drain()
        return sent_ns

    async def head(self, sent_ns: int = 0) -> Reply:
        """Read the head of a reply."""
        async with asyncio.timeout(LIMIT_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").strip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return Reply(int(first.split()[1]), headers, sent_ns)

    async def chunk(self, reply: Reply) -> bool:
        """Read one chunk into ``reply``; return False at the last or the connection's end."""
        async with asyncio.timeout(LIMIT_S):
            try:
                size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
                data = (await self.reader.readexactly(size + 2))[:-2]
            except (asyncio.IncompleteReadError, ConnectionError):
                return False
        reply.complete = size == 0
        if data:
            reply.chunks.append(data)
            reply.stamps_ns.append(monotonic_ns())
        return size > 0

    async def rest(self, reply: Reply, *, method: str = "GET") -> Reply:
        """Read the body of ``reply``."""
        if "chunked" in reply.headers.get("transfer-encoding", ""):
            while await self.chunk(reply):
                pass
            return reply
        length = reply.headers.get("content-length")
        async with asyncio.timeout(LIMIT_S):
            if length is None:
                reply.chunks.append(await self.reader.read())
            elif method != "HEAD":
                reply.chunks.append(await self.reader.readexactly(int(length)))
        reply.stamps_ns.append(monotonic_ns())
        reply.complete = True
        return reply

    async def ask(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> Reply:
        """Send one request and read its reply."""
        sent_ns = await self.send(path, body, headers, method)
        return await self.rest(await self.head(sent_ns), method=method or "GET")

    async def at_end(self) -> bool:
        """Whether the server has closed the connection; waits for it."""
        async with asyncio.timeout(LIMIT_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    """Open a connection; close it at the end of the block."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=16 << 20)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def ask(
    url: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
) -> Reply:
    """Send one request on a connection of its own and read its reply."""
    async with connect(url) as client:
        return await client.ask(path, body, headers, method)


async def state_when(url: str, **expected: int) -> dict[str, Any]:
    """Ask ``/state`` until it shows ``expected``; return what it shows, after a second at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 1.0
    while True:
        state: dict[str, Any] = (await ask(url, "/state")).json()
        if all(state[name] == value for name, value in expected.items()) or (
            loop.time() > deadline
        ):
            return state
        await asyncio.sleep(0.01)
