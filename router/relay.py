"""After the commit: bytes go through untouched, and the end of the stream says how it went.

Nothing is parsed while the stream runs. Only whole frames are handed on, so that a reply which is
cut in the middle of one can still be ended with a readable error. The last frames are kept and
read when the stream is over: they hold the end mark, the usage and the engine's timings.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from firsttoken.core.clock import NowNs
from firsttoken.core.words import ErrorType
from firsttoken.wire.dialect import Dialect
from firsttoken.wire.events import End, Event, Failure, Timings, Usage
from router.backends.faults import Fault
from router.backends.transport import Reply, TransportError

TAIL_FRAMES = 4
"""Frames of the end of a stream that are kept and read: finish, usage, timings and end mark are
among the last four."""

FRAME_BYTES = 1_048_576
"""Size at most of one frame that is held back until it is whole."""

_COMMENT = ord(":")


@dataclass(slots=True)
class Ending:
    """How a stream ended."""

    complete: bool = False
    """Whether it ended as its dialect prescribes."""
    fault: Fault | None = None
    """Why not, where it did not."""
    told: bool = False
    """Whether the client has already read of the fault, from the backend itself."""
    usage: Usage | None = None
    timings: Timings | None = None
    last_ns: int | None = None
    """When its last bytes were read."""


class Relay:
    """Relays one committed stream of a dialect that frames with blank lines (SSE).

    Args:
        dialect: of the reply.
        write: hands bytes to the client.
        stall_s: seconds without bytes from the backend, comments apart, after which it is given up.
        now_ns: the clock.
    """

    def __init__(
        self,
        dialect: Dialect,
        write: Callable[[bytes], Awaitable[None]],
        stall_s: float,
        now_ns: NowNs,
    ) -> None:
        self._dialect = dialect
        self._write = write
        self._stall_s = stall_s
        self._now_ns = now_ns
        self._partial = b""
        # Each piece is one whole frame or more, so the last four hold the last four frames.
        self._tail: deque[bytes] = deque(maxlen=TAIL_FRAMES)
        self._fault: Fault | None = None
        self._last_ns: int | None = None

    async def begin(self, held: bytes) -> None:
        """Hand on what was read before the commit."""
        self._last_ns = self._now_ns()
        await self._pass_on(held)

    async def run(self, reply: Reply) -> None:
        """Hand on the rest of the reply until it ends, is cut or stalls."""
        loop = asyncio.get_running_loop()
        stalls_at = loop.time() + self._stall_s
        try:
            async with asyncio.timeout_at(stalls_at) as limit:
                while chunk := await reply.read():
                    # A client that reads slowly must not look like a backend that stalls.
                    limit.reschedule(None)
                    self._last_ns = self._now_ns()
                    await self._pass_on(chunk)
                    if not _is_comment(chunk):
                        stalls_at = loop.time() + self._stall_s
                    limit.reschedule(stalls_at)
        except TimeoutError:
            message = f"no token for {self._stall_s:g} s"
            self._fault = Fault(ErrorType.STALLED, message)
        except TransportError as error:
            self._fault = Fault(error.error_type, str(error))
        else:
            await self._flush()

    def ending(self) -> Ending:
        """Read the last frames and say how the stream ended."""
        ending = Ending(last_ns=self._last_ns)
        for event in self._last_events():
            match event:
                case End():
                    ending.complete = True
                case Usage():
                    ending.usage = event
                case Timings():
                    ending.timings = event
                case Failure():
                    ending.fault = Fault(event.error_type, event.message, event.status)
                    ending.told = True
        if not ending.complete and ending.fault is None:
            cut = Fault(ErrorType.PROTOCOL, "the stream ended without its end mark")
            ending.fault = self._fault or cut
        return ending

    async def _pass_on(self, chunk: bytes) -> None:
        if self._partial:
            chunk = self._partial + chunk
            self._partial = b""
        if not chunk.endswith(b"\n\n"):
            whole = _whole_frames(chunk)
            if len(chunk) - whole > FRAME_BYTES:
                whole = len(chunk)
            self._partial = chunk[whole:]
            chunk = chunk[:whole]
            if not chunk:
                return
        self._tail.append(chunk)
        await self._write(chunk)

    async def _flush(self) -> None:
        """Hand on a last frame that lacks its blank line."""
        if self._partial:
            chunk, self._partial = self._partial, b""
            self._tail.append(chunk)
            await self._write(chunk)

    def _last_events(self) -> Iterable[Event]:
        tail = b"".join(self._tail).replace(b"\r\n", b"\n")
        frames = tail.rstrip(b"\n").split(b"\n\n")
        reader = self._dialect.reader()
        t_ns = self._last_ns or self._now_ns()
        for frame in frames[-TAIL_FRAMES:]:
            yield from reader.feed(frame + b"\n\n", t_ns)
        # A stream that closes after its finish reason is whole, with or without an end mark; of
        # a cut the transport knows more than the reader.
        yield from (event for event in reader.close(t_ns) if not isinstance(event, Failure))


def _is_comment(chunk: bytes) -> bool:
    """Whether ``chunk`` holds nothing but comment lines, which say nothing of the backend."""
    if chunk[0] != _COMMENT:
        return False
    return all(line.startswith(b":") for line in chunk.splitlines() if line)


def _whole_frames(chunk: bytes) -> int:
    """Return how many of the first bytes of ``chunk`` are whole frames."""
    after_lf, after_crlf = chunk.rfind(b"\n\n") + 2, chunk.rfind(b"\r\n\r\n") + 4
    # What is not found is at -1.
    return max(after_lf if after_lf > 1 else 0, after_crlf if after_crlf > 3 else 0)
