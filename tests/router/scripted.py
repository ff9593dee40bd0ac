"""Backends in virtual time: a transport behind which each reply follows a script.

Every token names its backend and the call it belongs to, so that text of two replies can never be
taken for that of one.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import log
from urllib.parse import urlsplit

import orjson

from firsttoken.core.words import REQUEST_ID_HEADER, ErrorType
from firsttoken.transport.protocol import TransportError
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest, ReplyIdentity
from firsttoken.wire.events import End, Event, Failure, Role, Text, Usage


class Fail(StrEnum):
    """What goes wrong in a backend's reply; all but the first three do after some tokens."""

    REFUSED = "refused"
    SILENT = "silent"
    STATUS = "status"
    CUT = "cut"
    HALF = "half"
    """Cut in the middle of a frame."""
    END = "end"
    """A proper end of the connection, without the end of the reply."""
    ERROR = "error"
    MALFORMED = "malformed"
    STALL = "stall"
    ROLES = "roles"
    """Frames without text, for some seconds."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a backend does with one request; all times in virtual seconds."""

    fail: Fail | None = None
    after: int = 0
    """Tokens before the failure."""
    status: int = 503
    tokens: int = 3
    headers_s: float = 0.01
    role_s: float = 0.0
    first_s: float = 0.05
    """From the role frame to the first token."""
    gap_s: float = 0.02
    split: int | None = None
    """Bytes that arrive at once; None: a frame."""
    margin: float | None = None
    """Between the two likeliest candidates of each token; None: no probabilities are given."""
    zeros: bool = False
    """The logarithm of every probability is 0."""
    refuses_probabilities: bool = False


@dataclass(slots=True)
class Call:
    """One request that reached a backend."""

    number: int
    backend: str
    dialect: str
    request_id: str
    request: ChatRequest
    at_s: float
    tokens: tuple[str, ...] = ()
    last_s: float = 0.0
    """When the last bytes of the reply arrive."""

    @property
    def probabilities(self) -> bool:
        """Whether they were asked for."""
        return bool(self.request.extra.get("logprobs"))

    @property
    def is_probe(self) -> bool:
        """Whether the router asked for itself."""
        return self.request_id == "probe"

    @property
    def question(self) -> str:
        """The last message."""
        return str(self.request.messages[-1]["content"])


TOKEN = re.compile(r"<([a-z0-9_]+)-(\d+)-(\d+)>")
"""Backend, number of the call, place in its reply."""

_PLACE = b"@@"


@lru_cache(maxsize=64)
def _frames(dialect: str, margin: float | None, zeros: bool) -> tuple[bytes, bytes, bytes]:
    """Return a role frame, a frame of one token with a mark in its place, and the end."""
    writer = dialects.get(dialect).writer(ReplyIdentity("x", "m", 0), include_usage=True)
    role = writer.write(Role(0, "assistant"))
    token = writer.write(Text(0, _PLACE.decode()))
    if margin is not None or zeros:
        token = _with_probabilities(dialect, token, 1.0 if margin is None else margin, zeros)
    end = writer.write(Usage(0, 7, None, 3)) + writer.write(End(0, "stop"))
    return role, token, end


def _with_probabilities(dialect: str, frame: bytes, margin: float, zeros: bool) -> bytes:
    chosen, other = (0.0, 0.0) if zeros else (log((1 + margin) / 2), log((1 - margin) / 2 + 1e-9))
    candidates = [{"token": "a", "logprob": chosen}, {"token": "b", "logprob": other}]
    content = [{"token": "a", "logprob": chosen, "top_logprobs": candidates}]
    if dialect == "openai":
        chunk = orjson.loads(frame.removeprefix(b"data: "))
        chunk["choices"][0]["logprobs"] = {"content": content}
        return b"data: " + orjson.dumps(chunk) + b"\n\n"
    return orjson.dumps({**orjson.loads(frame), "logprobs": content}) + b"\n"


class SimReply:
    """See :class:`firsttoken.transport.protocol.Reply`. Bytes arrive, read or not."""

    def __init__(
        self,
        status: int,
        pieces: list[tuple[float, bytes]],
        *,
        cut: bool | None = False,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.status = status
        self._pieces = deque(pieces)
        self._cut = cut
        """Whether it is cut at its end; None: it never ends."""
        self._on_close = closed
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: str) -> str | None:  # noqa: ARG002
        return None

    async def read(self) -> bytes:
        loop = asyncio.get_running_loop()
        while not self._closed:
            now_s = loop.time() + 1e-9
            read = b""
            while self._pieces and self._pieces[0][0] <= now_s:
                read += self._pieces.popleft()[1]
            if read:
                return read
            if not self._pieces and self._cut is not None:
                if self._cut:
                    raise TransportError(ErrorType.PROTOCOL, "the connection was cut")
                return b""
            self._waiter = loop.create_future()
            timer = loop.call_at(self._pieces[0][0], self._wake) if self._pieces else None
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        raise TransportError(ErrorType.PROTOCOL, "the reply was closed")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._on_close()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class SimTransport:
    """See :class:`firsttoken.transport.protocol.Transport`: ``http://local.sim`` is ``local``."""

    def __init__(self, script_of: Callable[[Call], Script]) -> None:
        self._script_of = script_of
        self.calls: list[Call] = []
        self.open: dict[int, Call] = {}
        """By number: calls whose connection is being made or carries a reply."""
        self.busiest: Counter[str] = Counter()
        """By backend: most calls of clients open at once; probes go past the queue."""
        self.answers: dict[str, object] = {}
        """What a GET of a URL gives, as JSON; 404 where nothing."""
        self.gets_open = 0

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> SimReply:
        loop = asyncio.get_running_loop()
        parts = urlsplit(url)
        name = (parts.hostname or "").removesuffix(".sim")
        dialect = _dialect_of(parts.path)
        request = dialects.get(dialect).parse_request(body)
        number = len(self.calls)
        call = Call(number, name, dialect, headers[REQUEST_ID_HEADER], request, loop.time())
        self.calls.append(call)
        self.open[number] = call
        busy = sum(each.backend == name and not each.is_probe for each in self.open.values())
        self.busiest[name] = max(self.busiest[name], busy)
        script = self._script_of(call)
        try:
            await _until_headers(script)
        except BaseException:
            del self.open[number]
            raise
        return _reply(call, script, loop.time(), lambda: self._closed(number))

    async def get(self, url: str, headers: Mapping[str, str]) -> SimReply:  # noqa: ARG002
        self.gets_open += 1
        found = self.answers.get(url)
        at_s = asyncio.get_running_loop().time() + 0.001
        status = 404 if found is None else 200
        return SimReply(status, [(at_s, orjson.dumps(found))], closed=self._got)

    async def aclose(self) -> None:
        """Nothing is kept."""

    def _closed(self, number: int) -> None:
        del self.open[number]

    def _got(self) -> None:
        self.gets_open -= 1


