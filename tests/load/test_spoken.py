"""What the client notes of a reply that is spoken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.records import OPTIONAL_COLUMNS, REQUESTS
from firsttoken.core.words import TIER_HEADER, ErrorType, Outcome, Phase, Tier
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.plan import request_id
from firsttoken.wire.events import End, Event, Text, ToolArgument
from firsttoken.wire.openai import OPENAI

PLACE = Place("run", "target", 1, "s", 3, hop=1)


def ms(value: float) -> int:
    return int(value * NS_PER_MS)


def row(exchange: Exchange) -> dict[str, Any]:
    return dict(zip(REQUESTS.names, exchange.row(PLACE, Phase.STEADY), strict=True))


def take(*events: Event, tier: Tier = Tier.LOCAL, status: int = 200) -> Exchange:
    exchange = Exchange("r", 0, keep_text=True)
    exchange.t_send_ns = 0
    exchange.take_headers(status, {TIER_HEADER: tier}, 1)
    for event in events:
        exchange.take(event)
    return exchange


def test_an_answer_through_a_tool_is_a_first_sentence() -> None:
    arguments = json.dumps({"response": "😊你好，我们去公园吧。好吗"})
    events: list[Event] = [ToolArgument(ms(90), 0, "id", "direct_answer", "")]
    events += [
        ToolArgument(ms(100 + place), 0, "", "", character)
        for place, character in enumerate(arguments)
    ]
    found = take(*events, End(ms(400), "tool_calls"))
    comma = arguments.index("\\uff0c") + 5
    assert found.outcome is Outcome.SUCCESS
    assert found.text == "😊你好，我们去公园吧。好吗"
    values = row(found)
    assert values["ttft_ms"] == 100.0
    assert values["ttfsc_ms"] == 100.0 + arguments.index("\\u4f60") + 5
    assert values["ttfs_ms"] == 100.0 + comma
    assert values["segments"] == 3
    assert values["hop"] == 1


def test_a_reply_that_falls_silent_tells_for_how_long() -> None:
    found = take(
        Text(ms(100), "一二三四五六七八九，"),
        Text(ms(2200), "一二三四五六七八九。"),
        Text(ms(4500), "好。"),
        End(ms(4500), "stop"),
    )
    values = row(found)
    assert (values["segments"], values["stutters"]) == (3, 2)
    assert values["longest_gap_ms"] == pytest.approx(300.0)
    assert values["total_gap_ms"] == pytest.approx(400.0)


def test_what_was_never_spoken_has_no_figures() -> None:
    call = ToolArgument(ms(1), 0, "id", "play_music", "{}")
    silent = row(take(call, End(ms(2), "tool_calls")))
    assert silent["outcome"] == "success"
    assert (silent["segments"], silent["stutters"], silent["ttfs_ms"]) == (0, None, None)
    failed = Exchange("r", 0)
    failed.fail(ErrorType.CONNECT, "refused", 1)
    assert (row(failed)["segments"], row(failed)["longest_gap_ms"]) == (None, None)
    assert row(failed)["spoken_failure"] is False


def test_the_routers_own_sentence_is_an_error_however_it_sounds() -> None:
    said = take(Text(ms(5), "请再说一遍。"), End(ms(5), "stop"), tier=Tier.NONE)
    assert (said.outcome, said.error_type) == (Outcome.ERROR, ErrorType.HTTP_5XX)
    assert row(said)["spoken_failure"] is True
    answered = take(Text(ms(5), "好。"), End(ms(5), "stop"), tier=Tier.CACHE)
    assert answered.outcome is Outcome.SUCCESS


def test_a_whole_reply_is_heard_when_it_has_come() -> None:
    call = {"function": {"name": "direct_answer", "arguments": '{"response": "好，走吧。"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", **call}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = json.dumps({"choices": [choice]}).encode()
    found = take(*OPENAI.read_reply(body, ms(7)))
    assert (found.ttfs_ms, found.heard.segments, found.text) == (7.0, 2, "好，走吧。")


def test_names_and_columns() -> None:
    assert request_id("s", 3) == "s-3"
    assert request_id("s", 3, 2) == "s-3.2"
    columns = {"hop", "ttfsc_ms", "segments", "stutters", "longest_gap_ms", "total_gap_ms"}
    assert columns | {"spoken_failure"} <= OPTIONAL_COLUMNS["requests"]
