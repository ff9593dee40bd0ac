"""JSON that models write: arguments of calls, with the slips that can be mended without a guess."""

from __future__ import annotations

from typing import Any

import orjson

_CLOSERS = {"{": "}", "[": "]"}
_NESTED = 64
"""Levels at most that are closed for a model that forgot to."""


def object_text(text: str, *, mend: bool) -> str:
    """Return the JSON object in ``text``, as it stands, or taken out where it is quoted as a
    string once more; empty where there is none.

    With ``mend``, closing brackets that are missing at the end are added. A text that ends inside
    a string is never mended: nobody knows how the string goes on.
    """
    value = _load(text)
    if value is None and mend:
        text += missing_closers(text)
        value = _load(text)
    if isinstance(value, str):
        text, value = value, _load(value)
    return text if isinstance(value, dict) else ""


def missing_closers(text: str) -> str:
    """Return the brackets that ``text`` leaves open, in the order that closes them; empty where
    there are none, or where it cannot be closed by brackets alone."""
    open_: list[str] = []
    in_string = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif in_string:
            escaped = character == "\\"
            in_string = character != '"'
        elif character == '"':
            in_string = True
        elif character in _CLOSERS:
            open_.append(_CLOSERS[character])
        elif open_ and character == open_[-1]:
            open_.pop()
    if in_string or len(open_) > _NESTED:
        return ""
    return "".join(reversed(open_))


def quoted(text: str) -> str:
    """Return ``text`` as it stands inside a JSON string, without the quotes; question marks for
    what is no Unicode."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return orjson.dumps(text.encode("utf-8", "replace").decode())[1:-1].decode()


def _load(text: str) -> Any:
    """Return the value, None where ``text`` is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
