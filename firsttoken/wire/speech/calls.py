"""What a talking device's server wants with one request, told by marks in its body.

A voice server such as xiaozhi-esp32-server sends everything to one endpoint and names neither the
device nor the purpose. The marks are those of its request bodies: names of tools, shapes of
messages, and the short phrases that only its prompts have. Every search is bounded, whatever the
size of the body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from firsttoken.core.words import ANSWER_TOOL, EXIT_TOOL, CallClass
from firsttoken.wire.dialect import ChatRequest

HEAD_CHARS = 8192
"""Characters of the system prompt that are searched."""

OPENING_CHARS = 512
"""Characters at the beginning of a prompt in which it says what it is for."""

MOST_TOOLS = 128
"""Tools that are looked at, the last ones first: the virtual one is appended."""

FEW_SHOT_MESSAGES = 10
"""Messages after the system prompt among which the example conversation is looked for."""

EXAMPLE_TOOLS = frozenset({ANSWER_TOOL, EXIT_TOOL})
"""Tools that the example conversation at the beginning of a dialogue calls."""


class _Mark(NamedTuple):
    """What a system prompt of one purpose holds."""

    opening: str
    """In its first :data:`OPENING_CHARS` characters."""
    further: tuple[str, ...]
    """At least one of them in its first :data:`HEAD_CHARS`; none: the opening tells enough."""
    call: CallClass


SYSTEM_MARKS: tuple[_Mark, ...] = (
    _Mark("时空记忆编织者", (), CallClass.SUMMARY),
    _Mark("经验丰富的记忆总结者", (), CallClass.SUMMARY),
    # Other programs, too, tell a model that it recognises intents.
    _Mark("意图识别助手", (EXIT_TOOL, "continue_chat", "function_call"), CallClass.INTENT),
    _Mark("intent recognition assistant", (EXIT_TOOL, "continue_chat"), CallClass.INTENT),
)
"""Purposes that a system prompt tells."""

TEMPLATE_TAGS = ("<tts_format_constraints>", "<speaker_recognition>", "<output_language_directive>")
"""Tags of the prompt template of a talking device: one is enough."""


MOST_TOKENS: dict[CallClass, int] = {CallClass.INTENT: 128}
"""Tokens that the answer to a call may have at most; other classes as many as were asked for."""


class _Said(NamedTuple):
    """How the last user message of one purpose begins."""

    beginning: str
    further: tuple[str, ...]
    """All of them within its first :data:`OPENING_CHARS` characters; none: the beginning tells
    enough."""
    call: CallClass


USER_MARKS: tuple[_Said, ...] = (
    # The last word of the three, a slip of the pen for "beginning", is nobody else's.
    _Said("请你以", ("时间过得真快", "未来头"), CallClass.GOODBYE),
    _Said("[系统提示] 已达到最大工具调用次数限制", (), CallClass.AFTER_TOOL),
    _Said("请根据以上内容，像人类一样说话的口吻回复用户", (), CallClass.AFTER_TOOL),
)
"""Purposes that the last message tells, where it is the user's."""


def classify(request: ChatRequest) -> CallClass:
    """Return what a talking device's server wants with ``request``.

    Of a request that :func:`is_voice` does not know it tells no more than its shape does: a last
    message of role ``tool`` is :attr:`~CallClass.AFTER_TOOL`, the rest ``OTHER``.
    """
    marked = _marked(request)
    if marked is not None:
        return marked
    messages = request.messages
    if messages and messages[-1].get("role") == "tool":
        # An interrupted tool call is answered at the end of the list, after what was said next;
        # a tool to speak through is offered only where nothing was called yet.
        return CallClass.CHAT if _has_tool(request.tools, ANSWER_TOOL) else CallClass.AFTER_TOOL
    return CallClass.CHAT if _talks(request) else CallClass.OTHER


def is_voice(request: ChatRequest) -> bool:
    """Tell whether a talking device's server sent ``request``, as far as its body shows it.

    A server whose prompts are all of its users' own writing, and which offers no tools, shows
    nothing.
    """
    return _talks(request) or _marked(request) is not None


