"""The shape that every dialect module has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from firsttoken.wire.events import Event


class RequestError(Exception):
    """A request body that the dialect does not allow: answered with 400, no backend is asked.

    The message names the field and what was expected.
    """


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat request in no dialect's shape: what routing reads and what a backend is sent."""

    model: str
    messages: list[dict[str, Any]]
    """OpenAI-shaped messages: ``role`` in system, user, assistant, tool (developer is accepted),
    ``content`` a string, a list of parts, null or absent."""
    stream: bool
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] = field(default_factory=list)
    seed: int | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    include_usage: bool = False
    """Whether the client asked for a usage frame (``stream_options.include_usage``)."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the body that are none of the above, handed on to a backend of the same dialect."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """What to send: always POST."""

    path: str
    """Below the backend's base URL, with a leading slash, such as ``/v1/chat/completions``."""
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ReplyIdentity:
    """What every frame of one written reply repeats."""

    id: str
    model: str
    created_unix_s: int


class Reader(Protocol):
    """Turns the bytes of one streamed reply into events, incrementally.

    After an :class:`~firsttoken.wire.events.End` or
    :class:`~firsttoken.wire.events.Failure` it gives no further event.
    Any bytes whatever give events or one ``Failure``, never an exception. A frame longer than the
    reader's limit is a ``Failure`` (protocol).
    """

    def feed(self, data: bytes, t_ns: int) -> list[Event]:
        """Take the bytes of one socket read and the stamp of that read."""

    def close(self, t_ns: int) -> list[Event]:
        """Say that the connection ended. A stream that had not ended gives a ``Failure``,
        one whose finish reason had come its ``End``."""


class Writer(Protocol):
    """Writes events of one reply in a dialect; stateful where the dialect is."""

    def write(self, event: Event) -> bytes:
        """Return the bytes of one event; empty where the dialect has no form for it."""


class Dialect(Protocol):
    """One wire format, both directions."""

    name: str
    content_type: str
    """Media type of a streamed reply."""

    def parse_request(self, body: bytes) -> ChatRequest:
        """Read a request body. Raises :class:`RequestError`."""

    def build_request(self, request: ChatRequest, api_key: str | None) -> HttpCall:
        """Write the call that asks a backend of this dialect for ``request``.

        Raises :class:`RequestError` where the dialect has no form for what the request holds,
        such as an image in DashScope's text generation.
        """

    def reader(self) -> Reader:
        """Return a reader for one streamed reply."""

    def read_reply(self, body: bytes, t_ns: int) -> list[Event]:
        """Read a reply that was not streamed: the same events, the last an End or a Failure."""

    def writer(self, identity: ReplyIdentity, include_usage: bool) -> Writer:
        """Return a writer for one streamed reply."""

    def write_reply(self, identity: ReplyIdentity, events: list[Event]) -> bytes:
        """Write a whole reply that is not streamed, from the events of one."""

    def write_error(self, status: int, error_type: str, message: str) -> bytes:
        """Write the body of an HTTP error reply."""

    def read_error(self, body: bytes) -> str:
        """Return what an HTTP error body says, at most 500 characters, for the record."""
