"""How each upstream is told to answer without thinking first.

A voice server knows its upstreams by their addresses, and asks those that think to leave it. Behind
a router it sees the router's address only, so that what it would have added has to be added here.
Each upstream takes another field, and strict ones answer 400 to a field that they do not know:
so a field goes only where it is known to be understood, or to be ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Tier


class _Way(NamedTuple):
    """What some upstreams are told."""

    hosts: tuple[str, ...]
    """Each stands for itself and for the names below it."""
    fields: Mapping[str, Any]


_DISABLED: Mapping[str, Any] = {"thinking": {"type": "disabled"}}

HOSTS: tuple[_Way, ...] = (
    _Way(("aliyuncs.com",), {"enable_thinking": False}),
    _Way(
        ("deepseek.com", "bigmodel.cn", "z.ai", "moonshot.cn", "moonshot.ai", "volces.com"),
        _DISABLED,
    ),
)

LOCAL_DIALECTS: Mapping[str, Mapping[str, Any]] = {
    # Ollama looks at what the model can only where it is to think.
    "ollama": {"think": False},
    # llama.cpp, vLLM and SGLang hand it to the model's template, which may not know it.
    "openai": {"chat_template_kwargs": {"enable_thinking": False}},
}
"""What a local backend of each dialect is told."""

OWN_FIELDS = frozenset(
    {"enable_thinking", "thinking", "think", "thinking_budget", "reasoning", "reasoning_effort"}
)
"""A client that sent one of them has said what it wants."""

_ALWAYS_THINKS = re.compile(r"thinking|reasoner|qwq|qvq|(?:^|[^a-z0-9])r1(?:$|[^a-z0-9])")
"""In the names of models that cannot leave it: to be told so is an error to them."""


def without_thinking(
    extra: Mapping[str, Any], backend: Backend, dialect: str | None
) -> Mapping[str, Any]:
    """Return the further fields of a request, with what keeps ``backend`` from thinking.

    ``dialect`` is the one in which it is asked. A client's own value stays.
    """
    fields = _fields(backend, dialect)
    if not fields or not OWN_FIELDS.isdisjoint(extra):
        return extra
    if _ALWAYS_THINKS.search(backend.model.lower()):
        return extra
    if "chat_template_kwargs" not in extra:
        return {**extra, **fields}
    given = extra["chat_template_kwargs"]
    if not isinstance(given, Mapping):
        return extra
    ours = fields.get("chat_template_kwargs")
    return {**extra, **fields} | {"chat_template_kwargs": {**ours, **given} if ours else given}


def _fields(backend: Backend, dialect: str | None) -> Mapping[str, Any]:
    host = urlsplit(backend.base_url).hostname or ""
    for way in HOSTS:
        if any(host == known or host.endswith(f".{known}") for known in way.hosts):
            return way.fields
    if backend.tier is not Tier.LOCAL:
        return {}
    return LOCAL_DIALECTS.get(dialect or "", {})