def capped(request: ChatRequest, call: CallClass) -> ChatRequest:
    """Return ``request`` with no more tokens asked for than the answer to such a call needs."""
    most = MOST_TOKENS.get(call)
    if most is None or (request.max_tokens is not None and request.max_tokens <= most):
        return request
    return replace(request, max_tokens=most)


def few_shot_end(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the index after the example conversation; where there is none, 0.

    It is known by its shape, not by its words: right after the system prompt a user message, then
    an assistant message that calls ``direct_answer`` or ``handle_exit_intent``, then the tool's
    answer, and perhaps a closing assistant message; once or several times. What a person has said
    looks the same where it alone stands there: a conversation that begins with a goodbye. So the
    first round must be one of ``direct_answer``, which a real dialogue does not keep.
    """
    place = 1 if messages and messages[0].get("role") in _SYSTEM_ROLES else 0
    if _example_tool(messages, place) != ANSWER_TOOL:
        return 0
    while _example_tool(messages, place) is not None:
        exits = _example_tool(messages, place) == EXIT_TOOL
        place += 3
        if exits:
            if place < len(messages) and messages[place].get("role") == "assistant":
                place += 1
            break
    return place


_SYSTEM_ROLES = frozenset({"system", "developer"})


def _marked(request: ChatRequest) -> CallClass | None:
    """Return the purpose that a prompt tells in words."""
    messages = request.messages
    if not messages:
        return None
    last = messages[-1]
    if last.get("role") == "user":
        text = _beginning(last.get("content"))
        for beginning, further, call in USER_MARKS:
            if text.startswith(beginning) and all(
                text.find(each, 0, OPENING_CHARS) >= 0 for each in further
            ):
                return call
    if request.tools or messages[0].get("role") not in _SYSTEM_ROLES:
        return None  # those that are known by their system prompt offer no tools
    text = _beginning(messages[0].get("content"))
    for opening, others, call in SYSTEM_MARKS:
        if text.find(opening, 0, OPENING_CHARS) >= 0 and (
            not others or any(text.find(other, 0, HEAD_CHARS) >= 0 for other in others)
        ):
            return call
    return None


def _talks(request: ChatRequest) -> bool:
    """Tell whether it is a turn of a conversation with a talking device."""
    messages, tools = request.messages, request.tools
    if _has_tool(tools, ANSWER_TOOL, "response") or _has_tool(tools, EXIT_TOOL, "say_goodbye"):
        return True
    if few_shot_end(messages):
        return True
    if not messages or messages[0].get("role") not in _SYSTEM_ROLES:
        return False
    text = _beginning(messages[0].get("content"))
    return any(text.find(tag, 0, HEAD_CHARS) >= 0 for tag in TEMPLATE_TAGS)


def _has_tool(tools: Sequence[Any], name: str, parameter: str | None = None) -> bool:
    """Tell whether a tool of this name, and with this parameter, is offered."""
    for tool in islice(reversed(tools), MOST_TOOLS):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping) and function.get("name") == name:
            return parameter is None or parameter in _properties(function)
    return False


def _properties(function: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _example_tool(messages: Sequence[Mapping[str, Any]], place: int) -> str | None:
    """Return the tool of the example round that begins at ``place``, if one does."""
    if place + 2 >= len(messages) or place > FEW_SHOT_MESSAGES:
        return None
    roles = [messages[place + step].get("role") for step in range(3)]
    if roles != ["user", "assistant", "tool"]:
        return None
    calls = messages[place + 1].get("tool_calls")
    call = calls[0] if isinstance(calls, list) and len(calls) == 1 else None
    function = call.get("function") if isinstance(call, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) and name in EXAMPLE_TOOLS else None


def _beginning(content: object) -> str:
    """Return a content's text, or that of its first part."""
    if isinstance(content, list) and content and isinstance(content[0], Mapping):
        content = content[0].get("text")
    return content if isinstance(content, str) else ""
