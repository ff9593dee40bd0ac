"""A reply as a script: what to write, when to wait, where to cut.

A script is a generator. It yields steps and is resumed when the step is done:

- ``bytes``: write them to the socket now, framed as the reply's head said. The generator receives
  the monotonic nanosecond that was read right before the write.
- ``float``: wait that many seconds. Waits add up from the start of the script: lateness of one
  does not delay the next.
- :class:`Head`: begin a reply whose body follows as ``bytes``. The generator receives the stamp of
  its write.
- :class:`Whole`: a whole reply at once. The generator receives the stamp of its write.
- :data:`CUT`: close the connection without ending the reply. Nothing after it is played.

When a client leaves, the script is closed where it stands: ``GeneratorExit`` is raised in it, so
that a ``finally`` sees the end of every request.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import orjson

Headers = tuple[tuple[str, str], ...]


class Framing(enum.Enum):
    """How a reply's body is delimited."""

    CHUNKED = "chunked"
    """``Transfer-Encoding: chunked``; the connection is kept."""
    CHUNKED_THEN_CLOSE = "chunked_then_close"
    """Chunked, and announced by ``Connection: close`` to be the connection's last reply."""
    UNTIL_CLOSE = "until_close"
    """Neither chunked nor with a length: the body ends where the connection does."""
    SIZED = "sized"
    """Of the length that the ``content-length`` among the head's headers gives."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of a streamed reply."""

    content_type: str
    headers: Headers = ()
    status: int = 200
    framing: Framing = Framing.CHUNKED
    first: bytes = b""
    """Beginning of the body, written to the socket together with the head."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A reply of known length."""

    body: bytes
    status: int = 200
    headers: Headers = ()
    content_type: str = "application/json"


class Cut(enum.Enum):
    """The type of :data:`CUT`."""

    CUT = "cut"


CUT = Cut.CUT
"""Close the connection in the middle of the reply."""

Step = bytes | float | Head | Whole | Cut
Script = Generator[Step, int | None, None]


@dataclass(slots=True)
class Request:
    """A request as it was read; header names are in lower case, the last of equal ones counts."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    received_ns: int
    """Monotonic stamp of the socket read that completed the request."""

    def wants_event_stream(self) -> bool:
        """Whether the headers alone ask for a stream, as the DashScope native interface has it."""
        return (
            self.headers.get("x-dashscope-sse", "").lower() == "enable"
            or "text/event-stream" in self.headers.get("accept", "").lower()
        )


@dataclass(slots=True)
class Count:
    """What became of the requests of one kind."""

    requests: int = 0
    """Requests begun."""
    open: int = 0
    """Requests being answered now."""
    client_gone: int = 0
    """Requests whose client left before the end of the reply."""


@dataclass(slots=True)
class Counters:
    """What ``GET /state`` reports of a server."""

    open_connections: int = 0
    """Connections open now, idle ones included."""
    all_connections: int = 0
    """Connections accepted since the start."""
    kinds: dict[str, Count] = field(default_factory=dict)
    """By fault for the fault wall, by interface for the others. The keys are a closed set."""

    def count(self, kind: str, script: Script) -> Script:
        """Return ``script`` so that it is counted as one request of ``kind``."""
        count = self.kinds.setdefault(kind, Count())
        count.requests += 1
        count.open += 1
        try:
            yield from script
        except GeneratorExit:
            count.client_gone += 1
            raise
        finally:
            count.open -= 1

    def state(self) -> dict[str, Any]:
        """Return the counters as JSON has them; the connection that asks is left out."""
        kinds = self.kinds.values()
        return {
            "open_connections": self.open_connections - 1,
            "all_connections": self.all_connections - 1,
            "requests": sum(kind.requests for kind in kinds),
            "open_requests": sum(kind.open for kind in kinds),
            "client_gone": sum(kind.client_gone for kind in kinds),
            "by_kind": self.kinds,
        }


def reply(whole: Whole) -> Script:
    """Return the script of a reply that is given at once."""
    yield whole


def json_reply(value: object, status: int = 200, headers: Headers = ()) -> Script:
    """Return the script that answers with ``value`` as JSON."""
    return reply(Whole(orjson.dumps(value), status, headers))
