"""Talkers that time first tokens against a server that knows its own."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any, cast

import uvloop

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.errors import UserError
from firsttoken.core.words import REQUEST_ID_HEADER

STAGGER_S = 0.5
"""Over which the talkers of a block begin."""

_FIRST_WORD = b'"content":"The '
"""The truth server's first word begins the answer; the role frame before it is empty."""

_TOKEN = b'"content":"'
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_TAIL_BYTES = 64


@dataclass(frozen=True)
class Block:
    """What one side did for one stretch of time."""

    beyond_ms: list[float]
    """TTFT beyond what the server itself took, by request, warm-up left out."""
    streams: int
    """All of them, warm-up included, as CPU time is."""
    seconds: float


class Truth:
    """The rows of a truth server, each handed out once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._after = 0

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows since the last call."""
        with urllib.request.urlopen(f"{self._url}/truth?after={self._after}") as reply:  # noqa: S310
            told = json.load(reply)
        self._after = told["next"]
        rows: list[dict[str, Any]] = told["rows"]
        return rows


@dataclass(frozen=True)
class Way:
    """How the server is asked."""

    name: str
    url: str
    """Base URL of whoever is asked."""
    tokens: int
    """Of each reply."""


def run_block(way: Way, truth: Truth, users: int, seconds: float) -> Block:
    """Have talkers ask again and again over warm connections.

    Args:
        way: how they ask.
        truth: where the server's own stamps are read.
        users: streams at once.
        seconds: during which new requests begin.

    Raises:
        UserError: a connection ended, or a reply was incomplete.
    """
    began_s = time.monotonic()
    stamps: dict[str, tuple[int, int]] = {}
    talker = _Talker(way, stamps)
    streams = uvloop.run(_talk_together(talker, users, seconds))
    seconds = time.monotonic() - began_s
    beyond_ms = [
        (seen_ns - sent_ns - (row["first_token_ns"] - row["received_ns"])) / NS_PER_MS
        for row in truth.rows()
        if (found := stamps.get(row["request_id"])) is not None
        for sent_ns, seen_ns in (found,)
    ]
    if stamps and not beyond_ms:
        raise UserError(f"{way.name} does not pass {REQUEST_ID_HEADER} on: nothing can be compared")
    return Block(beyond_ms, streams, seconds)


class _Stamper(asyncio.Protocol):
    """A client connection that stamps the first token of a reply when its bytes arrive."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._tail = b""
        self.kept: list[bytes] | None = None
        """The reply's bytes, where somebody wants to count its tokens."""
        self.first_token_ns: int | None = None
        self.lost = False
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def ask(self, request: bytes, *, keep: bool) -> int:
        """Send a request; return the stamp of handing it to the socket."""
        self.first_token_ns, self._tail = None, b""
        self.kept = [] if keep else None
        self.done.clear()
        assert self._transport is not None
        sent_ns = time.monotonic_ns()
        self._transport.write(request)
        return sent_ns

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if self.kept is not None:
            self.kept.append(data)
        self._tail = self._tail[-_TAIL_BYTES:] + data
        if self.first_token_ns is None and _FIRST_WORD in self._tail:
            self.first_token_ns = now_ns
        if self._tail.endswith(_LAST_CHUNK):
            self.done.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self.lost = True
        self.done.set()


class _Talker:
    """Asks one side, over one connection a call of :meth:`talk`."""

    def __init__(self, way: Way, stamps: dict[str, tuple[int, int]]) -> None:
        self._name = way.name
        self._address = way.url.removeprefix("http://")
        self._tokens = way.tokens
        self._stamps = stamps
        fields = {
            "model": "truth",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "stream": True,
            "max_tokens": way.tokens,
        }
        self._body = json.dumps(fields).encode()

    async def talk(self, number: int, pause_s: float, until_s: float) -> int:
        """Ask until the time is over; return how often. The first request warms the way up."""
        await asyncio.sleep(pause_s)
        loop = asyncio.get_running_loop()
        host, _, port = self._address.partition(":")
        transport, stamper = await loop.create_connection(_Stamper, host, int(port))
        turn = 0
        while loop.time() < until_s or turn == 0:
            request_id = f"{self._name}-{number}-{turn}-{time.monotonic_ns()}"
            sent_ns = stamper.ask(self._request(request_id), keep=turn == 0)
            await stamper.done.wait()
            self._check(stamper)
            if turn and stamper.first_token_ns is not None:
                self._stamps[request_id] = (sent_ns, stamper.first_token_ns)
            turn += 1
        transport.close()
        return turn

    def _request(self, request_id: str) -> bytes:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self._address}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(self._body)}\r\n"
            f"{REQUEST_ID_HEADER}: {request_id}\r\n\r\n"
        )
        return head.encode() + self._body

    def _check(self, stamper: _Stamper) -> None:
        if stamper.lost:
            raise UserError(f"{self._name} closed a connection")
        tokens = None if stamper.kept is None else b"".join(stamper.kept).count(_TOKEN)
        # The role frame may carry an empty content.
        if stamper.first_token_ns is None or (tokens is not None and tokens < self._tokens):
            raise UserError(f"{self._name}: a reply of {tokens} tokens; expected {self._tokens}")


async def _talk_together(talker: _Talker, users: int, seconds: float) -> int:
    until_s = asyncio.get_running_loop().time() + seconds
    pauses = (number * STAGGER_S / users for number in range(users))
    talks = (talker.talk(number, pause_s, until_s) for number, pause_s in enumerate(pauses))
    return sum(await asyncio.gather(*talks))
