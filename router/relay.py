"""After the commit: the reply goes to the client, and its end says how it went.

Where client and backend speak one dialect the bytes go through untouched and nothing is parsed
while the stream runs (:class:`Untouched`); else each event is written anew (:class:`Rewritten`).
Only whole frames are handed on, so that a reply which is cut in the middle of one can still be
ended with a readable error.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from firsttoken.core.clock import NowNs
from firsttoken.core.words import ErrorType
from firsttoken.transport.protocol import Reply, TransportError
from firsttoken.wire.dialect import Dialect, Reader, Writer
from firsttoken.wire.events import End, Event, Failure, Timings, Usage, is_token
from firsttoken.wire.heard import Heard
from firsttoken.wire.speech.chain import Chain
from router.backends.faults import Fault

TAIL_FRAMES = 4
"""Frames of the end of a stream that are kept and read: finish, usage, timings and end mark are
among the last four."""

FRAME_BYTES = 1_048_576
"""Size at most of one frame that is held back until it is whole."""

KEPT_BYTES = 262_144
"""Size at most of a reply that is kept for the caches."""

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
    events: list[Event] = field(default_factory=list)
    """The whole reply, where it was to be kept and was small enough; else empty."""

    def note(self, event: Event) -> None:
        """Take one of the stream's last events."""
        match event:
            case End():
                self.complete = True
            case Usage():
                self.usage = event
            case Timings():
                self.timings = event
            case Failure():
                self.fault = Fault(event.error_type, event.message, event.status)
                self.told = True


class Passage(Protocol):
    """How the bytes of a backend become the bytes of the client; no I/O."""

    kept_back: bool
    """Whether the last read said something that is not for the client, or not yet."""
    broken: bool
    """Whether the backend told of a failure that the client is not told: the reply is over."""

    def begin(self, held: bytes, events: list[Event], t_ns: int) -> bytes:
        """Return what the client gets of what was read before the commit."""

    def take(self, chunk: bytes, t_ns: int) -> bytes:
        """Return what the client gets of the next bytes; empty while a frame is not whole, and
        where there is nothing but comments, which say nothing of the backend."""

    def close(self, t_ns: int) -> bytes:
        """Return what is left for the client now that the connection has ended."""

    def ending(self, t_ns: int) -> Ending:
        """Say how the stream ended."""


