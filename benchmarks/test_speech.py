"""Cost of what a talking device's stream goes through, by kind of event.

Run: ``python -m pytest benchmarks/test_speech.py -o addopts=``
Times are of 1,000 events handed in one by one, so milliseconds in the table are microseconds an
event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

from firsttoken.core.settings.voice import Voice
from firsttoken.wire.events import Event, Reasoning, Text, ToolArgument
from firsttoken.wire.speech.chain import chain_for

EVENTS = 1000
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name}} for name in ("direct_answer", "get_weather")
]
START: Event = ToolArgument(0, 0, "call_1", "direct_answer", '{"response": "')

STREAMS: dict[str, list[Event]] = {
    "plain text": [Text(0, f"好{number}") for number in range(EVENTS)],
    "text with <": [Text(0, f"{number} < 3") for number in range(EVENTS)],
    "reasoning": [Reasoning(0, f"好{number}") for number in range(EVENTS)],
    "direct answer": [START, *(ToolArgument(0, 0, "", "", f"好{n}") for n in range(EVENTS - 1))],
}


class Benchmark(Protocol):
    """The fixture of pytest-benchmark."""

    def __call__(self, function: Callable[..., Any], *args: object) -> Any:
        """Time ``function``."""


def given(events: list[Event], unwrap: bool) -> int:
    chain = chain_for(Voice(), tools=TOOLS, unwrap=unwrap)
    return sum(len(chain.feed([event])) for event in events)


@pytest.mark.parametrize("unwrap", [False, True], ids=["wrapped", "unwrapped"])
@pytest.mark.parametrize("name", STREAMS)
def test_an_event_through_the_whole_chain(benchmark: Benchmark, name: str, unwrap: bool) -> None:
    made = benchmark(given, STREAMS[name], unwrap)
    assert (made == 0) if name == "reasoning" else (made >= EVENTS - 1)


def test_making_a_chain(benchmark: Benchmark) -> None:
    assert benchmark(lambda: chain_for(Voice(), tools=TOOLS, unwrap=True).feed([])) == []
