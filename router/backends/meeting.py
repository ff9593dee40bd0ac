"""Asking a backend what it is: in which dialect it answers, and how many requests at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.endpoint import is_private, parse
from firsttoken.transport.protocol import Transport, TransportError
from firsttoken.wire import dialects
from firsttoken.wire.dialect import Dialect
from router.admission import Admission
from router.attempt import ERROR_BODY_BYTES, read_body

ASK_TIMEOUT_S = 2.0
"""For one question."""

AGAIN_S = 2.0
"""Pause before a backend that gave no answer is asked again."""

NOT_YET = frozenset({502, 503, 504})
"""What is in front of a backend that does not answer yet, or is about to, says so."""

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Fetches a URL; returns the status and the body. Raises OSError where there is no answer."""


def fetch_from(transport: Transport, backend: Backend) -> Fetch:
    """Return what fetches a URL for the sake of ``backend``: with its key, where the URL is of the
    backend's own origin."""
    origin, key = parse(backend.base_url).origin, backend.api_key

    async def fetch(url: str) -> tuple[int, bytes]:
        ours = key and parse(url).origin == origin
        try:
            reply = await transport.get(url, {"authorization": f"Bearer {key}"} if ours else {})
            try:
                return reply.status, bytes(await read_body(reply, ERROR_BODY_BYTES))
            finally:
                reply.close()
        except TransportError as error:
            raise OSError(str(error)) from error

    return fetch


class Meeting:
    """What there is to ask one backend, until it has answered.

    Args:
        backend: which one.
        fetch: fetches its URLs.
        spoken: in which dialect each backend is asked, by its name; the answer is entered here.
        queue: takes the number of slots; None where that is not to be asked.
    """

    def __init__(
        self,
        backend: Backend,
        fetch: Fetch,
        spoken: dict[str, Dialect],
        queue: Admission | None,
    ) -> None:
        self._backend = backend
        self._fetch = fetch
        self._spoken = spoken
        self._queue = queue
        self._turn = asyncio.Lock()
        self._open = self._questions()

    @property
    def met(self) -> bool:
        """Whether nothing is left to ask."""
        return not self._open

    def begin_anew(self) -> None:
        """Have everything asked again: what answers now may be another engine."""
        self._open = self._questions()

    async def ask(self) -> bool:
        """Ask what was not answered yet; say whether nothing is left."""
        async with self._turn:
            while self._open:
                asked = self._open
                if not await asked[0]():
                    return False
                if asked is self._open:
                    self._open = asked[1:]
        return True

    async def until_met(self) -> None:
        """Ask again and again until everything is answered."""
        while True:
            if await self.ask():
                return
            await asyncio.sleep(AGAIN_S)

    def _questions(self) -> tuple[Callable[[], Awaitable[bool]], ...]:
        dialect = self._backend.dialect is None and is_private(parse(self._backend.base_url))
        slots = self._queue is not None
        return (*((self._ask_dialect,) if dialect else ()), *((self._ask_slots,) if slots else ()))

    async def _ask_dialect(self) -> bool:
        told = await self._told("/api/version")
        if told is None:
            return False
        found = "ollama" if isinstance(told.get("version"), str) else "openai"
        self._spoken[self._backend.name] = dialects.get(found)
        return True

    async def _ask_slots(self) -> bool:
        told = await self._told("/props")
        if told is None:
            return False
        slots = told.get("total_slots")
        if self._queue is not None and type(slots) is int and slots > 0:
            self._queue.resize(slots)
        return True

    async def _told(self, path: str) -> dict[str, Any] | None:
        """Return what the backend says at ``path``: an empty object where it says something else,
        None where it does not answer yet."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                status, body = await self._fetch(f"{self._backend.base_url}{path}")
        except OSError:  # a TimeoutError is one
            return None
        if status in NOT_YET:
            return None
        try:
            told = orjson.loads(body) if status == 200 else {}
        except orjson.JSONDecodeError:
            return {}
        return told if isinstance(told, dict) else {}
