"""A person who interrupts: the client hangs up, and it is nobody's fault."""

from __future__ import annotations

import json
import time
from itertools import repeat

import pytest

from firsttoken.core.records import REQUESTS
from firsttoken.core.words import ErrorType, Outcome, Phase
from firsttoken.load.client import Limits, StreamClient
from firsttoken.load.exchange import MAX_KEPT_CHARACTERS, Exchange, Place
from firsttoken.wire.events import Reasoning, Text, ToolArgument
from tests.load.scripted import (
    CHUNKED_HEAD,
    DONE,
    STOP,
    USAGE,
    Reply,
    Scripted,
    chunked,
    delta,
    sse,
)
from tests.load.test_client import REQUEST, line_to

BEGIN = chunked(sse(delta("你好，")), end=False)
WORD = chunked(sse(delta("啊")), end=False)
END = chunked(sse(STOP, USAGE, DONE))


def ask(client: StreamClient, hang_up_after_ms: float | None, **asked: bool) -> Exchange:
    exchange = Exchange("r-1", time.monotonic_ns(), **asked)
    client.ask(REQUEST, exchange, hang_up_after_ms)
    return exchange


def streaming(pause_s: float, words: int) -> Reply:
    pieces: list[bytes | float] = [CHUNKED_HEAD, *BEGIN]
    for word in repeat(WORD[0], words):
        pieces += [pause_s, word]
    return Reply([*pieces, *END])


@pytest.mark.parametrize(
    "reply", [streaming(0.01, 500), streaming(10.0, 1)], ids=["it speaks on", "it says no more"]
)
def test_a_reply_that_still_streams_is_given_up_in_time(reply: Reply) -> None:
    with Scripted([reply]) as server:
        client = StreamClient(line_to(server))
        exchange = ask(client, 120.0, keep_text=True)
    assert (exchange.outcome, exchange.error_type) == (Outcome.CANCELLED, ErrorType.CLIENT_GONE)
    assert exchange.t_first_sentence_ns is not None
    assert exchange.t_end_ns is not None
    heard_ms = (exchange.t_end_ns - exchange.t_first_sentence_ns) / 1e6
    assert 120.0 <= heard_ms < 1000.0
    assert exchange.text.startswith("你好，")


def test_the_record_keeps_the_first_token_and_is_no_error() -> None:
    with Scripted([streaming(0.01, 500)]) as server:
        exchange = ask(StreamClient(line_to(server)), 30.0)
    row = dict(
        zip(
            REQUESTS.names,
            exchange.row(Place("run", "target", 1, "s", 0), Phase.STEADY),
            strict=True,
        )
    )
    assert (row["outcome"], row["error_type"]) == ("cancelled", "client_gone")
    assert row["ttft_ms"] > 0
    assert row["ttfs_ms"] >= row["ttft_ms"]
    assert row["e2e_ms"] >= row["ttfs_ms"] + 30.0


def test_the_next_turn_takes_a_new_connection() -> None:
    with Scripted([streaming(0.01, 500), Reply([CHUNKED_HEAD, *BEGIN, *END])]) as server:
        client = StreamClient(line_to(server))
        assert ask(client, 0.0).outcome == Outcome.CANCELLED
        after = ask(client, None)
        client.close()
        assert server.connections == 2
    assert (after.outcome, after.conn_reused) == (Outcome.SUCCESS, False)


@pytest.mark.parametrize(
    "pieces",
    [[*BEGIN, *WORD, *END], [*chunked(sse(delta("no cut until the end")), end=False), 0.1, *END]],
    ids=["it ends before", "it has nothing to interrupt"],
)
def test_a_reply_that_ends_before_is_whole_and_keeps_its_connection(
    pieces: list[bytes | float],
) -> None:
    whole = Reply([CHUNKED_HEAD, *pieces])
    with Scripted([whole, whole]) as server:
        client = StreamClient(line_to(server))
        found = [ask(client, hang_up_after_ms) for hang_up_after_ms in (60.0, None)]
        client.close()
        assert server.connections == 1
    assert [exchange.outcome for exchange in found] == [Outcome.SUCCESS] * 2
    assert found[0].usage_tokens == 9


def test_the_end_of_the_http_message_is_no_longer_part_of_the_reply() -> None:
    late_end = Reply([CHUNKED_HEAD, *BEGIN, *END[:-1], 0.2, END[-1]])
    with Scripted([late_end, late_end]) as server:
        client = StreamClient(line_to(server))
        assert ask(client, 50.0).outcome == Outcome.SUCCESS
        assert ask(client, None).conn_reused
        client.close()


def test_other_limits_strike_first_and_keep_their_meaning() -> None:
    with Scripted([streaming(10.0, 1)]) as server:
        exchange = ask(StreamClient(line_to(server, Limits(silence_s=0.1))), 5000.0)
    assert (exchange.outcome, exchange.error_type) == (Outcome.TIMEOUT, ErrorType.STALLED)


def test_an_http_error_is_no_interruption() -> None:
    body = json.dumps({"error": {"message": "no"}}).encode()
    head = f"HTTP/1.1 500 No\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with Scripted([Reply([head, body])]) as server:
        assert ask(StreamClient(line_to(server)), 0.0).outcome == Outcome.ERROR


def test_the_text_is_kept_only_when_asked_for_and_within_bounds() -> None:
    asked, unasked = (Exchange("r", 0, keep_text=keep) for keep in (True, False))
    for exchange in (asked, unasked):
        exchange.take(Reasoning(1, "hm"))
        exchange.take(ToolArgument(2, 0, "id", "name", "{}"))
        exchange.take(Text(3, "one "))
        exchange.take(Text(4, "two"))
    assert (asked.text, unasked.text) == ("one two", "")
    for _ in range(3):
        asked.take(Text(5, "x" * MAX_KEPT_CHARACTERS))
    assert len(asked.text) == MAX_KEPT_CHARACTERS
