"""Prompts of local backends without the detour through a tool that only speaks.

A voice server may teach the model to answer through a virtual tool. An engine that gives a tool
call only when it is whole would then speak only when it has ended. So a local backend is not told
of that tool, nor of the example conversation that teaches it, and answers in plain text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from firsttoken.core.words import ANSWER_TOOL
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.speech.calls import few_shot_end
from router.voice.messages import joined

Message = dict[str, Any]

TOOL_FIELDS = frozenset({"tool_choice", "parallel_tool_calls"})
"""Fields of a body that need tools beside them."""


def unwrapped(request: ChatRequest) -> ChatRequest:
    """Return ``request`` without the tool that only speaks, and without its example conversation.

    What was said through that tool in the rest of the conversation becomes plain text; calls and
    answers of other tools stay.
    """
    messages = _as_text(without_few_shot(request.messages))
    tools = [tool for tool in request.tools if _name(tool) != ANSWER_TOOL]
    if len(tools) == len(request.tools):
        if messages is request.messages:
            return request
        return replace(request, messages=messages)
    chosen = request.extra.get("tool_choice")
    named = isinstance(chosen, Mapping) and _name(chosen) == ANSWER_TOOL
    extra = without_tool_fields(request.extra) if named or not tools else request.extra
    return replace(request, messages=messages, tools=tools, extra=extra)


def without_few_shot(messages: list[Message]) -> list[Message]:
    """Return ``messages`` without the example conversation; the same list where there is none, or
    nothing behind it."""
    end = few_shot_end(messages)
    if end == 0 or end >= len(messages):
        return messages
    head = 1 if messages[0]["role"] in {"system", "developer"} else 0
    return [*messages[:head], *messages[end:]]


def without_tools(messages: list[Message]) -> list[Message]:
    """Return ``messages`` for a model that knows of no tools: what tools said becomes the user's
    text."""
    if not any(message["role"] == "tool" or message.get("tool_calls") for message in messages):
        return messages
    names: dict[object, str] = {}
    found: list[Message] = []
    for message in messages:
        if message["role"] == "tool":
            content = message.get("content")
            told = content if isinstance(content, str) else ""
            name = names.get(message.get("tool_call_id"), "")
            if told and name != ANSWER_TOOL:
                found.append({"role": "user", "content": f"({name}: {told})" if name else told})
        elif message.get("tool_calls"):
            names |= {call.get("id"): _name(call) for call in message["tool_calls"]}
            found.append(_spoken(message, keep=False))
        else:
            found.append(message)
    return joined(found)


def without_tool_fields(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the further fields of a body that has no tools."""
    return {name: value for name, value in extra.items() if name not in TOOL_FIELDS}


def _as_text(messages: list[Message]) -> list[Message]:
    """Return ``messages`` with what was said through the tool as plain text."""
    through = {
        call.get("id")
        for message in messages
        for call in message.get("tool_calls") or ()
        if _name(call) == ANSWER_TOOL
    }
    if not through:
        return messages
    return joined(
        [
            _spoken(message, keep=True) if message.get("tool_calls") else message
            for message in messages
            if message["role"] != "tool" or message.get("tool_call_id") not in through
        ]
    )


def _spoken(message: Message, *, keep: bool) -> Message:
    """Return an assistant's message with what it said through the tool as its text; with ``keep``,
    and with its other calls."""
    calls = message["tool_calls"]
    others = [call for call in calls if keep and _name(call) != ANSWER_TOOL]
    texts = [message.get("content") or "", *map(_response, calls)]
    text = "\n".join(each for each in texts if isinstance(each, str) and each)
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**kept, "content": text, **({"tool_calls": others} if others else {})}


def _response(call: Mapping[str, Any]) -> str:
    """Return what a call of the tool says; empty for another tool's."""
    if _name(call) != ANSWER_TOOL:
        return ""
    try:
        arguments = orjson.loads(call["function"].get("arguments") or "{}")
    except orjson.JSONDecodeError:
        return ""
    said = arguments.get("response") if isinstance(arguments, dict) else None
    return said if isinstance(said, str) else ""


def _name(tool: Mapping[str, Any]) -> str:
    """Return the name of a tool, or of the one that a call calls."""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""
