"""The trap server says truly what it did."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from firsttoken.upstreams.server import running
from firsttoken.upstreams.trap import TrapServer
from firsttoken.upstreams.traps import EARLY_S, SPEECHES, TRAPS
from tests.upstreams.raw import CHAT, ask, chat


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    async with running(TrapServer()) as address:
        yield address


async def test_truth_agrees_with_the_bytes(url: str) -> None:
    reply = await ask(url, CHAT, chat("trap:role_early:zh"), {"X-Request-Id": "a"})
    assert reply.text() == "".join(SPEECHES["zh"].tokens)
    (row,) = (await ask(url, "/truth")).json()["rows"]
    assert (row["request_id"], row["trap"], row["speech"]) == ("a", "role_early", "zh")
    assert (row["outcome"], row["client_left"]) == ("success", False)
    assert row["tokens"] == len(SPEECHES["zh"].tokens)
    assert row["first_token_ns"] - row["received_ns"] >= EARLY_S * 1e9 * 0.99
    order = ("received_ns", "first_token_ns", "first_segment_ns", "last_token_ns", "ended_ns")
    stamps = [row[name] for name in order]
    assert stamps == sorted(stamps)
    # The role came with the first chunk, well before: that is the trap.
    assert reply.stamps_ns[0] < row["first_token_ns"] <= reply.stamps_ns[1]


async def test_path_names_the_trap_too(url: str) -> None:
    reply = await ask(url, f"/trap/cut_chunked{CHAT}", chat("any"))
    assert not reply.complete
    (row,) = (await ask(url, "/truth")).json()["rows"]
    assert (row["trap"], row["outcome"], row["tokens"]) == ("cut_chunked", "error", 3)


async def test_head_and_first_token_are_one_write(url: str) -> None:
    reply = await ask(url, CHAT, chat("trap:with_the_headers"))
    assert reply.complete
    assert reply.text() == "".join(SPEECHES["mixed"].tokens)


async def test_length_is_told_beforehand_and_kept(url: str) -> None:
    reply = await ask(url, CHAT, chat("trap:content_length:en"))
    assert "transfer-encoding" not in reply.headers
    assert int(reply.headers["content-length"]) == sum(map(len, reply.chunks))
    assert reply.complete


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (CHAT, chat("trap:none"), "no such trap"),
        (CHAT, chat("trap:crlf:fr"), "no such trap"),
        (CHAT, {**chat("trap:crlf"), "stream": False}, "a trap is a stream"),
        ("/api/chat", chat("trap:several_lines"), "has no such thing"),
        ("/api/generate", {"model": "trap:tool_first", "prompt": "x"}, "has no such thing"),
    ],
)
async def test_refusals(url: str, path: str, body: dict[str, object], says: str) -> None:
    reply = await ask(url, path, body)
    assert reply.status == 400
    assert says in reply.json()["error"]["message"]


def test_every_trap_has_a_voice() -> None:
    assert len(TRAPS) >= 14
    assert all(any(ord(c) > 0x7F for token in s.tokens for c in token) for s in SPEECHES.values())
