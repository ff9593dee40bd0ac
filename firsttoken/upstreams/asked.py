"""What a request body asks of a server, read from the three dialects.

Only what the servers here act on is read, and only what they cannot act on is refused: they stand
in for servers of others, whose strictness is not ours to copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from firsttoken.upstreams.replies import pieces

MAX_TOKENS = 100_000
MAX_MODEL_NAME = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, whatever its dialect."""

    model: str
    stream: bool
    max_tokens: int | None
    include_usage: bool = False
    """OpenAI: whether the stream shall end with a usage frame."""
    incremental: bool = True
    """Whether a frame carries the text since the one before (else all text so far)."""
    as_message: bool = True
    """DashScope: ``result_format: message`` (else plain ``output.text``)."""
    prompt_tokens: int = 0
    """Size of all text sent, in pieces about the size of a token."""
    last_user: str = ""
    """The last user message."""


def read_openai(body: bytes) -> Asked:
    """Read ``/v1/chat/completions``. Raises ValueError, whose message names the field."""
    value = _object(body)
    stream_options = value.get("stream_options")
    prompt, last_user = _texts(value.get("messages"), "messages")
    return Asked(
        model=_model(value),
        stream=_flag(value, "stream", default=False),
        max_tokens=_tokens(value, "max_completion_tokens") or _tokens(value, "max_tokens"),
        include_usage=isinstance(stream_options, dict)
        and _flag(stream_options, "include_usage", default=False),
        prompt_tokens=len(pieces(prompt)),
        last_user=last_user,
    )


def read_ollama(body: bytes) -> Asked:
    """Read Ollama's two calls. Raises ValueError, whose message names the field."""
    value = _object(body)
    ollama_options = value.get("options")
    if "prompt" in value or "messages" not in value:
        prompt = last_user = _text_of(value.get("prompt", ""))
    else:
        prompt, last_user = _texts(value["messages"] or [{"role": "user"}], "messages")
    return Asked(
        model=_model(value),
        stream=_flag(value, "stream", default=True),
        max_tokens=_tokens(ollama_options, "num_predict")
        if isinstance(ollama_options, dict)
        else None,
        prompt_tokens=len(pieces(prompt)),
        last_user=last_user,
    )


def read_dashscope(body: bytes, *, stream: bool) -> Asked:
    """Read DashScope's native call; ``stream`` is what its headers said.

    Raises ValueError, whose message names the field.
    """
    value = _object(body)
    given = value.get("input")
    parameters = value.get("parameters") or {}
    if not isinstance(given, dict):
        raise ValueError("input: expected an object with messages or prompt")  # noqa: TRY004
    if not isinstance(parameters, dict):
        raise ValueError("parameters: expected an object")  # noqa: TRY004
    if "messages" in given:
        prompt, last_user = _texts(given["messages"], "input.messages")
    else:
        prompt = last_user = _text_of(given.get("prompt"))
        if not prompt:
            raise ValueError("input: expected messages or prompt")
    return Asked(
        model=_model(value),
        stream=stream,
        max_tokens=_tokens(parameters, "max_tokens"),
        incremental=_flag(parameters, "incremental_output", default=False),
        as_message=parameters.get("result_format") == "message",
        prompt_tokens=len(pieces(prompt)),
        last_user=last_user,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError("the body is not JSON") from error
    if not isinstance(value, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - one kind of refusal
    return value


def _model(value: dict[str, Any]) -> str:
    model = value.get("model")
    if not isinstance(model, str) or not 1 <= len(model) <= MAX_MODEL_NAME:
        raise ValueError(f"model: expected a name of at most {MAX_MODEL_NAME} characters")
    return model


def _flag(value: dict[str, Any], name: str, *, default: bool) -> bool:
    flag = value.get(name)
    if flag is None:
        return default
    if not isinstance(flag, bool):
        raise ValueError(f"{name}: expected true or false")  # noqa: TRY004
    return flag


def _tokens(value: dict[str, Any], name: str) -> int | None:
    """Return a limit of tokens; None where it is absent or, as Ollama has it, negative."""
    count = value.get(name)
    if count is None or (name == "num_predict" and isinstance(count, int) and count < 0):
        return None
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_TOKENS:
        raise ValueError(f"{name}: expected a whole number from 1 to {MAX_TOKENS}")
    return count


def _texts(messages: Any, name: str) -> tuple[str, str]:
    """Return all text of ``messages``, and that of the last user message."""
    if not isinstance(messages, list) or not messages:
        raise ValueError(f"{name}: expected a list with at least one message")
    if not all(isinstance(message, dict) for message in messages):
        raise ValueError(f"{name}: expected objects with role and content")
    texts = [(message.get("role"), _text_of(message.get("content"))) for message in messages]
    last_user = next((text for role, text in reversed(texts) if role == "user"), "")
    return "\n".join(text for _, text in texts), last_user


def _text_of(content: Any) -> str:
    """Return the text of a content: a string, or a list of parts of which some have text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""
