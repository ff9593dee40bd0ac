"""What a client says of itself in the headers of a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """Headers that change how a request is served."""

    session: str | None = None
    """The client's name for the conversation (``x-session-id``)."""
    retries: int = 0
    """How often the client has sent this request before (``x-stainless-retry-count``)."""
    patience_s: float | None = None
    """Seconds without a byte after which the client gives up (``x-stainless-read-timeout``)."""
