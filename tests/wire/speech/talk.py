"""Helpers: streams of events out of text cut into pieces, and what was said of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, pairwise
from typing import Any

from hypothesis import strategies as st

from firsttoken.core.settings.voice import Voice
from firsttoken.wire.events import End, Event, Text, ToolArgument
from firsttoken.wire.replies import ToolCall, collect
from firsttoken.wire.speech.chain import Chain, Transformer, chain_for

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name}}
    for name in ("direct_answer", "get_weather", "set_volume")
]

SPEECH = [
    "你好，我是小智。今天天气不错！",
    "Hello there, how are you? I am fine.",
    "好的OK，3 < 5 and a<b，😀👨‍👩‍👧 再见~",
    '他说："好"\\n\t<think and </ <tool_ <',
]
"""Text that no transformer may touch."""

unicode_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def cuts(text: str) -> Iterator[list[str]]:
    """Give ``text`` in two pieces, cut everywhere, and in single characters."""
    for place in range(len(text) + 1):
        yield [piece for piece in (text[:place], text[place:]) if piece]
    yield list(text)


def cut_at(text: str, places: Iterable[int]) -> list[str]:
    """Give ``text`` cut at ``places``, taken modulo its length."""
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(ends) if end > start]


def texts(pieces: Iterable[str]) -> list[Event]:
    """Give one text a piece; none for an empty one."""
    return [Text(number, piece) for number, piece in enumerate(pieces) if piece]


def call(name: str, pieces: Sequence[str], index: int = 0, id: str = "call_a") -> list[Event]:  # noqa: A002
    """Give a tool call as servers stream it: id and name, then the arguments."""
    first: Event = ToolArgument(0, index, id, name, "")
    return [first, *(ToolArgument(0, index, "", "", piece) for piece in pieces)]


def fed(part: Transformer, events: Iterable[Event]) -> list[Event]:
    """Send events through one transformer."""
    return [made for event in events for made in part.feed(event)]


def closed(part: Transformer, events: Iterable[Event]) -> list[Event]:
    """Send a whole reply through one transformer."""
    return [*fed(part, events), *part.close(99)]


def was_cut(part: Transformer, events: Iterable[Event]) -> list[Event]:
    """Send a reply that breaks off through one transformer."""
    return [*fed(part, events), *part.cut(99)]


def spoken(events: Iterable[Event]) -> str:
    """Join the texts; none of them may be empty."""
    pieces = [event.text for event in events if isinstance(event, Text)]
    assert all(pieces)
    return "".join(pieces)


def calls(events: Iterable[Event]) -> list[ToolCall]:
    """Join the tool calls."""
    return collect(events).tool_calls


def named(events: Iterable[Event]) -> list[tuple[str, Any]]:
    """Give the names of the tool calls with their arguments, which must be JSON."""
    return [(each.name, json.loads(each.arguments)) for each in calls(events)]


def chain(
    unwrap: bool = False,
    *,
    tools: Sequence[dict[str, Any]] = TOOLS,
    switches: dict[str, bool] | None = None,
) -> Chain:
    """Return a chain with everything switched on, but for ``switches``, which say what is not."""
    return chain_for(Voice.model_validate(switches or {}), tools=tools, unwrap=unwrap)


def through(chain: Chain, events: Iterable[Event], end: str | None = "stop") -> list[Event]:
    """Send a reply through a chain, event by event."""
    out = [made for event in events for made in chain.feed([event])]
    if end is not None:
        out += chain.feed([End(99, end)])
    return out


def check_numbered(events: Iterable[Event]) -> None:
    """Check that tool calls are numbered, named and identified as a strict client wants them."""
    seen: list[int] = []
    ids: set[str] = set()
    for event in events:
        if not isinstance(event, ToolArgument):
            continue
        if event.index in seen:
            assert (event.id, event.name) == ("", "")
        else:
            assert event.index == len(seen)
            assert event.name
            assert event.id
            assert event.id not in ids
            seen.append(event.index)
            ids.add(event.id)


def counting_ids() -> Iterator[str]:
    """Give ids that a test can foretell."""
    return (f"made_{number}" for number in count())
