"""A stand-in for the server of a talking device: what it sends, and what a person hears.

It does what xiaozhi-esp32-server does with a model's stream, its weaknesses included, as far as
they decide what is spoken: it is no copy of it. Whatever goes wrong makes the device say a sentence
of its own, glued to what it has said so far, and the turn is then not remembered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx
import openai

from firsttoken.core.words import ANSWER_TOOL, EXIT_TOOL, MOST_HOPS

APOLOGY = "[the device says that it is busy]"
"""Stands for the device's own sentence of error."""

HELD_BACK = 5
"""Characters of an answer through the tool that are spoken only when it is whole."""

_ANSWER_STARTS = ('"response": "', '"response":"')
_TAG, _END_TAG = "<tool_call>", "</tool_call>"
_THINK, _END_THINK = "<think>", "</think>"


class Kind(StrEnum):
    """The two of its providers that speak OpenAI's dialect."""

    OPENAI = "openai"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class Provider:
    """What its settings say of a model."""

    kind: Kind
    base_url: str
    api_key: str = "any-key"
    model_name: str = "auto"
    timeout: float | dict[str, float] = 300.0
    more: dict[str, Any] = field(default_factory=dict)
    """Parameters that are sent with each request: ``max_tokens``, ``temperature``, …; the ollama
    provider sends none."""

    def client(self, **options: Any) -> openai.OpenAI:
        """Return the official client, made as the provider makes it; ``options`` go before."""
        if self.kind is Kind.OLLAMA:
            # A base that ends in a slash is not looked at: it becomes //v1.
            whole = self.base_url.endswith("/v1")
            base_url = self.base_url if whole else f"{self.base_url}/v1"
            return openai.OpenAI(**{"base_url": base_url, "api_key": "ollama"} | options)
        given = self.timeout
        timeout = httpx.Timeout(**given) if isinstance(given, dict) else httpx.Timeout(given)
        known: dict[str, Any] = {"base_url": self.base_url, "api_key": self.api_key}
        return openai.OpenAI(**known | {"timeout": timeout} | options)


@dataclass
class TurnHeard:
    """What became of one turn."""

    spoken: str = ""
    """All that was said, the device's own sentence included."""
    pieces: list[str] = field(default_factory=list)
    """As they were handed to the text-to-speech."""
    error: str | None = None
    """Why the device said its own sentence."""
    hops: int = 0
    """Requests that the turn took."""
    called: list[str] = field(default_factory=list)
    """Tools that were called, other than ``direct_answer``."""
    chunks: list[Any] = field(default_factory=list)
    """All that came, as the client read it."""

    @property
    def passed(self) -> bool:
        """Whether a person heard words, nothing but words, and no sentence of error."""
        markup = any(mark in self.spoken for mark in ("<", "{", "tool_call", "think>"))
        return (
            self.error is None
            and APOLOGY not in self.spoken
            and any(map(str.isalnum, self.spoken))
            and not markup
        )

    def speak(self, text: str) -> None:
        """Hand text to the text-to-speech."""
        self.spoken += text
        self.pieces.append(text)


def tool(name: str, about: str, *parameters: str) -> dict[str, Any]:
    """Return a tool as it is offered; all parameters are texts."""
    properties = {each: {"type": "string", "description": each} for each in parameters}
    shape = {"type": "object", "properties": properties, "required": list(parameters)}
    return {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": shape},
    }


TOOLS = (
    tool("get_weather", "Weather of a city.", "city"),
    tool("play_music", "Plays a song.", "song"),
    tool(EXIT_TOOL, "Ends the conversation.", "say_goodbye"),
)
DIRECT = tool(ANSWER_TOOL, "Says something to the user.", "response")

SYSTEM = (
    "You are a cheerful companion in a small loudspeaker. Begin with an emoji.\n"
    "<tts_format_constraints>Short sentences, no Markdown.</tts_format_constraints>\n"
    "- Current time: 10:31\n"
)


