"""What a server's error says: its type, its text, its status, whatever the dialect.

Error bodies are much alike: OpenAI's ``{"error": {"message", "type", "code"}}``, Ollama's
``{"error": "text"}``, vLLM's ``{"object": "error", "message"}``, DashScope's ``{"code",
"message"}``; so all dialects read them here.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from firsttoken.core.words import ErrorType
from firsttoken.wire.events import Failure
from firsttoken.wire.values import printable

MAX_MESSAGE = 500
"""Characters of an error message that are kept."""

_SECRET = re.compile(r"(\bsk-|\bBearer\s+)[\w.~+/=-]{12,}", re.IGNORECASE)
_OWN = {item.value: item for item in ErrorType}

_OVERFLOW_NAMES = ("exceed_context_size", "context_length_exceeded")
_OVERFLOW_MESSAGES = (
    "context size has been exceeded",
    "exceeds the available context size",
    "context length",
    "maximum context",
    "context window",
    "range of input length",
)
_NAMES: tuple[tuple[ErrorType, tuple[str, ...]], ...] = (
    (ErrorType.RATE_LIMITED, ("throttling", "rate_limit", "ratelimit", "quota")),
    (
        ErrorType.AUTH,
        ("invalid_api_key", "invalidapikey", "authentication", "accessdenied", "arrearage"),
    ),
    (
        ErrorType.HTTP_5XX,
        ("overloaded", "unavailable", "server_error", "servererror", "internalerror"),
    ),
    (ErrorType.HTTP_4XX, ("invalid_request", "invalidparameter", "datainspectionfailed")),
)
"""What the names say that servers give their errors (lower case), where no status says it."""


def error_type_of_status(status: int) -> ErrorType:
    """Return the error type of an HTTP status that is not a success."""
    if status == 429:
        return ErrorType.RATE_LIMITED
    if status in {401, 403}:
        return ErrorType.AUTH
    if 400 <= status < 500:
        return ErrorType.HTTP_4XX
    return ErrorType.HTTP_5XX if 500 <= status < 600 else ErrorType.PROTOCOL


def error_type(status: int, body: bytes) -> ErrorType:
    """Return the error type of an HTTP error reply: its status, unless the body is more precise
    (a prompt that is too long comes with 400, a spent quota too)."""
    return failure(_load(body), 0, status).error_type


def describe(body: bytes) -> str:
    """Return what an HTTP error body says: one line, at most 500 characters, keys masked."""
    return _message(_load(body))


def failure(payload: object, t_ns: int, status: int | None = None) -> Failure:
    """Return the failure that ``payload`` reports.

    Args:
        payload: an error as JSON value (an object that is the error or holds it under ``error``),
            or its text.
        t_ns: stamp of the read.
        status: the HTTP status beside the payload; None lets the payload's own one count.
    """
    details = _details(payload)
    message = _message(payload)
    if status is None:
        status = _status_in(details)
    names = f"{details.get('type')} {details.get('code')}".lower()
    return Failure(t_ns, _classify(details, names, message.lower(), status), message, status)


def openai_error(message: str, kind: str, status: int | None) -> dict[str, Any]:
    """Return an error as OpenAI writes it; ``code`` holds the HTTP status where one is known."""
    error = {"message": printable(message), "type": str(kind), "param": None, "code": status}
    return {"error": error}


def ollama_error(message: str, kind: str, status: int | None) -> dict[str, Any]:
    """Return an error as Ollama writes it. Beyond its text, ``error_type`` and ``status_code``
    are ours, so that the cause survives."""
    error: dict[str, Any] = {"error": printable(message), "error_type": str(kind)}
    return error if status is None else {**error, "status_code": status}


def dashscope_error(message: str, kind: str, request_id: str) -> dict[str, Any]:
    """Return an error as DashScope writes it."""
    return {"code": str(kind), "message": printable(message), "request_id": request_id}


def _classify(details: dict[str, Any], names: str, message: str, status: int | None) -> ErrorType:
    for key in ("error_type", "type", "code"):
        if isinstance(own := details.get(key), str) and own in _OWN:
            return _OWN[own]
    if any(name in names for name in _OVERFLOW_NAMES) or any(
        words in message for words in _OVERFLOW_MESSAGES
    ):
        return ErrorType.CONTEXT_OVERFLOW
    precise = status is not None and status != 400
    if not precise:
        for found, parts in _NAMES:
            if any(part in names for part in parts):
                return found
    return ErrorType.PROTOCOL if status is None else error_type_of_status(status)


def _load(body: bytes) -> object:
    """Return the body as JSON value, or as text where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[: 8 * MAX_MESSAGE].decode("utf-8", "replace")


def _details(payload: object) -> dict[str, Any]:
    """Return the object with ``type`` and ``code``."""
    if not isinstance(payload, dict):
        return {}
    inner = payload.get("error")
    return {**payload, **inner} if isinstance(inner, dict) else payload


def _message(payload: object) -> str:
    """Return the error's text on one line."""
    details = _details(payload)
    found = payload if isinstance(payload, str) else ""
    for key in ("message", "error", "detail", "msg", "code"):
        if isinstance(value := details.get(key), str) and value:
            found = value
            break
    # What is cut off may be long: only what can be kept is worked on.
    line = " ".join(found[: 8 * MAX_MESSAGE].split()) or "the server named no reason"
    return _SECRET.sub(r"\1***", line)[:MAX_MESSAGE]


def _status_in(details: dict[str, Any]) -> int | None:
    """Return the HTTP status that the error names."""
    for key in ("code", "status_code", "status"):
        value = details.get(key)
        if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
            value = int(value)
        if type(value) is int and 400 <= value <= 599:
            return value
    return None
