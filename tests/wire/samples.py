"""The streams of ``captures/``, and what every test does with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from firsttoken.wire.dialect import Reader, ReplyIdentity
from firsttoken.wire.dialects import get
from firsttoken.wire.events import End, Event, Failure

CAPTURES = Path(__file__).parent / "captures"
IDENTITY = ReplyIdentity(id="reply-1", model="qwen", created_unix_s=1_795_430_444)


def dialect_of(name: str) -> str:
    """Return the dialect of a capture by its file name."""
    if name.startswith("ollama_generate"):
        return "ollama_generate"
    first = name.split("_", 1)[0]
    return first if first in {"ollama", "dashscope"} else "openai"


STREAMS: dict[str, bytes] = {
    path.name: path.read_bytes()
    for path in sorted(CAPTURES.iterdir())
    if path.suffix in {".sse", ".ndjson"}
}


def whole(name: str) -> bytes:
    """Return a capture that is not a stream."""
    return (CAPTURES / name).read_bytes()


def reader_of(name: str) -> Reader:
    """Return a new reader for a capture."""
    return get(dialect_of(name)).reader()


def read(reader: Reader, pieces: Iterable[bytes]) -> list[Event]:
    """Feed ``pieces``, stamped 0, 1, 2 ..., then close; return all events."""
    events: list[Event] = []
    t_ns = -1
    for t_ns, piece in enumerate(pieces):
        events += reader.feed(piece, t_ns)
    return events + reader.close(t_ns + 1)


def read_capture(name: str) -> list[Event]:
    """Read a capture in one piece."""
    return read(reader_of(name), [STREAMS[name]])


def unstamped(events: Iterable[Event]) -> list[Event]:
    """Return events with all stamps 0."""
    return [event._replace(t_ns=0) for event in events]


def is_last(event: Event) -> bool:
    """Whether ``event`` ends a stream."""
    return isinstance(event, End | Failure)


def check_well_ended(events: list[Event]) -> None:
    """Check that exactly one event ends the stream, and that it is the last."""
    assert [is_last(event) for event in events] == [False] * (len(events) - 1) + [True]
