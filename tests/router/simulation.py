"""The router in virtual time: its real parts, from the front's ASGI interface to the transport's
protocol, between scripted backends and clients that only a clock of its own drives.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.settings.own import Admission, Hedging
from firsttoken.core.words import REQUEST_ID_HEADER
from firsttoken.wire import dialects
from firsttoken.wire.events import Failure
from firsttoken.wire.replies import Reply as WholeReply
from firsttoken.wire.replies import collect
from router.account import AttemptRecord, Books, DecisionRecord
from router.cache.store import Caches
from router.config import Health, RouterConfig
from router.fronts.chat import Chat
from router.fronts.http import Keys
from router.gate import ConfidenceRules
from router.health.breaker import BreakerRules
from router.ledger import Ledger
from router.meters import Meters
from router.policy.plan import Rules
from router.serving import Serving
from router.voice.clock import ClockMemory
from tests.router.conftest import PATTERNS, backend
from tests.router.scripted import TOKEN, Call, Script, SimTransport


@dataclass(eq=False, slots=True)
class Visit:
    """One client and its request, from the socket's point of view."""

    request_id: str
    question: str = "tell me more"
    dialect: str = "openai"
    stream: bool = True
    model: str = "auto"
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the body."""
    before: Sequence[Mapping[str, Any]] = ()
    """Messages before the question."""
    says: Mapping[str, str] = field(default_factory=dict)
    """More headers of the request."""
    slow_s: float = 0.0
    """For which each write blocks."""
    leave_s: float | None = None
    """Seconds after which the client closes its connection."""
    stop_s: float | None = None
    """Seconds after which the server ends the exchange."""
    turns: int = 0
    """Turns of the loop by which both happen later, at the same time by the clock."""
    began_s: float = 0.0
    """When it asked."""
    answered_s: float | None = None
    """When the status line came."""
    ended_s: float = 0.0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    """Whether the exchange was ended."""
    left: bool = False
    stopped: bool = False
    slept_s: float = 0.0
    still_open: list[Call] = field(default_factory=list)
    """Calls made for it that were open when it ended: there should be none."""

    async def go(self, chat: Chat, transport: SimTransport) -> Visit:
        """Ask, and take the answer."""
        loop = asyncio.get_running_loop()
        self.began_s = loop.time()
        gone: asyncio.Future[None] = loop.create_future()
        sent = [{"type": "http.request", "body": self._asked(), "more_body": False}]

        async def receive() -> dict[str, Any]:
            if sent:
                return sent.pop()
            await gone
            return {"type": "http.disconnect"}

        says = {REQUEST_ID_HEADER: self.request_id, **self.says}
        scope = {"headers": [(name.encode(), value.encode()) for name, value in says.items()]}
        exchange = asyncio.ensure_future(chat(scope, receive, self._send))
        timers = []
        if self.leave_s is not None:
            leave = partial(self._leave, gone)
            timers.append(loop.call_later(self.leave_s, _after, self.turns, leave))
        if self.stop_s is not None:
            stop = partial(self._stop, exchange)
            timers.append(loop.call_later(self.stop_s, _after, self.turns, stop))
        exchange.add_done_callback(lambda _: self._look(transport))
        try:
            await exchange
        finally:
            for timer in timers:
                timer.cancel()
        return self

    @property
    def waited_s(self) -> float:
        """For how long it waited for the status line, which comes with the first token."""
        assert self.answered_s is not None
        return self.answered_s - self.began_s

    @property
    def reply(self) -> WholeReply:
        """What the client's library makes of the bytes."""
        dialect = dialects.get(self.dialect)
        if not self.stream:
            return collect(dialect.read_reply(self.body, 0))
        reader = dialect.reader()
        return collect([*reader.feed(self.body, 0), *reader.close(0)])

    @property
    def told(self) -> Failure | None:
        """The error that the last frame of the stream is; None where it is none."""
        end = b"\n" if self.dialect.startswith("ollama") else b"\n\n"
        frame = self.body.rstrip(b"\n").rpartition(end)[2]
        if b'"error"' not in frame:
            return None
        events = dialects.get(self.dialect).reader().feed(frame + end, 0)
        return next((event for event in events if isinstance(event, Failure)), None)

    @property
    def sources(self) -> set[tuple[str, int]]:
        """Backend and number of the calls whose tokens stand anywhere in the bytes."""
        found = TOKEN.findall(self.body.decode())
        return {(name, int(number)) for name, number, _ in found}

    def header(self, name: str) -> str | None:
        """Return one of the router's own headers."""
        return self.headers.get(f"x-firsttoken-{name}")

    def _asked(self) -> bytes:
        body: dict[str, Any] = {"model": self.model, "stream": self.stream, **self.fields}
        if self.dialect == "ollama_generate":
            return orjson.dumps({**body, "prompt": self.question})
        asked = {"role": "user", "content": self.question}
        return orjson.dumps({**body, "messages": [*self.before, asked]})

    async def _send(self, message: Mapping[str, Any]) -> None:
        if self.left:
            return
        loop = asyncio.get_running_loop()
        if message["type"] == "http.response.start":
            assert self.answered_s is None
            self.answered_s, self.status = loop.time(), message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        assert self.answered_s is not None
        assert not self.whole
        if self.slow_s and message["body"]:
            # As a server waits for room before it writes.
            began_s = loop.time()
            try:
                await asyncio.sleep(self.slow_s)
            finally:
                self.slept_s += loop.time() - began_s
        if not self.left:
            self.body += message["body"]
            self.whole = not message["more_body"]

    def _leave(self, gone: asyncio.Future[None]) -> None:
        if not gone.done():
            self.left = not self.whole
            gone.set_result(None)

    def _stop(self, exchange: asyncio.Future[None]) -> None:
        self.stopped = exchange.cancel()

    def _look(self, transport: SimTransport) -> None:
        self.ended_s = asyncio.get_running_loop().time()
        mine = (call for call in transport.open.values() if call.request_id == self.request_id)
        self.still_open = list(mine)


