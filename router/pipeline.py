"""The way of one request: caches, signals, plan, attempts behind the gate, relay, account."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from firsttoken.core.words import ErrorType, Outcome, Reason, Tier
from firsttoken.wire.dialect import ChatRequest, Dialect, ReplyIdentity
from firsttoken.wire.events import Event, Usage, is_token
from router.account import Account, Books, Counterfactual, cost_of
from router.attempt import Opened
from router.backends.faults import Fault
from router.cache.store import CachedReply, Caches, Lookup
from router.config import RouterConfig
from router.gate import Gate
from router.health.monitor import Monitor
from router.policy import signals
from router.policy.plan import State, pinned, plan
from router.relay import Ending, Passage, Relay, Rewritten, Untouched


class Client(Protocol):
    """The side of the client."""

    dialect: Dialect
    """The one it speaks."""

    async def begin(self, account: Account, opened: Opened | None) -> None:
        """Send the headers of an answer; ``opened`` is None where it comes from a cache."""

    async def write(self, data: bytes) -> None:
        """Send bytes of the answer."""

    async def end(self) -> None:
        """End the answer."""

    async def refuse(self, fault: Fault, account: Account) -> None:
        """Answer with an error status; nothing was sent before."""

    async def break_off(self, fault: Fault) -> None:
        """End an answer that has begun in the way the dialect has for errors."""


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Pipeline:
    """Serves requests."""

    config: RouterConfig
    gate: Gate
    monitor: Monitor
    caches: Caches
    books: Books
    draw: Callable[[], float]
    """Random numbers in [0, 1)."""
    avoid: Callable[[int, float], Mapping[str, Reason]]
    """Backends that should not come first now, for a prompt of so many characters and a random
    number in [0, 1)."""
    in_flight: int = 0
    idle: asyncio.Event = field(default_factory=_set_event)
    """Set while no request is served."""

    async def serve(
        self,
        request: ChatRequest,
        request_id: str,
        tenant: str,
        client: Client,
        tier: Tier | None = None,
        *,
        session: str | None = None,
    ) -> None:
        """Serve one accepted request; it gets exactly one outcome, whatever happens.

        With ``tier`` only its backends are asked, and no cache. ``session`` is the client's name
        for the conversation.
        """
        books = self.books
        books.ratings.served(tenant, request_id, session)
        conversation = books.identifier.key(request.messages, tenant, session)
        with books.open(
            request_id, request.model, stream=request.stream, conversation=conversation
        ) as account:
            if self.in_flight >= self.config.limits.in_flight:
                account.end(Outcome.REJECTED, ErrorType.OVERLOADED)
                fault = Fault(ErrorType.OVERLOADED, "too many requests in flight", retry_after="1")
                await client.refuse(fault, account)
                return
            self.in_flight += 1
            self.idle.clear()
            try:
                await self._serve(request, tenant, client, account, tier)
            finally:
                self.in_flight -= 1
                if not self.in_flight:
                    self.idle.set()

    async def _serve(
        self,
        request: ChatRequest,
        tenant: str,
        client: Client,
        account: Account,
        tier: Tier | None,
    ) -> None:
        if self.config.limits.keep_texts:
            account.decision.text = signals.last_user_text(request.messages)[:500]
        lookup = Lookup() if tier else self.caches.look_up(self._known(request), tenant)
        account.looked_up(lookup.answer)
        if lookup.reply is not None:
            await _replay(lookup.reply, request, client, account)
            self.caches.used(lookup)
            return
        found = signals.read(request.messages, self.config.patterns)
        avoided = self.avoid(found.prompt_chars, self.draw())
        state = State(self.monitor.blocked, self.monitor.drained, avoided, self.draw())
        rules = self.config.rules
        chosen = plan(request.model, found, rules.of_tier(tier) if tier else rules, state)
        account.planned(chosen, found)
        opened = await self.gate.commit(chosen, request, found.prompt_chars, account)
        if isinstance(opened, Fault):
            account.end(opened.outcome, opened.error_type)
            await client.refuse(opened, account)
            return
        try:
            await client.begin(account, opened)
            if request.stream:
                ending = await self._stream(opened, request, lookup, client, account)
            else:
                ending = await self._whole(opened, client, account)
        finally:
            opened.close()
        if ending.complete:
            self.caches.keep(lookup, ending.events, opened.backend)
        account.decision.instead = self._instead(opened, ending.usage, found.prompt_chars)

    def _known(self, request: ChatRequest) -> ChatRequest:
        """Return ``request`` as the caches know it: names that pin no backend are all one."""
        named = pinned(request.model, self.config.rules.backends)
        return replace(request, model=named.name if named else "")

    async def _stream(
        self,
        opened: Opened,
        request: ChatRequest,
        lookup: Lookup,
        client: Client,
        account: Account,
    ) -> Ending:
        keep = lookup.key is not None
        passage: Passage
        if opened.dialect is client.dialect and not opened.probabilities:
            passage = Untouched(client.dialect, keep=keep)
        else:
            identity = _identity(opened.backend.model)
            writer = client.dialect.writer(identity, request.include_usage)
            passage = Rewritten(opened.reader, writer, keep=keep)
        stall_s = opened.backend.first_token_timeout_s
        relay = Relay(passage, client.write, stall_s, self.books.now_ns)
        try:
            await relay.begin(bytes(opened.held), opened.events)
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
            return ending
        account.end(ending.fault.outcome, ending.fault.error_type)
        self.gate.failed(opened.backend, ending.fault)
        if ending.told:
            await client.end()
        else:
            await client.break_off(ending.fault)
        return ending

    async def _whole(self, opened: Opened, client: Client, account: Account) -> Ending:
        if opened.dialect is client.dialect:
            body = bytes(opened.held)
        else:
            body = client.dialect.write_reply(_identity(opened.backend.model), opened.events)
        ending = Ending(events=opened.events)
        for event in opened.events:
            ending.note(event)
        # Before it is sent: a reply is paid for, whether or not the client waits for it.
        account.told(opened.record, ending.usage, ending.timings, None)
        account.end(Outcome.SUCCESS)
        self.monitor.succeeded(opened.backend.name)
        await client.write(body)
        await client.end()
        return ending

    def _instead(
        self, opened: Opened, usage: Usage | None, prompt_chars: int
    ) -> list[Counterfactual]:
        """Return what the other backends would have been expected to give."""
        now_ns = self.books.now_ns()
        found = []
        for backend in self.config.rules.backends:
            if backend.name == opened.backend.name:
                continue
            median_s = self.gate.times[backend.name].quantile(0.5, prompt_chars, now_ns)
            found.append(
                Counterfactual(
                    backend.name,
                    None if median_s is None else round(median_s * 1000, 1),
                    None if usage is None else cost_of(usage, backend),
                )
            )
        return found


async def _replay(
    reply: CachedReply, request: ChatRequest, client: Client, account: Account
) -> None:
    """Answer from a cache, as a stream where one is asked for."""
    await client.begin(account, None)
    identity = _identity(reply.model)
    if not request.stream:
        await client.write(client.dialect.write_reply(identity, list(reply.events)))
    else:
        writer = client.dialect.writer(identity, request.include_usage)
        first, rest = _until_first_token(reply.events)
        await client.write(b"".join(map(writer.write, first)))
        account.delivered()
        await client.write(b"".join(map(writer.write, rest)))
    account.end(Outcome.SUCCESS)
    await client.end()


def _until_first_token(events: tuple[Event, ...]) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
    place = next((number for number, event in enumerate(events, 1) if is_token(event)), 1)
    return events[:place], events[place:]


def _identity(model: str) -> ReplyIdentity:
    return ReplyIdentity(f"chatcmpl-{secrets.token_hex(12)}", model, int(time.time()))
