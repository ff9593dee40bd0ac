"""Which schedule a plan asks for."""

from __future__ import annotations

from firsttoken.core.trace import read_trace
from firsttoken.load.corpus import Corpus
from firsttoken.load.plan import Block, RunPlan, Scenario
from firsttoken.load.prompts import Prompts
from firsttoken.load.schedules.burst import Burst
from firsttoken.load.schedules.closed import ClosedLoop
from firsttoken.load.schedules.open_loop import OpenLoop
from firsttoken.load.schedules.replay import Replay
from firsttoken.load.schedules.sessions import Sessions
from firsttoken.load.schedules.turn import WHOLE, Schedule, Share
from firsttoken.load.script import Script


class Schedules:
    """Makes the schedules of a plan's blocks. What takes long is prepared here, once.

    Args:
        plan: what to run.
        corpus: what is said.
        share: the talkers and planned starts that are driven from here.

    Raises:
        UserError: the trace that shall be replayed cannot be read.
    """

    def __init__(self, plan: RunPlan, corpus: Corpus, share: Share = WHOLE) -> None:
        self._plan = plan
        self._share = share
        self._script = Script(corpus, plan.steps, plan.seed, plan.repeat_share)
        self._traced = None
        if plan.scenario is Scenario.REPLAY and plan.replay is not None:
            trace = read_trace(plan.replay.file)
            prompts = Prompts(corpus, plan.seed, max(trace.prompt_tokens))
            self._traced = (trace, prompts, plan.replay)

    def of(self, block: Block) -> Schedule:
        """Return the schedule of one block."""
        plan, script, step = self._plan, self._script, block.step
        tokens = (plan.min_tokens, plan.max_tokens)
        if self._traced is not None:
            return Replay(*self._traced, seconds=block.steady_seconds, share=self._share)
        match plan.scenario:
            case Scenario.OPEN_LOOP:
                spans = (block.warmup_seconds, block.steady_seconds)
                return OpenLoop(
                    script,
                    step,
                    spans,
                    tokens,
                    options=plan.open_loop,
                    seed=plan.seed,
                    share=self._share,
                )
            case Scenario.SESSIONS | Scenario.SOAK:
                return Sessions(
                    script, step, block.users, *tokens, options=plan.sessions, seed=plan.seed
                )
            case Scenario.BURST:
                return Burst(script, step, block.users, *tokens, options=plan.burst, seed=plan.seed)
            case _:
                return ClosedLoop(script, step, block.users, *tokens)
