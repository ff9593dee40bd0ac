"""The commit gate: the only place where a request may move from one backend to another.

The attempts of a plan are made one after the other, and what they say is held back until one has
reached its first token; only then is the request committed to it. Whatever goes wrong before that
is invisible to the client: the next attempt begins at once. A local attempt that is late is raced
by the next one (a hedge); one whose first tokens look unsure gives way to the backend that asked
for such replies. Whoever does not win is cancelled at its backend, and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from firsttoken.core.catalogue import HedgeResult
from firsttoken.core.clock import NS_PER_S, NowNs
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import ErrorType, Reason, Tier
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.events import Probabilities
from router.account import Account, AttemptRecord
from router.attempt import Asker, AttemptFailed, Opened
from router.backends.faults import Fault
from router.confidence import Confidence
from router.hedging import Budget, hedge_delay_s
from router.policy.plan import Plan, PlannedAttempt, reason_after
from router.policy.prediction import FirstTokenTimes
from router.voice.background import PATIENCE_S, open_behind
from router.voice.talk import Talk

_MOST_IN_ROOM = 0.75
"""Share of the budget that the first token may be expected to take where more are then held."""


_NOBODY = Fault(ErrorType.OVERLOADED, "no backend is available")


@dataclass(frozen=True, slots=True)
class ConfidenceRules:
    """When the first tokens of a local reply are looked at before they are handed on."""

    tokens: int = 3
    """How many; each costs one step of the engine. 0: never."""
    budget_s: float = 0.4
    """Seconds from the request within which they may be held back."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the attempts of one plan are to answer."""

    request: ChatRequest
    prompt_chars: int
    """Length of its prompt."""
    talk: Talk | None = None
    """Set where a talking device asks."""
    until_ns: int | None = None
    """When a talking device gives up, where it has said so."""


@dataclass(slots=True)
class Gate:
    """Makes the attempts of plans."""

    asker: Asker
    failed: Callable[[Backend, Fault], None]
    """Is told of each attempt that failed."""
    times: Mapping[str, FirstTokenTimes]
    """By backend: how long its first tokens take."""
    hedging: bool
    """Whether a second backend may be asked while the first is still silent."""
    budget: Budget
    confidence: ConfidenceRules
    pressed: Callable[[str], bool]
    """Whether a backend is known to be late before it is asked: full, not loaded, or out of CPU."""
    now_ns: NowNs
    first_token: Callable[[Backend, float, bool], None]
    """Is told how long each streamed attempt took to its first token, in seconds, or, where the
    flag is set, for how long it had none when it was given up."""
    cold: Callable[[str], bool]
    """Whether a backend has to load its model first."""
    waiting: dict[int, AttemptRecord] = field(default_factory=dict)
    """Attempts under way that have no first token yet, by identity."""

    async def commit(self, plan: Plan, question: Question, account: Account) -> Opened | Fault:
        """Make the attempts of ``plan``; return the one that serves the request.

        Returns the fault of the last attempt where none does, or of the first that makes another
        one pointless. The caller closes what is returned.
        """
        self.budget.accepted()
        race = _Race(self, plan, question, account)
        result: Opened | Fault | None = None
        try:
            try:
                result = await race.run()
            finally:
                await race.end(decided=result is not None)
        except BaseException:
            # The client may leave in the moment between the decision and the end of the losers.
            if isinstance(result, Opened):
                result.close()
            raise
        return result

    def local_waits_s(self) -> Iterator[float]:
        """Yield for how long each local attempt has been without its first token."""
        now_ns = self.now_ns()
        for record in self.waiting.values():
            if record.backend in self.asker.admissions:
                yield (now_ns - record.started_ns) / NS_PER_S

    async def probe(self, backend: Backend, timeout_s: float) -> bool:
        """Ask a backend for one token, apart from all accounts; say whether it came in time."""
        request = ChatRequest(
            model=backend.model,
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            max_tokens=1,
        )
        record = AttemptRecord("probe", backend.name, backend.model, self.now_ns())
        try:
            opened = await self.asker.open(backend, request, record, timeout_s=timeout_s)
        except AttemptFailed:
            return False
        opened.close()
        return True


@dataclass(slots=True)
class _Runner:
    """One attempt under way."""

    planned: PlannedAttempt
    reason: Reason
    record: AttemptRecord
    hedge: bool
    behind: bool
    """Whether it waits until nobody talks; then it says nothing of how quick its backend is."""


