"""The way of one request: signals, plan, attempts behind the gate, relay, account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from firsttoken.core.words import ErrorType, Outcome
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.events import Timings, Usage
from router.account import Account, Books
from router.backends.faults import Fault
from router.config import RouterConfig
from router.gate import Gate, Opened
from router.health.monitor import Monitor
from router.policy import signals
from router.policy.plan import State, plan
from router.relay import Relay


class Client(Protocol):
    """The side of the client, in whatever dialect it speaks."""

    async def begin(self, opened: Opened, account: Account) -> None:
        """Send the headers of an answer."""

    async def write(self, data: bytes) -> None:
        """Send bytes of the answer."""

    async def end(self) -> None:
        """End the answer."""

    async def refuse(self, fault: Fault, account: Account) -> None:
        """Answer with an error status; nothing was sent before."""

    async def break_off(self, fault: Fault) -> None:
        """End an answer that has begun in the way the dialect has for errors."""


@dataclass(slots=True)
class Pipeline:
    """Serves requests."""

    config: RouterConfig
    gate: Gate
    monitor: Monitor
    books: Books
    draw: Callable[[], float]
    """Random numbers in [0, 1)."""
    in_flight: int = 0

    async def serve(self, request: ChatRequest, request_id: str, client: Client) -> None:
        """Serve one accepted request; it gets exactly one outcome, whatever happens."""
        with self.books.open(request_id, request.model, stream=request.stream) as account:
            if self.in_flight >= self.config.limits.in_flight:
                account.end(Outcome.REJECTED, ErrorType.OVERLOADED)
                fault = Fault(ErrorType.OVERLOADED, "too many requests in flight", retry_after="1")
                await client.refuse(fault, account)
                return
            self.in_flight += 1
            try:
                await self._serve(request, client, account)
            finally:
                self.in_flight -= 1

    async def _serve(self, request: ChatRequest, client: Client, account: Account) -> None:
        found = signals.read(request.messages, self.config.patterns)
        state = State(blocked=self.monitor.blocked, draw=self.draw())
        chosen = plan(request.model, found, self.config.rules, state)
        account.planned(chosen, found.query_class)
        opened = await self.gate.commit(chosen, request, account)
        if isinstance(opened, Fault):
            account.end(opened.outcome, opened.error_type)
            await client.refuse(opened, account)
            return
        try:
            await client.begin(opened, account)
            if request.stream:
                await self._stream(opened, client, account)
            else:
                await self._whole(opened, client, account)
        finally:
            opened.reply.close()

    async def _stream(self, opened: Opened, client: Client, account: Account) -> None:
        stall_s = opened.backend.first_token_timeout_s
        relay = Relay(self.gate.dialect, client.write, stall_s, self.books.now_ns)
        try:
            await relay.begin(opened.held)
            if opened.record.first_token_ns is not None:
                account.delivered()
            await relay.run(opened.reply)
        finally:
            # Also where the client left: it may have done so because the answer was complete.
            ending = relay.ending()
            account.told(opened.record, ending.usage, ending.timings, ending.last_ns)
            if ending.complete:
                account.end(Outcome.SUCCESS)
                self.monitor.succeeded(opened.backend.name)
        if ending.fault is None:
            await client.end()
            return
        account.end(ending.fault.outcome, ending.fault.error_type)
        self.monitor.failed(opened.backend.name, ending.fault.error_type)
        if ending.told:
            await client.end()
        else:
            await client.break_off(ending.fault)

    async def _whole(self, opened: Opened, client: Client, account: Account) -> None:
        await client.write(opened.held)
        usage = next((event for event in opened.events if isinstance(event, Usage)), None)
        timings = next((event for event in opened.events if isinstance(event, Timings)), None)
        account.told(opened.record, usage, timings, None)
        account.end(Outcome.SUCCESS)
        self.monitor.succeeded(opened.backend.name)
        await client.end()
