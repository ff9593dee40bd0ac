"""Has the load come to rest? A test on first tokens and on requests in flight; pure.

The last seconds are cut into batches of equal length, and each batch is put down to one value: the
median TTFT of the first tokens that arrived in it, or the mean of the requests in flight. Batches
rather than single requests, because what follows assumes values that hardly depend on each other,
and two requests one after the other wait in the same queue (the method of batch means: Law,
"Simulation Modeling and Analysis", section 9.5).

Through the batches goes the line of Theil and Sen: its slope is the median of the slopes between
all pairs, with the interval that Kendall's rank correlation gives it (Sen, "Estimates of the
Regression Coefficient Based on Kendall's Tau", Journal of the American Statistical Association 63,
1968; formula in :func:`trend`). Neither cares how the values are distributed nor about one wild
batch. The load **moves** when both hold: the interval excludes a slope of zero, so that there is a
trend; and the line moves by more than :data:`TOLERANCE` of its level over the span looked at, so
that it matters. Whatever does not move has settled. By Little's law a queue that grows shows in
flight, a count with little noise; first tokens are noisy, and tell what a queue does not: caches
that warm up, a model that is being loaded.

A first token counts when it arrives, not when its request was sent: of what was sent last, only the
fast ones have been answered, and a series by time of sending would always seem to fall.

What this cannot see: a warm-up that stays level for longer than :data:`WINDOW_S` and then drops,
and a drift slower than the tolerance.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import NormalDist, fmean, median
from typing import NamedTuple

from firsttoken.core.clock import NS_PER_MS, NS_PER_S

WINDOW_S = 6.0
"""How long the load has to have been at rest."""
TOLERANCE = 0.10
"""Change over the span, as a share of the level, that does not matter."""
SEEKING = 0.90
"""Confidence of the slope's interval while rest is waited for: a trend that is not there costs half
a second, until the next test, one that is missed spoils the figures. For the same reason
:data:`PASSES` tests in a row have to find none."""
PASSES = 3
JUDGING = 0.99
"""Confidence where a steady part is judged once, when it is over: there a trend that is not there
would call a sound figure saturated."""
BATCHES = 10
MIN_BATCHES = 6
"""With fewer values, no order of them is rare enough to show a trend at this confidence."""
MIN_FIRST_TOKENS = 20
MIN_IN_FLIGHT_DRIFT = 1.0
"""One request more or less in flight is no trend, however few there are."""

_SLOT_S = 0.25
_MAX_SLOTS = 256
_MAX_PER_SLOT = 64
"""First tokens kept a slot; of more, the median is told by these."""


class Trend(NamedTuple):
    """A straight line through values: what it changes by over the whole span, and its level."""

    change: float
    change_low: float
    change_high: float
    level: float

    def moves(self, least: float = 0.0) -> bool:
        """Whether there is a change that matters: a trend, and more than ``least`` and than
        :data:`TOLERANCE` of the level."""
        matters = max(least, TOLERANCE * abs(self.level))
        return (self.change_low > 0 or self.change_high < 0) and abs(self.change) > matters


def trend(points: Sequence[tuple[float, float]], span: float, confidence: float) -> Trend | None:
    """Return the line through ``(position, value)`` by Theil and Sen; None of too few points.

    The slopes between all N pairs are put in order. Kendall's S of n values without a trend has
    the variance n (n - 1) (2n + 5) / 18; with C = z sqrt(variance), the interval reaches from the
    ((N - C) / 2)-th to the ((N + C) / 2 + 1)-th slope.

    Args:
        points: at different positions; the caller keeps them few, for pairs grow by the square.
        span: what the slope is multiplied by, in the unit of the positions.
        confidence: of the slope's interval.
    """
    n = len(points)
    if n < MIN_BATCHES:
        return None
    slopes = sorted(
        (points[b][1] - points[a][1]) / (points[b][0] - points[a][0])
        for b in range(n)
        for a in range(b)
    )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    reach = z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(math.floor((len(slopes) - reach) / 2) - 1, 0)
    high = min(math.ceil((len(slopes) + reach) / 2), len(slopes) - 1)
    return Trend(
        median(slopes) * span,
        slopes[low] * span,
        slopes[high] * span,
        median(value for _, value in points),
    )


class _Slot:
    """A quarter of a second, or several of them put together."""

    __slots__ = ("in_flight", "looks", "start", "ttft_ms")

    def __init__(self, start: int) -> None:
        self.start = start
        """In slot lengths since the beginning."""
        self.ttft_ms: list[float] = []
        self.in_flight = 0.0
        self.looks = 0


class Settling:
    """Takes what happens, and tells whether it has come to rest. Memory is bounded.

    Args:
        begin_ns: from when on the load is meant to be level: all talkers have begun.
        window_s: the span that is looked at, up to now; None: everything since the beginning,
            which is how a steady part is tested once it is over.
    """

    def __init__(self, begin_ns: int, window_s: float | None = WINDOW_S) -> None:
        self._begin_ns = begin_ns
        self._window_s = window_s
        self._slots: deque[_Slot] = deque()
        self._slot_ns = int(_SLOT_S * NS_PER_S)
        self._passed = 0

    def add(self, t_send_ns: int, ttft_ms: float) -> None:
        """Take a first token; those that arrived before the beginning do not count.

        They need not come in order: a request is known when its reply has ended.
        """
        slot = self._slot(t_send_ns + int(ttft_ms * NS_PER_MS))
        if slot is not None and len(slot.ttft_ms) < _MAX_PER_SLOT:
            slot.ttft_ms.append(ttft_ms)

    def in_flight(self, t_ns: int, n: int) -> None:
        """Take the number of requests under way, looked at several times a second."""
        slot = self._slot(t_ns)
        if slot is not None:
            slot.in_flight += n
            slot.looks += 1

    def settled(self, now_ns: int) -> bool:
        """Return whether neither first tokens nor requests in flight have moved over the span.

        Waiting for rest, it is to be called every half second or so; it is False as long as less
        than a window has passed or too few first tokens came, for which it looks further back, up
        to a minute. The longer it takes the further back it looks: over half of the time so far,
        and over no more than it keeps.
        """
        if self._window_s is None:
            return self._level(self._begin_ns, now_ns, JUDGING)
        longest_ns = _MAX_SLOTS * self._slot_ns
        window_ns = max(
            int(self._window_s * NS_PER_S), min((now_ns - self._begin_ns) // 2, longest_ns)
        )
        start_ns = now_ns - window_ns
        level = start_ns >= self._begin_ns and self._level(
            self._reach_back(start_ns), now_ns, SEEKING
        )
        self._passed = self._passed + 1 if level else 0
        return self._passed >= PASSES

    def _level(self, begin: int, now_ns: int, confidence: float) -> bool:
        """Return whether nothing moved between two moments."""
        if now_ns <= begin:
            return False
        span_s = (now_ns - begin) / NS_PER_S
        batches = self._batches(begin, now_ns)
        if sum(len(ttft) for ttft, _ in batches) < MIN_FIRST_TOKENS:
            return False
        middles = [(at + 0.5) * span_s / BATCHES for at in range(BATCHES)]
        first = trend(
            [(at, median(ttft)) for at, (ttft, _) in zip(middles, batches, strict=True) if ttft],
            span_s,
            confidence,
        )
        flight = trend(
            [(at, fmean(n)) for at, (_, n) in zip(middles, batches, strict=True) if n],
            span_s,
            confidence,
        )
        if first is None or flight is None:
            return False
        return not (first.moves() or flight.moves(MIN_IN_FLIGHT_DRIFT))

    def _reach_back(self, start_ns: int) -> int:
        """Return from when on to look: ``start_ns``, or earlier for the sake of enough values."""
        found = 0
        for slot in reversed(self._slots):
            slot_ns = self._begin_ns + slot.start * self._slot_ns
            if slot_ns < start_ns and found >= MIN_FIRST_TOKENS:
                break
            found += len(slot.ttft_ms)
            start_ns = min(start_ns, slot_ns)
        return start_ns

    def _batches(self, begin_ns: int, end_ns: int) -> list[tuple[list[float], list[float]]]:
        """Return the TTFTs and the numbers in flight of each batch."""
        batches: list[tuple[list[float], list[float]]] = [([], []) for _ in range(BATCHES)]
        for slot in self._slots:
            middle_ns = self._begin_ns + int((slot.start + 0.5) * self._slot_ns)
            if begin_ns <= middle_ns < end_ns:
                ttft, flight = batches[BATCHES * (middle_ns - begin_ns) // (end_ns - begin_ns)]
                ttft += slot.ttft_ms
                if slot.looks:
                    flight.append(slot.in_flight / slot.looks)
        return batches

    def _slot(self, t_ns: int) -> _Slot | None:
        """Return the slot of a moment, or None where it is not kept: before the beginning, or
        long ago."""
        if t_ns < self._begin_ns:
            return None
        number = (t_ns - self._begin_ns) // self._slot_ns
        at = len(self._slots)
        while at and self._slots[at - 1].start > number:
            at -= 1
        if at and self._slots[at - 1].start == number:
            return self._slots[at - 1]
        if at == 0 and len(self._slots) == _MAX_SLOTS:
            return None
        slot = _Slot(number)
        self._slots.insert(at, slot)
        if len(self._slots) > _MAX_SLOTS:
            self._make_room()
            return self._slot(t_ns)
        return slot

    def _make_room(self) -> None:
        """Forget the oldest slot, or, where all of the past counts, make slots twice as long."""
        if self._window_s is not None:
            self._slots.popleft()
            return
        self._slot_ns *= 2
        joined: deque[_Slot] = deque()
        for old in self._slots:
            if not joined or joined[-1].start != old.start // 2:
                joined.append(_Slot(old.start // 2))
            into = joined[-1]
            into.ttft_ms += old.ttft_ms
            into.in_flight += old.in_flight
            into.looks += old.looks
        for slot in joined:
            if len(slot.ttft_ms) > _MAX_PER_SLOT:
                # Every second one, so that neither half outweighs the other.
                slot.ttft_ms = slot.ttft_ms[::2]
        self._slots = joined