class _Race:
    """The attempts of one request."""

    def __init__(self, gate: Gate, plan: Plan, question: Question, account: Account) -> None:
        self._gate = gate
        self._request = question.request
        self._prompt_chars = question.prompt_chars
        self._talk = question.talk
        self._until_ns = question.until_ns
        self._account = account
        self._waiting = deque(plan.attempts)
        self._running: dict[asyncio.Task[Opened], _Runner] = {}
        self._failed: tuple[Backend, Fault] | None = None
        self._doubted: tuple[Opened, _Runner] | None = None
        """A local reply that looked unsure; it serves where nobody else does."""
        self._hedge_at_s: float | None = None
        self._committed = False

    async def run(self) -> Opened | Fault:
        """Return the attempt that serves the request, or why none does."""
        if not self._start():
            return _NOBODY
        self._hedge_at_s = self._when_to_hedge()
        while self._running:
            done, _ = await asyncio.wait(
                self._running, timeout=self._left_s(), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                self._start_hedge()
                continue
            # A set has no order: of two that came at once, the one that was asked first serves.
            for task in [task for task in self._running if task in done]:
                result = self._ended(task)
                if result is not None:
                    return result
            if self._running:
                continue
            if self._doubted is not None and not (self._waiting and self._takes(self._waiting[0])):
                break
            self._start()
        if self._doubted is not None:
            return self._commit(*self._doubted)
        return self._failed[1] if self._failed else _NOBODY

    async def end(self, *, decided: bool) -> None:
        """Cancel whatever has not won. Where nothing was decided the client has left, and what is
        still open in the account ends as its request does."""
        losers = dict(self._running)
        for task, runner in losers.items():
            task.cancel()
            if task.done():
                _close(task)
            self._gate.waiting.pop(id(runner.record), None)
            self._learn(runner)
            if runner.hedge and self._committed:
                self._account.hedged(HedgeResult.LOST)
        records = [runner.record for runner in losers.values()]
        if self._doubted is not None and not self._doubted[1].record.committed:
            opened, runner = self._doubted
            opened.close()
            self._learn(runner)
            records.append(runner.record)
        if decided:
            for record in records:
                self._account.dropped(record)
        if losers:
            await asyncio.wait(losers)

    def _start(self, *, hedge: bool = False) -> bool:
        """Begin the next attempt of the plan; say whether there was one."""
        if not self._waiting:
            return False
        planned = self._waiting.popleft()
        reason = planned.reason
        if hedge:
            reason = Reason.HEDGE_WON
        elif self._failed is not None:
            failed, fault = self._failed
            reason = reason_after(planned, failed, fault.error_type)
            self._account.fell_back(failed, planned.backend, fault.error_type)
        elif self._doubted is not None:
            reason = Reason.LOW_CONFIDENCE
        record = self._account.start(planned.backend)
        record.hedged = hedge
        behind = self._is_behind(planned.backend)
        runner = _Runner(planned, reason, record, hedge, behind)
        task = asyncio.create_task(self._attempt(planned, record))
        self._running[task] = runner
        if not behind:
            self._gate.waiting[id(record)] = record
        return True

    async def _attempt(self, planned: PlannedAttempt, record: AttemptRecord) -> Opened:
        gate, backend = self._gate, planned.backend
        if self._talk is not None and self._is_behind(backend):
            patience_s = self._patience_s(backend)
            return await open_behind(
                gate.asker,
                backend,
                self._request,
                record,
                self._talk,
                patience_s=PATIENCE_S if patience_s is None else patience_s,
            )
        unsure = self._may_be_doubted(backend)
        opened = await gate.asker.open(
            backend,
            self._request,
            record,
            self._account,
            probabilities=unsure,
            timeout_s=self._patience_s(backend),
            talk=self._talk,
        )
        room_s = self._room_s()
        if opened.probabilities and room_s > 0:
            try:
                await gate.asker.read_on(opened, gate.confidence.tokens, room_s)
            except BaseException:
                opened.close()
                raise
        return opened

    def _ended(self, task: asyncio.Task[Opened]) -> Opened | Fault | None:
        """Take note of an attempt that has ended; return what ends the race."""
        runner = self._running.pop(task)
        self._gate.waiting.pop(id(runner.record), None)
        backend = runner.planned.backend
        try:
            opened = task.result()
        except AttemptFailed as failure:
            fault = failure.fault
            self._failed = (backend, fault)
            self._account.failed(runner.record, fault)
            if not (runner.behind and fault.of_our_queue):
                self._gate.failed(backend, fault)
            if fault.error_type is ErrorType.FIRST_TOKEN_TIMEOUT:
                self._learn(runner)
            if runner.hedge and self._running:
                self._account.hedged(HedgeResult.FAILED)
            # Nobody but the router wanted a hedge: what it says of the request ends nothing.
            # A talking device cannot correct its request: another backend may be less strict.
            ends = (
                fault.is_final
                and self._talk is None
                and self._doubted is None
                and not (runner.hedge and self._running)
            )
            return fault if ends else None
        if opened.probabilities and self._gives_way(opened):
            self._doubted = (opened, runner)
            self._failed = None  # what failed before is not why the next one is asked
            return None
        return self._commit(opened, runner)

    def _commit(self, opened: Opened, runner: _Runner) -> Opened:
        self._committed = True
        reason = runner.reason
        if runner.hedge:
            self._account.hedged(HedgeResult.WON)
            if self._failed is not None:
                failed, fault = self._failed
                reason = reason_after(runner.planned, failed, fault.error_type)
                self._account.fell_back(failed, opened.backend, fault.error_type)
            elif self._doubted is not None:
                reason = Reason.LOW_CONFIDENCE
        self._learn(runner)
        self._account.committed(runner.record, runner.planned.backend, reason)
        return opened

    def _gives_way(self, opened: Opened) -> bool:
        """Whether a backend that comes next, or races already, asked for replies as unsure as this
        one."""
        confidence = Confidence(self._gate.confidence.tokens)
        for event in opened.events:
            if isinstance(event, Probabilities):
                confidence.take(event)
        self._account.decision.confidence = confidence.value()
        # Who did not ask for it comes after who did.
        self._waiting = deque(sorted(self._waiting, key=self._takes, reverse=True))
        candidates = (*self._waiting, *(runner.planned for runner in self._running.values()))
        return any(map(self._takes, candidates))

    def _takes(self, planned: PlannedAttempt) -> bool:
        """Whether a backend asked for replies as unsure as the local one."""
        doubt = planned.doubt
        return doubt is not None and doubt.holds(self._account.decision.confidence)

    def _may_be_doubted(self, backend: Backend) -> bool:
        """Whether the reply's confidence is wanted, and can be had without being late."""
        rules, request = self._gate.confidence, self._request
        if backend.tier is not Tier.LOCAL or backend.name in self._gate.asker.mute:
            return False
        if not request.stream or request.tools:
            # llama.cpp refuses probabilities beside tools.
            return False
        if request.extra.get("logprobs"):
            # What the client asked for goes through untouched.
            return False
        if not rules.tokens or not any(planned.doubt for planned in self._waiting):
            return False
        if self._gate.pressed(backend.name):
            return False
        expected_s = self._expected_s(backend, 0.5)
        return expected_s is None or expected_s < _MOST_IN_ROOM * self._room_s()

    def _patience_s(self, backend: Backend) -> float | None:
        """Return for how long the first token of ``backend`` is waited for: its own deadline, or
        its fair share of what is left until a talking device gives up; None: its own."""
        if self._until_ns is None:
            return None
        left_s = (self._until_ns - self._gate.now_ns()) / NS_PER_S
        share_s = max(0.0, left_s) / (1 + len(self._waiting))
        most_s = PATIENCE_S if self._is_behind(backend) else backend.first_token_timeout_s
        return min(most_s, share_s)

    def _is_behind(self, backend: Backend) -> bool:
        """Whether ``backend`` is asked only while nobody talks."""
        background = self._talk is not None and self._talk.in_background
        return background and backend.name in self._gate.asker.admissions

    def _room_s(self) -> float:
        """Return how much of the budget for the first token is left."""
        spent_ns = self._gate.now_ns() - self._account.accepted_ns
        return self._gate.confidence.budget_s - spent_ns / NS_PER_S

    def _expected_s(self, backend: Backend, share: float) -> float | None:
        times = self._gate.times[backend.name]
        return times.quantile(share, self._prompt_chars, self._gate.now_ns())

    def _when_to_hedge(self) -> float | None:
        if not (self._gate.hedging and self._request.stream):
            return None
        if not (self._waiting and self._waiting[0].hedge):
            return None
        (runner,) = self._running.values()
        backend = runner.planned.backend
        queue = self._gate.asker.admissions.get(backend.name)
        delay_s = hedge_delay_s(
            self._expected_s(backend, 0.95),
            at_once=self._gate.pressed(backend.name),
            p99_s=None if self._gate.cold(backend.name) else self._expected_s(backend, 0.99),
            wait_s=queue.predicted_wait_s(self._gate.now_ns()) if queue else 0.0,
            other_s=self._expected_s(self._waiting[0].backend, 0.5),
        )
        return asyncio.get_running_loop().time() + delay_s

    def _left_s(self) -> float | None:
        """Return how long until the hedge is due; None where none is."""
        if self._hedge_at_s is None or self._failed is not None or self._doubted is not None:
            return None
        return max(0.0, self._hedge_at_s - asyncio.get_running_loop().time())

    def _start_hedge(self) -> None:
        self._hedge_at_s = None
        if self._gate.budget.take():
            self._start(hedge=True)
        else:
            self._account.hedged(HedgeResult.DENIED)

    def _learn(self, runner: _Runner) -> None:
        """Tell how long an attempt's first token took, or how long it had not come."""
        record, backend = runner.record, runner.planned.backend
        if runner.behind:
            return
        queued = backend.name in self._gate.asker.admissions
        if not self._request.stream or (queued and record.queue_ms is None):
            # Who never left the router's own queue says nothing of the backend.
            return
        now_ns, seconds = self._gate.now_ns(), record.first_token_s
        times = self._gate.times[backend.name]
        if seconds is not None:
            times.observe(self._prompt_chars, seconds, now_ns)
            self._gate.first_token(backend, seconds, False)  # noqa: FBT003 - a callback
        else:
            waited_s = (now_ns - record.started_ns) / NS_PER_S - (record.queue_ms or 0.0) / 1000
            times.observe_at_least(self._prompt_chars, waited_s, now_ns)
            self._gate.first_token(backend, waited_s, True)  # noqa: FBT003


def _close(task: asyncio.Task[Opened]) -> None:
    """Close what an attempt has opened that was given up in the moment in which it came."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
