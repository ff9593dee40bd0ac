"""Open loop: starts by the clock, whatever became of those before."""

from __future__ import annotations

from firsttoken.core.clock import NS_PER_S
from firsttoken.load.exchange import Exchange
from firsttoken.load.schedules.arrivals import planned_offsets
from firsttoken.load.schedules.options import OpenLoopOptions
from firsttoken.load.schedules.planned import PlannedStarts, Position
from firsttoken.load.schedules.turn import WHOLE, Share, Starts, Turn, Wait, Window
from firsttoken.load.script import Script


class OpenLoop:
    """Starts at a rate, each a session of one turn.

    When each is due, and what it says, depends on the seed, the step and its number alone: not on
    the arm, nor on how many talkers there are to make it.

    Args:
        script: what is said.
        step: position of the block's load in the run, from 0.
        spans: seconds of the warm-up and of the steady part.
        tokens: shortest and longest reply asked for.
        options: rate and kind of arrivals.
        seed: of the run.
        share: the starts that are made here, where there are several load generators.
    """

    elastic = False

    def __init__(
        self,
        script: Script,
        step: int,
        spans: tuple[float, float],
        tokens: tuple[int, int],
        *,
        options: OpenLoopOptions,
        seed: int,
        share: Share = WHOLE,
    ) -> None:
        self._script = script
        self._step = step
        self._tokens = tokens
        offsets_ns = planned_offsets(
            options.rate, spans, f"{seed}/{step}", options.arrivals, options.burstiness
        )
        self._planned = PlannedStarts(
            offsets_ns,
            lambda number: Position(number, 0),
            int(spans[0] * NS_PER_S),
            int(options.drop_after_seconds * NS_PER_S),
            share,
        )

    def next(self, user: int, now_ns: int, window: Window) -> Turn | Wait | None:
        """Return the next planned start as soon as it is due."""
        found = self._planned.take(user, now_ns, window.start_ns)
        if found is None or isinstance(found, Wait):
            return found
        said = self._script.arrive(self._step, found.number)
        tokens = self._script.reply_tokens(said, *self._tokens)
        return Turn(found.t_sched_ns, *found.position, said.messages(), tokens)

    def done(self, user: int, turn: Turn, exchange: Exchange, now_ns: int) -> None:  # noqa: ARG002
        """Note that the start is over."""
        self._planned.ended(turn.session)

    def owes(self, now_ns: int, window: Window) -> bool:  # noqa: ARG002 - as Schedule has it
        """Whether a start that fell due has not been made yet."""
        return self._planned.owes()

    def starts(self, window: Window) -> Starts | None:  # noqa: ARG002 - as Schedule has it
        """Return what became of the steady part's starts."""
        return self._planned.starts()