def _call(number: int, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}", "index": 0, "type": "function", "function": function}


FEW_SHOT: tuple[dict[str, Any], ...] = (
    {"role": "user", "content": "唱首歌吧"},
    {"role": "assistant", "tool_calls": [_call(1, ANSWER_TOOL, '{"response": "好呀，听好啦！"}')]},
    {"role": "tool", "tool_call_id": "call_1", "content": "said"},
    {"role": "user", "content": "再见"},
    {"role": "assistant", "tool_calls": [_call(2, EXIT_TOOL, '{"say_goodbye": "再见！"}')]},
    {"role": "tool", "tool_call_id": "call_2", "content": "said"},
    {"role": "assistant", "content": "再见！"},
)
"""An example that teaches the model to answer through the tool."""


class Device:
    """One conversation of one device, through the official client, one turn after the other.

    Args:
        provider: where its model is.
        tools: whether it offers tools (its mode ``function_call``), or none.
        options: for the client, in place of the provider's own.
    """

    def __init__(self, provider: Provider, *, tools: bool, **options: Any) -> None:
        self.provider = provider
        self.tools = tools
        self.client = provider.client(**options)
        self.history: list[dict[str, Any]] = []

    def close(self) -> None:
        """Close its connections."""
        self.client.close()

    def say(self, text: str) -> TurnHeard:
        """Take what a person says; return what they hear."""
        self.history.append({"role": "user", "content": text})
        heard = TurnHeard()
        try:
            self._answer(heard, 0)
        except Exception as error:  # noqa: BLE001 - the device does the same with any of them
            heard.error = f"{type(error).__name__}: {error}"[:200]
            heard.speak(APOLOGY)
        return heard

    def ask(self, messages: list[dict[str, Any]], tools: Iterable[dict[str, Any]] = ()) -> Any:
        """Return the stream of one request."""
        body: dict[str, Any] = {"model": self.provider.model_name, "messages": messages}
        if offered := list(tools):
            body["tools"] = offered
        if self.provider.kind is Kind.OPENAI:
            body |= self.provider.more
        return self.client.chat.completions.create(**body, stream=True)

    def messages(self) -> list[dict[str, Any]]:
        """Return the whole dialogue as it is sent."""
        example = FEW_SHOT if self.tools else ()
        return [{"role": "system", "content": SYSTEM}, *example, *self.history]

    def _answer(self, heard: TurnHeard, depth: int) -> None:
        offered: tuple[dict[str, Any], ...] = ()
        if self.tools and depth < MOST_HOPS:
            offered = TOOLS if depth else (*TOOLS, DIRECT)
        heard.hops += 1
        reply = _Reply(heard, tools=self.tools)
        filtered = not self.tools or self.provider.kind is Kind.OLLAMA
        # The real client leaves a stream to the garbage; here nothing may depend on when.
        with closing(self.ask(self.messages(), offered)) as stream:
            for chunk in stream:
                heard.chunks.append(chunk)
                reply.take(chunk, filtered=filtered)
        calls = reply.close()
        if reply.text:
            self.history.append({"role": "assistant", "content": reply.text})
        if calls:
            self._carry_out(calls, heard, depth)

    def _carry_out(self, calls: list[dict[str, Any]], heard: TurnHeard, depth: int) -> None:
        answers = []
        for call in calls:
            name = call["function"]["name"]
            arguments = json.loads(call["function"]["arguments"])
            heard.called.append(name)
            if name == EXIT_TOOL:
                heard.speak(arguments["say_goodbye"])
                return
            content = f"{name}: done"
            answers.append({"role": "tool", "tool_call_id": call["id"], "content": content})
        called: dict[str, Any] = {"role": "assistant", "tool_calls": calls}
        if self.provider.kind is Kind.OPENAI:
            called["content"] = ""
        self.history += [called, *answers]
        self._answer(heard, depth + 1)