class Untouched:
    """Bytes go through as they are; the last frames are kept and read at the end.

    Args:
        dialect: of both sides.
        keep: whether the whole reply is wanted in :attr:`Ending.events`.
    """

    kept_back = False
    broken = False

    def __init__(self, dialect: Dialect, *, keep: bool) -> None:
        self._dialect = dialect
        lines = dialect.content_type == "application/x-ndjson"
        self._frame_end, self._frame_end_crlf = (b"\n", b"\n") if lines else (b"\n\n", b"\r\n\r\n")
        self._partial = b""
        # Each piece is one whole frame or more, so the last four hold the last four frames.
        self._tail: deque[bytes] = deque(maxlen=TAIL_FRAMES)
        self._kept: list[bytes] | None = [] if keep else None
        self._kept_bytes = 0

    def begin(self, held: bytes, events: list[Event], t_ns: int) -> bytes:  # noqa: ARG002
        """See :meth:`Passage.begin`."""
        return self.take(held, t_ns)

    def take(self, chunk: bytes, t_ns: int) -> bytes:  # noqa: ARG002
        """See :meth:`Passage.take`."""
        if self._partial:
            chunk = self._partial + chunk
            self._partial = b""
        if not chunk.endswith(self._frame_end):
            whole = self._whole_frames(chunk)
            if len(chunk) - whole > FRAME_BYTES:
                whole = len(chunk)
            self._partial = chunk[whole:]
            chunk = chunk[:whole]
        return self._passed(chunk)

    def close(self, t_ns: int) -> bytes:  # noqa: ARG002
        """See :meth:`Passage.close`: a last frame may lack its end."""
        chunk, self._partial = self._partial, b""
        return self._passed(chunk)

    def ending(self, t_ns: int) -> Ending:
        """See :meth:`Passage.ending`."""
        ending = Ending()
        for event in self._last_events(t_ns):
            ending.note(event)
        if ending.fault is not None and ending.fault.error_type is ErrorType.PROTOCOL:
            # A frame that cannot be read has told the client nothing.
            ending.told = False
        if self._kept is not None and ending.complete:
            ending.events = self._dialect.reader().feed(b"".join(self._kept), t_ns)
        return ending

    def _passed(self, chunk: bytes) -> bytes:
        if chunk:
            self._tail.append(chunk)
            if self._kept is not None:
                self._kept_bytes += len(chunk)
                self._kept.append(chunk)
                if self._kept_bytes > KEPT_BYTES:
                    self._kept = None
        return chunk

    def _whole_frames(self, chunk: bytes) -> int:
        """Return how many of the first bytes of ``chunk`` are whole frames."""
        ends = (self._frame_end, self._frame_end_crlf)
        return max(chunk.rfind(end) + len(end) if end in chunk else 0 for end in ends)

    def _last_events(self, t_ns: int) -> Iterable[Event]:
        tail = b"".join(self._tail).replace(b"\r\n", b"\n")
        frames = tail.rstrip(b"\n").split(self._frame_end)
        reader = self._dialect.reader()
        for frame in frames[-TAIL_FRAMES:]:
            yield from reader.feed(frame + self._frame_end, t_ns)
        # A stream that closes after its finish reason is whole, with or without an end mark; of
        # a cut the transport knows more than the reader.
        yield from (event for event in reader.close(t_ns) if not isinstance(event, Failure))


