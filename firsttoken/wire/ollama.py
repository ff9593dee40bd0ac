"""Ollama's own dialects: ``POST /api/chat`` and ``POST /api/generate``.

Ollama's OpenAI-compatible front has no context size, no ``keep_alive`` and no ``options``, so a
local Ollama is asked in its own dialect.
"""

from __future__ import annotations

from typing import Any

from firsttoken.core.words import ErrorType
from firsttoken.wire import faults
from firsttoken.wire.dialect import ChatRequest, HttpCall, ReplyIdentity, RequestError
from firsttoken.wire.events import End, Event, Failure
from firsttoken.wire.ollama_messages import from_ollama, split_content, to_ollama, with_images
from firsttoken.wire.ollama_stream import (
    OllamaReader,
    OllamaWriter,
    created_at,
    done_fields,
    error_line,
    whole_calls,
)
from firsttoken.wire.replies import collect, led_by_role
from firsttoken.wire.requests import Fields, json_headers, load_body
from firsttoken.wire.values import UnreadableError, dump, load_object

_COMMON_FIELDS = ("keep_alive", "format", "think", "logprobs", "top_logprobs", "truncate", "shift")
_GENERATE_FIELDS = (*_COMMON_FIELDS, "suffix", "raw", "template", "context")
_OPTION_FIELDS = ("frequency_penalty", "presence_penalty", "top_k", "min_p")
"""Fields of other dialects that Ollama takes among its options."""

_HIGHEST_TEMPERATURE = 100.0


def _options(request: ChatRequest) -> dict[str, Any]:
    """Return ``options``: the client's own ones, then those that all dialects share."""
    given = request.extra.get("options")
    options: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    for name in _OPTION_FIELDS:
        if request.extra.get(name) is not None:
            options[name] = request.extra[name]
    shared = {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": request.stop or None,
    }
    return options | {name: value for name, value in shared.items() if value is not None}


