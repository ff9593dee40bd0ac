"""The splitter of newline-delimited JSON."""

from __future__ import annotations

import pytest

from firsttoken.wire.ndjson import LineSplitter


@pytest.mark.parametrize(
    ("pieces", "lines", "last"),
    [
        ([b"a\nb\n"], [b"a", b"b"], None),
        ([b"a\r", b"\nb"], [b"a"], b"b"),
        ([b"\n\n \r\na\n"], [b"a"], None),
        ([b"\xef\xbb", b"\xbfa\n"], [b"a"], None),
        ([b"", b"a", b"", b"b\n"], [b"ab"], None),
    ],
)
def test_lines(pieces: list[bytes], lines: list[bytes], last: bytes | None) -> None:
    splitter = LineSplitter()
    assert [line for piece in pieces for line in splitter.feed(piece)] == lines
    assert splitter.close() == last


@pytest.mark.parametrize("cut", range(16))
def test_the_limit_holds_however_a_line_is_cut(cut: int) -> None:
    data = b"ab\n0123456789\ncd\n"
    splitter = LineSplitter(limit=8)
    assert splitter.feed(data[:cut]) + splitter.feed(data[cut:]) == [b"ab"]
    assert splitter.too_long
    assert splitter.feed(b"ef\n") == []
    assert splitter.close() is None