class Rewritten:
    """Each event is read in the backend's dialect and written in the client's.

    Args:
        reader: has read what came before the commit.
        writer: of the client's dialect.
        keep: whether the whole reply is wanted in :attr:`Ending.events`.
        chain: mends what a talking device hears; what came before the commit has gone through it.
        heard: listens to what is handed on, where somebody speaks it.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        keep: bool,
        chain: Chain | None = None,
        heard: Heard | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._chain = chain
        self._heard = heard
        self._ending = Ending()
        self._keep = keep
        self._kept_bytes = 0
        self.kept_back = False
        self.broken = False

    def begin(self, held: bytes, events: list[Event], t_ns: int) -> bytes:  # noqa: ARG002
        """See :meth:`Passage.begin`."""
        return self._written(events, t_ns)

    def take(self, chunk: bytes, t_ns: int) -> bytes:
        """See :meth:`Passage.take`."""
        return self._written(self._mended(self._reader.feed(chunk, t_ns)), t_ns)

    def close(self, t_ns: int) -> bytes:
        """See :meth:`Passage.close`."""
        events = self._mended(self._reader.close(t_ns))
        return self._written((each for each in events if not isinstance(each, Failure)), t_ns)

    def cut(self, t_ns: int) -> bytes:
        """Return what ends a reply that broke off, so that it can be spoken to its end."""
        events = [] if self._chain is None else self._chain.cut(t_ns)
        if self._heard is not None:
            self._heard.note(events, t_ns)
        return b"".join(map(self._writer.write, events))

    def ending(self, t_ns: int) -> Ending:  # noqa: ARG002
        """See :meth:`Passage.ending`."""
        if not self._ending.complete:
            self._ending.events = []
        return self._ending

    def _mended(self, events: list[Event]) -> list[Event]:
        if self._chain is None:
            return events
        mended = self._chain.feed(events)
        self.kept_back = bool(events) and not mended
        return mended

    def _written(self, events: Iterable[Event], t_ns: int) -> bytes:
        pieces = []
        for event in events:
            if not is_token(event):
                self._ending.note(event)
                if self._chain is not None and isinstance(event, Failure):
                    # Nobody wants to hear it.
                    self._ending.told = False
                    self.broken = True
                    continue
            if self._keep:
                self._ending.events.append(event)
            if self._heard is not None:
                self._heard.note((event,), t_ns)
            pieces.append(self._writer.write(event))
        written = b"".join(pieces)
        self._kept_bytes += len(written)
        if self._keep and self._kept_bytes > KEPT_BYTES:
            self._keep = False
            self._ending.events = []
        return written


class Relay:
    """Hands one committed stream on to the client.

    Args:
        passage: turns the backend's bytes into the client's.
        write: hands bytes to the client.
        stall_s: seconds without a whole frame from the backend, comments apart, after which it is
            given up: a stream that drips bytes stalls as well as one that is silent.
        now_ns: the clock of stamps.
        patience_s: seconds without a byte after which the client gives up, if it said so.
    """

    def __init__(
        self,
        passage: Passage,
        write: Callable[[bytes], Awaitable[None]],
        stall_s: float,
        now_ns: NowNs,
        patience_s: float = math.inf,
    ) -> None:
        self._passage = passage
        self._write = write
        self._stall_s = stall_s
        self._patience_s = patience_s
        self._now_ns = now_ns
        self._fault: Fault | None = None
        self._last_ns = now_ns()
        self._alive_s = 0.0
        self._told_s = 0.0
        """When the client got its last bytes."""
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, held: bytes, events: list[Event]) -> None:
        """Hand on what was read before the commit."""
        await self._hand_on(self._passage.begin(held, events, self._last_ns))

    async def run(self, reply: Reply) -> None:
        """Hand on the rest of the reply until it ends, is cut or stalls."""
        loop = asyncio.get_running_loop()
        self._alive_s = self._told_s = loop.time()
        self._watch(reply, loop, min(self._stall_s, self._patience_s))
        try:
            while chunk := await reply.read():
                self._last_ns = self._now_ns()
                written = self._passage.take(chunk, self._last_ns)
                if written:
                    await self._hand_on(written)
                    self._told_s = loop.time()
                    if not _is_comment(written):
                        self._alive_s = self._told_s
                elif self._passage.kept_back:
                    self._alive_s = loop.time()
                if self._passage.broken:
                    break
        except TransportError as error:
            if self._fault is None:
                self._fault = Fault(error.error_type, str(error))
        else:
            if self._fault is None:
                await self._hand_on(self._passage.close(self._last_ns))
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def ending(self) -> Ending:
        """Say how the stream ended."""
        ending = self._passage.ending(self._last_ns)
        ending.last_ns = self._last_ns
        if not ending.complete and ending.fault is None:
            cut = Fault(ErrorType.PROTOCOL, "the stream ended without its end mark")
            ending.fault = self._fault or cut
        return ending

    async def _hand_on(self, data: bytes) -> None:
        if data:
            self._writing = True
            await self._write(data)
            self._writing = False

    def _watch(self, reply: Reply, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        self._timer = loop.call_later(delay_s, self._check, reply, loop)

    def _check(self, reply: Reply, loop: asyncio.AbstractEventLoop) -> None:
        """Close the reply if it stalls. One timer a stream that looks at a stamp costs less than
        one that is moved with every chunk."""
        if self._writing:
            # A client that reads slowly must not look like a backend that stalls.
            self._alive_s = self._told_s = loop.time()
        stalls_s = self._alive_s + self._stall_s - loop.time()
        left_s = min(stalls_s, self._told_s + self._patience_s - loop.time())
        if left_s > 0:
            self._watch(reply, loop, left_s)
            return
        hurried = stalls_s > 0
        waited_s = self._patience_s if hurried else self._stall_s
        message = f"no token for {waited_s:g} s"
        self._fault = Fault(ErrorType.STALLED, message, hurried=hurried)
        reply.close()


def _is_comment(chunk: bytes) -> bool:
    """Whether ``chunk`` holds nothing but comment lines, which say nothing of the backend."""
    if chunk[0] != _COMMENT:
        return False
    return all(line.startswith(b":") for line in chunk.splitlines() if line)
