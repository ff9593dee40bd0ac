"""A model made ready to be asked: a GGUF file in the embedded engine, or a name at an Ollama."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings
from firsttoken.engines import options as engine_options
from firsttoken.engines.gguf import Header
from firsttoken.engines.ollama import model_loaded
from firsttoken.engines.supervisor import EngineSupervisor, RestartPolicy
from firsttoken.trials.models.ask import NO_REUSE, TIMEOUT, Asker
from firsttoken.trials.target import normalise_url
from firsttoken.wire import dialects

_DEATH_SEEN_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """One model that was asked for."""

    name: str
    """As it was asked for."""
    file: Path | None
    """None: a name at the Ollama that was given."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes of the process that holds the model; None where it cannot be told."""

    resident: int | None
    unreclaimable: int | None
    """Of it, what the kernel cannot drop: not the mapped model file, which it can read again."""
    peak: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Served:
    """A model that answers."""

    asker: Asker
    load_s: float | None
    memory: Callable[[], MemoryUse]
    alive: Callable[[], None]
    """Raises UserError where the engine has died."""
    endless: Mapping[str, Any] = field(default_factory=dict)
    """Sent along to have a reply go on to its limit."""
    file_bytes: int | None = None
    has_template: bool | None = None
    shape: tuple[object, ...] | None = None
    """Architecture, layers and width: the same in every quantisation of a model."""
    title: str | None = None
    """What the file calls its model."""
    settings: str = ""


def process_memory(pid: int | None, root: Path = Path("/")) -> MemoryUse:
    """Read ``/proc/<pid>/status``: resident memory, of it anonymous and shared, and the peak."""
    source = "the engine's process"
    try:
        text = (root / f"proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return MemoryUse(None, None, None, source)
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            values[name] = int(words[0]) * 1024
    held = [values[name] for name in ("RssAnon", "RssShmem") if name in values]
    return MemoryUse(values.get("VmRSS"), sum(held) if held else None, values.get("VmHWM"), source)


def _client(base: str) -> httpx.Client:
    return httpx.Client(base_url=base, timeout=TIMEOUT, limits=NO_REUSE, trust_env=False)


def _shape(header: Header) -> tuple[object, ...]:
    return (header.architecture, header.whole("block_count"), header.whole("embedding_length"))


@contextmanager
def embedded(file: Path, settings: Settings, log: Path) -> Iterator[Served]:
    """Start the embedded engine with ``file`` and one slot; stop it at the end of the block.

    It keeps no prompt beyond the slot's own, so that a cold prompt is cold, and is not started
    again where it dies.

    Raises:
        UserError: the file cannot work, or the engine cannot start.
    """
    wanted = engine_options.from_settings(settings, model=file, slots=1, port=0)
    checked = engine_options.check(replace(wanted, prompt_cache_mib=0))
    options = checked.options
    engine = EngineSupervisor(options, log=log, policy=RestartPolicy(most=0))
    began_ns = monotonic_ns()
    with engine, _client(engine.url) as http:
        loaded_s = (monotonic_ns() - began_ns) / NS_PER_S

        def alive() -> None:
            if engine.pid is None:
                engine.wait(_DEATH_SEEN_WITHIN_S)
                raise engine.failure or UserError(f"the engine ended (log: {log})")

        title = checked.header.metadata.get("general.name")
        yield Served(
            asker=Asker(http, dialects.get("openai"), options.model_name),
            load_s=loaded_s,
            memory=lambda: process_memory(engine.pid),
            alive=alive,
            endless={"ignore_eos": True},
            file_bytes=file.stat().st_size,
            has_template="tokenizer.chat_template" in checked.header.metadata,
            shape=_shape(checked.header),
            title=title if isinstance(title, str) else None,
            settings=f"embedded engine, 1 slot of {engine.context_per_slot} tokens, "
            f"{options.threads} threads",
        )


def _ollama_json(http: httpx.Client, method: str, path: str, body: object = None) -> Any:
    try:
        response = http.request(method, path, json=body)
        answer = response.json()
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise UserError(f"no Ollama answers at {http.base_url}: {why}") from error
    except ValueError as error:
        raise UserError(
            f"{http.base_url}: {path} answered no JSON (HTTP {response.status_code}); "
            "expected an Ollama"
        ) from error
    if response.status_code != httpx.codes.OK:
        said = answer.get("error") if isinstance(answer, dict) else None
        raise UserError(
            f"Ollama answered {path} with HTTP {response.status_code}"
            + (f": {str(said)[:300]}" if said else "")
        )
    return answer


def find_ollama(url: str) -> str:
    """Return the base URL of the Ollama at ``url``, once it has answered.

    Raises:
        UserError: nothing answers there, or it is no Ollama.
    """
    base = normalise_url(url, "ollama")
    with httpx.Client(base_url=base, timeout=httpx.Timeout(10.0), trust_env=False) as http:
        listed = _ollama_json(http, "GET", "/api/tags")
    if not isinstance(listed, dict) or not isinstance(listed.get("models"), list):
        raise UserError(f"{base}: /api/tags lists no models; expected an Ollama")
    return base


@contextmanager
def at_ollama(name: str, base: str, settings: Settings) -> Iterator[Served]:
    """Unload the model and have Ollama load it anew; unload it at the end of the block.

    Raises:
        UserError: Ollama does not know it or cannot load it.
    """
    with _client(base) as http:
        _ollama_json(http, "POST", "/api/generate", {"model": name, "keep_alive": 0})
        options = {
            "num_ctx": settings.local_optimization.model_loading.num_ctx,
            "num_gpu": settings.local_optimization.inference.num_gpu,
        }
        load = {"model": name, "options": options, "keep_alive": "10m", "stream": False}

        def alive() -> None:
            if model_loaded(_ollama_json(http, "GET", "/api/ps"), name) is not True:
                raise UserError(f"Ollama no longer holds {name}: its runner ended")

        # From here on it is unloaded again, also where loading is broken off.
        try:
            began_ns = monotonic_ns()
            _ollama_json(http, "POST", "/api/generate", load)
            loaded_s = (monotonic_ns() - began_ns) / NS_PER_S
            yield Served(
                asker=Asker(
                    http,
                    dialects.get("ollama"),
                    name,
                    extra={"options": options, "keep_alive": "10m"},
                ),
                load_s=loaded_s,
                memory=lambda: _ollama_memory(_ollama_json(http, "GET", "/api/ps"), name),
                alive=alive,
                settings=", ".join(
                    ["Ollama", *(f"{key} {value}" for key, value in options.items())]
                ),
            )
        finally:
            _unload(http, name)


def _unload(http: httpx.Client, name: str) -> None:
    """Unload a model; an Ollama that is gone by now holds none."""
    with suppress(UserError):
        _ollama_json(http, "POST", "/api/generate", {"model": name, "keep_alive": 0})


def _ollama_memory(running: object, name: str) -> MemoryUse:
    source = "Ollama's own figure (/api/ps)"
    models = running.get("models") if isinstance(running, dict) else None
    for each in models if isinstance(models, list) else []:
        if isinstance(each, dict) and model_loaded({"models": [each]}, name):
            size = each.get("size")
            return MemoryUse(size if isinstance(size, int) else None, None, None, source)
    return MemoryUse(None, None, None, source)
