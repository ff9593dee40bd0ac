"""A server that answers with the pages of an engine, or misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def page(body: bytes | dict[str, Any], status: int = 200) -> Answer:
    """Return an answer of a whole body."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)

    async def answer(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    """Answer nothing until the other side gives up."""
    await writer.wait_closed()


async def endless(writer: asyncio.StreamWriter) -> None:
    """Send a body that never ends, as fast as it is taken."""
    writer.write(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


@dataclass
class StandIn:
    """The server; ``pages`` may be changed while it runs."""

    pages: dict[str, Answer]
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    """Path, headers and JSON body of each request."""
    most_at_once: int = 0
    """Posts under way at once, at most."""
    url: str = ""
    _now: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Refuse and drop all connections."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is tried at each request."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def posts(self) -> list[tuple[str, dict[str, str], Any]]:
        """Return what was posted."""
        return [each for each in self.asked if each[2] is not None]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                pairs = (line.partition(":") for line in lines if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = first.split()[1]
                self.asked.append((path, headers, orjson.loads(body) if body else None))
                self._changed.set()
                self._now += bool(body)
                self.most_at_once = max(self.most_at_once, self._now)
                try:
                    await self.pages.get(path, page(b"{}", 404))(writer)
                finally:
                    self._now -= bool(body)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)


def _lines(*values: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


OLLAMA_MODEL = {
    "name": "qwen2:1.5b-instruct-q4_0",
    "model": "qwen2:1.5b-instruct-q4_0",
    "size": 1_353_898_292,
    "digest": "f6daf2b25194025ae2d5288f2afd041997ce48116807a3b612c1a96b09bec03a",
    "details": {
        "parent_model": "",
        "format": "gguf",
        "family": "qwen2",
        "families": ["qwen2"],
        "parameter_size": "1.5B",
        "quantization_level": "Q4_0",
    },
}
OLLAMA_RUNNING = {
    **OLLAMA_MODEL,
    "size": 1_912_602_624,
    "size_vram": 0,
    "expires_at": "2026-01-02T10:00:00.123456789Z",
    "context_length": 2048,
}
OLLAMA_REPLY = _lines(
    {"model": "m", "message": {"role": "assistant", "content": "I"}, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": " am"}, "done": False},
    {
        "model": "m",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "length",
        "total_duration": 190_000_000,
        "load_duration": 20_000_000,
        "prompt_eval_count": 14,
        "prompt_eval_duration": 90_000_000,
        "eval_count": 4,
        "eval_duration": 80_000_000,
    },
)


def ollama(*, loaded: bool = True) -> dict[str, Answer]:
    """Return the pages of Ollama."""
    return {
        "/api/version": page({"version": "0.12.6"}),
        "/api/ps": page({"models": [OLLAMA_RUNNING] if loaded else []}),
        "/api/tags": page({"models": [OLLAMA_MODEL]}),
        "/api/chat": page(OLLAMA_REPLY),
    }


_VLLM_LABELS = '{engine="%d",model_name="Qwen/Qwen2-1.5B-Instruct-AWQ"}'


def vllm_metrics(engines: int = 1) -> bytes:
    """Return vLLM's ``/metrics`` of so many engines, as its first version has it."""
    series = {
        "num_requests_running": ("gauge", {"": 3.0}),
        "num_requests_waiting": ("gauge", {"": 2.0}),
        "kv_cache_usage_perc": ("gauge", {"": 0.25}),
        "prefix_cache_queries": ("counter", {"_total": 900.0, "_created": 1.76e9}),
        "prefix_cache_hits": ("counter", {"_total": 600.0, "_created": 1.76e9}),
        "prompt_tokens": ("counter", {"_total": 1000.0, "_created": 1.76e9}),
        "generation_tokens": ("counter", {"_total": 400.0, "_created": 1.76e9}),
        "request_prefill_time_seconds": ("histogram", {"_sum": 12.5, "_count": 40.0}),
        "request_decode_time_seconds": ("histogram", {"_sum": 20.25, "_count": 40.0}),
    }
    lines = ["# HELP python_info Python platform information.", "# TYPE python_info gauge"]
    lines.append('python_info{implementation="CPython",major="3",version="3.12.11"} 1.0')
    for name, (kind, samples) in series.items():
        lines += [f"# HELP vllm:{name} What it is.", f"# TYPE vllm:{name} {kind}"]
        for number in range(engines):
            labels = _VLLM_LABELS % number
            if kind == "histogram":
                bucket = labels.replace("}", ',le="+Inf"}')
                lines.append(f"vllm:{name}_bucket{bucket} 40.0")
            lines += [f"vllm:{name}{end}{labels} {value}" for end, value in samples.items()]
    lines.append('vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 7.0')
    return "\n".join(lines).encode() + b"\n"


_CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":%b}]}\n\n'
OPENAI_REPLY = (
    _CHUNK % b'{"role":"assistant","content":""}'
    + _CHUNK % b'{"content":"I"}'
    + _CHUNK % b'{"content":" am"}'
    + b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
)


def vllm() -> dict[str, Answer]:
    """Return the pages of vLLM."""
    models = {"object": "list", "data": [{"id": "Qwen/Qwen2-1.5B-Instruct-AWQ"}]}
    return {
        "/metrics": page(vllm_metrics()),
        "/v1/models": page(models),
        "/v1/chat/completions": page(OPENAI_REPLY),
    }