def _after(turns: int, act: Callable[[], None]) -> None:
    """Call ``act`` some turns of the loop later."""
    if turns:
        asyncio.get_running_loop().call_soon(_after, turns - 1, act)
    else:
        act()


class World:
    """A router that serves in virtual time; inside a running :class:`VirtualLoop`.

    Args:
        config: what the router is told.
        scripts: what each backend does with a call; a function of the call, or one script for all.
        seed: of the router's own draws.
        transport: in place of a new one.
    """

    def __init__(
        self,
        config: RouterConfig,
        scripts: Mapping[str, Script] | Callable[[Call], Script],
        seed: int = 0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.scripts = scripts
        self.transport = SimTransport(self._script_of)
        self.books = Books(Meters(config.rules), self.now_ns)
        self.books.attempts, self.books.decisions = Ledger(1_000_000), Ledger(1_000_000)
        caches = Caches.of(config.caching, self.books.meters, self._loop.time)
        self.serving = Serving(
            config,
            self.books,
            self.transport,
            caches,
            ClockMemory(now_s=self._loop.time),
            now_ns=self.now_ns,
            draw=random.Random(seed).random,  # noqa: S311
        )
        self.visits: list[Visit] = []
        self.tasks: list[asyncio.Task[Visit]] = []

    def now_ns(self) -> int:
        """Return the virtual time."""
        return round(self._loop.time() * NS_PER_S)

    def visit(self, question: str = "tell me more", /, **changes: Any) -> asyncio.Task[Visit]:
        """Let a client ask now."""
        visit = Visit(f"r{len(self.visits)}", question, **changes)
        self.visits.append(visit)
        chat = Chat(lambda: self.serving.pipeline, dialects.get(visit.dialect), Keys(()))
        task = self._loop.create_task(visit.go(chat, self.transport))
        self.tasks.append(task)
        return task

    async def ask(self, question: str = "tell me more", /, **changes: Any) -> Visit:
        """Let a client ask, and wait until it is served."""
        return await self.visit(question, **changes)

    def teach(self, backend: str, seconds: float) -> None:
        """Let a backend's first tokens be known to have taken so long."""
        for _ in range(20):
            self.serving.gate.times[backend].observe(12, seconds, self.now_ns())

    def now_s(self) -> float:
        """Return the virtual time, seconds."""
        return self._loop.time()

    @property
    def attempts(self) -> list[AttemptRecord]:
        """All that have ended."""
        return self.books.attempts.after(0)[1]

    @property
    def decisions(self) -> list[DecisionRecord]:
        """All that have ended."""
        return self.books.decisions.after(0)[1]

    def calls(self, backend: str) -> list[Call]:
        """Return the calls that reached a backend."""
        return [call for call in self.transport.calls if call.backend == backend]

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels."""
        family = getattr(self.books.meters, name)
        return sum(
            float(sample.value)
            for metric in family._parent.collect()
            for sample in metric.samples
            if labels.items() <= sample.labels.items() and not sample.name.endswith("_bucket")
        )

    def _script_of(self, call: Call) -> Script:
        if callable(self.scripts):
            return self.scripts(call)
        return self.scripts[call.backend]


def config_of(*backends: Any, **changes: Any) -> RouterConfig:
    """Return settings: two backends, ``local`` and ``cloud``, and what is off is said here."""
    known = backends or (sim_backend("local"), sim_backend("cloud"))
    values: dict[str, Any] = {
        "rules": Rules(known, **changes.pop("rules", {})),
        "patterns": PATTERNS,
        "breaker": BreakerRules(failures=1000, least_attempts=1000),
        "health": Health(active=False),
        "hedging": Hedging(enable=False),
        "confidence": ConfidenceRules(tokens=0),
        "admission": Admission(),
    }
    return RouterConfig(**(values | changes))


def sim_backend(name: str, /, **changes: Any) -> Any:
    """Return a backend of the simulation, with a deadline of 2 s and slots that nobody names."""
    values = {"first_token_timeout_s": 2.0, "slots": None} | changes
    return backend(name, f"http://{name}.sim", **values)


@asynccontextmanager
async def world(
    scripts: Mapping[str, Script] | Callable[[Call], Script],
    *backends: Any,
    seed: int = 0,
    **changes: Any,
) -> AsyncIterator[World]:
    """Start a router in virtual time, and look at its end that nothing is left."""
    made = World(config_of(*backends, **changes), scripts, seed)
    await made.serving.start()
    try:
        yield made
    finally:
        await made.serving.aclose()
    assert not made.transport.open
    assert not made.transport.gets_open
    for queue in made.serving._admissions.values():
        assert (queue.in_use, queue.waiting) == (0, 0)