class _Reply:
    """Reads one stream."""

    def __init__(self, heard: TurnHeard, *, tools: bool) -> None:
        self._heard = heard
        self._tools = tools
        self._calls: list[dict[str, Any]] = []
        self._calling = False
        self._thinking = False
        self._written = ""
        """All content so far."""
        self._answered = 0
        """Characters of ``direct_answer`` that were spoken."""
        self.text = ""
        """What is remembered of it."""

    def take(self, chunk: Any, *, filtered: bool) -> None:
        """Take one chunk.

        Raises:
            Exception: whatever the real client would stumble over.
        """
        if not chunk.choices:
            return  # token counts
        delta = chunk.choices[0].delta
        content: str | None = delta.content
        if filtered and content:
            content = self._unthought(content)
        pair = (content, delta.tool_calls)
        if self._tools and "content" in pair:
            pair["content"]  # type: ignore[call-overload]  # takes the pair for a mapping
        if content:
            self._written += content
            self._calling = self._calling or (self._tools and self._written.startswith(_TAG))
        for fragment in delta.tool_calls or () if self._tools else ():
            self._merge(fragment)
        if content and not self._calling:
            self._say(content)
        self._say_answer(HELD_BACK)

    def close(self) -> list[dict[str, Any]]:
        """Say that the stream is over; return the calls to be carried out.

        Raises:
            Exception: as :meth:`take`.
        """
        if self._calling and not self._calls:
            inner = self._written.partition(_TAG)[2].partition(_END_TAG)[0]
            written = json.loads(inner)
            self._calls.append(_call(0, written["name"], json.dumps(written["arguments"])))
        self._say_answer(0)
        calls = []
        for call in self._calls:
            json.loads(call["function"]["arguments"])
            if call["function"]["name"] != ANSWER_TOOL:
                calls.append(call)
        return calls

    def _merge(self, fragment: Any) -> None:
        self._calling = True
        if fragment.index == len(self._calls):
            self._calls.append(_call(0, "", ""))
        call = self._calls[fragment.index]
        call["id"] = fragment.id or call["id"]
        call["function"]["name"] = fragment.function.name or call["function"]["name"]
        call["function"]["arguments"] += fragment.function.arguments or ""

    def _say(self, text: str) -> None:
        self.text += text
        self._heard.speak(text)

    def _say_answer(self, held_back: int) -> None:
        """Speak what has come of the text in ``direct_answer``."""
        for call in self._calls:
            if call["function"]["name"] == ANSWER_TOOL:
                answer = _begun_answer(call["function"]["arguments"])
                ready = answer[self._answered : max(self._answered, len(answer) - held_back)]
                if ready:
                    self._answered += len(ready)
                    self._say(ready)

    def _unthought(self, content: str) -> str:
        """Drop thinking, of which the markers are seen only within one chunk."""
        if _THINK in content:
            self._thinking = True
            content = content.partition(_THINK)[0]
        if _END_THINK in content:
            self._thinking = False
            return content.rpartition(_END_THINK)[2]
        return "" if self._thinking else content


def _begun_answer(arguments: str) -> str:
    """Return what has come of the answer in unfinished JSON; nothing where it does not begin
    literally as expected."""
    start = next((each for each in _ANSWER_STARTS if each in arguments), None)
    if start is None:
        return ""
    rest = arguments.partition(start)[2]
    for end in _ends(rest):
        try:
            found: str = json.loads(f'"{rest[:end]}"')
        except json.JSONDecodeError:
            continue
        return found
    return ""


def _ends(rest: str) -> Iterator[int]:
    """Yield where the text may end: at its closing quote, else before a half escape."""
    escaped = False
    for place, character in enumerate(rest):
        if character == '"' and not escaped:
            yield place
            return
        escaped = character == "\\" and not escaped
    yield from range(len(rest), max(len(rest) - 7, -1), -1)
