"""Splits a stream of newline-delimited JSON into lines, incrementally."""

from __future__ import annotations

MAX_LINE_BYTES = 1 << 20
"""Longest line that is kept."""

_BOM = b"\xef\xbb\xbf"


class LineSplitter:
    """Takes bytes as they come from the socket and gives each line once it is complete.

    Blank lines are left out, and white space around a line (a CR before the LF) is taken off.
    Once :attr:`too_long` is set, nothing more comes.
    """

    __slots__ = ("_first", "_limit", "_partial", "_partial_size", "too_long")

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self.too_long = False
        self._limit = limit
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._first = True

    def feed(self, data: bytes) -> list[bytes]:
        """Take the bytes of one read; return the lines that they completed."""
        if self.too_long:
            return []
        found: list[bytes] = []
        *pieces, rest = data.split(b"\n")
        for piece in pieces:
            self._partial.append(piece)
            line = self._take_line()
            if self.too_long:
                return found
            if line:
                found.append(line)
        if rest:
            self._partial.append(rest)
            self._partial_size += len(rest)
            self.too_long = self._partial_size > self._limit
        return found

    def close(self) -> bytes | None:
        """Return the last line where no LF ended it."""
        return (self._take_line() or None) if not self.too_long else None

    def _take_line(self) -> bytes:
        line = b"".join(self._partial)
        self._partial.clear()
        self._partial_size = 0
        if len(line) > self._limit:
            self.too_long = True
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        return line.strip()
