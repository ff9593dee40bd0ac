"""Request bodies, read field by field, each wrong one named; and the headers of a call.

Nothing is sent to a backend before its request has passed here, so a wrong type is found where
it is, and the message says which field and what was expected.
"""

from __future__ import annotations

from typing import Any

import orjson

from firsttoken.wire.dialect import RequestError
from firsttoken.wire.values import kind

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
MAX_MESSAGES = 4096
"""Messages of one conversation: a talk of a whole day has some hundred."""

_MAY_BE_SILENT = frozenset({"assistant", "tool"})
"""Roles of messages without a content: a tool may have done something, and have nothing to say."""

_WRAPPING_LEVELS = 8
"""How much deeper than in the body a value may lie in the body of another dialect."""


class Fields:
    """The fields of one JSON object, taken one by one. What remains are the unknown ones.

    A field that is null counts as left out. All methods raise
    :class:`firsttoken.wire.dialect.RequestError` that names the field.
    """

    def __init__(self, values: dict[str, Any], where: str = "") -> None:
        self._values = dict(values)
        self._where = where

    def _take(self, name: str) -> Any:
        return self._values.pop(name, None)

    def _wrong(self, name: str, expected: str, value: object) -> RequestError:
        return RequestError(f"{self._where}{name}: expected {expected}, got {kind(value)}")

    def text(self, name: str) -> str | None:
        """Take a string."""
        value = self._take(name)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(name, "a string", value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Take a boolean."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self._wrong(name, "true or false", value)

    def number(self, name: str, low: float, high: float) -> float | None:
        """Take a number within ``low`` and ``high``, both included."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        if not low <= value <= high:
            raise RequestError(f"{self._where}{name}: {value} is not within {low:g} and {high:g}")
        return float(value)

    def integer(self, name: str) -> int | None:
        """Take a whole number."""
        value = self._take(name)
        if value is None or type(value) is int:
            return value
        raise self._wrong(name, "a whole number", value)

    def token_limit(self, name: str) -> int | None:
        """Take a number of tokens: at least 1; a negative one means "no limit", which is None."""
        value = self.integer(name)
        if value == 0:
            raise RequestError(f"{self._where}{name}: expected at least 1 (or -1 for no limit)")
        return None if value is None or value < 0 else value

    def texts(self, name: str) -> list[str]:
        """Take a string or a list of strings."""
        value = self._take(name)
        if value is None:
            return []
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a string or a list of strings", value)
        return value

    def object(self, name: str) -> Fields:
        """Take an object; one that is left out is empty."""
        value = self._take(name)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(name, "an object", value)
        return Fields(value or {}, f"{self._where}{name}.")

    def objects(self, name: str) -> list[dict[str, Any]]:
        """Take a list of objects; one that is left out is empty."""
        value = self._take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, "a list of objects", value)
        for number, item in enumerate(value):
            if not isinstance(item, dict):
                raise self._wrong(f"{name}[{number}]", "an object", item)
        return value

    def messages(self, name: str) -> list[dict[str, Any]]:
        """Take a conversation: objects with a known role. Their content is not looked at."""
        messages = self.objects(name)
        where = f"{self._where}{name}"
        if len(messages) > MAX_MESSAGES:
            raise RequestError(f"{where}: {len(messages)} messages; at most {MAX_MESSAGES} allowed")
        for number, message in enumerate(messages):
            role = message.get("role")
            if not isinstance(role, str) or role not in ROLES:
                shown = repr(role[:40]) if isinstance(role, str) else kind(role)
                raise RequestError(
                    f"{where}[{number}].role: {shown} is none of {', '.join(sorted(ROLES))}"
                )
        return messages

    def put_back(self, name: str, inner: Fields) -> None:
        """Put back what of an object was not taken, where there is something."""
        if inner.rest():
            self._values[name] = inner.rest()

    def rest(self) -> dict[str, Any]:
        """Return the fields that were not taken."""
        return self._values


def load_body(body: bytes) -> Fields:
    """Read a request body.

    Raises:
        RequestError: it is not JSON, not an object, or nested too deep to be sent on.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    if not isinstance(value, dict):
        raise RequestError(f"the body: expected a JSON object, got {kind(value)}")
    nested: object = value
    for _ in range(_WRAPPING_LEVELS):
        nested = [nested]
    try:
        orjson.dumps(nested)
    except TypeError as error:
        raise RequestError("the body is nested too deep: at most about 240 levels") from error
    return Fields(value)


def check_content(messages: list[dict[str, Any]], where: str) -> None:
    """Check OpenAI-shaped contents: a string, a list of parts, or, of an assistant or a tool, none.

    Raises:
        RequestError: a content is something else.
    """
    for number, message in enumerate(messages):
        content = message.get("content")
        place = f"{where}[{number}].content"
        if isinstance(content, str) or (content is None and message["role"] in _MAY_BE_SILENT):
            continue
        if content is None:
            raise RequestError(f"{place}: missing; only an assistant or a tool may leave it out")
        if not isinstance(content, list):
            raise RequestError(
                f"{place}: expected a string or a list of parts, got {kind(content)}"
            )
        for index, part in enumerate(content):
            _check_part(part, f"{place}[{index}]")


def _check_part(part: object, where: str) -> None:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise RequestError(f"{where}: expected an object with a type, got {kind(part)}")
    if part["type"] == "text" and not isinstance(part.get("text"), str):
        raise RequestError(f"{where}.text: expected a string, got {kind(part.get('text'))}")


def check_tool_calls(messages: list[dict[str, Any]], where: str) -> None:
    """Check that ``tool_calls`` of messages are lists of objects with a function, and that the ids
    of calls and of their answers are plain values.

    Raises:
        RequestError: one is not.
    """
    for number, message in enumerate(messages):
        _check_id(message.get("tool_call_id"), f"{where}[{number}].tool_call_id")
        place = f"{where}[{number}].tool_calls"
        calls = message.get("tool_calls")
        if calls is None:
            continue
        if not isinstance(calls, list):
            raise RequestError(f"{place}: expected a list of objects, got {kind(calls)}")
        for index, call in enumerate(calls):
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise RequestError(f"{place}[{index}].function: expected an object with a name")
            _check_id(call.get("id"), f"{place}[{index}].id")


def _check_id(value: object, place: str) -> None:
    # A number, or none, is wrong as well, yet some servers take it: they are left to judge it.
    if isinstance(value, list | dict):
        raise RequestError(f"{place}: expected a string, got {kind(value)}")


def text_of(content: object) -> str | None:
    """Return the text of an OpenAI-shaped content; None where a part of it is not text."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else []
    if any(part.get("type") != "text" for part in parts):
        return None
    return "".join(part["text"] for part in parts)


def json_headers(*, stream: bool, media_type: str, api_key: str | None) -> dict[str, str]:
    """Return the headers of a call. A compressed stream would hold tokens back in the
    compressor, so none is accepted."""
    headers = {
        "content-type": "application/json",
        "accept": media_type if stream else "application/json",
        "accept-encoding": "identity",
    }
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    return headers
