"""One request of a proof, and the events of its stream."""

from __future__ import annotations

from typing import Any

import httpx

from firsttoken.core.clock import monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.words import REASON_HEADER, TIER_HEADER, Tier
from firsttoken.wire import dialects
from firsttoken.wire.events import Event, Failure


def ask(http: httpx.Client, url: str, body: dict[str, Any]) -> tuple[int, list[Event]]:
    """Return when a chat was asked for, ns, and the events of its reply.

    Raises:
        UserError: nobody answered, the reply failed, or a router had somebody else answer than the
            local engine, whose figures these would not be.
    """
    reader = dialects.get("openai").reader()
    events: list[Event] = []
    sent_ns = monotonic_ns()
    try:
        with http.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
            reply.raise_for_status()
            # The engine itself names no tier.
            tier = reply.headers.get(TIER_HEADER, Tier.LOCAL)
            if tier != Tier.LOCAL:
                why = reply.headers.get(REASON_HEADER)
                raise UserError(f"{url}: answered by tier {tier}, not by the engine: {why}")
            for piece in reply.iter_raw():
                events += reader.feed(piece, monotonic_ns())
    except httpx.HTTPError as error:
        raise UserError(f"{url} did not answer: {error}") from error
    failed = next((event for event in events if isinstance(event, Failure)), None)
    if failed is not None:
        raise UserError(f"{url}: the reply failed: {failed.message}")
    return sent_ns, events
