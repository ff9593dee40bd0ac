"""The active probe of a local backend: its health path, and one token.

The health path alone would not do: Ollama's stays green while the process that computes is dead.
Remote backends get no active probes, since every token there is paid for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from firsttoken.core.settings.backend import Backend

Get = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Fetches a URL; returns the status and the body. Raises OSError where there is no answer."""

Generate = Callable[[str], Awaitable[bool]]
"""Asks the backend of this name for one token; says whether it came."""

HEALTH_PATHS: Mapping[str, str] = {"ollama": "/api/tags", "openai": "/v1/models"}
"""By dialect."""


def health_url(backend: Backend, endpoint: str | None) -> str | None:
    """Return what to fetch: ``health_check.local_model.endpoint``, else the dialect's path.

    None where neither is known: then the token alone is asked for.
    """
    path = HEALTH_PATHS.get(backend.dialect or "openai")
    return endpoint or (backend.base_url + path if path else None)


def model_loaded(body: bytes, model: str) -> bool | None:
    """Read the body of Ollama's ``/api/ps``: whether ``model`` is in memory, None if unreadable.

    A name without a tag means ``latest``, as Ollama has it.
    """
    try:
        found = json.loads(body)
    except ValueError:
        return None
    models = found.get("models") if isinstance(found, dict) else None
    if not isinstance(models, list):
        return None
    names = {
        _with_tag(each[key])
        for each in models
        if isinstance(each, dict)
        for key in ("name", "model")
        if isinstance(each.get(key), str)
    }
    return _with_tag(model) in names


def _with_tag(model: str) -> str:
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


@dataclass(slots=True)
class LocalProbe:
    """Probes one local backend.

    Args:
        backend: which one.
        endpoint: ``health_check.local_model.endpoint``.
        timeout_s: of one probe, its token included.
        generate: asks for one token.
        get: fetches a URL; the backend's key has to be in its headers, where it has one.
    """

    backend: Backend
    endpoint: str | None
    timeout_s: float
    generate: Generate
    get: Get
    loaded: bool | None = field(default=None, init=False)
    """Whether the model is in memory, where Ollama said so lately."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    """A silent engine gets one probe at a time, whoever makes it."""

    async def passes(self, *, serving: bool = False) -> bool:
        """Make one probe; say whether it passed in time.

        ``serving`` says that requests have succeeded of late: their tokens are evidence enough,
        and a working engine is not burdened with one more.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self.timeout_s):
                    passed = await self._answers() and (serving or await self.generate(self.name))
            except OSError:  # a TimeoutError is one
                passed = False
            if passed:
                await self.look()
            return passed

    @property
    def name(self) -> str:
        """Of the backend."""
        return self.backend.name

    async def look(self) -> None:
        """Ask Ollama whether the model is loaded; of other engines that stays unknown."""
        if self.backend.dialect != "ollama":
            return
        try:
            async with asyncio.timeout(self.timeout_s):
                status, body = await self.get(f"{self.backend.base_url}/api/ps")
        except OSError:  # a TimeoutError is one
            self.loaded = None
        else:
            self.loaded = model_loaded(body, self.backend.model) if status == 200 else None

    async def _answers(self) -> bool:
        """Fetch the health path. A server that knows no such path, or wants a key for it, says
        nothing of its health: the token decides."""
        url = health_url(self.backend, self.endpoint)
        if url is None:
            return True
        status, _ = await self.get(url)
        return status < 500
