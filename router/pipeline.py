"""The way of one request: caches, signals, plan, attempts behind the gate, relay, account."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import ErrorType, Outcome, Reason, Tier
from firsttoken.wire.dialect import ChatRequest, Dialect, ReplyIdentity
from firsttoken.wire.events import Event, Usage, is_token
from firsttoken.wire.heard import Heard
from router.account import Account, Books, Counterfactual, cost_of
from router.attempt import Opened
from router.backends.faults import Fault
from router.cache.store import CachedReply, Caches, Lookup
from router.config import RouterConfig
from router.gate import Gate, Question
from router.health.monitor import Monitor
from router.policy import signals
from router.policy.background import in_background
from router.policy.plan import Plan, State, pinned, plan
from router.relay import Ending, Passage, Relay, Rewritten, Untouched
from router.told import Told
from router.voice.background import PATIENCE_S
from router.voice.talk import Talk, Talks
from router.voice.turns import turn_requests
from router.waiting import meanwhile

PATIENT_SHARE = 0.9
"""Of the time that a client says it waits: the rest is for what is said in the end."""


MOST_SILENT_S = 5.0
"""Seconds after which a client that is told to wait is told so again, at the latest."""


class Client(Protocol):
    """The side of the client."""

    dialect: Dialect
    """The one it speaks."""
    spoken_failure: str
    """What it is told, as an answer, where :meth:`refuse` would tell of an error; empty: that."""
    last_words: Callable[[], bytes] | None
    """What :meth:`break_off` ends an answer with that is being spoken; None: an error."""

    async def begin(self, account: Account, opened: Opened | None) -> None:
        """Send the headers of an answer; ``opened`` is None where it comes from a cache."""

    async def wait(self) -> None:
        """Send a comment, so that the client does not take a stream for dead; with the headers,
        where nothing was sent before. What fails later can only break off."""

    async def write(self, data: bytes) -> None:
        """Send bytes of the answer."""

    async def end(self) -> None:
        """End the answer."""

    async def refuse(self, fault: Fault, account: Account) -> None:
        """Answer with an error status; nothing was sent before."""

    async def break_off(self, fault: Fault) -> None:
        """End an answer that has begun in the way the dialect has for errors."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One accepted request, and who asks."""

    request: ChatRequest
    tenant: str
    client: Client
    tier: Tier | None = None
    """The only tier to be asked; then no cache is."""
    told: Told = field(default_factory=Told)
    talk: Talk | None = None
    """Set where a talking device asks."""
    heard: Heard | None = None
    """Listens to a stream that a device speaks."""

    @property
    def patience_ns(self) -> int | None:
        """For how long, from its beginning, a device's request may be silent."""
        if self.talk is None or self.told.patience_s is None:
            return None
        return int(PATIENT_SHARE * self.told.patience_s * NS_PER_S)

    @property
    def comment_every_s(self) -> float | None:
        """How often the client is told to wait; None: never.

        That is for what nobody waits for: it takes its time, and a client with the timeout of a
        talk would always give it up. Only a stream of events has comments.
        """
        background = self.talk is not None and self.talk.in_background and self.request.stream
        if not background or self.client.dialect.content_type != "text/event-stream":
            return None
        patience_s = self.told.patience_s
        if patience_s is None or PATIENT_SHARE * patience_s >= PATIENCE_S:
            return None
        return min(MOST_SILENT_S, patience_s / 3)


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
    talks: Talks
    foresee: Callable[[ChatRequest, Talk, Mapping[str, Reason]], Mapping[str, Reason]]
    """Backends that should not come first now: those that are given, and those for which a talking
    device's prompt is too long."""
    in_flight: int = 0
    idle: asyncio.Event = field(default_factory=_set_event)
    """Set while no request is served."""

    async def serve(self, visit: Visit, request_id: str) -> None:
        """Serve one accepted request; it gets exactly one outcome, whatever happens."""
        books, request, client = self.books, visit.request, visit.client
        tenant, told = visit.tenant, visit.told
        books.ratings.served(tenant, request_id, told.session)
        talk = self.talks.of(request)
        if talk is not None:
            client.spoken_failure = talk.spoken_failure
            heard = Heard() if talk.is_heard and request.stream else None
            visit = replace(visit, talk=talk, heard=heard)
        conversation = None
        if talk is None or talk.is_heard:
            conversation = books.identifier.key(request.messages, tenant, told.session)
        with books.open(
            request_id, request.model, stream=request.stream, conversation=conversation
        ) as account:
            account.sent_before(told.retries)
            if talk is not None:
                account.talking(talk.call)
            if self.in_flight >= self.config.limits.in_flight:
                account.end(Outcome.REJECTED, ErrorType.OVERLOADED)
                fault = Fault(ErrorType.OVERLOADED, "too many requests in flight", retry_after="1")
                await client.refuse(fault, account)
                return
            self.in_flight += 1
            self.idle.clear()
            try:
                await self._serve(visit, account)
            finally:
                self.in_flight -= 1
                if not self.in_flight:
                    self.idle.set()

    async def _serve(self, visit: Visit, account: Account) -> None:
        request, client, tier = visit.request, visit.client, visit.tier
        if self.config.limits.keep_texts:
            account.decision.text = signals.last_user_text(request.messages)[:500]
        lookup = Lookup() if tier else self.caches.look_up(self._known(request), visit.tenant)
        account.looked_up(lookup.answer)
        if lookup.reply is not None:
            await _replay(lookup.reply, request, client, account)
            if visit.heard is not None:
                visit.heard.note(lookup.reply.events, account.now_ns())
                _listened(visit, account)
            self.caches.used(lookup)
            return
        found = signals.read(request.messages, self.config.patterns)
        avoided = self.avoid(found.prompt_chars, self.draw())
        if visit.talk is not None:
            avoided = self.foresee(request, visit.talk, avoided)
        state = State(self.monitor.blocked, self.monitor.drained, avoided, self.draw())
        rules = self.config.rules
        chosen = plan(request.model, found, rules.of_tier(tier) if tier else rules, state)
        if visit.talk is not None and visit.talk.in_background:
            chosen = in_background(chosen)
        account.planned(chosen, found)
        opened = await self._commit(chosen, found.prompt_chars, visit, account)
        if isinstance(opened, Fault):
            account.end(opened.outcome, opened.error_type)
            await client.refuse(opened, account)
            return
        try:
            await client.begin(account, opened)
            if request.stream:
                ending = await self._stream(opened, visit, lookup, account)
            else:
                ending = await self._whole(opened, client, account)
        finally:
            opened.close()
            _listened(visit, account)
        if ending.complete:
            self.caches.keep(lookup, ending.events, opened.backend)
        account.decision.instead = self._instead(opened, ending.usage, found.prompt_chars)

    async def _commit(
        self, chosen: Plan, prompt_chars: int, visit: Visit, account: Account
    ) -> Opened | Fault:
        """Make the attempts of ``chosen``, and keep the client waiting where that takes long."""
        patience_ns, every_s = visit.patience_ns, visit.comment_every_s
        until_ns = None
        if patience_ns is not None and every_s is None:
            until_ns = account.accepted_ns + patience_ns
        question = Question(visit.request, prompt_chars, visit.talk, until_ns)
        committing = self.gate.commit(chosen, question, account)
        if every_s is None:
            return await committing
        return await meanwhile(committing, visit.client.wait, every_s, _close)

    def _known(self, request: ChatRequest) -> ChatRequest:
        """Return ``request`` as the caches know it: names that pin no backend are all one."""
        named = pinned(request.model, self.config.rules.backends)
        return replace(request, model=named.name if named else "")

    async def _stream(
        self,
        opened: Opened,
        visit: Visit,
        lookup: Lookup,
        account: Account,
    ) -> Ending:
        client = visit.client
        keep = lookup.key is not None
        chain = opened.chain
        passage: Passage
        if opened.dialect is client.dialect and not opened.probabilities and chain is None:
            passage = Untouched(client.dialect, keep=keep)
        else:
            identity = new_identity(opened.backend.model)
            writer = client.dialect.writer(identity, visit.request.include_usage)
            passage = rewritten = Rewritten(
                opened.reader, writer, keep=keep, chain=chain, heard=visit.heard
            )
            if client.spoken_failure:
                client.last_words = lambda: rewritten.cut(self.books.now_ns())
        patience_ns = visit.patience_ns
        patience_s = math.inf if patience_ns is None else patience_ns / NS_PER_S
        stall_s = opened.backend.first_token_timeout_s
        relay = Relay(passage, client.write, stall_s, self.books.now_ns, patience_s)
        try:
            await relay.begin(bytes(opened.held), opened.events)
            if opened.record.first_token_ns is not None:
                account.delivered()
            await relay.run(opened.reply)
        finally:
            # Also where the client left: it may have done so because the answer was complete.
            ending = relay.ending()
            account.told(opened.record, ending.usage, ending.timings, ending.last_ns)
            if opened.place is not None:
                first_token_s = opened.record.first_token_s
                opened.place.told(ending.usage, first_token_s, ending.timings)
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
        if opened.dialect is client.dialect and opened.chain is None:
            body = bytes(opened.held)
        else:
            body = client.dialect.write_reply(new_identity(opened.backend.model), opened.events)
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


def _close(opened: Opened | Fault) -> None:
    if isinstance(opened, Opened):
        opened.close()


def _listened(visit: Visit, account: Account) -> None:
    """Enter what a device was given to speak."""
    if visit.talk is not None and visit.heard is not None:
        turn = turn_requests(visit.request.messages, visit.talk.call, visit.heard)
        account.spoke(visit.heard, turn)


async def _replay(
    reply: CachedReply, request: ChatRequest, client: Client, account: Account
) -> None:
    """Answer from a cache, as a stream where one is asked for."""
    await client.begin(account, None)
    identity = new_identity(reply.model)
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


def new_identity(model: str) -> ReplyIdentity:
    """Return what every frame of a reply by ``model`` repeats that begins now."""
    return ReplyIdentity(f"chatcmpl-{secrets.token_hex(12)}", model, int(time.time()))
