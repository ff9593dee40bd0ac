"""Talking devices: conversations, with time to listen and to think, and now and then a barge-in."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from firsttoken.core.words import Outcome
from firsttoken.load.exchange import Exchange
from firsttoken.load.plan import MAX_USERS
from firsttoken.load.schedules.options import SessionsOptions
from firsttoken.load.schedules.turn import Starts, Turn, Wait, Window
from firsttoken.load.script import Said, Script
from firsttoken.wire.speaking import spoken_seconds

Message = dict[str, Any]
_ANSWERED = frozenset({Outcome.SUCCESS, Outcome.CANCELLED})


class _Habits(NamedTuple):
    """What the person does around one turn."""

    think_s: float
    interrupts_after_s: float | None
    """Counted from the first spoken word."""


@dataclass(slots=True)
class _Device:
    """One device in its one conversation."""

    number: int
    """How many devices had its place before."""
    turns: int
    gap_s: float
    due_ns: int
    """When it speaks next."""
    begun: int = 0
    history: deque[tuple[Message, Message]] = field(default_factory=deque)
    """What was said and what was answered, oldest first."""


class Sessions:
    """``users`` devices in conversation at any time.

    A device has 3 to 8 turns, then leaves, and after a gap another one takes its place: another
    session, another persona. After a reply the person listens until the device has spoken it, and
    thinks; the next turn is due then, and :attr:`Turn.t_sched_ns` is that moment. The device begins
    to speak with the first speakable sentence, while the rest still streams. A reply that has none
    or that failed is not listened to.

    A person who interrupts does so while the device speaks. A reply that still streams then is
    given up. The next turn is due when the interrupting words have been said.

    The conversation so far is sent with each turn: what was said and answered, of a reply that was
    given up what came of it. Failed and empty turns leave no trace. Given the same replies at the
    same times, the same seed does the same; what is said does not depend on the replies at all.
    """

    elastic = True

    def __init__(
        self,
        script: Script,
        step: int,
        users: int,
        min_tokens: int,
        max_tokens: int,
        *,
        options: SessionsOptions,
        seed: int,
    ) -> None:
        self._script = script
        self._step = step
        self._users = users
        self._tokens = (min_tokens, max_tokens)
        self._options = options
        self._seed = f"{seed}/{step}"
        self._devices: dict[int, _Device] = {}
        """By talker: the device that it is at present."""

    def next(self, user: int, now_ns: int, window: Window) -> Turn | Wait | None:
        """Return the next turn of the device in the place of ``user``, once it is due."""
        if window.over(now_ns):
            return None
        device = self._devices.get(user)
        if device is None:
            device = self._devices[user] = self._join(user, 0, self._first_ns(user, now_ns, window))
        if now_ns < device.due_ns:
            return Wait(device.due_ns)
        number = device.begun
        device.begun += 1
        said = self._say(user, device, number)
        system, words = said.messages()
        earlier = [message for pair in device.history for message in pair]
        interrupts_after_s = self._habits(user, device, number).interrupts_after_s
        return Turn(
            t_sched_ns=device.due_ns,
            session=device.number * MAX_USERS + user,
            number=number,
            messages=[system, *earlier, words],
            max_tokens=self._script.reply_tokens(said, *self._tokens),
            hang_up_after_ms=None if interrupts_after_s is None else interrupts_after_s * 1e3,
            keep_text=True,
            last=device.begun >= device.turns,
        )

    def done(self, user: int, turn: Turn, exchange: Exchange, now_ns: int) -> None:
        """Decide when the device speaks next, or who comes after it."""
        device = self._devices[user]
        ended_ns = exchange.t_end_ns or now_ns
        silent_ns = self._silent_ns(exchange, ended_ns)
        if device.begun >= device.turns:
            after_ns = silent_ns + int(device.gap_s * NS_PER_S)
            self._devices[user] = self._join(user, device.number + 1, after_ns)
            return
        self._remember(device, turn, exchange)
        interrupted_ns = _interrupted_ns(turn, exchange, ended_ns)
        if interrupted_ns is not None and interrupted_ns <= silent_ns:
            words = self._say(user, device, device.begun).utterance.text
            device.due_ns = interrupted_ns + self._spoken_ns(words)
        else:
            think_s = self._habits(user, device, turn.number).think_s
            device.due_ns = silent_ns + int(think_s * NS_PER_S)

    def owes(self, now_ns: int, window: Window) -> bool:  # noqa: ARG002 - as Schedule has it
        """A conversation that the block's end cuts short is owed nothing."""
        return False

    def starts(self, window: Window) -> Starts | None:  # noqa: ARG002 - as Schedule has it
        """Nothing was planned: when a device speaks depends on what it hears."""
        return None

    def _first_ns(self, user: int, now_ns: int, window: Window) -> int:
        """Return when the first device in a place joins: at its part of the ramp; without a ramp,
        now."""
        ramp_ns = window.ramp_ns - window.start_ns
        return window.start_ns + ramp_ns * user // self._users if ramp_ns > 0 else now_ns

    def _join(self, user: int, number: int, due_ns: int) -> _Device:
        draw = random.Random(f"{self._seed}/device/{user}/{number}")  # noqa: S311 - not a secret
        turns = draw.randint(*self._options.turns)
        return _Device(number, turns, draw.uniform(*self._options.gap_seconds), due_ns)

    def _habits(self, user: int, device: _Device, number: int) -> _Habits:
        draw = random.Random(f"{self._seed}/turn/{user}/{device.number}/{number}")  # noqa: S311
        think_s = draw.uniform(*self._options.think_seconds)
        after_s = draw.uniform(*self._options.barge_in_seconds)
        # Who interrupts has something to say: never in the last turn.
        interrupts = draw.random() < self._options.barge_in_share and number + 1 < device.turns
        return _Habits(think_s, after_s if interrupts else None)

    def _say(self, user: int, device: _Device, number: int) -> Said:
        """Return what is said in turn ``number``.

        Each device of a place is another user of the script, so that its persona is another one,
        and goes on in its walk where no device before it came.
        """
        place = user + device.number
        return self._script.say(self._step, place, device.number * self._options.turns[1] + number)

    def _silent_ns(self, exchange: Exchange, ended_ns: int) -> int:
        """Return when the device, left alone, has spoken all that it received."""
        begins_ns = exchange.t_first_sentence_ns
        if exchange.outcome != Outcome.SUCCESS or begins_ns is None:
            return ended_ns
        return max(ended_ns, begins_ns + self._spoken_ns(exchange.text))

    def _spoken_ns(self, text: str) -> int:
        options = self._options
        seconds = spoken_seconds(
            text, options.chinese_characters_per_second, options.english_characters_per_second
        )
        return int(seconds * NS_PER_S)

    def _remember(self, device: _Device, turn: Turn, exchange: Exchange) -> None:
        """Add a turn to the conversation; leave out the oldest ones beyond the bounds."""
        text = exchange.text
        if not (self._options.history and exchange.outcome in _ANSWERED and text):
            return
        history = device.history
        history.append((turn.messages[-1], {"role": "assistant", "content": text}))
        characters = sum(len(message["content"]) for pair in history for message in pair)
        while history and (
            2 * len(history) > self._options.history_messages
            or characters > self._options.history_characters
        ):
            characters -= sum(len(message["content"]) for message in history.popleft())


def _interrupted_ns(turn: Turn, exchange: Exchange, ended_ns: int) -> int | None:
    """Return when the person interrupts the reply that has ended; None: never, or there is nothing
    to be interrupted."""
    begins_ns = exchange.t_first_sentence_ns
    if turn.hang_up_after_ms is None or begins_ns is None or exchange.outcome not in _ANSWERED:
        return None
    # What ended a moment before the client could hang up was heard to its end.
    return max(ended_ns, begins_ns + int(turn.hang_up_after_ms * NS_PER_MS))
