"""The official clients behind one shape, and the processes that they talk to in these tests."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import ollama
import openai

from firsttoken.core.child import Child
from firsttoken.engines.options import EngineOptions, default_model
from firsttoken.engines.supervisor import EngineSupervisor

Messages = list[Any]
"""As the clients take them; their types are unions of a dozen shapes."""

# No client here reads the world's certificates from the disk: that takes longer than a test.
_OPTIONS: dict[str, Any] = {"verify": False, "timeout": 30}


@dataclass
class Answer:
    """What a client made of one reply."""

    text: str = ""
    pieces: int = 0
    """Parts with text; 1 where it was not streamed."""
    finish: str | None = None
    model: str = ""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    identities: set[tuple[str, int]] = field(default_factory=set)
    """``id`` and ``created`` of all parts; none in Ollama's dialect."""


class Talker(Protocol):
    """One client. ``wanted`` is max_tokens, temperature, seed, stop, schema."""

    async def chat(
        self, model: str, messages: Messages, *, stream: bool, **wanted: Any
    ) -> Answer: ...

    async def first_part(self, model: str, messages: Messages) -> None:
        """Read the first text of a stream, then close it."""

    async def models(self) -> list[str]: ...

    async def aclose(self) -> None: ...


# ---- OpenAI -------------------------------------------------------------------------------------


def _openai_arguments(wanted: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    schema = wanted.pop("schema", None)
    if schema is not None:
        named = {"name": "reply", "schema": schema, "strict": True}
        wanted["response_format"] = {"type": "json_schema", "json_schema": named}
    if stream:
        wanted |= {"stream": True, "stream_options": {"include_usage": True}}
    return wanted


def _of_chunks(chunks: Iterable[Any]) -> Answer:
    answer = Answer()
    for chunk in chunks:
        answer.identities.add((chunk.id, chunk.created))
        answer.model = chunk.model
        if chunk.usage is not None:
            answer.prompt_tokens = chunk.usage.prompt_tokens
            answer.output_tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            answer.text += choice.delta.content or ""
            answer.pieces += bool(choice.delta.content)
            answer.finish = choice.finish_reason or answer.finish
    return answer


def _of_completion(reply: Any) -> Answer:
    choice, usage = reply.choices[0], reply.usage
    return Answer(
        choice.message.content,
        1,
        choice.finish_reason,
        reply.model,
        usage.prompt_tokens,
        usage.completion_tokens,
        {(reply.id, reply.created)},
    )


class OpenAiTalker:
    """``openai.OpenAI``."""

    def __init__(self, url: str, key: str = "unused", **options: Any) -> None:
        http = openai.DefaultHttpxClient(**_OPTIONS | options)
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, http_client=http)

    async def chat(self, model: str, messages: Messages, *, stream: bool, **wanted: Any) -> Answer:
        arguments = _openai_arguments(wanted, stream=stream)

        def ask() -> Answer:
            create = self.client.chat.completions.create
            reply = create(model=model, messages=messages, **arguments)
            return _of_chunks(reply) if stream else _of_completion(reply)

        return await asyncio.to_thread(ask)

    async def first_part(self, model: str, messages: Messages) -> None:
        def ask() -> None:
            create = self.client.chat.completions.create
            with create(model=model, messages=messages, stream=True) as parts:
                next(part for part in parts if part.choices[0].delta.content)

        await asyncio.to_thread(ask)

    async def models(self) -> list[str]:
        return [model.id for model in await asyncio.to_thread(self.client.models.list)]

    async def aclose(self) -> None:
        self.client.close()


