"""The pure parts of a request's way through the router, one call each."""

from __future__ import annotations

from typing import Any

import pytest

from firsttoken.core.clock import monotonic_ns
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Reason, Tier
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest
from router.policy import signals
from router.policy.plan import Rules, State, plan
from router.policy.signals import QueryClass, Signals, compile_patterns
from router.relay import Relay, Untouched

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
