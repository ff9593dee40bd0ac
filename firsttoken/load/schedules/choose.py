"""Which schedule a plan asks for."""

from __future__ import annotations

from firsttoken.load.plan import Block, RunPlan
from firsttoken.load.schedules.closed import ClosedLoop
from firsttoken.load.schedules.turn import Schedule
from firsttoken.load.script import Script


def schedule_of(plan: RunPlan, block: Block, script: Script) -> Schedule:
    """Return the schedule of one block of a plan."""
    return ClosedLoop(script, block.step, block.users, plan.min_tokens, plan.max_tokens)
