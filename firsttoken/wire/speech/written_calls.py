"""Reading the JSON of tool calls that a model wrote as text."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from firsttoken.wire.speech.json_text import missing_closers, object_text
from firsttoken.wire.values import UnreadableError, dump

_FENCE = "```"
_CALL = re.compile(r'\s*(?:```(?:json)?\s*)?[\[{][\s{]*"(?:name|function|arguments|parameters)"')
_BETWEEN = re.compile(r"[\s,]*")
_ARGUMENTS = ("arguments", "parameters")
"""The keys under which models write arguments."""

_DECODER = json.JSONDecoder()


class WrittenCall(NamedTuple):
    """One call."""

    name: str
    arguments: str
    """A JSON object, as text."""


def looks_like_call(body: str) -> bool:
    """Whether ``body`` begins like a call, whole or not."""
    return _CALL.match(body) is not None


def read_calls(body: str, *, mend: bool) -> list[WrittenCall] | None:
    """Return the calls between two markers: an object, several, or a list of them, in a fence or
    not; None if it is anything else. With ``mend``, missing brackets at the end are added."""
    text = body.strip()
    if text.startswith(_FENCE):
        text = text.removeprefix(_FENCE).removeprefix("json").removesuffix(_FENCE).strip()
    objects = _objects(text)
    if objects is None and mend and (closers := missing_closers(text)):
        objects = _objects(text + closers)
    if not objects:
        return None
    calls = [_call(each) for each in objects]
    whole = [call for call in calls if call is not None]
    return whole if len(whole) == len(calls) else None


def _objects(text: str) -> list[Any] | None:
    """Return the JSON values that follow each other in ``text``; None if it is no JSON."""
    found: list[Any] = []
    place = 0
    try:
        while place < len(text):
            value, place = _DECODER.raw_decode(text, place)
            found += value if isinstance(value, list) else [value]
            between = _BETWEEN.match(text, place)
            place = between.end() if between else place
    except (ValueError, RecursionError):
        # What follows a whole call, such as a brace too many, says nothing.
        return found or None
    return found


def _call(value: Any) -> WrittenCall | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name")
    if not isinstance(name, str) or not name:
        return None
    arguments: Any = next((value[key] for key in _ARGUMENTS if value.get(key) is not None), {})
    if isinstance(arguments, str):
        text = object_text(arguments or "{}", mend=False)
        return WrittenCall(name, text) if text else None
    if not isinstance(arguments, dict):
        return None
    try:
        return WrittenCall(name, dump(arguments).decode())
    except UnreadableError:
        return None
