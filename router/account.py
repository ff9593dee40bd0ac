"""The books: exactly one outcome for each accepted request, and a record of each attempt."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from firsttoken.core.catalogue import NO_BACKEND, CacheAnswer, HedgeResult, TokenType
from firsttoken.core.clock import NS_PER_S, NowNs, milliseconds
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import CallClass, ErrorType, Outcome, Reason, Tier
from firsttoken.wire.events import Timings, Usage
from firsttoken.wire.heard import Heard
from router.backends.faults import Fault
from router.conversations import Conversations, Identifier, Key
from router.ledger import Ledger
from router.load_test import Announced
from router.meters import Meters
from router.policy.plan import Plan
from router.policy.signals import Signals
from router.ratings import Ratings
from router.share import LocalShare

KEPT_ATTEMPTS = 20_000
KEPT_DECISIONS = 5_000

_CACHE_REASONS = {
    CacheAnswer.EXACT: Reason.CACHE_EXACT,
    CacheAnswer.SEMANTIC: Reason.CACHE_SEMANTIC,
}


@dataclass(slots=True)
class AttemptRecord:
    """One try at one backend; its fields are the columns of ``attempts.parquet``."""

    request_id: str
    backend: str
    model: str
    started_ns: int
    headers_ns: int | None = None
    first_token_ns: int | None = None
    ended_ns: int = 0
    outcome: Outcome | None = None
    """None while it is under way."""
    error_type: ErrorType | None = None
    queue_ms: float | None = None
    load_ms: float | None = None
    prompt_ms: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    predict_ms: float | None = None
    hedged: bool = False
    committed: bool = False
    engine_queue_ms: float | None = None
    """Wait in the engine's own queue, where it tells; ``queue_ms`` is the wait in the router's."""

    @property
    def first_token_s(self) -> float | None:
        """Seconds from asking the backend, so without the wait for a slot, to its first token."""
        if self.first_token_ns is None:
            return None
        return (self.first_token_ns - self.started_ns) / NS_PER_S - (self.queue_ms or 0.0) / 1000


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What another backend would have been expected to give."""

    backend: str
    ttft_ms: float | None
    """The median of its own first tokens for prompts of this length; None: not known yet."""
    cost_usd: float | None
    """For as many tokens as were used; None where the backend did not count them."""


@dataclass(slots=True)
class DecisionRecord:
    """Why a request went where it went; holds no text of the conversation."""

    request_id: str
    unix_s: float
    accepted_ns: int
    model: str
    """The name asked for, as the metric label has it."""
    stream: bool
    signals: Signals | None = None
    cache: CacheAnswer = CacheAnswer.BYPASS
    plan: list[dict[str, str]] = field(default_factory=list)
    hedge: HedgeResult | None = None
    confidence: float | None = None
    """Of the first tokens of the local reply, where they were asked for it; in [0, 1]."""
    attempts: int = 0
    tier: Tier = Tier.NONE
    backend: str = NO_BACKEND
    reason: Reason | None = None
    outcome: Outcome | None = None
    error_type: ErrorType | None = None
    first_token_ns: int | None = None
    """When the first token was handed to the client's socket; null where it was not streamed."""
    ended_ns: int = 0
    ttft_ms: float | None = None
    ttfs_ms: float | None = None
    """To the first sentence that can be spoken; of streams to talking devices alone."""
    duration_ms: float | None = None
    cost_usd: float | None = None
    instead: list[Counterfactual] = field(default_factory=list)
    """What the backends that were not used would have been expected to give."""
    call: CallClass | None = None
    """What a talking device asked for; None: it is none."""
    retries: int = 0
    """How often the client said that it had sent this before."""
    text: str | None = None
    """Of the last user message, only where the settings ask for it."""


class Books:
    """Where accounts are entered: metrics, the two ledgers, and who talked.

    ``idle_s`` is after how many quiet seconds a conversation has ended.
    """

    def __init__(self, meters: Meters, now_ns: NowNs, idle_s: float = 120.0) -> None:
        self.meters = meters
        self.now_ns = now_ns
        self.identifier = Identifier()
        self.conversations = Conversations(
            idle_s,
            meters.conversations_started.inc,
            lambda end: meters.conversations_ended(end).inc(),
        )
        self.ratings = Ratings()
        self.load_test = Announced()
        self._share = LocalShare()
        self.attempts: Ledger[AttemptRecord] = Ledger(KEPT_ATTEMPTS)
        self.decisions: Ledger[DecisionRecord] = Ledger(KEPT_DECISIONS)

    def open(
        self, request_id: str, model: str, *, stream: bool, conversation: Key | None = None
    ) -> Account:
        """Open the account of a request that was accepted now."""
        account = Account(self, request_id, model, stream=stream)
        if conversation is not None and self.conversations.begin(
            conversation, account.accepted_ns / NS_PER_S
        ):
            account.conversation = conversation
        return account

    def settle(self) -> None:
        """Bring the metrics up to date that change by the passing of time alone."""
        now_s = self.now_s()
        self.conversations.expire(now_s)
        self.meters.local_share(self._share.ratio(now_s))
        self.meters.load_test(self.load_test.running(now_s))

    def now_s(self) -> float:
        """Return the time in seconds."""
        return self.now_ns() / NS_PER_S

    def ended(self, account: Account, tier: Tier, outcome: Outcome, ended_ns: int) -> None:
        """Note the end of a request whose account is closed."""
        ended_s = ended_ns / NS_PER_S
        self._share.count(tier, ended_s)
        if account.conversation is not None:
            self.conversations.end(account.conversation, outcome, ended_s)
        self.decisions.add(account.decision)


