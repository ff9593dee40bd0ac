"""The router inside another program, with the names of the deployment guide's Python section.

    async with HybridLLMService("config/hybrid.yaml") as service:
        reply = await service.route_request({"messages": [{"role": "user", "content": "你好"}]})
        async for piece in service.stream_request(request):
            speak(piece)

It is the same pipeline as behind the HTTP fronts: caches, plan, hedging, failover, one account a
request. Backends are always asked for a stream, so that a reply which is late is noticed at its
first token, whether or not the caller waits for all of it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from firsttoken.core.settings import Settings, load
from firsttoken.core.words import ErrorType, Tier
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest, ReplyIdentity, RequestError
from firsttoken.wire.events import Event, Failure, Text
from router.account import Account, DecisionRecord
from router.app import Router
from router.attempt import Opened
from router.backends.faults import Fault
from router.config import from_settings
from router.pipeline import Visit
from router.policy import signals

_OPENAI = dialects.get("openai")
_OLLAMA = dialects.get("ollama")
_GENERATE = dialects.get("ollama_generate")

_FIELDS = (
    *("model", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed"),
    *("tools", "tool_choice", "response_format"),
)
"""What is read of a request that is no mapping, beside its messages."""

_UNREAD_EVENTS = 256
"""Events kept at most for a caller that reads more slowly than the backend writes."""


class HybridLLMError(Exception):
    """A request was not answered; ``error_type`` says why, in the words of the metrics."""

    def __init__(self, error_type: ErrorType, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class HybridLLMService:
    """Local and remote models behind one object.

    A request is a mapping or an object with ``messages`` and, if wanted, ``model``,
    ``max_tokens``, ``temperature`` and the other fields of OpenAI's chat request; messages are
    mappings or objects with ``role`` and ``content``. ``model`` left out lets the policy decide.

    The work in the background and the connections begin with the first request, in the event loop
    that runs then, and end with :meth:`aclose`.

    Args:
        settings: the settings, or their file; None: the default ones.

    Raises:
        UserError: the settings are wrong.
    """

    def __init__(self, settings: Settings | Path | str | None = None) -> None:
        if not isinstance(settings, Settings):
            settings = load(None if settings is None else [Path(settings)])
        self._config = from_settings(settings)
        self._configured = settings.backends()
        self._router = Router(self._config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def local_endpoint(self) -> str:
        """The URL of the local model; empty where none is configured."""
        local = (each.base_url for each in self._configured if each.tier is Tier.LOCAL)
        return next(local, "")

    @property
    def remote_endpoints(self) -> list[dict[str, str]]:
        """``name`` and ``url`` of the remote models, in order of preference; also of those that
        are not asked because their key is not set."""
        remotes = (each for each in self._configured if each.tier is Tier.REMOTE)
        return [{"name": each.name, "url": each.base_url} for each in remotes]

    async def __aenter__(self) -> Self:
        await self._started()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the work in the background and all connections; the next request begins anew."""
        if self._loop is asyncio.get_running_loop():
            await self._started()
            await self._router.aclose()
        self._loop = self._starting = None

    async def route_request(self, request: object) -> dict[str, Any]:
        """Answer by the policy, with every fallback.

        Returns what Ollama's ``/api/chat`` and ``/api/generate`` answer (``model``, ``message``,
        ``response``, ``done``, ``done_reason`` and, where they are known, token counts), and
        ``tier``, ``backend``, ``reason`` and ``ttft_ms``.

        Raises:
            HybridLLMError: the request is malformed, or no backend gave an answer.
        """
        return await self._whole(request, None)

    async def call_local_model(self, request: object) -> dict[str, Any]:
        """Ask the local model and nobody else, no cache either; see :meth:`route_request`."""
        return await self._whole(request, Tier.LOCAL)

    async def call_remote_model(self, request: object) -> dict[str, Any]:
        """Ask the remote models in order of preference until one answers, no cache and not the
        local model; see :meth:`route_request`."""
        return await self._whole(request, Tier.REMOTE)

    async def stream_request(self, request: object) -> AsyncGenerator[str, None]:
        """Answer by the policy; yield the pieces of the text as they come.

        Leaving the iteration cancels the request at its backend.

        Raises:
            HybridLLMError: see :meth:`route_request`; it may come after the first pieces.
        """
        async with aclosing(self._events(_Listener(), request, None)) as heard:
            async for event in heard:
                if isinstance(event, Text):
                    yield event.text

    def is_simple_query(self, messages: Iterable[object]) -> bool:
        """Say whether the last user message is in ``routing_logic.simple_queries``."""
        found = signals.read([_message(each) for each in messages], self._config.patterns)
        return found.query_class is signals.QueryClass.SIMPLE

    def format_prompt(self, messages: Iterable[object]) -> str:
        """Return a conversation as one prompt: system messages, then the user's only message as it
        stands, or else one line a message.

        Raises:
            HybridLLMError: a message is malformed.
        """
        request = _parsed({"messages": messages})
        body = orjson.loads(_GENERATE.build_request(request, None).body)
        return "\n\n".join(part for part in (body.get("system"), body["prompt"]) if part)

    async def _started(self) -> None:
        """Start the router in the running loop, once.

        Raises:
            RuntimeError: it runs in another loop.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._starting is None:
            if self._loop is not None:
                if not self._loop.is_closed():
                    raise RuntimeError("this service runs in another event loop")
                # Its connections have ended with their loop.
                self._router = Router(self._config)
            self._loop, self._starting = loop, loop.create_task(self._router.start())
        await asyncio.shield(self._starting)

    async def _whole(self, request: object, tier: Tier | None) -> dict[str, Any]:
        listener = _Listener()
        async with aclosing(self._events(listener, request, tier)) as heard:
            events = [event async for event in heard]
        identity = ReplyIdentity(secrets.token_hex(12), listener.model, int(time.time()))
        reply: dict[str, Any] = orjson.loads(_OLLAMA.write_reply(identity, events))
        decision = listener.decision
        assert decision is not None  # noqa: S101 - there are no events without one
        return {
            **reply,
            "response": reply["message"]["content"],
            "tier": decision.tier.value,
            "backend": decision.backend,
            "reason": decision.reason.value if decision.reason else None,
            "ttft_ms": decision.ttft_ms,
        }

    async def _events(
        self, listener: _Listener, request: object, tier: Tier | None
    ) -> AsyncGenerator[Event, None]:
        """Yield what the reply to ``request`` says, as it comes."""
        asked = _parsed(request)
        await self._started()
        pipeline = self._router.serving.pipeline
        serving = pipeline.serve(Visit(asked, "", listener, tier), secrets.token_hex(16))
        task = asyncio.create_task(serving)
        task.add_done_callback(listener.over)
        try:
            while not (task.done() and listener.heard.empty()):
                event = await listener.heard.get()
                if isinstance(event, Failure):
                    raise HybridLLMError(event.error_type, event.message)
                if event is not None:
                    yield event
            task.result()
        finally:
            task.cancel()
            await asyncio.wait((task,))


class _Listener:
    """The client in this process; see :class:`router.pipeline.Client`."""

    dialect = _OPENAI

    def __init__(self) -> None:
        self.spoken_failure = ""
        self.last_words: Callable[[], bytes] | None = None
        self.decision: DecisionRecord | None = None
        self.model = ""
        """Who answers, as its backend calls it."""
        self.heard: asyncio.Queue[Event | None] = asyncio.Queue(_UNREAD_EVENTS)
        self._reader = _OPENAI.reader()

    async def begin(self, account: Account, opened: Opened | None) -> None:
        self.decision = account.decision
        if opened is not None:
            self.model = opened.backend.model

    async def wait(self) -> None:
        """Nothing: who listens in this process has no timeout."""

    async def write(self, data: bytes) -> None:
        if not self.model:
            # A cached reply names its model in its first frame, which is written here.
            self.model = orjson.loads(data.partition(b"\n")[0].removeprefix(b"data: "))["model"]
        for event in self._reader.feed(data, 0):
            await self.heard.put(event)

    async def end(self) -> None:
        """The end of the reply is among its events."""

    async def refuse(self, fault: Fault, account: Account) -> None:  # noqa: ARG002
        await self.break_off(fault)

    async def break_off(self, fault: Fault) -> None:
        await self.heard.put(Failure(0, fault.error_type, fault.message, fault.status))

    def over(self, task: asyncio.Task[None]) -> None:  # noqa: ARG002
        """Wake whoever waits for the next event. A full queue has nobody waiting."""
        if not self.heard.full():
            self.heard.put_nowait(None)


def _parsed(request: object) -> ChatRequest:
    """Read a request.

    Raises:
        HybridLLMError: it is malformed; the message names the field.
    """
    if isinstance(request, Mapping):
        fields = dict(request)
    else:
        given = {name: getattr(request, name, None) for name in (*_FIELDS, "messages")}
        fields = {name: value for name, value in given.items() if value is not None}
    try:
        fields["messages"] = [_message(each) for each in fields.get("messages") or ()]
        options = {"include_usage": True}
        body = orjson.dumps(fields | {"stream": True, "stream_options": options})
        return _OPENAI.parse_request(body)
    except (RequestError, TypeError) as error:
        raise HybridLLMError(ErrorType.HTTP_4XX, str(error)) from error


def _message(given: object) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    return {"role": getattr(given, "role", None), "content": getattr(given, "content", None)}
