"""Burst: all devices wake at the same moment, again and again."""

from __future__ import annotations

import random

from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from firsttoken.load.exchange import Exchange
from firsttoken.load.schedules.options import BurstOptions
from firsttoken.load.schedules.planned import LATE_NS
from firsttoken.load.schedules.turn import Starts, Turn, Wait, Window
from firsttoken.load.script import Script


class Burst:
    """Devices that wake together every period and speak once each time.

    The wake-ups lie in the middle of the periods that follow the ramp, so that N periods hold N
    bursts, and there is at least one in the ramp, to open the connections. A device whose reply is
    still running when it should wake is late: it speaks when the reply has ended, and
    :attr:`Turn.t_sched_ns` stays the wake-up. It speaks once even if it missed several: those
    before the last are dropped, and counted.
    """

    elastic = False
    """Every start is planned, and a steady part that began or ended within a burst would cut it."""

    def __init__(
        self,
        script: Script,
        step: int,
        users: int,  # noqa: ARG002 - called as every schedule is
        min_tokens: int,
        max_tokens: int,
        *,
        options: BurstOptions,
        seed: int,
    ) -> None:
        self._script = script
        self._step = step
        self._tokens = (min_tokens, max_tokens)
        self._period_ns = int(options.period_seconds * NS_PER_S)
        self._spread_ns = int(options.spread_ms * NS_PER_MS)
        self._seed = f"{seed}/{step}"
        self._ahead: dict[int, int] = {}
        """By talker: the first wake-up that it has not spoken at, nor missed for good."""
        self._turns: dict[int, int] = {}
        """By talker: the turns that it has begun."""
        self._begun = 0
        self._late = 0

    def next(self, user: int, now_ns: int, window: Window) -> Turn | Wait | None:
        """Return the turn of the last wake-up that has come, or until when the device sleeps."""
        if user not in self._ahead:
            # Who joins later than the others did not miss their wake-ups.
            self._ahead[user] = self._first_from(user, 0, now_ns, window)
        ahead = self._ahead[user]
        due_ns = self._due_ns(user, ahead, window)
        if window.over(due_ns):
            return None
        if now_ns < due_ns:
            return Wait(due_ns)
        # The last one that has come, of those within the block.
        until_ns = now_ns + 1 if window.stop_ns is None else min(now_ns + 1, window.stop_ns)
        self._ahead[user] = self._first_from(user, ahead, until_ns, window)
        due_ns = self._due_ns(user, self._ahead[user] - 1, window)
        if window.steady(due_ns):
            self._begun += 1
            self._late += now_ns - due_ns > LATE_NS
        return self._turn(user, due_ns)

    def done(self, user: int, turn: Turn, exchange: Exchange, now_ns: int) -> None:
        """Nothing depends on how a turn ended."""

    def owes(self, now_ns: int, window: Window) -> bool:
        """Whether a device has yet to speak at a wake-up that has come."""
        return any(
            self._due_ns(user, ahead, window) <= now_ns
            and not window.over(self._due_ns(user, ahead, window))
            for user, ahead in self._ahead.items()
        )

    def starts(self, window: Window) -> Starts | None:
        """Return what became of the wake-ups of the steady part."""
        if window.steady_ns is None or window.stop_ns is None:
            return None
        scheduled = sum(
            self._first_from(user, 0, window.stop_ns, window)
            - self._first_from(user, 0, window.steady_ns, window)
            for user in self._ahead
        )
        return Starts(scheduled, self._late, scheduled - self._begun)

    def _turn(self, user: int, due_ns: int) -> Turn:
        number = self._turns.get(user, 0)
        self._turns[user] = number + 1
        said = self._script.say(self._step, user, number)
        tokens = self._script.reply_tokens(said, *self._tokens)
        return Turn(due_ns, user, number, said.messages(), tokens)

    def _first_from(self, user: int, wake: int, t_ns: int, window: Window) -> int:
        """Return the first wake-up, from number ``wake`` on, that comes at ``t_ns`` or later."""
        while self._due_ns(user, wake, window) < t_ns:
            wake += 1
        return wake

    def _due_ns(self, user: int, wake: int, window: Window) -> int:
        """Return when a device wakes: strictly later for each next number."""
        wake_ns, room_ns = self._wake_ns(wake, window)
        if self._spread_ns == 0:
            return wake_ns
        draw = random.Random(f"{self._seed}/{user}/{wake}")  # noqa: S311 - not a secret
        return wake_ns + int(draw.random() * min(self._spread_ns, room_ns))

    def _wake_ns(self, wake: int, window: Window) -> tuple[int, int]:
        """Return the moment of wake-up ``wake``, counted from 0 at the start of the block, and how
        long after it its period ends."""
        ramp_ns = window.ramp_ns - window.start_ns
        in_ramp = max(1, ramp_ns // self._period_ns) if ramp_ns > 0 else 0
        if wake < in_ramp:
            room_ns = ramp_ns // (2 * in_ramp)
            return window.start_ns + room_ns * (2 * wake + 1), room_ns
        room_ns = self._period_ns // 2
        return window.ramp_ns + self._period_ns * (wake - in_ramp) + room_ns, room_ns
