"""Conversations in Ollama's shape: to and from OpenAI-shaped messages."""

from __future__ import annotations

from typing import Any

import orjson

from firsttoken.wire.dialect import RequestError
from firsttoken.wire.requests import check_content, check_tool_calls, text_of
from firsttoken.wire.values import dump, kind

_DATA_URL = ";base64,"


def to_ollama(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return OpenAI-shaped messages in Ollama's shape.

    Content becomes one string and images a list of base64 texts; the arguments of a tool call
    become an object; ``developer`` becomes ``system``.

    Raises:
        RequestError: a message holds what Ollama cannot take, such as an image at a URL.
    """
    return [_message_to(message, f"messages[{n}]") for n, message in enumerate(messages)]


def _message_to(message: dict[str, Any], where: str) -> dict[str, Any]:
    role = "system" if message["role"] == "developer" else message["role"]
    text, images = split_content(message.get("content"), where)
    written: dict[str, Any] = {"role": role, "content": text}
    if images:
        written["images"] = images
    if message.get("tool_calls"):
        written["tool_calls"] = [
            _call_to(call, f"{where}.tool_calls[{number}]")
            for number, call in enumerate(message["tool_calls"])
        ]
    if isinstance(thinking := message.get("reasoning_content"), str) and thinking:
        written["thinking"] = thinking
    if role == "tool":
        names = {"tool_name": message.get("name"), "tool_call_id": message.get("tool_call_id")}
        written |= {key: value for key, value in names.items() if isinstance(value, str)}
    return written


def split_content(content: object, where: str) -> tuple[str, list[str]]:
    """Return the text of an OpenAI-shaped content, and its images as base64.

    Raises:
        RequestError: a part is neither text nor an image in a ``data:`` URL.
    """
    text = text_of(content)
    if text is not None:
        return text, []
    texts: list[str] = []
    images: list[str] = []
    for number, part in enumerate(content if isinstance(content, list) else []):
        if part["type"] == "text":
            texts.append(part["text"])
            continue
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if not isinstance(url, str) or not url.startswith("data:") or _DATA_URL not in url:
            raise RequestError(
                f"{where}.content[{number}]: Ollama takes text and images in data: URLs only"
            )
        images.append(url.split(_DATA_URL, 1)[1])
    return "".join(texts), images


def _call_to(call: dict[str, Any], where: str) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments or "{}")
        except orjson.JSONDecodeError:
            arguments = None
    if arguments is not None and not isinstance(arguments, dict):
        arguments = None
    if arguments is None and function.get("arguments"):
        raise RequestError(f"{where}.function.arguments: expected a JSON object as text")
    written: dict[str, Any] = {"function": {"name": function["name"], "arguments": arguments or {}}}
    if isinstance(call.get("id"), str):
        written["id"] = call["id"]
    return written


def from_ollama(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Ollama's messages in OpenAI's shape: the way back of :func:`to_ollama`.

    Raises:
        RequestError: a field has the wrong type.
    """
    check_tool_calls(messages, "messages")
    found = [_message_from(message, f"messages[{n}]") for n, message in enumerate(messages)]
    check_content(found, "messages")
    return found


def _message_from(message: dict[str, Any], where: str) -> dict[str, Any]:
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise RequestError(f"{where}.content: expected a string, got {kind(content)}")
    found: dict[str, Any] = {
        "role": message["role"],
        "content": with_images(content or "", message.get("images"), where),
    }
    if message.get("tool_calls"):
        found["tool_calls"] = [
            _call_from(call, number) for number, call in enumerate(message["tool_calls"])
        ]
    renamed = {
        "reasoning_content": message.get("thinking"),
        "name": message.get("tool_name"),
        "tool_call_id": message.get("tool_call_id"),
    }
    return found | {key: value for key, value in renamed.items() if isinstance(value, str)}


def with_images(text: str, images: object, where: str) -> str | list[dict[str, Any]]:
    """Return text and Ollama's ``images`` as an OpenAI-shaped content.

    Raises:
        RequestError: ``images`` is no list of strings.
    """
    if images is None or images == []:
        return text
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise RequestError(f"{where}.images: expected a list of base64 texts")
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for image in images:
        url = f"data:image/png{_DATA_URL}{image}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _call_from(call: dict[str, Any], number: int) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else dump(arguments or {}).decode()
    call_id = call.get("id")
    return {
        "id": call_id if isinstance(call_id, str) and call_id else f"call_{number}",
        "type": "function",
        "function": {"name": function["name"], "arguments": text},
    }
