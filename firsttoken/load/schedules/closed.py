"""Closed loop: each talker speaks again as soon as it was answered."""

from __future__ import annotations

from firsttoken.load.exchange import Exchange
from firsttoken.load.schedules.turn import Starts, Turn, Wait, Window
from firsttoken.load.script import Script


class ClosedLoop:
    """Talkers without a pause, who start one after the other over the ramp.

    Every turn is a chat of its own: the persona of the talker, and one utterance.
    """

    elastic = True

    def __init__(
        self, script: Script, step: int, users: int, min_tokens: int, max_tokens: int
    ) -> None:
        self._script = script
        self._step = step
        self._users = users
        self._tokens = (min_tokens, max_tokens)
        self._turns: dict[int, int] = {}
        """By talker: the turns that it has begun."""

    def next(self, user: int, now_ns: int, window: Window) -> Turn | Wait | None:
        """Return the talker's next turn, due at once."""
        if window.over(now_ns):
            return None
        begun = self._turns.get(user, 0)
        due_ns = now_ns
        # Without a ramp of the plan, a talker is due when Locust has made it.
        if begun == 0 and window.ramp_ns > window.start_ns:
            due_ns = window.start_ns + (window.ramp_ns - window.start_ns) * user // self._users
            if now_ns < due_ns:
                return Wait(due_ns)
        self._turns[user] = begun + 1
        said = self._script.say(self._step, user, begun)
        tokens = self._script.reply_tokens(said, *self._tokens)
        return Turn(due_ns, user, begun, said.messages(), tokens)

    def done(self, user: int, turn: Turn, exchange: Exchange, now_ns: int) -> None:
        """Nothing depends on how a turn ended."""

    def owes(self, now_ns: int, window: Window) -> bool:  # noqa: ARG002 - as Schedule has it
        """Nothing was promised."""
        return False

    def starts(self, window: Window) -> Starts | None:  # noqa: ARG002 - as Schedule has it
        """Nothing was planned."""
        return None
