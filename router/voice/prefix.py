"""Tools in one order, so that an engine finds the beginning of a prompt in its cache.

The order in which a voice server lists its tools is that of a set: another one after each of its
starts. The beginning of a prompt that holds them is then new to the engine, though nothing in it
is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

_FIRST = (
    "type",
    "function",
    "name",
    "description",
    "strict",
    "parameters",
    "properties",
    "required",
)
_PLACES = {name: place for place, name in enumerate(_FIRST)}
"""Keys that stand first, in the order in which the documentation of tools has them, and models
have learned them; all others by the alphabet."""

_SETS = frozenset({"required"})
"""Lists without an order."""

_MOST_KEPT = 512
_KEPT_BYTES = 16_384
"""Of one tool at most, to be kept."""


def in_order(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``tools`` by the names of their functions, each with its keys in one order.

    What is returned is shared between requests: it must not be changed in place.
    """
    return sorted(map(_canonical, tools), key=_name)


def _name(tool: dict[str, Any]) -> str:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""


def _canonical(tool: dict[str, Any]) -> dict[str, Any]:
    written = orjson.dumps(tool)
    kept = _kept if len(written) <= _KEPT_BYTES else _kept.__wrapped__
    return kept(written)


@lru_cache(_MOST_KEPT)
def _kept(written: bytes) -> dict[str, Any]:
    found: dict[str, Any] = _ordered(orjson.loads(written))
    return found


def _ordered(value: Any, *, names: bool = False) -> Any:
    """Return a JSON value with its keys in order; with ``names`` they are names that somebody
    chose, not words of the schema."""
    if isinstance(value, dict):
        keys = sorted(value) if names else sorted(value, key=_place)
        return {key: _member(key, value[key], names=names) for key in keys}
    if isinstance(value, list):
        return [_ordered(each) for each in value]
    return value


def _member(key: str, value: Any, *, names: bool) -> Any:
    if not names and key in _SETS and isinstance(value, list):
        texts = all(isinstance(each, str) for each in value)
        return sorted(value) if texts else value
    return _ordered(value, names=not names and key == "properties")


def _place(key: str) -> tuple[int, str]:
    return _PLACES.get(key, len(_PLACES)), key
