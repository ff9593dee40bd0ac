"""What is wrong with settings, said in one line each: where, which key, what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from firsttoken.core.settings.conditions import did_you_mean
from firsttoken.core.settings.document import KeyPath, dotted, printable
from firsttoken.core.settings.fields import known_part, section_at
from firsttoken.core.settings.kinds import Section
from firsttoken.core.settings.tree import Tree

_HINTS: dict[str, str] = {
    "services": "; this looks like a Compose file, which is no settings file",
    "api_key": "; a key never stands in this file: name its environment variable in api_key_env",
    "api_keys": "; keys never stand in this file: name their variable in api_keys_env",
}

_Context = dict[str, Any]
_EXPECTATIONS: dict[str, Callable[[_Context], str]] = {
    "int_type": lambda _: "is not a whole number; expected a whole number",
    "int_from_float": lambda _: "is not a whole number; expected a whole number",
    "float_type": lambda _: "is not a number; expected a number",
    "finite_number": lambda _: "is not a finite number; expected a finite number",
    "bool_type": lambda _: "is not a truth value; expected true or false",
    "string_type": lambda _: "is not text; expected text",
    "tuple_type": lambda _: "is not a list; expected a list, each item on a line after '- '",
    "model_type": lambda _: "is not a section; expected keys with values, as key: value",
    "dict_type": lambda _: "is not a section; expected keys with values, as key: value",
    "missing": lambda _: "is missing; expected a value",
    "greater_than": lambda c: f"is too small; expected more than {c['gt']}",
    "greater_than_equal": lambda c: f"is too small; expected at least {c['ge']}",
    "less_than": lambda c: f"is too large; expected less than {c['lt']}",
    "less_than_equal": lambda c: f"is too large; expected at most {c['le']}",
    "too_long": lambda c: f"has too many items; expected at most {c['max_length']}",
    "string_too_short": lambda c: f"is too short; expected {c['min_length']} characters or more",
    "string_too_long": lambda c: f"is too long; expected at most {c['max_length']} characters",
    "literal_error": lambda c: f"is not possible; expected {c['expected']}",
}
_PATTERNS: dict[str, str] = {
    "name": "letters, digits, '.', '_' and '-'",
    "host": "a host name or address to listen on",
    "model": "the name of a model, without spaces",
    "api_key_env": "the name of an environment variable, such as QWEN_API_KEY, not the key itself",
    "api_keys_env": "the name of an environment variable, not the keys themselves",
}


def line(tree: Tree, path: KeyPath, text: str) -> str:
    """Return ``FILE:LINE: key.path: text`` for the place that set ``path``."""
    source = tree.nearest_source(path)
    where = f"{source}: " if source else ""
    return f"{where}{dotted(path)}: {printable(text)}"


def lines(error: ValidationError, tree: Tree, model: type[Section]) -> list[str]:
    """Return one line for each place where the settings are wrong, in the order of the keys."""
    said: dict[KeyPath, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        path = known_part(model, item["loc"])
        said.setdefault(path, line(tree, path, _text(item, path, model)))
    return list(said.values())


def _text(item: ErrorDetails, path: KeyPath, model: type[Section]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        key = str(path[-1])
        section = section_at(model, path[:-1])
        known = list(section.model_fields) if section else []
        hint = _HINTS.get(key) or did_you_mean(key, known)
        return f"unknown key{hint}; expected one of {', '.join(known)}"
    if kind == "value_error":
        return str(context.get("error", item["msg"]))
    if kind == "string_pattern_mismatch":
        key = next((part for part in reversed(path) if isinstance(part, str)), "")
        return f"is not of the right form; expected {_PATTERNS.get(key, 'another text')}"
    if kind in _EXPECTATIONS:
        return _EXPECTATIONS[kind](context)
    return f"is not possible ({item['msg']})"
