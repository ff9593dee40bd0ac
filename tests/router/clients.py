"""Kinds of clients, and how each reads one whole answer of the backend ``cloud``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson


def openai_stream(body: bytes) -> str:
    """Return the text of one whole OpenAI stream, and nothing else may be in it."""
    *frames, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [orjson.loads(frame.removeprefix("data:")) for frame in frames]
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert {chunk["model"] for chunk in chunks} == {"cloud-model"}
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [c["finish_reason"] for c in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert sum("role" in choice["delta"] for choice in choices) == 1
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def openai_whole(body: bytes) -> str:
    """Return the text of one whole OpenAI reply."""
    reply = orjson.loads(body)
    assert (reply["object"], reply["model"]) == ("chat.completion", "cloud-model")
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "stop"
    return str(choice["message"]["content"])


def ollama_stream(body: bytes) -> str:
    """Return the text of one whole Ollama stream, and nothing else may be in it."""
    *lines, rest = body.split(b"\n")
    assert rest == b""
    values = [orjson.loads(line) for line in lines]
    assert {value["model"] for value in values} == {"cloud-model"}
    assert len({value["created_at"] for value in values}) == 1
    assert [value["done"] for value in values] == [False] * (len(values) - 1) + [True]
    assert values[-1]["done_reason"] == "stop"
    assert not any("error" in value for value in values)
    return "".join(value["message"]["content"] for value in values)


def ollama_whole(body: bytes) -> str:
    """Return the text of one whole Ollama reply."""
    reply = orjson.loads(body)
    assert (reply["model"], reply["done"], reply["done_reason"]) == ("cloud-model", True, "stop")
    return str(reply["message"]["content"])


@dataclass(frozen=True)
class Client:
    """A kind of client: its front, whether it streams, and how it reads."""

    path: str
    content_type: str
    read: Callable[[bytes], str]
    stream: bool


CLIENTS = (
    Client("/v1/chat/completions", "text/event-stream", openai_stream, stream=True),
    Client("/v1/chat/completions", "application/json", openai_whole, stream=False),
    Client("/api/chat", "application/x-ndjson", ollama_stream, stream=True),
    Client("/api/chat", "application/json", ollama_whole, stream=False),
)
