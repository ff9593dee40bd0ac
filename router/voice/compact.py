"""A shorter prompt for local backends, by rules in the settings."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import re2

from firsttoken.core.settings.voice import Compact
from firsttoken.wire.dialect import ChatRequest
from router.voice.unwrap import without_few_shot, without_tool_fields, without_tools

_KEPT_CHARS = 65_536
"""Of one text at most, to be kept with what is left of it."""


def compacted(request: ChatRequest, rules: Compact) -> ChatRequest:
    """Return ``request`` with what ``rules`` leave of its prompt."""
    messages = request.messages
    if rules.drop_few_shot:
        messages = without_few_shot(messages)
    if rules.remove:
        messages = [
            {**message, "content": _left(message["content"], rules.remove)}
            if message["role"] in {"system", "developer"} and isinstance(message["content"], str)
            else message
            for message in messages
        ]
    if not rules.drop_tools:
        return replace(request, messages=messages)
    extra = without_tool_fields(request.extra)
    return replace(request, messages=without_tools(messages), tools=[], extra=extra)


def _left(text: str, patterns: tuple[str, ...]) -> str:
    removed = _removed if len(text) <= _KEPT_CHARS else _removed.__wrapped__
    return removed(text, patterns)


@lru_cache(64)
def _removed(text: str, patterns: tuple[str, ...]) -> str:
    for pattern in patterns:
        text = _compiled(pattern).sub("", text)
    return text.strip()


@lru_cache(256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
