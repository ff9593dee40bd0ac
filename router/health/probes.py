"""The active probe of a local backend: its health path, and one token.

The health path alone would not do: Ollama's stays green while the process that computes is dead.
Remote backends get no active probes, since every token there is paid for.

A model that is not in memory is loaded by whoever asks for a token, and Ollama gives the loading
up when that one leaves. So a cold model is never asked with a probe's short limit: it is loaded
once, in the background, by a question that waits long enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson

from firsttoken.core.settings.backend import Backend
from firsttoken.engines.ollama import model_loaded

Get = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Fetches a URL; returns the status and the body. Raises OSError where there is no answer."""

Generate = Callable[[str, float], Awaitable[bool]]
"""Asks the backend of this name for one token; says whether it came within so many seconds."""

HEALTH_PATHS: Mapping[str, str] = {"ollama": "/api/tags", "openai": "/v1/models"}
"""By dialect."""


def health_url(base_url: str, dialect: str, endpoint: str | None) -> str | None:
    """Return what to fetch: ``health_check.local_model.endpoint``, else the dialect's path.

    None where neither is known: then the token alone is asked for.
    """
    path = HEALTH_PATHS.get(dialect)
    return endpoint or (base_url + path if path else None)


@dataclass(slots=True)
class LocalProbe:
    """Probes one local backend, and loads its model.

    Args:
        backend: which one.
        endpoint: ``health_check.local_model.endpoint``.
        timeout_s: of one probe, its token included.
        load_s: for one token of a model that has to be loaded first.
        generate: asks for one token.
        get: fetches a URL; the backend's key has to be in its headers, where it has one.
        dialect: tells in which dialect the backend is asked.
        meet: asks the backend what it is, where that is not known yet; done before a token is
            asked for, since a model may be loaded by that token.
    """

    backend: Backend
    endpoint: str | None
    timeout_s: float
    load_s: float
    generate: Generate
    get: Get
    dialect: Callable[[], str]
    meet: Callable[[], Awaitable[object]]
    loaded: bool | None = field(default=None, init=False)
    """Whether the model is in memory, where Ollama said so lately."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    """A silent engine gets one probe at a time, whoever makes it."""
    _load: asyncio.Task[bool] | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """Of the backend."""
        return self.backend.name

    async def passes(self, *, serving: bool = False) -> bool | None:
        """Make one probe; say whether it passed in time, or None while the model is loading.

        ``serving`` says that requests have succeeded of late: their tokens are evidence enough,
        and a working engine is not burdened with one more.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self.timeout_s):
                    if not await self._answers():
                        return False
                    await self._look()
                    load, cold = self._load, self.loaded is False
                    if load is not None and not load.done():
                        return None
                    self._load = None
                    if cold and load is not None:
                        return load.result()  # its token came just now, or never did
                    if cold:
                        self._start_loading()
                        return None
                    return serving or await self.generate(self.name, self.timeout_s)
            except OSError:  # a TimeoutError is one
                return False

    async def ready(self, seconds: float) -> bool:
        """Ask for the health path, then with patience for one token, which loads the model; say
        whether it came within ``seconds`` of the health path's answer."""
        async with self._turn:
            try:
                async with asyncio.timeout(self.timeout_s):
                    if not await self._answers():
                        return False
            except OSError:  # a TimeoutError is one
                return False
        return await self.load(seconds)

    async def load(self, seconds: float | None = None) -> bool:
        """Load the model by asking for one token, or wait for who does so already; say whether it
        came within ``seconds``. The loading goes on without whoever waits for it."""
        load = self._load
        if load is None or load.done():
            load = self._start_loading()
        done, _ = await asyncio.wait((load,), timeout=seconds)
        return bool(done) and load.result()

    def stop(self) -> None:
        """Begin to give up a loading under way."""
        if self._load is not None:
            self._load.cancel()

    async def aclose(self) -> None:
        """Give up a loading under way."""
        self.stop()
        if self._load is not None:
            await asyncio.gather(self._load, return_exceptions=True)

    def _start_loading(self) -> asyncio.Task[bool]:
        self._load = asyncio.get_running_loop().create_task(self._loads())
        return self._load

    async def _loads(self) -> bool:
        came = await self.generate(self.name, self.load_s)
        if came and self.loaded is False:
            self.loaded = True
        return came

    async def _answers(self) -> bool:
        """Fetch the health path. A server that knows no such path, or wants a key for it, says
        nothing of its health: the token decides."""
        url = health_url(self.backend.base_url, self.dialect(), self.endpoint)
        status = 200 if url is None else (await self.get(url))[0]
        if status >= 500:
            return False
        await self.meet()
        return True

    async def _look(self) -> None:
        """Ask Ollama whether the model is loaded; of other engines that stays unknown."""
        if self.dialect() != "ollama":
            return
        self.loaded = None
        try:
            status, body = await self.get(f"{self.backend.base_url}/api/ps")
            if status == 200:
                self.loaded = model_loaded(orjson.loads(body), self.backend.model)
        except (OSError, orjson.JSONDecodeError):
            return
