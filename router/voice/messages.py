"""Conversations made fit for strict upstreams.

A voice server keeps what happened: turns that were interrupted, tools that were called and never
answered, answers of tools that stand elsewhere than beside their call. Some upstreams answer 400
to any of that. What a person, a model or a tool has said stays; only its place and its wrapping
change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Message = dict[str, Any]

NO_RESULT = "(no result)"
"""The answer of a tool that never gave one."""


def repaired(messages: list[Message]) -> list[Message]:
    """Return ``messages`` such that strict upstreams accept them; the same list where they do.

    Every content is there; every tool's answer stands right behind its call, and every call has
    exactly one; calls have ids, a type, arguments in JSON and no ``index``; an answer without a
    call becomes the user's text; neighbours of one speaker are one message. Nothing is changed in
    place, and doing it twice is doing it once.
    """
    calls = {
        number: _calls(number, message["tool_calls"])
        for number, message in enumerate(messages)
        if message["role"] == "assistant" and message.get("tool_calls")
    }
    answers = _paired(messages, calls)
    found: list[Message] = []
    for number, message in enumerate(messages):
        if message["role"] != "tool":
            found.append(_whole(message, calls.get(number)))
            for place, call in enumerate(calls.get(number, ())):
                answer = answers.of.get((number, place))
                found.append(_answer(None if answer is None else messages[answer], call["id"]))
        elif number in answers.orphans and (told := _told(message)):
            found.append({"role": "user", "content": told})
    found = joined(found)
    same = len(found) == len(messages) and all(map(_is, found, messages))
    return messages if same or not found else found


def joined(messages: Sequence[Message]) -> list[Message]:
    """Return ``messages`` with neighbours of one speaker made one, and without assistants that say
    nothing."""
    found: list[Message] = []
    for message in messages:
        role, content = message["role"], message.get("content")
        if role == "assistant" and not content and not message.get("tool_calls"):
            continue
        before = found[-1] if found else None
        if before is not None and role in _JOINED and _one_speaker(before, message):
            content = _both(before.get("content"), content)
            found[-1] = {**before, **message, "content": content}
        else:
            found.append(message)
    return found


_JOINED = frozenset({"user", "assistant"})


class _Answers:
    """Which tool message answers which call."""

    def __init__(self) -> None:
        self.of: dict[tuple[int, int], int] = {}
        """The tool message, by the assistant's message and the place of the call in it."""
        self.orphans: set[int] = set()


def _paired(messages: list[Message], calls: Mapping[int, list[Message]]) -> _Answers:
    """Find the call of each tool message: the last one before it with its id, then the first one
    behind it, then one right before it that nothing else answers. A second answer is dropped."""
    answers = _Answers()
    places: dict[str, list[tuple[int, int]]] = {}
    for number, each in calls.items():
        for place, call in enumerate(each):
            places.setdefault(call["id"], []).append((number, place))
    unmatched: list[int] = []
    asker: dict[int, int] = {}
    latest = -1
    for number, message in enumerate(messages):
        if message["role"] != "tool":
            latest = number if number in calls else -1
            continue
        asker[number] = latest
        known = places.get(message.get("tool_call_id") or "")
        if known is None:
            unmatched.append(number)
            continue
        free = [place for place in known if place not in answers.of]
        if free:
            before = [place for place in free if place[0] < number]
            answers.of[before[-1] if before else free[0]] = number
    for number in unmatched:
        mine = _unanswered(messages[number], asker[number], calls, answers)
        if mine is None:
            answers.orphans.add(number)
        else:
            answers.of[mine] = number
    return answers


def _unanswered(
    message: Message, asker: int, calls: Mapping[int, list[Message]], answers: _Answers
) -> tuple[int, int] | None:
    """Return a call of the assistant right before that has no answer; of the same name at best."""
    places = [(asker, place) for place in range(len(calls.get(asker, ())))]
    free = [place for place in places if place not in answers.of]
    name = message.get("name")
    named = [place for place in free if calls[asker][place[1]]["function"]["name"] == name]
    return next(iter((*named, *free)), None)


def _calls(number: int, calls: Sequence[Message]) -> list[Message]:
    """Return the calls of message ``number``; ids that are missing, or given twice, by place: they
    are the same in the next request."""
    found: list[Message] = []
    seen: set[str] = set()
    for place, call in enumerate(calls):
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id or call_id in seen:
            call_id = f"call_{number}_{place}"
        seen.add(call_id)
        function = call["function"]
        arguments = _arguments(function.get("arguments"))
        if (
            "index" not in call
            and call.get("id") == call_id
            and call.get("type") == "function"
            and arguments is function.get("arguments")
        ):
            found.append(call)
            continue
        kept = {key: value for key, value in call.items() if key != "index"}
        called = {**function, "arguments": arguments}
        found.append({**kept, "id": call_id, "type": "function", "function": called})
    return found


def _arguments(arguments: object) -> Any:
    """Return the arguments of a call as the text of a JSON object; what broke off is none."""
    if isinstance(arguments, dict):
        return orjson.dumps(arguments).decode()
    if isinstance(arguments, str):
        try:
            if isinstance(orjson.loads(arguments), dict):
                return arguments
        except orjson.JSONDecodeError:
            return "{}"
    return "{}"


def _whole(message: Message, calls: list[Message] | None) -> Message:
    """Return a message that is no tool's with a content, and with ``calls``."""
    content = message.get("content")
    changed: Message = {}
    if content is None:
        changed["content"] = ""
    if calls is not None and not all(map(_is, calls, message["tool_calls"])):
        changed["tool_calls"] = calls
    if calls is None and "tool_calls" in message:
        message = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**message, **changed} if changed else message


def _answer(message: Message | None, call_id: str) -> Message:
    """Return the answer to a call."""
    if message is None:
        return {"role": "tool", "tool_call_id": call_id, "content": NO_RESULT}
    if message.get("tool_call_id") == call_id and message.get("content") is not None:
        return message
    return {**message, "tool_call_id": call_id, "content": message.get("content") or ""}


def _told(message: Message) -> str:
    """Return what a tool said that nobody called."""
    content = message.get("content")
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        content = "".join(text for text in texts if isinstance(text, str))
    name = message.get("name")
    shown = f"{name}: " if isinstance(name, str) and name else ""
    return f"({shown}{content})" if content else ""


def _one_speaker(before: Message, message: Message) -> bool:
    return bool(
        before["role"] == message["role"]
        and not before.get("tool_calls")
        and before.get("name") == message.get("name")
    )


def _both(first: object, second: object) -> object:
    """Return two contents as one; each stays as it was written."""
    if not first or not second:
        return second or first or ""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: object) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _is(one: object, other: object) -> bool:
    return one is other
