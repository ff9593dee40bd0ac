"""What the readers of all dialects share: stamps, the one last event, and the cut."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from firsttoken.core.words import ErrorType
from firsttoken.wire import faults
from firsttoken.wire.events import End, Event, Failure, Timings, Usage
from firsttoken.wire.values import UnreadableError

FrameT = TypeVar("FrameT")


class Splitter(Protocol[FrameT]):
    """Turns bytes into frames."""

    too_long: bool

    def feed(self, data: bytes) -> list[FrameT]:
        """Take the bytes of one read; return the frames that they completed."""

    def close(self) -> FrameT | None:
        """Return the frame that nothing has ended, if there is one."""


class StreamReader(ABC, Generic[FrameT]):
    """A :class:`firsttoken.wire.dialect.Reader` over the frames of a splitter.

    A dialect reads one frame in :meth:`_read`. Token counts and timings are held back and given
    once, before the last event: some servers repeat them with every frame.
    """

    def __init__(self, splitter: Splitter[FrameT]) -> None:
        self._splitter = splitter
        self._ended = False
        self._usage: Usage | None = None
        self._timings: Timings | None = None
        self._finish_reason: str | None = None
        """Set by a dialect whose finish reason comes before its end mark: a stream that closes
        after it is whole."""

    @abstractmethod
    def _read(self, frame: FrameT, t_ns: int, out: list[Event]) -> None:
        """Append the events of one frame.

        Raises:
            UnreadableError: the frame is not what the dialect allows.
        """

    def feed(self, data: bytes, t_ns: int) -> list[Event]:
        """Take the bytes of one socket read and the stamp of that read."""
        out: list[Event] = []
        if self._ended:
            return out
        try:
            for frame in self._splitter.feed(data):
                self._read(frame, t_ns, out)
                if self._ended:
                    return out
        except UnreadableError as error:
            self._fail(Failure(t_ns, ErrorType.PROTOCOL, _shown(error), None), out)
        else:
            if self._splitter.too_long:
                message = "a frame is longer than the limit"
                self._fail(Failure(t_ns, ErrorType.PROTOCOL, message, None), out)
        return out

    def close(self, t_ns: int) -> list[Event]:
        """Say that the connection ended. A stream that had not ended gives a ``Failure``."""
        out: list[Event] = []
        if self._ended:
            return out
        try:
            frame = self._splitter.close()
            if frame is not None:
                self._read(frame, t_ns, out)
        except UnreadableError:
            # Half a frame says nothing of its own: the stream is judged by what came whole.
            out.clear()
        if not self._ended and self._finish_reason is not None:
            self._end(t_ns, self._finish_reason, out)
        if not self._ended:
            message = "the connection was cut before the reply ended"
            self._fail(Failure(t_ns, ErrorType.PROTOCOL, message, None), out)
        return out

    def _end(self, t_ns: int, finish_reason: str, out: list[Event]) -> None:
        self._give_held(out)
        out.append(End(t_ns, finish_reason))

    def _fail(self, failure: Failure, out: list[Event]) -> None:
        self._give_held(out)
        out.append(failure)

    def _give_held(self, out: list[Event]) -> None:
        self._ended = True
        if self._usage is not None:
            out.append(self._usage)
        if self._timings is not None:
            out.append(self._timings)


def _shown(error: UnreadableError) -> str:
    return f"unreadable frame: {error}"[: faults.MAX_MESSAGE]
