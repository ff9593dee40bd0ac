"""Requests as a voice server sends them, made from the project's own texts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson

import loadtests
from firsttoken.core.settings.backend import Backend
from firsttoken.core.voice_texts import read_voice_texts
from firsttoken.core.words import Tier
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest

TEXTS = read_voice_texts(Path(loadtests.__file__).with_name("corpora"))
PERSONA = TEXTS.personas[0]
FEW_SHOT = [dict(message) for message in TEXTS.few_shot(PERSONA)]

LOCAL = Backend("local", Tier.LOCAL, "http://127.0.0.1:1", "openai", "small")
REMOTE = Backend("cloud", Tier.REMOTE, "http://127.0.0.1:2", "openai", "large")


def body(
    *history: dict[str, Any], clock: str = "10:32", shuffled: int | None = None
) -> ChatRequest:
    """Return a request of the default mode, read from its bytes."""
    tools = list(TEXTS.tools)
    if shuffled is not None:
        random.Random(shuffled).shuffle(tools)  # noqa: S311 - not a secret
    system = {"role": "system", "content": TEXTS.system(PERSONA, clock)}
    messages = [system, *FEW_SHOT, *history]
    document = {"model": "auto", "messages": messages, "tools": tools, "stream": True}
    return dialects.get("openai").parse_request(orjson.dumps(document))


def user(text: str) -> dict[str, Any]:
    """Return what a person said."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """Return what the model answered."""
    return {"role": "assistant", "content": text}


def call(*names: str, **fields: Any) -> dict[str, Any]:
    """Return an assistant's message that calls tools; the id of a call is its name."""
    calls = [
        {
            "index": number,
            "id": name,
            "type": "function",
            "function": {"name": name, "arguments": "{}"},
        }
        for number, name in enumerate(names)
    ]
    return {"role": "assistant", "tool_calls": calls, **fields}


def answer(call_id: str, text: str = "fine") -> dict[str, Any]:
    """Return a tool's answer."""
    return {"role": "tool", "tool_call_id": call_id, "content": text}
