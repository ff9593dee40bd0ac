"""Drives the blocks of a run plan: who may send, from when to when, and what is kept.

All talkers of the largest step exist from the start and wait here. In a block, the first ``users``
of them start one after the other over the warm-up, each begins a new request as long as the steady
part lasts, and the block is over when the last reply under way has ended: by itself, or at the
request's own time limit. Nothing is cut short by the end of a block, so no slow request is lost.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode, Outcome, Phase
from firsttoken.load.assignment import Assignment
from firsttoken.load.client import Line
from firsttoken.load.corpus import Corpus
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.meter import Hygiene, Meter, quantile
from firsttoken.load.plan import Block, PlannedArm, RunPlan, Schedule, request_id, session_id
from firsttoken.load.recorder import Recorder
from firsttoken.wire.dialect import ChatRequest


class _Running:
    """A block under way."""

    def __init__(self, block: Block, line: Line, start_ns: int) -> None:
        self.block = block
        self.line = line
        self.start_ns = start_ns
        self.steady_ns = start_ns + int(block.warmup_seconds * NS_PER_S)
        self.stop_ns = self.steady_ns + int(block.steady_seconds * NS_PER_S)
        self.turns = [0] * block.users
        """Turns that each talker has begun."""
        self.under_way = 0
        self.idle = Event()
        self.idle.set()
        self.requests = 0
        self.errors = 0
        self.tokens_counted_here = 0
        self.ttft_ms: list[float] = []

    def first_ns(self, user: int) -> int:
        """Return when ``user`` starts: spread evenly over the warm-up."""
        return self.start_ns + (self.steady_ns - self.start_ns) * user // self.block.users

    def phase(self, exchange: Exchange) -> Phase:
        """Return the phase that a request was sent in."""
        sent_ns = exchange.t_send_ns or exchange.t_sched_ns
        return Phase.WARMUP if sent_ns < self.steady_ns else Phase.STEADY

    def count(self, exchange: Exchange) -> None:
        """Add a request of the steady part to the block's own summary."""
        self.requests += 1
        self.tokens_counted_here += exchange.tokens_counted_here
        if exchange.outcome != Outcome.SUCCESS:
            self.errors += 1
        elif exchange.ttft_ms is not None:
            self.ttft_ms.append(exchange.ttft_ms)

    def summary(self, hygiene: Hygiene) -> dict[str, Any]:
        """Return the line that is printed when the block is over: its steady part."""
        return {
            "event": "block",
            "arm": self.block.arm.arm,
            "users": self.block.users,
            "requests": self.requests,
            "errors": self.errors,
            "ttft_p50_ms": _rounded(quantile(self.ttft_ms, 0.50)),
            "ttft_p95_ms": _rounded(quantile(self.ttft_ms, 0.95)),
            "tokens_counted_here": self.tokens_counted_here,
            "loop_lag_p99_ms": _rounded(hygiene.lag_p99_ms),
            "loop_lag_max_ms": _rounded(hygiene.lag_max_ms),
            "generator_cpu": _rounded(hygiene.cpu_share),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


class PlanDriver:
    """The director of a run plan.

    Args:
        plan: what to run.
        corpus: what is said.
        end_run: asks for the end of the process with an exit code, and returns at once.

    Raises:
        UserError: an arm cannot be prepared, or the run folder cannot be written.
    """

    def __init__(self, plan: RunPlan, corpus: Corpus, end_run: Callable[[int], None]) -> None:
        self._plan = plan
        self._end_run = end_run
        self._schedule = Schedule(corpus, plan.steps, plan.seed, plan.repeat_share)
        self._lines = {arm.arm: self._line(arm) for arm in plan.arms}
        self._recorder = Recorder(plan.run_dir, self._stop_for)
        self._talkers = 0
        self._all_here = Event()
        self._running: _Running | None = None
        self._opened = Event()
        self._blocks = gevent.spawn(self._run_blocks)

    @property
    def users(self) -> int:
        """How many talkers the plan needs at once."""
        return max(self._plan.steps)

    def arrive(self) -> int:
        """Give a new talker its number, from 0."""
        user = self._talkers
        self._talkers += 1
        if self._talkers == self.users:
            self._all_here.set()
        return user

    def next(self, user: int) -> Assignment:
        """Hold talker ``user`` until a block has something for it to send."""
        while True:
            opened = self._opened
            now = monotonic_ns()
            running = self._running
            if running is None or user >= running.block.users or now >= running.stop_ns:
                opened.wait()
                continue
            first_ns = running.first_ns(user)
            if now < first_ns:
                gevent.sleep((first_ns - now) / NS_PER_S)
                continue
            begun = running.turns[user]
            return self._assign(running, user, first_ns if begun == 0 else now)

    def done(self, assignment: Assignment, exchange: Exchange) -> None:
        """Record how an assignment ended."""
        running = self._running
        if running is None:
            return
        phase = running.phase(exchange)
        self._recorder.add(exchange.row(assignment.place, phase))
        if phase == Phase.STEADY:
            running.count(exchange)
        running.under_way -= 1
        if running.under_way == 0:
            running.idle.set()

    def close(self) -> None:
        """End the part file; after the talkers have ended, so that their last rows are in it."""
        self._blocks.kill(block=False)
        self._recorder.close()

    def _line(self, arm: PlannedArm) -> Line:
        timeout_s = self._plan.request_timeout_seconds
        return Line.to(arm.url, arm.dialect, arm.api_key_env, timeout_s)

    def _assign(self, running: _Running, user: int, t_sched_ns: int) -> Assignment:
        block = running.block
        turn = running.turns[user]
        running.turns[user] += 1
        running.under_way += 1
        running.idle.clear()
        session = session_id(self._plan.run_id, block.arm.arm, block.number, user)
        said = self._schedule.say(block.step, user, turn)
        plan = self._plan
        request = ChatRequest(
            model=block.arm.model,
            messages=said.messages(),
            stream=True,
            max_tokens=self._schedule.reply_tokens(said, plan.min_tokens, plan.max_tokens),
            include_usage=True,
            extra=block.arm.extra_body,
        )
        place = Place(self._plan.run_id, block.arm.arm, block.users, session, turn)
        return Assignment(place, request_id(session, turn), t_sched_ns, request, running.line)

    def _run_blocks(self) -> None:
        self._all_here.wait()
        meter = Meter()
        for block in self._plan.blocks():
            meter.take()
            running = _Running(block, self._lines[block.arm.arm], monotonic_ns())
            self._running = running
            opened, self._opened = self._opened, Event()
            opened.set()
            gevent.sleep((running.stop_ns - monotonic_ns()) / NS_PER_S)
            running.idle.wait()
            self._recorder.flush()
            print(json.dumps(running.summary(meter.take())), flush=True)
        meter.close()
        self._end_run(int(ExitCode.PASS))

    def _stop_for(self, error: UserError) -> None:
        print(f"firsttoken: {error}", file=sys.stderr, flush=True)
        self._end_run(int(ExitCode.USAGE))
