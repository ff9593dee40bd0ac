"""Replay of a trace: its times and lengths, with texts of our own."""

from __future__ import annotations

from array import array

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.trace import Trace
from firsttoken.load.exchange import Exchange
from firsttoken.load.prompts import Prompts
from firsttoken.load.schedules.options import ReplayOptions
from firsttoken.load.schedules.planned import PlannedStarts, Position
from firsttoken.load.schedules.turn import WHOLE, Share, Starts, Turn, Wait, Window


class Replay:
    """Each row of a trace is a request, due at its time; there is no warm-up.

    A session's turns keep their order: one whose time comes while the turn before it is still
    being answered waits for that reply, and is late. Its planned time stays that of the trace.

    Args:
        trace: what happened.
        prompts: the texts.
        options: how fast.
        seconds: of the block; rows of the trace that come later are left out.
        share: the sessions that are replayed here, where there are several load generators.
    """

    elastic = False

    def __init__(
        self,
        trace: Trace,
        prompts: Prompts,
        options: ReplayOptions,
        *,
        seconds: float,
        share: Share = WHOLE,
    ) -> None:
        self._trace = trace
        self._prompts = prompts
        offsets_ns = array(
            "q",
            [
                int(offset_s / options.speed * NS_PER_S)
                for offset_s in trace.offsets_s
                if offset_s / options.speed <= seconds
            ],
        )
        self._planned = PlannedStarts(
            offsets_ns, self._position, 0, int(options.drop_after_seconds * NS_PER_S), share
        )

    def next(self, user: int, now_ns: int, window: Window) -> Turn | Wait | None:
        """Return the next row of the trace as soon as it is due."""
        found = self._planned.take(user, now_ns, window.start_ns)
        if found is None or isinstance(found, Wait):
            return found
        messages = self._prompts.messages(
            found.position.session, found.number, self._trace.prompt_tokens[found.number]
        )
        tokens = self._trace.output_tokens[found.number]
        return Turn(found.t_sched_ns, *found.position, messages, tokens)

    def done(self, user: int, turn: Turn, exchange: Exchange, now_ns: int) -> None:  # noqa: ARG002
        """Let the session's next turn be made."""
        self._planned.ended(turn.session)

    def owes(self, now_ns: int, window: Window) -> bool:  # noqa: ARG002 - as Schedule has it
        """Whether a row that fell due has not been sent yet."""
        return self._planned.owes()

    def starts(self, window: Window) -> Starts | None:  # noqa: ARG002 - as Schedule has it
        """Return what became of the rows."""
        return self._planned.starts()

    def _position(self, number: int) -> Position:
        return Position(self._trace.sessions[number], self._trace.turns[number])
