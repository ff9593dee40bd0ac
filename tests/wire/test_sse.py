"""The splitter of server-sent events, rule by rule."""

from __future__ import annotations

import time

import pytest

from firsttoken.wire.sse import SseFrame, SseSplitter


def split(*pieces: bytes, limit: int = 1 << 20) -> list[SseFrame]:
    splitter = SseSplitter(limit)
    frames = [frame for piece in pieces for frame in splitter.feed(piece)]
    last = splitter.close()
    return frames if last is None else [*frames, last]


def data_of(*pieces: bytes) -> list[bytes]:
    return [frame.data for frame in split(*pieces)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_line_ends(end: bytes) -> None:
    assert data_of(b"data: a" + end + end + b"data: b" + end + end) == [b"a", b"b"]


def test_a_crlf_cut_in_two_is_one_line_end() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\r\n\r") == [SseFrame(b"", b"a", b"", None)]
    assert splitter.feed(b"\ndata: b\r") == []
    assert splitter.feed(b"\ndata: c\r\n\r\n") == [SseFrame(b"", b"b\nc", b"", None)]


def test_an_empty_read_does_not_forget_the_cr() -> None:
    assert data_of(b"data: a\r", b"", b"\ndata: b\r\n\r\n") == [b"a\nb"]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b": ping\n\ndata: a\n: inside\n\n", [b"a"]),
        (b"event: x\n\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"retry: 5\nid: 7\nunknown: x\ndata: a\n\n", [b"a"]),
        (b"\n\n\n", []),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        ("data: 你好😊\n\n".encode(), ["你好😊".encode()]),
    ],
)
def test_fields(stream: bytes, expected: list[bytes]) -> None:
    assert data_of(stream) == expected


def test_event_error_and_status() -> None:
    frames = split(
        b"id:1\nevent:error\n:HTTP_STATUS/429\ndata:{}\n\n"
        b'error: {"code":500}\n\n'
        b"event: error\n\n"
        b"status: 503\ndata: x\n\n"
        b"status: many\ndata: y\n\n"
    )
    assert frames == [
        SseFrame(b"error", b"{}", b"", 429),
        SseFrame(b"", b"", b'{"code":500}', None),
        SseFrame(b"error", b"", b"", None),
        SseFrame(b"", b"x", b"", 503),
        SseFrame(b"", b"y", b"", None),
    ]


@pytest.mark.parametrize("cut", range(24))
def test_the_limit_counts_a_frame_however_it_is_cut(cut: int) -> None:
    data = b"data: a\n\ndata: 0123456789abcdef\n\ndata: b\n\n"
    splitter = SseSplitter(limit=16)
    frames = splitter.feed(data[:cut]) + splitter.feed(data[cut:])
    assert [frame.data for frame in frames] == [b"a"]
    assert splitter.too_long
    assert splitter.feed(b"data: c\n\n") == []
    assert splitter.close() is None


def test_many_lines_of_one_frame_count_together_and_comments_do_not() -> None:
    splitter = SseSplitter(limit=100)
    assert splitter.feed(b": ping\n" * 1000) == []
    assert not splitter.too_long
    splitter.feed(b"data: x\n" * 20)
    assert splitter.too_long


def test_small_pieces_cost_linear_time() -> None:
    def seconds(size: int) -> float:
        splitter = SseSplitter()
        started = time.process_time()
        splitter.feed(b"data: ")
        for _ in range(size):
            splitter.feed(b"xxxx")
        assert len(splitter.feed(b"\n\n")) == 1
        return time.process_time() - started

    seconds(1_000)
    small = min(seconds(20_000) for _ in range(3))
    large = min(seconds(160_000) for _ in range(2))
    assert large < 24 * small  # 8 when linear, 64 when quadratic
