"""Finding markers in text that comes in pieces."""

from __future__ import annotations

from collections.abc import Collection

LEAD = "<"
"""The character with which all markers begin, and which a text without any lacks."""


def first_marker(text: str, markers: Collection[str]) -> tuple[int, str] | None:
    """Return the place and the name of the first marker in ``text``, or None."""
    found = [(place, marker) for marker in markers if (place := text.find(marker)) >= 0]
    return min(found, default=None)


def partial_marker(text: str, markers: Collection[str]) -> int:
    """Return where the end of ``text`` may be the beginning of a marker; its length if nowhere."""
    longest = max(map(len, markers))
    place = text.find(LEAD, max(0, len(text) - longest + 1))
    while place >= 0:
        tail = text[place:]
        if any(marker.startswith(tail) for marker in markers):
            return place
        place = text.find(LEAD, place + 1)
    return len(text)
