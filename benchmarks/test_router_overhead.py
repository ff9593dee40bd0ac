"""The pure parts of a request's way through the router, one call each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from firsttoken.core.catalogue import ConversationEnd
from firsttoken.core.clock import monotonic_ns
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Outcome, Reason, Tier
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest
from router.conversations import Conversations, Identifier
from router.policy import signals
from router.policy.plan import Rules, State, plan
from router.policy.signals import QueryClass, Signals, compile_patterns
from router.ratings import Ratings
from router.relay import Relay, Untouched
from router.share import LocalShare

PATTERNS = compile_patterns(
    ["你好|hello|hi", "谢谢|thank you", "再见|goodbye|bye", "天气|weather"],
    ["写代码|编程|programming", "翻译|translate", "分析|analysis", "创作|creative"],
)


def _backend(name: str, tier: Tier) -> Backend:
    return Backend(name, tier, "http://127.0.0.1:9", "openai", f"{name}-model")


RULES = Rules((_backend("local", Tier.LOCAL), _backend("cloud", Tier.REMOTE)))

# A voice server's first turn: a long system prompt, a short question.
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "You are a helpful voice assistant. " * 300},
    {"role": "user", "content": "Please tell me what the capital of France is, and why."},
]


def test_signals(benchmark: Any) -> None:
    assert benchmark(signals.read, CONVERSATION, PATTERNS).query_class is None


def test_signals_of_a_long_message(benchmark: Any) -> None:
    messages = [{"role": "user", "content": "天" * 100_000}]
    assert benchmark(signals.read, messages, PATTERNS).query_class is None


def test_plan(benchmark: Any) -> None:
    chosen = benchmark(plan, "auto", Signals(QueryClass.COMPLEX), RULES, State())
    assert [each.reason for each in chosen.attempts] == [Reason.RULE_COMPLEX, Reason.FAILOVER]


def test_who_talks(benchmark: Any) -> None:
    """Everything a request does for feedback, conversations and the local share."""
    identifier, ratings, share = Identifier(), Ratings(), LocalShare()
    ends: Counter[ConversationEnd] = Counter()
    conversations = Conversations(120.0, lambda: None, lambda end: ends.update([end]))
    now_s = 0.0

    def one() -> None:
        nonlocal now_s
        now_s += 0.01
        ratings.served("", f"request-{now_s}", None)
        key = identifier.key(CONVERSATION, "")
        conversations.begin(key, now_s)
        conversations.end(key, Outcome.SUCCESS, now_s)
        share.count(Tier.LOCAL, now_s)

    benchmark(one)
    assert len(conversations) == 1


def test_request_in_and_out(benchmark: Any) -> None:
    openai = dialects.get("openai")
    request = ChatRequest("auto", CONVERSATION, stream=True, max_tokens=40)
    body = openai.build_request(request, None).body

    def through() -> bytes:
        return openai.build_request(openai.parse_request(body), "key").body

    assert len(benchmark(through)) == len(body)


@pytest.mark.parametrize("chunks", [40])
def test_end_of_a_stream(benchmark: Any, chunks: int) -> None:
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
    finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    stream = frame * chunks + finish + b"data: [DONE]\n\n"

    async def write(data: bytes) -> None:
        pass

    def ended() -> bool:
        relay = Relay(Untouched(dialects.get("openai"), keep=False), write, 5.0, monotonic_ns)
        # It never waits here, so one step runs it to its end.
        with pytest.raises(StopIteration):
            relay.begin(stream, []).send(None)
        return relay.ending().complete

    assert benchmark(ended)
