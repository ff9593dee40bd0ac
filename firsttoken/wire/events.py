"""What a stream says, whatever the dialect.

Events are plain tuples: a stream makes one per chunk. ``t_ns`` is the stamp of the socket read
that completed the event, taken by the caller before any parsing.
"""

from __future__ import annotations

from typing import NamedTuple

from firsttoken.core.words import ErrorType


class Role(NamedTuple):
    """A frame that carries no text: a role-only, null or empty delta. Never a first token."""

    t_ns: int
    role: str


class Text(NamedTuple):
    """Non-empty content."""

    t_ns: int
    text: str


class Reasoning(NamedTuple):
    """Non-empty reasoning ("thinking") text."""

    t_ns: int
    text: str


class ToolArgument(NamedTuple):
    """A fragment of a tool call: ``name`` and ``id`` come with the first one, ``text`` is a piece
    of the JSON arguments and may be empty."""

    t_ns: int
    index: int  # type: ignore[assignment] # hides tuple.index, which nobody needs here
    id: str
    name: str
    text: str


class Usage(NamedTuple):
    """Token counts of the whole reply; None where the server did not say."""

    t_ns: int
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None


class Timings(NamedTuple):
    """The engine's own timings in milliseconds; None where it did not say.

    llama.cpp ``timings``, Ollama ``load_duration``/``prompt_eval_duration``/``eval_duration``,
    vLLM ``metrics``, which alone tells how long a request waited in the engine's own queue.
    """

    t_ns: int
    load_ms: float | None
    prompt_ms: float | None
    predict_ms: float | None
    queue_ms: float | None = None


class Probabilities(NamedTuple):
    """How likely the model held the tokens of one frame; comes before their text. No token itself.

    Both tuples have one entry a token, natural logarithms, at most 0; -inf where the server says
    that the token could not be.
    """

    t_ns: int
    logprobs: tuple[float, ...]
    """Of the tokens that were chosen."""
    runners_up: tuple[float | None, ...]
    """Of the likeliest candidate beside each; None where the server names none. Above the chosen
    token's own where sampling took a less likely one."""


class Failure(NamedTuple):
    """The stream ended badly: an error the server reported inside it, a frame that cannot be read,
    or a cut. A reader gives at most one, as its last event."""

    t_ns: int
    error_type: ErrorType
    message: str
    status: int | None
    """The HTTP status that the server named inside the stream, where it named one."""


class End(NamedTuple):
    """The stream ended as its dialect prescribes. A reader gives at most one, as its last event."""

    t_ns: int
    finish_reason: str
    """``stop``, ``length``, ``tool_calls``, ``content_filter``, or what the server said; empty
    where it said nothing."""


Event = Role | Text | Reasoning | ToolArgument | Usage | Timings | Probabilities | Failure | End


def is_token(event: Event) -> bool:
    """Whether ``event`` carries a token: non-empty content, reasoning or tool-argument text."""
    return isinstance(event, Text | Reasoning) or (
        isinstance(event, ToolArgument) and bool(event.text)
    )
