"""Values out of JSON that may hold anything, and back into JSON."""

from __future__ import annotations

from typing import Any

import orjson

_LARGEST_COUNT = 2**31 - 1
"""Counts are kept in 32-bit columns."""


class UnreadableError(Exception):
    """A frame is not what its dialect allows. Never leaves a reader: it becomes a ``Failure``."""


def load_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        UnreadableError: it is not JSON (UTF-8, nesting, numbers out of range), or not an object.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"not JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise UnreadableError(f"expected a JSON object, got {kind(value)}")
    return value


def dump(value: object) -> bytes:
    """Write JSON.

    Raises:
        UnreadableError: the value is nested deeper than can be written (about 250 levels), or
            holds text that is no Unicode.
    """
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise UnreadableError(f"cannot be written as JSON: {error}") from error


def printable(message: str) -> str:
    """Return ``message`` with question marks for lone surrogates, which no JSON can hold."""
    return message.encode("utf-8", "replace").decode()


def kind(value: object) -> str:
    """Name the JSON type of ``value``, for messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number"}
    return names.get(type(value), "null" if value is None else "a number")


def as_object(value: object, where: str) -> dict[str, Any]:
    """Return an object; null counts as an empty one.

    Raises:
        UnreadableError: it is something else.
    """
    if isinstance(value, dict):
        return value
    if value is None:
        return {}
    raise UnreadableError(f"{where}: expected an object, got {kind(value)}")


def as_list(value: object, where: str) -> list[Any]:
    """Return a list; null counts as an empty one.

    Raises:
        UnreadableError: it is something else.
    """
    if isinstance(value, list):
        return value
    if value is None:
        return []
    raise UnreadableError(f"{where}: expected a list, got {kind(value)}")


def as_text(value: object, where: str) -> str:
    """Return a string; null counts as an empty one.

    Raises:
        UnreadableError: it is something else.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise UnreadableError(f"{where}: expected a string, got {kind(value)}")


def count(value: object) -> int | None:
    """Return a count of tokens, or None where ``value`` cannot be one: accounting never ends a
    stream."""
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else None


def milliseconds(value: object, per_millisecond: float = 1.0) -> float | None:
    """Return a duration in milliseconds, or None where ``value`` cannot be one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value) / per_millisecond
    return None
