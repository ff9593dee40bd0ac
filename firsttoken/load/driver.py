"""Drives the blocks of a run plan: who may send, from when to when, and what is kept.

All talkers of the largest step exist from the start and wait here. In a block, the first ``users``
of them start one after the other over the warm-up, each begins a new request as long as the steady
part lasts, and the block is over when the last reply under way has ended: by itself, or at the
request's own time limit. Nothing that somebody waits for is cut short by the end of a block, so no
slow request is lost; what is done aside is given up a little later, as cancelled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.pool import Group

from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.records import BlockResult
from firsttoken.core.words import ExitCode, Outcome, Phase
from firsttoken.load.assignment import Assignment, assign
from firsttoken.load.client import Line
from firsttoken.load.corpus import Corpus
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.meter import Hygiene, Meter, quantile
from firsttoken.load.pace import Alone, Pace
from firsttoken.load.plan import Block, PlannedArm, RunPlan, request_id, session_id
from firsttoken.load.recorder import Recorder
from firsttoken.load.schedules.choose import Schedules
from firsttoken.load.schedules.turn import WHOLE, Schedule, Share, Turn, Window
from firsttoken.load.steady import Steady

DRAIN_POLL_S = 0.02
ASIDE_DRAIN_S = 5.0
"""How long a block goes on for what is done aside, after the last one who talks was answered."""
UNTIL_CAP = 10
"""Longest steady part that goes on for a sharper figure, in planned lengths."""


class _Running:
    """A block under way."""

    def __init__(
        self, block: Block, line: Line, schedule: Schedule, window: Window, steady: Steady
    ) -> None:
        self.block = block
        self.line = line
        self.schedule = schedule
        self.window = window
        self.steady = steady
        self.turns: dict[str, Turn] = {}
        """Turns under way, by request id."""
        self.asides = Group()
        """What is done aside."""
        self.requests = 0
        self.errors = 0
        self.tokens_counted_here = 0
        self.ttft_ms: list[float] = []

    @property
    def waited_for(self) -> int:
        """Requests under way that somebody waits for."""
        return sum(not turn.aside for turn in self.turns.values())

    def phase(self, exchange: Exchange) -> Phase:
        """Return the phase that a request was planned for, however late it was sent."""
        return Phase.STEADY if self.window.steady(exchange.t_sched_ns) else Phase.WARMUP

    def count(self, exchange: Exchange) -> None:
        """Add a request of the steady part to the block's own summary."""
        self.requests += 1
        # Whoever hangs up does not hear the server's count, and that is no fault of the server.
        hung_up = exchange.outcome == Outcome.CANCELLED
        self.tokens_counted_here += exchange.tokens_counted_here and not hung_up
        if exchange.outcome != Outcome.SUCCESS and not hung_up:
            self.errors += 1
        elif exchange.ttft_ms is not None:
            self.ttft_ms.append(exchange.ttft_ms)

    def hear(self, exchange: Exchange) -> Phase:
        """Take a talker's request that has ended; return the phase that it was sent in."""
        phase = self.phase(exchange)
        delivered = exchange.outcome in (Outcome.SUCCESS, Outcome.CANCELLED)
        ttft_ms = exchange.ttft_ms if delivered else None
        # Who hung up before the first token tells nothing of when it would have come.
        if ttft_ms is not None or exchange.outcome != Outcome.CANCELLED:
            sent_ns = exchange.t_send_ns or exchange.t_sched_ns
            self.steady.heard(sent_ns, ttft_ms, steady=phase == Phase.STEADY)
        if phase == Phase.STEADY:
            self.count(exchange)
        return phase

    def result(self, hygiene: Hygiene, ended_ns: int) -> BlockResult:
        """Return what is to be said of the block, which is over."""
        window, block = self.window, self.block
        starts = self.schedule.starts(window)
        return BlockResult(
            number=block.number,
            arm=block.arm.arm,
            step_users=block.users,
            planned_rate=block.rate,
            started_ns=window.start_ns,
            steady_ns=window.steady_ns or ended_ns,
            stop_ns=window.stop_ns or ended_ns,
            ended_ns=ended_ns,
            requests=self.requests,
            errors=self.errors,
            ttft_p50_ms=_rounded(quantile(self.ttft_ms, 0.50)),
            ttft_p95_ms=_rounded(quantile(self.ttft_ms, 0.95)),
            tokens_counted_here=self.tokens_counted_here,
            loop_lag_p99_ms=round(hygiene.lag_p99_ms, 3),
            loop_lag_max_ms=round(hygiene.lag_max_ms, 3),
            generator_cpu=round(hygiene.cpu_share, 3),
            settled=self.steady.settled,
            ended_by=self.steady.ended_by,
            ci_half_width=self.steady.ci_half_width,
            scheduled=None if starts is None else starts.scheduled,
            late=None if starts is None else starts.late,
            dropped=None if starts is None else starts.dropped,
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


class PlanDriver:
    """The director of a run plan.

    Args:
        plan: what to run.
        corpus: what is said.
        end_run: asks for the end of the process with an exit code, and returns at once.
        pace: says when each block begins; left out, this is the only load generator.
        share: which talkers and planned starts are driven from here.
        recorder: where the rows go; left out, into the run folder.

    Raises:
        UserError: an arm cannot be prepared, or the run folder cannot be written.
    """

    def __init__(
        self,
        plan: RunPlan,
        corpus: Corpus,
        end_run: Callable[[int], None],
        *,
        pace: Pace | None = None,
        share: Share = WHOLE,
        recorder: Recorder | None = None,
    ) -> None:
        self._plan = plan
        self._end_run = end_run
        self._pace = pace or Alone(end_run)
        self._share = share
        self._schedules = Schedules(plan, corpus, share)
        self._lines = {arm.arm: self._line(arm) for arm in plan.arms}
        self._recorder = recorder or Recorder(plan.run_dir, self._stop_for)
        self._talkers = 0
        self._all_here = Event()
        self._running: _Running | None = None
        self._opened = Event()
        self._blocks = gevent.spawn(self._run_blocks)
        # gevent has printed the fault. Nobody else would end the run.
        self._blocks.link_exception(lambda _: self._end_run(int(ExitCode.FAULT)))

    @property
    def users(self) -> int:
        """How many talkers the plan needs at once."""
        return self._plan.talkers

    def arrive(self) -> int:
        """Give a new talker its number, from 0, among all of the run."""
        user = self._share.index + self._share.of * self._talkers
        self._talkers += 1
        if self._talkers == self._share.count(self.users):
            self._all_here.set()
        return user

    def next(self, user: int) -> Assignment:
        """Hold talker ``user`` until a block has something for it to send."""
        while True:
            opened, running = self._opened, self._running
            if running is None or user >= running.block.users:
                opened.wait()
                continue
            now_ns = monotonic_ns()
            found = running.schedule.next(user, now_ns, running.window)
            if isinstance(found, Turn):
                return self._assign(running, found)
            # The next block may begin before the wait is over.
            seconds = None if found is None else max(0, found.until_ns - now_ns) / NS_PER_S
            opened.wait(seconds)

    def done(self, user: int, assignment: Assignment, exchange: Exchange) -> None:
        """Record how an assignment ended."""
        running = self._running
        turn = None if running is None else running.turns.pop(assignment.request_id, None)
        if running is None or turn is None:
            return
        running.schedule.done(user, turn, exchange, monotonic_ns())
        phase = Phase.ASIDE if turn.aside else running.hear(exchange)
        self._recorder.add(exchange.row(assignment.place, phase))

    def close(self) -> None:
        """End the part file; after the talkers have ended, so that their last rows are in it."""
        self._blocks.kill(block=False)
        self._recorder.close()

    def _line(self, arm: PlannedArm) -> Line:
        timeout_s = self._plan.request_timeout_seconds
        return Line.to(arm.url, arm.dialect, arm.api_key_env, timeout_s)

    def _assign(self, running: _Running, turn: Turn) -> Assignment:
        block = running.block
        session = session_id(
            self._plan.run_id, block.arm.arm, block.number, turn.session, aside=turn.aside
        )
        place = Place(
            self._plan.run_id,
            block.arm.arm,
            block.users,
            session,
            turn.number,
            block.number,
            block.rate,
            turn.hop,
        )
        name = request_id(session, turn.number, turn.hop)
        running.turns[name] = turn
        return assign(
            turn,
            place,
            name,
            running.line,
            model=block.arm.model,
            extra=block.arm.extra_body,
            asides=running.asides,
        )

    def _run_blocks(self) -> None:
        self._all_here.wait()
        meter = Meter()
        for block in self._plan.blocks():
            schedule = self._schedules.of(block)
            start_ns = self._pace.begin(block)
            meter.take()
            running = self._open(block, schedule, start_ns)
            self._run_block(running)
            self._recorder.flush()
            self._pace.end(running.result(meter.take(), monotonic_ns()), running.ttft_ms)
        meter.close()
        self._pace.over()

    def _open(self, block: Block, schedule: Schedule, start_ns: int) -> _Running:
        """Let the talkers begin with a block at ``start_ns``."""
        window = Window(start_ns, start_ns + int(block.warmup_seconds * NS_PER_S))
        until_cap_s = self._plan.until_cap_seconds or UNTIL_CAP * block.steady_seconds
        steady = Steady(
            block,
            window,
            elastic=schedule.elastic,
            settle_cap_s=self._plan.settle_cap_seconds,
            until_ci=self._plan.until_ci,
            until_cap_s=until_cap_s,
        )
        running = _Running(block, self._lines[block.arm.arm], schedule, window, steady)
        self._running = running
        opened, self._opened = self._opened, Event()
        opened.set()
        return running

    def _run_block(self, running: _Running) -> None:
        """Return when the last request of the block has ended."""
        window = running.window
        while (pause_s := running.steady.look(monotonic_ns(), running.waited_for)) > 0:
            gevent.sleep(pause_s)
        while running.waited_for or running.schedule.owes(monotonic_ns(), window):
            gevent.sleep(DRAIN_POLL_S)
        running.asides.join(timeout=ASIDE_DRAIN_S)
        running.asides.kill()

    def _stop_for(self, error: UserError) -> None:
        print(f"firsttoken: {error}", file=sys.stderr, flush=True)
        self._end_run(int(ExitCode.USAGE))
