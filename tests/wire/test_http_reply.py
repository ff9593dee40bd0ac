"""The HTTP reader gives the same body wherever its bytes are split."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.wire.http_reply import HttpReply, ReplyError
from tests.load.scripted import CHUNKED_HEAD, chunked, length_head

PIECES = [b"data: a\n\n", "data: 你好\n\n".encode(), b"data: [DONE]\n\n"]
BODY = b"".join(PIECES)
REPLIES = {
    "chunked": CHUNKED_HEAD + b"".join(chunked(PIECES)),
    "length": length_head(len(BODY)) + BODY,
    "interim": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + length_head(len(BODY)) + BODY,
}


@pytest.mark.parametrize("reply", REPLIES)
@given(cuts=st.lists(st.integers(0, 300), max_size=8))
def test_splits_do_not_matter(reply: str, cuts: list[int]) -> None:
    data = REPLIES[reply]
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    reader = HttpReply()
    body = b"".join(reader.feed(data[start:end]) for start, end in pairwise(edges))
    assert body == BODY
    assert reader.complete
    assert reader.reusable
    assert "link" not in reader.headers


@given(st.binary(max_size=400))
def test_any_bytes_give_a_reply_or_one_kind_of_error(data: bytes) -> None:
    reader = HttpReply()
    with suppress(ReplyError):
        reader.feed(data)


def test_a_body_without_framing_ends_with_its_connection() -> None:
    reader = HttpReply()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") == b"abc"
    assert reader.until_close
    assert not reader.complete


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firsttoken.wire.http_reply.MAX_BODY_BYTES", 10)
    reader = HttpReply()
    with pytest.raises(ReplyError, match="longer than 10 bytes"):
        reader.feed(length_head(50) + b"x" * 50)