async def _until_headers(script: Script) -> None:
    await asyncio.sleep(script.headers_s)
    if script.fail is Fail.REFUSED:
        raise TransportError(ErrorType.CONNECT, "connection refused")
    if script.fail is Fail.SILENT:
        await asyncio.get_running_loop().create_future()


def _dialect_of(path: str) -> str:
    if path.endswith("/chat/completions"):
        return "openai"
    return "ollama" if path == "/api/chat" else "dashscope"


def _reply(call: Call, script: Script, now_s: float, closed: Callable[[], None]) -> SimReply:
    dialect = dialects.get(call.dialect)
    name = f"<{call.backend}-{call.number}-"
    call.tokens = tuple(f"{name}{place}>" for place in range(script.tokens))
    call.last_s = now_s
    refused = script.refuses_probabilities and call.probabilities
    if script.fail is Fail.STATUS or refused:
        status = 400 if refused else script.status
        body = dialect.write_error(status, "some_error", "no")
        return SimReply(status, [(now_s, body)], closed=closed)
    streamed = _streamed if call.request.stream else _whole
    frames = streamed(call, script, now_s)
    if script.split is not None:
        frames = [
            (at_s, frame[start : start + script.split])
            for at_s, frame in frames
            for start in range(0, len(frame), script.split)
        ]
        # Pieces of one frame come one after the other.
        frames = [(at_s + 1e-6 * place, piece) for place, (at_s, piece) in enumerate(frames)]
    call.last_s = frames[-1][0] if frames else now_s
    ends: dict[Fail | None, bool | None] = {
        Fail.CUT: True,
        Fail.HALF: True,
        Fail.STALL: None,
        Fail.ROLES: None,
    }
    return SimReply(200, frames, cut=ends.get(script.fail, False), closed=closed)


def _streamed(call: Call, script: Script, now_s: float) -> list[tuple[float, bytes]]:
    asked = call.probabilities and call.dialect != "dashscope"
    role, token, end = _frames(
        call.dialect, script.margin if asked else None, script.zeros and asked
    )
    at_s = now_s + script.role_s
    frames = [(at_s, role)]
    said = call.tokens if script.fail is None else call.tokens[: script.after]
    wait_s = script.first_s
    for text in said:
        at_s += wait_s
        frames.append((at_s, token.replace(_PLACE, text.encode())))
        wait_s = script.gap_s
    at_s += wait_s
    if script.fail is None:
        frames.append((at_s, end))
    elif script.fail is Fail.ROLES:
        frames += [(at_s + 0.1 * place, role) for place in range(20)]
    else:
        frames.append((at_s, _broken(call, script.fail, token)))
    return [(at_s, frame) for at_s, frame in frames if frame]


def _broken(call: Call, fail: Fail, token: bytes) -> bytes:
    """Return the last bytes of a stream that fails."""
    if fail is Fail.HALF:
        return token[: len(token) // 2]
    if fail is Fail.MALFORMED:
        return b"{oops\n" if call.dialect == "ollama" else b"data: {oops\n\n"
    if fail is Fail.ERROR:
        writer = dialects.get(call.dialect).writer(ReplyIdentity("x", "m", 0), include_usage=True)
        return writer.write(Failure(0, ErrorType.HTTP_5XX, "out of memory", 500))
    return b""


def _whole(call: Call, script: Script, now_s: float) -> list[tuple[float, bytes]]:
    dialect = dialects.get(call.dialect)
    events: list[Event] = [Text(0, "".join(call.tokens)), Usage(0, 7, None, 3), End(0, "stop")]
    body = dialect.write_reply(ReplyIdentity("x", "m", 0), events)
    at_s = now_s + script.role_s + script.first_s + script.gap_s * script.tokens
    if script.fail is Fail.ERROR:
        body = dialect.write_error(500, "server_error", "out of memory")
    elif script.fail is Fail.MALFORMED:
        body = b"{oops"
    elif script.fail is not None:
        body = body[: len(body) // 2]
    return [(at_s, body)]