class AsyncOpenAiTalker:
    """``openai.AsyncOpenAI``."""

    def __init__(self, url: str, key: str = "unused", **options: Any) -> None:
        http = openai.DefaultAsyncHttpxClient(**_OPTIONS | options)
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, http_client=http)

    async def chat(self, model: str, messages: Messages, *, stream: bool, **wanted: Any) -> Answer:
        arguments = _openai_arguments(wanted, stream=stream)
        create = self.client.chat.completions.create
        reply = await create(model=model, messages=messages, **arguments)
        return _of_chunks([part async for part in reply]) if stream else _of_completion(reply)

    async def first_part(self, model: str, messages: Messages) -> None:
        create = self.client.chat.completions.create
        async with await create(model=model, messages=messages, stream=True) as parts:
            async for part in parts:
                if part.choices[0].delta.content:
                    return

    async def models(self) -> list[str]:
        return [model.id async for model in self.client.models.list()]

    async def aclose(self) -> None:
        await self.client.close()


# ---- Ollama -------------------------------------------------------------------------------------


def _ollama_arguments(wanted: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {"stream": stream}
    schema = wanted.pop("schema", None)
    if schema is not None:
        arguments["format"] = schema
    if "max_tokens" in wanted:
        wanted["num_predict"] = wanted.pop("max_tokens")
    return {**arguments, "options": wanted} if wanted else arguments


def _text(part: Any) -> str:
    found = part.message.content if isinstance(part, ollama.ChatResponse) else part.response
    return found or ""


def _of_parts(parts: Iterable[Any]) -> Answer:
    answer = Answer()
    for part in parts:
        assert answer.finish is None, "a part came after the last one"
        answer.model = part.model
        answer.text += _text(part)
        answer.pieces += bool(_text(part))
        if part.done:
            answer.finish = part.done_reason
            answer.prompt_tokens, answer.output_tokens = part.prompt_eval_count, part.eval_count
    return answer


def _call(
    client: Any, model: str, messages: Messages, arguments: dict[str, Any], *, generate: bool
) -> Any:
    """Call ``chat``, or ``generate`` with the last message and what stands above it."""
    if not generate:
        return client.chat(model, messages, **arguments)
    systems = [message["content"] for message in messages if message["role"] == "system"]
    if systems:
        arguments["system"] = systems[0]
    return client.generate(model, messages[-1]["content"], **arguments)


class OllamaTalker:
    """``ollama.Client``, its ``chat`` or its ``generate``."""

    def __init__(self, url: str, key: str = "", *, generate: bool = False, **options: Any) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = ollama.Client(host=url, headers=headers, **_OPTIONS | options)
        self._generate = generate

    async def chat(self, model: str, messages: Messages, *, stream: bool, **wanted: Any) -> Answer:
        arguments = _ollama_arguments(wanted, stream=stream)

        def ask() -> Answer:
            reply = _call(self.client, model, messages, arguments, generate=self._generate)
            return _of_parts(reply if stream else [reply])

        return await asyncio.to_thread(ask)

    async def first_part(self, model: str, messages: Messages) -> None:
        def ask() -> None:
            arguments = {"stream": True}
            parts = _call(self.client, model, messages, arguments, generate=self._generate)
            next(part for part in parts if _text(part))
            parts.close()

        await asyncio.to_thread(ask)

    async def models(self) -> list[str]:
        return _names(await asyncio.to_thread(self.client.list))

    async def aclose(self) -> None:
        self.client.close()  # type: ignore[no-untyped-call]


class AsyncOllamaTalker:
    """``ollama.AsyncClient``, its ``chat`` or its ``generate``."""

    def __init__(self, url: str, key: str = "", *, generate: bool = False, **options: Any) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = ollama.AsyncClient(host=url, headers=headers, **_OPTIONS | options)
        self._generate = generate

    async def chat(self, model: str, messages: Messages, *, stream: bool, **wanted: Any) -> Answer:
        arguments = _ollama_arguments(wanted, stream=stream)
        reply = await _call(self.client, model, messages, arguments, generate=self._generate)
        return _of_parts([part async for part in reply] if stream else [reply])

    async def first_part(self, model: str, messages: Messages) -> None:
        arguments = {"stream": True}
        parts = await _call(self.client, model, messages, arguments, generate=self._generate)
        async for part in parts:
            if _text(part):
                break
        await parts.aclose()

    async def models(self) -> list[str]:
        return _names(await self.client.list())

    async def aclose(self) -> None:
        await self.client.close()  # type: ignore[no-untyped-call]


def _names(listed: ollama.ListResponse) -> list[str]:
    return [str(model.model) for model in listed.models]


TALKERS: dict[str, Callable[..., Talker]] = {
    "openai": OpenAiTalker,
    "openai-async": AsyncOpenAiTalker,
    "ollama-chat": OllamaTalker,
    "ollama-chat-async": AsyncOllamaTalker,
    "ollama-generate": lambda url, **more: OllamaTalker(url, generate=True, **more),
    "ollama-generate-async": lambda url, **more: AsyncOllamaTalker(url, generate=True, **more),
}


# ---- Processes ----------------------------------------------------------------------------------

CONTEXT = 512
"""Tokens of one slot of the engine."""


class Operator:
    """Reads what a router says of itself."""

    def __init__(self, url: str, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=url, headers=headers, **_OPTIONS)

    def decisions(self) -> list[dict[str, Any]]:
        """Return why requests went where they went, the oldest first."""
        found: list[dict[str, Any]] = self.http.get("/debug/decisions").json()["decisions"]
        return found

    def last(self) -> dict[str, Any]:
        """Return the newest decision."""
        return self.decisions()[-1]

    def in_flight(self) -> list[float]:
        """Return ``llm_requests_in_flight`` of each backend."""
        lines = self.http.get("/metrics").text.splitlines()
        found = (line for line in lines if line.startswith("llm_requests_in_flight{"))
        return [float(line.rpartition(" ")[2]) for line in found]


@dataclass
class Front:
    """A router that runs, and who looks after it."""

    url: str
    operator: Operator


@dataclass
class House:
    """An engine, an emulated cloud, and routers in front of them, each a process of its own."""

    engine: str
    engine_model: str
    cloud: str
    folder: Path
    stack: ExitStack

    def settings(self, *, remotes: bool = True, **sections: Any) -> dict[str, Any]:
        """Return the settings of a router in front of both."""
        far = {
            "cloud_openai": ("openai", self.cloud, "gpt-4o-mini"),
            "cloud_compatible": ("openai", f"{self.cloud}/compatible-mode/v1", "qwen-plus"),
            "cloud_native": ("dashscope", self.cloud, "qwen-flash"),
        }
        listed = [
            {"name": name, "dialect": dialect, "endpoint": endpoint, "model": model}
            for name, (dialect, endpoint, model) in far.items()
        ]
        local = {"endpoint": self.engine, "model": self.engine_model, "timeout": 20}
        routing = {"local_model": local, "remote_models": listed if remotes else []}
        own = {
            "llm_routing": routing,
            "hedging": {"enable": False},
            "confidence": {"tokens": 0},
        }
        return own | sections

    def router(self, settings: dict[str, Any], key: str = "", **environ: str) -> Front:
        """Start a router."""
        path = self.folder / f"router-{len(list(self.folder.iterdir()))}.yaml"
        path.write_text(json.dumps(settings))
        url = self.stack.enter_context(start_router(path, **environ)).url
        operator = Operator(url, key)
        self.stack.callback(operator.http.close)
        return Front(url, operator)


def start_router(path: Path, **environ: str) -> Child:
    """Start a router that reads ``path``, a YAML file."""
    argv = [sys.executable, "-m", "router", "--config", str(path), "--port", "0", "--ready-json"]
    return Child.start(argv, ready_timeout_s=20, env=environ)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """Start an engine and an emulated cloud that is quick; stop them, and the routers."""
    options = EngineOptions(
        model=default_model(),
        slots=4,
        context_per_slot=CONTEXT,
        threads=1,
        preload=False,
        prompt_cache_mib=0,
    )
    module = "firsttoken.upstreams.cloud"
    quick = ["--first-token-s", "0.005:0.01", "--tokens-per-second", "2000"]
    with ExitStack() as stack:
        cloud = stack.enter_context(Child.start([sys.executable, "-m", module, *quick]))
        engine = stack.enter_context(EngineSupervisor(options))
        yield House(engine.url, options.model_name, cloud.url, folder, stack)
