"""Facts of the local engine: what it is, which model it has, how much memory it holds."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import httpx
import psutil

from exporter.engine_cpu import listener, loopback_port
from exporter.engine_memory import engine_memory
from exporter.engines import asking
from exporter.engines.reading import ReadingError, entries, loads
from exporter.fetch import client, fetch_with
from firsttoken.core.host import Memory
from firsttoken.core.settings import Backend, Settings
from firsttoken.engines.gguf import Header
from firsttoken.engines.ollama import model_loaded
from firsttoken.trials.doctor.facts import EngineFacts
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest, HttpCall
from router.backends.requests import for_backend
from router.config import reply_options

_BLOB = re.compile(r"^FROM (/\S+)$", re.MULTILINE)


def embedded_url(router_pid: int | None) -> str | None:
    """Return the address of the engine that a router of this machine started, if it did."""
    if router_pid is None:
        return None
    try:
        children = {each.pid for each in psutil.Process(router_pid).children(recursive=True)}
        sockets = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    ports = [
        each.laddr.port
        for each in sockets
        if each.pid in children and each.status == psutil.CONN_LISTEN and each.laddr
    ]
    return f"http://127.0.0.1:{ports[0]}" if ports else None


async def look(backend: Backend, embedded: str | None, timeout_s: float) -> EngineFacts:
    """Ask the local engine what it is; ``embedded`` is its address where a router started it."""
    url = embedded or backend.base_url
    found = EngineFacts(url, backend.model, embedded is not None, slots=backend.slots)
    try:
        async with asyncio.timeout(timeout_s), client(url, backend.api_key) as http:
            fetch = fetch_with(http, timeout_s)
            kind = await asking.recognise(fetch)
            reading = await asking.ask(fetch, kind, backend.model)
            slots = reading.values.get("llm_engine_slots", {}).get(())
            found = replace(
                found,
                answers=True,
                kind=str(kind.collector) if kind else None,
                models=reading.models,
                present=backend.model in reading.models if reading.models else None,
                loaded=reading.loaded,
                slots=int(slots) if slots else found.slots,
                context=reading.context,
            )
            details = {"ollama": _ollama, "llama_cpp": _llama_cpp}.get(found.kind or "")
            if details is not None:
                found = await details(http, found)
    except TimeoutError:
        return replace(found, problem=f"no answer within {timeout_s:g} s")
    except OSError as error:
        return replace(found, problem=str(error).partition(": ")[2] or str(error))
    except (ReadingError, httpx.HTTPError) as error:
        return replace(found, problem=str(error))
    return replace(found, memory=await asyncio.to_thread(_memory, url))


async def _llama_cpp(http: httpx.AsyncClient, found: EngineFacts) -> EngineFacts:
    """It serves one model, whatever a request names."""
    props = _object((await http.get("/props")).content)
    told = _object_at(props, "default_generation_settings").get("n_ctx")
    path = props.get("model_path")
    return replace(
        found,
        model=found.models[0] if found.models else found.model,
        present=bool(found.models),
        context=told if type(told) is int and told > 0 else None,
        model_path=path if isinstance(path, str) else None,
    )


async def _ollama(http: httpx.AsyncClient, found: EngineFacts) -> EngineFacts:
    tags = (await http.get("/api/tags")).content
    listed = [
        each for each in entries(tags, "models") if model_loaded({"models": [each]}, found.model)
    ]
    found = replace(found, present=bool(listed))
    if not listed:
        return found
    size, digest = listed[0].get("size"), listed[0].get("digest")
    found = replace(
        found,
        size=size if type(size) is int else None,
        digest=digest if isinstance(digest, str) else None,
    )
    shown = _object((await http.post("/api/show", json={"model": found.model})).content)
    info = _object_at(shown, "model_info")
    metadata = {
        key: value for key, value in info.items() if isinstance(value, str | int | float | bool)
    }
    blob = _BLOB.search(str(shown.get("modelfile", "")))
    header = Header(3, metadata, 0, 0, found.size or 0) if metadata and found.size else None
    return replace(found, header=header, model_path=blob[1] if blob else None)


def _object(body: bytes) -> dict[str, Any]:
    told = loads(body)
    return told if isinstance(told, dict) else {}


def _object_at(told: dict[str, Any], key: str) -> dict[str, Any]:
    found = told.get(key)
    return found if isinstance(found, dict) else {}


def _memory(url: str) -> Memory | None:
    port = loopback_port(url)
    pid = listener(port) if port is not None else None
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        return engine_memory([process, *process.children(recursive=True)])
    except psutil.Error:
        return None


def question(
    settings: Settings, backend: Backend, engine: EngineFacts, text: str, tokens: int
) -> tuple[str, HttpCall]:
    """Return dialect and call of a question to the engine itself, with the options that the router
    brings: with others Ollama would load the model anew."""
    dialect = engine.kind if engine.kind == "ollama" else backend.dialect or "openai"
    speaker = dialects.get(dialect)
    request = ChatRequest(
        engine.model, [{"role": "user", "content": text}], stream=True, max_tokens=tokens
    )
    options = reply_options(backend, settings)
    asked = for_backend(request, replace(backend, model=engine.model), options, speaker)
    return dialect, speaker.build_request(asked, backend.api_key)