def _extra(request: ChatRequest, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the extra fields that Ollama knows, those of other dialects under its names."""
    extra = {name: request.extra[name] for name in names if name in request.extra}
    if "think" not in extra and isinstance(request.extra.get("enable_thinking"), bool):
        extra["think"] = request.extra["enable_thinking"]
    wanted = request.extra.get("response_format")
    if "format" not in extra and isinstance(wanted, dict):
        schema = wanted.get("json_schema")
        if isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
            extra["format"] = schema["schema"]
        elif wanted.get("type") == "json_object":
            extra["format"] = "json"
    return extra


class _Ollama:
    """What both dialects share. ``keep_alive`` and ``options`` travel in ``extra``."""

    content_type = "application/x-ndjson"
    _generate: bool

    def _parsed(
        self, fields: Fields, messages: list[dict[str, Any]], tools: list[dict[str, Any]]
    ) -> ChatRequest:
        options = fields.object("options")
        max_tokens = options.token_limit("num_predict")
        temperature = options.number("temperature", 0, _HIGHEST_TEMPERATURE)
        top_p = options.number("top_p", 0, 1)
        stop = options.texts("stop")
        seed = options.integer("seed")
        fields.put_back("options", options)
        return ChatRequest(
            model=fields.text("model") or "",
            messages=messages,
            stream=fields.flag("stream", default=True),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=stop,
            seed=seed,
            tools=tools,
            # The last line of a stream always carries the counts.
            include_usage=True,
            extra=fields.rest(),
        )

    def _call(
        self, path: str, request: ChatRequest, body: dict[str, Any], api_key: str | None
    ) -> HttpCall:
        body = {"model": request.model, **body, "stream": request.stream}
        if options := _options(request):
            body["options"] = options
        headers = json_headers(stream=request.stream, media_type=self.content_type, api_key=api_key)
        return HttpCall(path, headers, dump(body))

    def reader(self) -> OllamaReader:
        """Return a reader for one streamed reply."""
        return OllamaReader(generate=self._generate)

    def read_reply(self, body: bytes, t_ns: int) -> list[Event]:
        """Read a reply that was not streamed: the same events, the last an End or a Failure."""
        events: list[Event] = []
        try:
            self.reader().read_object(load_object(body), t_ns, events)
        except UnreadableError as error:
            return [Failure(t_ns, ErrorType.PROTOCOL, f"unreadable reply: {error}", None)]
        if not events or not isinstance(events[-1], End | Failure):
            message = "unreadable reply: it does not say done"
            return [Failure(t_ns, ErrorType.PROTOCOL, message, None)]
        return led_by_role(events)

    def writer(self, identity: ReplyIdentity, include_usage: bool) -> OllamaWriter:  # noqa: ARG002
        """Return a writer for one streamed reply; the counts are always in its last line."""
        return OllamaWriter(identity, generate=self._generate)

    def write_reply(self, identity: ReplyIdentity, events: list[Event]) -> bytes:
        """Write a whole reply that is not streamed, from the events of one; of a failed one, its
        error body."""
        reply = collect(events)
        if reply.failure is not None:
            return error_line(reply.failure).strip()
        message: dict[str, Any] = {"content": reply.text}
        if reply.reasoning:
            message["thinking"] = reply.reasoning
        if reply.tool_calls and not self._generate:
            try:
                message["tool_calls"] = whole_calls(reply.tool_calls)
            except UnreadableError as error:
                return dump({"error": str(error)})
        head = {"model": identity.model, "created_at": created_at(identity)}
        done = done_fields(End(0, reply.finish_reason), reply.usage, reply.timings)
        if self._generate:
            message["response"] = message.pop("content")
            return dump(head | message | done)
        return dump(head | {"message": {"role": "assistant", **message}} | done)

    def write_error(self, status: int, error_type: str, message: str) -> bytes:
        """Write the body of an HTTP error reply."""
        return dump(faults.ollama_error(message, error_type, status))

    def read_error(self, body: bytes) -> str:
        """Return what an HTTP error body says, at most 500 characters, for the record."""
        return faults.describe(body)


class OllamaChat(_Ollama):
    """``POST /api/chat``. A conversation without messages asks to load the model."""

    name = "ollama"
    _generate = False

    def parse_request(self, body: bytes) -> ChatRequest:
        """Read a request body.

        Raises:
            RequestError: the body is malformed; the message names the field.
        """
        fields = load_body(body)
        messages = from_ollama(fields.messages("messages"))
        return self._parsed(fields, messages, fields.objects("tools"))

    def build_request(self, request: ChatRequest, api_key: str | None) -> HttpCall:
        """Write the call that asks a backend of this dialect for ``request``.

        Raises:
            RequestError: a message holds what Ollama cannot take, such as an image at a URL.
        """
        body = {**_extra(request, _COMMON_FIELDS), "messages": to_ollama(request.messages)}
        if request.tools:
            body["tools"] = request.tools
        return self._call("/api/chat", request, body, api_key)


class OllamaGenerate(_Ollama):
    """``POST /api/generate``: one prompt. An empty prompt asks to load the model."""

    name = "ollama_generate"
    _generate = True

    def parse_request(self, body: bytes) -> ChatRequest:
        """Read a request body: ``system`` and ``prompt`` become messages.

        Raises:
            RequestError: the body is malformed; the message names the field.
        """
        fields = load_body(body)
        prompt, system = fields.text("prompt"), fields.text("system")
        images = fields.rest().pop("images", None)
        messages: list[dict[str, Any]] = []
        if system:
            messages.append({"role": "system", "content": system})
        if prompt:
            content = with_images(prompt, images, "the body")
            messages.append({"role": "user", "content": content})
        return self._parsed(fields, messages, [])

    def build_request(self, request: ChatRequest, api_key: str | None) -> HttpCall:
        """Write the call that asks a backend of this dialect for ``request``.

        System messages become ``system``. One user message is the prompt as it stands; a longer
        conversation is written out as a transcript, one line a message.

        Raises:
            RequestError: the request has tools, or a message holds what Ollama cannot take.
        """
        if request.tools:
            raise RequestError("tools: /api/generate cannot call tools; use /api/chat")
        systems: list[str] = []
        turns: list[tuple[str, str]] = []
        images: list[str] = []
        for number, message in enumerate(request.messages):
            text, found = split_content(message.get("content"), f"messages[{number}]")
            images += found
            if message["role"] in {"system", "developer"}:
                systems.append(text)
            else:
                turns.append((message["role"], text))
        body: dict[str, Any] = {**_extra(request, _GENERATE_FIELDS), "prompt": _prompt(turns)}
        if systems:
            body["system"] = "\n\n".join(systems)
        if images:
            body["images"] = images
        return self._call("/api/generate", request, body, api_key)


def _prompt(turns: list[tuple[str, str]]) -> str:
    if len(turns) == 1 and turns[0][0] == "user":
        return turns[0][1]
    return "\n".join(f"{role.capitalize()}: {text}" for role, text in turns)


OLLAMA_CHAT = OllamaChat()
OLLAMA_GENERATE = OllamaGenerate()
