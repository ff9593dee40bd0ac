"""Servers of the three dialects with stamps: a fault wall, one that is healthy, one that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Self

from firsttoken.core.clock import monotonic_ns
from firsttoken.upstreams.faults import INTERFACES, FaultWall
from firsttoken.upstreams.misbehaviour import SILENCE_S, Tempo
from firsttoken.upstreams.script import Counters, Head, Headers, Request, Script, Step, Whole
from firsttoken.upstreams.server import running
from firsttoken.upstreams.voices import Identity

HEALTHY = ("All", " is", " well", ".")
TEMPO = Tempo(token_s=0.01, ping_s=0.03, drip_s=0.3)


class Recorded:
    """Serves what an app answers, and keeps when each step of each reply was played.

    Args:
        app: a fault wall, or :class:`Healthy`.
    """

    def __init__(self, app: FaultWall | Healthy) -> None:
        self.counters: Counters = app.counters
        self.headers: Headers = app.headers
        self.received_ns: dict[str, int] = {}
        """By request id: when the request was read."""
        self.steps: dict[str, list[tuple[Step, int]]] = {}
        self._app = app

    def answer(self, request: Request) -> Script:
        """Return the script of one reply."""
        request_id = request.headers.get("x-request-id", "")
        self.received_ns[request_id] = request.received_ns
        return self._noted(self._app.answer(request), self.steps.setdefault(request_id, []))

    def _noted(self, script: Script, steps: list[tuple[Step, int]]) -> Script:
        stamp: int | None = None
        try:
            while True:
                try:
                    step = script.send(stamp)
                except StopIteration:
                    return
                steps.append((step, monotonic_ns()))
                stamp = yield step
        finally:
            script.close()


@dataclass
class Arrival:
    """One request that an :class:`Engine` has read."""

    request_id: str
    """``probe`` of the router's own request for a token, empty of its other questions."""
    hung: bool
    """Whether the engine was silent by then."""
    at_ns: int
    left_ns: int | None = None
    """When it was answered, or its client left."""


class Engine:
    """A local engine that can die and come back: with :meth:`stop` it refuses connections, while
    it is :attr:`hung` it accepts them and is silent."""

    def __init__(self) -> None:
        self._app = FaultWall(TEMPO)
        self.counters, self.headers = self._app.counters, self._app.headers
        self.hung = False
        self.arrivals: list[Arrival] = []
        self.url = "http://127.0.0.1:0"
        self._changed = asyncio.Event()
        self._serving = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def listen(self) -> None:
        """Accept connections, on the port it had before."""
        port = int(self.url.rpartition(":")[2])
        self.url = await self._serving.enter_async_context(running(self, port))

    async def stop(self) -> None:
        """Refuse connections, and drop those there are."""
        await self._serving.aclose()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is tried after each arrival and each end of one."""
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def answer(self, request: Request) -> Script:
        """Return the script of one reply."""
        request_id = request.headers.get("x-request-id", "")
        arrival = Arrival(request_id, self.hung, request.received_ns)
        self.arrivals.append(arrival)
        self._changed.set()
        return self._played(arrival, request)

    def _played(self, arrival: Arrival, request: Request) -> Script:
        try:
            if arrival.hung:
                yield SILENCE_S
            else:
                yield from self._app.answer(request)
        finally:
            arrival.left_ns = monotonic_ns()
            self._changed.set()


class Healthy:
    """A server of the three dialects that always answers :data:`HEALTHY`."""

    headers: Headers = ()

    def __init__(self) -> None:
        self.counters = Counters()

    def answer(self, request: Request) -> Script:
        """Return the script of one reply."""
        return self.counters.count(request.path, self._reply(request))

    def _reply(self, request: Request) -> Script:
        interface = INTERFACES[request.path]
        asked = interface.read(request)
        voice = interface.voice(Identity(request.headers["x-request-id"], 1), asked)
        if not asked.stream:
            yield Whole(voice.whole("".join(HEALTHY), "stop", len(HEALTHY)))
            return
        yield Head(voice.content_type)
        yield voice.role()
        for token in HEALTHY:
            yield voice.text(token)
            yield 0.001
        yield voice.end("stop", len(HEALTHY))


class Walls(NamedTuple):
    """Both servers of a test."""

    faulty: Recorded
    faulty_url: str
    healthy: Recorded
    healthy_url: str


@asynccontextmanager
async def walls() -> AsyncIterator[Walls]:
    """Serve a fault wall and a healthy server."""
    faulty, healthy = Recorded(FaultWall(TEMPO)), Recorded(Healthy())
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(running(app)) for app in (faulty, healthy)]
        yield Walls(faulty, urls[0], healthy, urls[1])
