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
        queue: takes the number of slots; None where that is not to be asked for its sake.
        told: is told the number of slots, and the tokens of one, each where llama.cpp says so; None
            where nobody wants to know. Where it alone wants to, :meth:`want_slots` has it asked.
    """

    def __init__(
        self,
        backend: Backend,
        fetch: Fetch,
        spoken: dict[str, Dialect],
        queue: Admission | None,
        told: Callable[[int | None, int | None], None] | None = None,
    ) -> None:
        self._backend = backend
        self._fetch = fetch
        self._spoken = spoken
        self._queue = queue
        self._tell = told
        self._slots_wanted = queue is not None
        self._turn = asyncio.Lock()
        self._all_answered = asyncio.Event()
        self._open: tuple[Callable[[], Awaitable[bool]], ...] = ()
        self._left(self._questions())

    @property
    def met(self) -> bool:
        """Whether nothing is left to ask."""
        return not self._open

    def begin_anew(self) -> None:
        """Have everything asked again: what answers now may be another engine."""
        self._left(self._questions())

    def want_slots(self) -> bool:
        """Have the slots asked for too; say whether that is one more question."""
        if self._slots_wanted or self._tell is None:
            return False
        self._slots_wanted = True
        self._left((*self._open, self._ask_slots))
        return True

    async def ask(self) -> bool:
        """Ask what was not answered yet; say whether nothing is left."""
        async with self._turn:
            while self._open:
                asked = self._open
                if not await asked[0]():
                    return False
                if asked is self._open:
                    self._left(asked[1:])
        return True

    async def until_met(self) -> None:
        """Ask again and again until everything is answered."""
        while True:
            if await self.ask():
                return
            await asyncio.sleep(AGAIN_S)

    async def known(self) -> None:
        """Wait until everything is answered, whoever asks."""
        await self._all_answered.wait()

    def _left(self, questions: tuple[Callable[[], Awaitable[bool]], ...]) -> None:
        self._open = questions
        if questions:
            self._all_answered.clear()
        else:
            self._all_answered.set()

    def _questions(self) -> tuple[Callable[[], Awaitable[bool]], ...]:
        dialect = self._backend.dialect is None and is_private(parse(self._backend.base_url))
        slots = (self._ask_slots,) if self._slots_wanted else ()
        return (*((self._ask_dialect,) if dialect else ()), *slots)

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
        if type(slots) is not int or slots < 1:
            return True
        if self._queue is not None:
            self._queue.resize(slots)
        if self._tell is not None:
            settings = told.get("default_generation_settings")
            context = settings.get("n_ctx") if isinstance(settings, dict) else None
            self._tell(slots, context if type(context) is int and context > 0 else None)
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
