"""What the router measures of talking devices, in its metrics and decisions."""

from __future__ import annotations

from typing import Any

import pytest

from firsttoken.core.catalogue import CATALOGUE
from firsttoken.core.clock import NS_PER_S
from firsttoken.core.settings.guide import CachingStrategy, LocalCache
from firsttoken.core.words import CallClass, Outcome, Reason, Tier
from firsttoken.wire.events import End, Event, Text, ToolArgument
from firsttoken.wire.heard import Heard
from router.account import Books
from router.meters import Meters
from router.policy.plan import Rules
from router.voice.meters import NAMES
from router.voice.turns import turn_requests
from tests.router.conftest import Running, Start, backend
from tests.router.upstream import ROLE, answer, refuse, then_cut
from tests.router.voice.scenes import CALLS, after_tool, called, frame, frames, stream, talk

USER = {"role": "user", "content": "杭州天气怎么样？"}
CALL = {"role": "assistant", "tool_calls": [{"id": "1"}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "晴"}
SPOKEN: tuple[Event, ...] = (Text(0, "好的。"), End(0, "stop"))


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> int:
        return int(self.now_s * NS_PER_S)


def heard(*events: Event) -> Heard:
    found = Heard()
    found.note(events, 0)
    return found


def value(meters: Meters, sample: str, **labels: str) -> float:
    """Return one sample of what is exposed."""
    shown = ",".join(f'{name}="{label}"' for name, label in labels.items())
    start = f"{sample}{{{shown}}} " if labels else f"{sample} "
    lines = meters.render().decode().splitlines()
    return float(next(line for line in lines if line.startswith(start)).removeprefix(start))


@pytest.mark.parametrize(
    ("messages", "call", "requests"),
    [
        ([USER], CallClass.CHAT, 1),
        ([USER, CALL, RESULT], CallClass.AFTER_TOOL, 2),
        ([USER, CALL, RESULT, CALL, RESULT], CallClass.AFTER_TOOL, 3),
        # The example conversation and earlier turns have tool calls of their own.
        ([USER, CALL, RESULT, {"role": "assistant", "content": "晴"}, USER], CallClass.CHAT, 1),
        ([], CallClass.GOODBYE, 1),
        ([USER], CallClass.INTENT, None),
        ([USER], CallClass.SUMMARY, None),
    ],
)
def test_requests_of_a_turn(
    messages: list[dict[str, Any]], call: CallClass, requests: int | None
) -> None:
    assert turn_requests(messages, call, heard(*SPOKEN)) == requests
    assert turn_requests(messages, call, heard()) is None


def test_a_turn_that_calls_a_tool_goes_on() -> None:
    call = ToolArgument(0, 0, "1", "get_weather", "{}")
    assert turn_requests([USER], CallClass.CHAT, heard(Text(0, "我看看。"), call)) is None
    answered = ToolArgument(0, 0, "1", "direct_answer", '{"response": "好。"}')
    assert turn_requests([USER], CallClass.CHAT, heard(answered)) == 1


def test_an_account_enters_what_was_spoken() -> None:
    clock = Clock()
    near = backend("local")
    meters = Meters(Rules((near,)))
    books = Books(meters, clock)
    with books.open("r", "auto", stream=True) as account:
        record = account.start(near)
        account.committed(record, near, Reason.DEFAULT_LOCAL)
        listener = Heard()
        for after_s, text in ((0.3, "你"), (0.42, "好，"), (0.5, "走吧。"), (9.0, "再见。")):
            listener.note([Text(0, text)], int((100.0 + after_s) * NS_PER_S))
        account.talking(CallClass.CHAT)
        account.sent_before(2)
        account.spoke(listener, 3)
        account.end(Outcome.SUCCESS)
    local = {"tier": Tier.LOCAL.value}
    assert value(meters, "llm_time_to_first_speakable_seconds_sum", **local) == pytest.approx(0.3)
    assert value(meters, "llm_time_to_first_sentence_seconds_sum", **local) == pytest.approx(0.42)
    assert value(meters, "llm_speech_segments_total", **local) == 3
    assert value(meters, "llm_speech_stutters_total", **local) == 1
    assert value(meters, "llm_voice_turn_requests_sum") == 3
    assert value(meters, "llm_voice_requests_total", call="chat") == 1
    assert value(meters, "llm_client_retries_total") == 1
    decision = account.decision
    assert decision.ttfs_ms == pytest.approx(420.0)
    assert (decision.call, decision.retries) == (CallClass.CHAT, 2)


def test_series_are_there_from_the_start() -> None:
    meters = Meters(Rules((backend("local"), backend("cloud"))))
    exposed = meters.render().decode()
    assert set(NAMES) <= CATALOGUE.keys()
    for tier in ("local", "remote", "cache"):
        assert f'llm_speech_stutters_total{{tier="{tier}"}} 0.0' in exposed
    for call in CallClass:
        assert f'llm_voice_requests_total{{call="{call}"}} 0.0' in exposed
    assert 'llm_spoken_failures_total{error_type="connect"} 0.0' in exposed
    assert "llm_client_retries_total 0.0" in exposed


# ---- Through the router -------------------------------------------------------------------------


async def last(router: Running, count: int = 1) -> dict[str, Any]:
    return max(await router.settled(count), key=lambda decision: decision["accepted_ns"])


async def test_a_turn_with_a_tool_is_measured(start: Start) -> None:
    router = await start(local=frames(called(0, "call_9", "get_weather", '{"city": "杭州"}')))
    await stream(router.url, talk("杭州天气怎么样？"))
    first = await last(router)
    assert (first["call"], first["ttfs_ms"]) == ("chat", None)
    router.local.script = answer("😊", "杭州，", "是晴天。", "二十六度")
    reply = await stream(router.url, after_tool(), **{"x-stainless-retry-count": "1"})
    assert reply.text == "😊杭州，是晴天。二十六度"
    second = await last(router, 2)
    assert (second["call"], second["retries"]) == ("after_tool", 1)
    assert second["ttft_ms"] <= second["ttfs_ms"] + 1.0
    assert second["ttfs_ms"] <= second["duration_ms"]
    assert await router.metric("llm_voice_turn_requests_count") == 1
    assert await router.metric("llm_voice_turn_requests_sum") == 2
    assert await router.metric("llm_speech_segments_total", tier="local") == 3
    assert await router.metric("llm_time_to_first_sentence_seconds_count", tier="local") == 1
    assert await router.metric("llm_time_to_first_speakable_seconds_count", tier="local") == 1
    assert await router.metric("llm_voice_requests_total", call="after_tool") == 1
    assert await router.metric("llm_client_retries_total") == 1


async def test_what_nobody_answered_is_counted(start: Start) -> None:
    router = await start(local=refuse(500), cloud=refuse(500))
    assert (await stream(router.url, talk())).headers["x-firsttoken-tier"] == "none"
    assert await router.metric("llm_spoken_failures_total", error_type="http_5xx") == 1
    # A program reads this one: it gets an error, and nothing is spoken.
    assert (await stream(router.url, CALLS["intent"])).status >= 400
    assert await router.metric("llm_spoken_failures_total") == 1
    assert await router.metric("llm_time_to_first_sentence_seconds_count") == 0


async def test_a_reply_that_breaks_off_is_heard_as_far_as_it_was_finished(start: Start) -> None:
    router = await start(local=then_cut(ROLE, frame({"content": "好的，我们"})))
    reply = await stream(router.url, talk())
    assert reply.text == "好的，我们。"
    decision = await last(router)
    assert decision["outcome"] == "error"
    assert decision["ttfs_ms"] is not None
    assert await router.metric("llm_speech_segments_total", tier="local") == 2
    assert await router.metric("llm_spoken_failures_total") == 0


async def test_an_answer_from_a_cache_is_heard_at_once(start: Start) -> None:
    caching = CachingStrategy(local_cache=LocalCache(enable=True))
    router = await start(local=answer("好的，", "走吧。"), caching=caching)
    for count in (1, 2):
        await stream(router.url, talk("你是谁？", tools=False))
        decision = await last(router, count)
    assert (decision["cache"], decision["call"]) == ("exact", "chat")
    assert decision["ttfs_ms"] is not None
    assert await router.metric("llm_speech_segments_total", tier="cache") == 2
    assert await router.metric("llm_voice_turn_requests_count") == 2


async def test_other_clients_are_not_listened_to(start: Start) -> None:
    router = await start()
    await router.ask()
    (decision,) = await router.settled(1)
    assert (decision["call"], decision["ttfs_ms"], decision["retries"]) == (None, None, 0)
    assert await router.metric("llm_speech_segments_total") == 0
    assert await router.metric("llm_voice_requests_total") == 0
