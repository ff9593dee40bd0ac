"""Cost of reading and writing one frame, by dialect.

Run: ``python -m pytest benchmarks/test_wire_reader.py -o addopts=``
Times are of 1,000 frames, so milliseconds in the table are microseconds a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

from firsttoken.wire.dialect import ReplyIdentity
from firsttoken.wire.dialects import DIALECTS, get
from firsttoken.wire.events import Event, Text

FRAMES = 1000
IDENTITY = ReplyIdentity(id="chatcmpl-1234567890", model="qwen2:1.5b", created_unix_s=1_795_430_444)
EVENTS: list[Event] = [Text(0, f"好{number}") for number in range(FRAMES)]


class Benchmark(Protocol):
    """The fixture of pytest-benchmark."""

    def __call__(self, function: Callable[..., Any], *args: object) -> Any:
        """Time ``function``."""


def frames_of(name: str) -> list[bytes]:
    writer = get(name).writer(IDENTITY, include_usage=False)
    return [writer.write(event) for event in EVENTS]


@pytest.mark.parametrize("name", DIALECTS)
def test_read_a_frame_a_read(benchmark: Benchmark, name: str) -> None:
    frames = frames_of(name)

    def read() -> int:
        reader = get(name).reader()
        return sum(len(reader.feed(frame, 0)) for frame in frames)

    assert benchmark(read) == FRAMES


@pytest.mark.parametrize("name", DIALECTS)
def test_read_all_at_once(benchmark: Benchmark, name: str) -> None:
    data = b"".join(frames_of(name))
    assert benchmark(lambda: len(get(name).reader().feed(data, 0))) == FRAMES


@pytest.mark.parametrize("name", DIALECTS)
def test_write_a_frame(benchmark: Benchmark, name: str) -> None:
    assert len(benchmark(frames_of, name)) == FRAMES