class Account:
    """The account of one accepted request.

    It is a context manager. Leaving it enters the outcome: the one given to :meth:`end`, or
    ``cancelled`` where the request's task was cancelled, or else ``error``. Attempts that are still
    open then end the same way.
    """

    def __init__(self, books: Books, request_id: str, model: str, *, stream: bool) -> None:
        self._books = books
        self._meters = books.meters
        self._open: dict[int, AttemptRecord] = {}
        self._served_by: Backend | None = None
        self._ending: tuple[Outcome, ErrorType | None] | None = None
        self.accepted_ns = books.now_ns()
        self.first_started_ns: int | None = None
        self.conversation: Key | None = None
        """The one it belongs to, where that is told of its end."""
        self.decision = DecisionRecord(
            request_id, time.time(), self.accepted_ns, self._meters.model_label(model), stream
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome, error_type = self._ending or _unsaid(kind)
        ended_ns = self._books.now_ns()
        for record in tuple(self._open.values()):
            self._close(record, outcome, error_type)
        decision = self.decision
        decision.outcome, decision.error_type = outcome, error_type
        decision.ended_ns = ended_ns
        decision.duration_ms = milliseconds(self.accepted_ns, ended_ns)
        tier, name, model = self._served()
        self._meters.requests(tier, name, model, outcome).inc()
        self._meters.duration(tier, outcome).observe((ended_ns - self.accepted_ns) / NS_PER_S)
        self._books.ended(self, tier, outcome, ended_ns)

    def now_ns(self) -> int:
        """Return the time on the clock of the account's stamps."""
        return self._books.now_ns()

    def looked_up(self, answer: CacheAnswer) -> None:
        """Note what the caches had; a hit is what serves the request."""
        decision = self.decision
        decision.cache = answer
        reason = _CACHE_REASONS.get(answer)
        if reason is not None:
            decision.tier, decision.reason = Tier.CACHE, reason
            self._meters.decisions(Tier.CACHE, reason).inc()

    def planned(self, plan: Plan, signals: Signals) -> None:
        """Note the plan."""
        self.decision.signals = signals
        self.decision.plan = [
            {"backend": each.backend.name, "reason": each.reason} for each in plan.attempts
        ]
        if plan.attempts:
            first = plan.attempts[0]
            self._meters.decisions(first.backend.tier, first.reason).inc()

    def start(self, backend: Backend) -> AttemptRecord:
        """Open the record of an attempt that begins now."""
        now_ns = self._books.now_ns()
        if self.first_started_ns is None:
            self.first_started_ns = now_ns
        record = AttemptRecord(self.decision.request_id, backend.name, backend.model, now_ns)
        self._open[id(record)] = record
        self.decision.attempts += 1
        self._meters.in_flight(backend.name).inc()
        return record

    def failed(self, record: AttemptRecord, fault: Fault) -> None:
        """Close an attempt that failed before its first token."""
        self._close(record, fault.outcome, fault.error_type)

    def dropped(self, record: AttemptRecord) -> None:
        """Close an attempt that was given up because another one serves the request."""
        self._close(record, Outcome.CANCELLED, None)

    def queued(self, record: AttemptRecord, granted_ns: int) -> None:
        """Note how long an attempt waited for a slot."""
        wait_ns = granted_ns - record.started_ns
        record.queue_ms = milliseconds(0, wait_ns)
        self._meters.queue(record.backend).observe(wait_ns / NS_PER_S)

    def hedged(self, result: HedgeResult) -> None:
        """Note what became of a second attempt that was started beside the first."""
        self.decision.hedge = result
        self._meters.hedges(result).inc()

    def fell_back(self, failed: Backend, to: Backend, error_type: ErrorType) -> None:
        """Note that the next backend is asked."""
        self._meters.fallbacks(failed.name, to.name, error_type).inc()

    def committed(self, record: AttemptRecord, backend: Backend, reason: Reason) -> None:
        """Note which attempt serves the request."""
        record.committed = True
        self._served_by = backend
        decision = self.decision
        decision.tier, decision.backend, decision.reason = backend.tier, backend.name, reason
        seconds = record.first_token_s
        if decision.stream and seconds is not None:
            self._meters.backend_ttft(backend.name, backend.model).observe(seconds)

    def delivered(self) -> None:
        """Note that the first token was handed to the client now."""
        if not self.decision.stream:
            return
        self.decision.first_token_ns = self._books.now_ns()
        ttft_ns = self.decision.first_token_ns - self.accepted_ns
        self.decision.ttft_ms = milliseconds(0, ttft_ns)
        self._meters.ttft(*self._served()).observe(ttft_ns / NS_PER_S)

    def sent_before(self, retries: int) -> None:
        """Note how often the client has sent the same request before."""
        self.decision.retries = retries
        if retries:
            self._meters.voice.retries.inc()

    def talking(self, call: CallClass) -> None:
        """Note that the request is a talking device's."""
        self.decision.call = call
        self._meters.voice.requests(call).inc()

    def spoke(self, heard: Heard, turn_requests: int | None = None) -> None:
        """Enter what was handed over to be spoken; ``turn_requests`` where a turn ended with it:
        how many requests it took."""
        self.decision.ttfs_ms = milliseconds(self.accepted_ns, heard.first_sentence_ns)
        self._meters.voice.spoke(heard, self._served()[0], self.accepted_ns)
        if turn_requests is not None:
            self._meters.voice.turn_requests.observe(turn_requests)

    def apologised(self, error_type: ErrorType) -> None:
        """Note that nobody answered a talking device, and that it was told so in a sentence."""
        self._meters.voice.failures(error_type).inc()

    def told(
        self,
        record: AttemptRecord,
        usage: Usage | None,
        timings: Timings | None,
        last_token_ns: int | None,
    ) -> None:
        """Enter what the backend said of the whole reply.

        TPOT = (last token - first token) / (output tokens - 1).
        """
        if timings is not None:
            record.load_ms, record.prompt_ms = timings.load_ms, timings.prompt_ms
            record.predict_ms, record.engine_queue_ms = timings.predict_ms, timings.queue_ms
        backend = self._served_by
        if usage is None or backend is None:
            return
        record.prompt_tokens, record.cached_tokens = usage.prompt_tokens, usage.cached_tokens
        cost_usd = cost_of(usage, backend)
        if cost_usd is not None:
            self.decision.cost_usd = cost_usd
            self._meters.cost(backend.name).inc(cost_usd)
        for kind, count in (
            (TokenType.INPUT, usage.prompt_tokens),
            (TokenType.OUTPUT, usage.output_tokens),
            (TokenType.CACHED, usage.cached_tokens),
        ):
            if count is not None and count > 0:
                self._meters.tokens(backend.name, backend.model, kind).inc(count)
        tokens, first_ns = usage.output_tokens, record.first_token_ns
        if tokens is None or tokens < 2 or first_ns is None or last_token_ns is None:
            return
        seconds = (last_token_ns - first_ns) / (tokens - 1) / NS_PER_S
        self._meters.tpot(backend.tier, backend.name).observe(seconds)

    def end(self, outcome: Outcome, error_type: ErrorType | None = None) -> None:
        """Say how the request ended."""
        self._ending = (outcome, error_type)

    def _served(self) -> tuple[Tier, str, str]:
        """Return the labels of whoever served the request: tier, backend, model."""
        backend, decision = self._served_by, self.decision
        if backend is None:
            return decision.tier, NO_BACKEND, decision.model
        return backend.tier, backend.name, backend.model

    def _close(self, record: AttemptRecord, outcome: Outcome, error_type: ErrorType | None) -> None:
        del self._open[id(record)]
        record.ended_ns = self._books.now_ns()
        record.outcome, record.error_type = outcome, error_type
        self._meters.in_flight(record.backend).dec()
        self._meters.attempts(record.backend, record.model, outcome).inc()
        if error_type is not None:
            self._meters.errors(record.backend, error_type).inc()
        self._books.attempts.add(record)


def cost_of(usage: Usage, backend: Backend) -> float | None:
    """Return the fee of a reply in US dollars: its tokens, in and out, by the configured price;
    None where the tokens were not counted."""
    if usage.prompt_tokens is None or usage.output_tokens is None:
        return None
    return (usage.prompt_tokens + usage.output_tokens) / 1000 * backend.price_per_1k_tokens


def _unsaid(kind: type[BaseException] | None) -> tuple[Outcome, ErrorType | None]:
    if kind is not None and issubclass(kind, asyncio.CancelledError):
        return Outcome.CANCELLED, ErrorType.CLIENT_GONE
    return Outcome.ERROR, ErrorType.PROTOCOL
