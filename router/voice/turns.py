"""How many requests a turn of a talking device takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from firsttoken.core.words import CallClass
from firsttoken.wire.heard import Heard

_IN_TURNS = frozenset({CallClass.CHAT, CallClass.AFTER_TOOL, CallClass.GOODBYE})


def turn_requests(messages: Sequence[dict[str, Any]], call: CallClass, heard: Heard) -> int | None:
    """Return how many requests the turn took that ends with a reply; None: it does not end yet, or
    the request is not part of a turn.

    The requests before this one are in its own messages: each has left an assistant's message with
    tool calls behind the user's last words. A reply that calls a tool is followed by another one.
    """
    if call not in _IN_TURNS or heard.called_tool or not heard.segments:
        return None
    earlier = 0
    for message in reversed(messages):
        if message.get("role") == "user":
            break
        earlier += message.get("role") == "assistant" and bool(message.get("tool_calls"))
    return 1 + earlier
