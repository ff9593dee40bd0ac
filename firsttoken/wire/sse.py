"""Splits a server-sent event stream into frames, incrementally.

Follows the event stream format of the HTML standard (lines end in LF, CR or CRLF, a blank line
ends a frame, a line that begins with a colon is a comment), with what real servers add: the
``error:`` field of older llama.cpp servers, and DashScope's ``:HTTP_STATUS/nnn`` comments.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_FRAME_BYTES = 1 << 20
"""Longest frame that is kept. A frame of a chat stream is some hundred bytes; a cumulative one
repeats the answer so far."""

_BOM = b"\xef\xbb\xbf"
_STATUS_COMMENT = b":HTTP_STATUS/"


class SseFrame(NamedTuple):
    """One frame, undecoded."""

    event: bytes
    """The ``event`` field; empty where there was none."""
    data: bytes
    """The ``data`` lines, joined by LF."""
    error: bytes
    """The ``error`` lines, joined by LF: not in the standard, sent by older llama.cpp servers."""
    status: int | None
    """The HTTP status in a ``status`` field or a ``:HTTP_STATUS/nnn`` comment."""


class SseSplitter:
    """Takes bytes as they come from the socket and gives each frame once it is complete.

    Every byte is looked at a fixed number of times, however small the pieces are. Once
    :attr:`too_long` is set, nothing more comes.
    """

    __slots__ = (
        "_data",
        "_error",
        "_event",
        "_first_line",
        "_kept",
        "_limit",
        "_partial",
        "_partial_size",
        "_skip_lf",
        "_status",
        "too_long",
    )

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self.too_long = False
        self._limit = limit
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._skip_lf = False
        self._first_line = True
        self._clear()

    def _clear(self) -> None:
        self._event = b""
        self._data: list[bytes] = []
        self._error: list[bytes] = []
        self._status: int | None = None
        self._kept = 0

    def feed(self, data: bytes) -> list[SseFrame]:
        """Take the bytes of one read; return the frames that they completed."""
        if self.too_long:
            return []
        if self._skip_lf and data:
            self._skip_lf = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\r" in data:
            # A CR at the end of a read ends its line at once, so that a frame never waits for
            # the next read; the LF that may follow is then dropped.
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        frames: list[SseFrame] = []
        *lines, rest = data.split(b"\n")
        for piece in lines:
            line = piece
            if self._partial:
                self._partial.append(piece)
                line = b"".join(self._partial)
                self._partial.clear()
                self._partial_size = 0
            if self.too_long:
                return frames
            if line:
                self._take_line(line)
            elif frame := self._take_frame():
                frames.append(frame)
        if rest:
            self._partial.append(rest)
            self._partial_size += len(rest)
            if self._kept + self._partial_size > self._limit:
                self.too_long = True
        return frames

    def close(self) -> SseFrame | None:
        """Return the frame that no blank line has ended, if there is one."""
        if self._partial and not self.too_long:
            self._take_line(b"".join(self._partial))
            self._partial.clear()
        return None if self.too_long else self._take_frame()

    def _take_frame(self) -> SseFrame | None:
        """End the frame. One of comments or of an event name alone is none."""
        self._first_line = False
        frame = None
        data = self._data
        if data or self._error or self._event == b"error":
            joined = data[0] if len(data) == 1 else b"\n".join(data)
            frame = SseFrame(self._event, joined, b"\n".join(self._error), self._status)
        self._clear()
        return frame

    def _take_line(self, line: bytes) -> None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if self._kept + len(line) > self._limit:
            self.too_long = True
            return
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            self._data.append(value)
            self._kept += len(line)
        elif not name:
            if line.startswith(_STATUS_COMMENT):
                self._status = _status(line[len(_STATUS_COMMENT) :])
        elif name == b"event":
            self._event = value
        elif name == b"error":
            self._error.append(value)
            self._kept += len(line)
        elif name == b"status":
            self._status = _status(value)


def _status(text: bytes) -> int | None:
    """Return an HTTP status of three digits, or None."""
    text = text.strip()
    return int(text) if len(text) == 3 and text.isdigit() else None
