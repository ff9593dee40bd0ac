"""From when to when a block counts: pure, time is passed in.

The warm-up ends after a fixed time, or when the load has come to rest. The steady part lasts as
planned, or until the figure that is judged, the p95 of the first token, is sharp enough.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import EndedBy
from firsttoken.load.plan import Block
from firsttoken.load.schedules.turn import Window
from firsttoken.load.settling import WINDOW_S, Settling

LOOK_S = 0.1
"""Between two looks at the requests in flight."""
DECIDE_S = 0.5
"""Between two tests whether the load has come to rest."""
SHARPEN_S = 1.0
"""Between two looks at how sharp the figure is."""
JUDGED_QUANTILE = 0.95
CONFIDENCE = 0.95


def half_width(ordered: list[float], p: float = JUDGED_QUANTILE) -> float | None:
    """Return half the width of a quantile's 95 % interval, as a share of the quantile.

    The interval lies between two order statistics whatever the distribution. Their ranks are
    those of the binomial distribution by its normal approximation, rounded outwards, which
    differs from the exact ranks of the report by two at most (n from 72 on). Like them it takes
    requests for independent of each other; those that wait in one queue are not quite.

    Args:
        ordered: ascending; ``inf`` for a request that never got its first token.
        p: in (0, 1).

    Returns:
        None as long as the sample is too small to bound the quantile on both sides, or where a
        bound is infinite or the quantile zero.
    """
    n = len(ordered)
    reach = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * math.sqrt(n * p * (1 - p))
    low, high = math.floor(n * p - reach), math.ceil(n * p + reach) + 1
    if low < 1 or high > n:
        return None
    value = ordered[max(math.ceil(n * p - 1e-9), 1) - 1]
    width = ordered[high - 1] - ordered[low - 1]
    return width / 2 / value if value > 0 and math.isfinite(width) else None


class Steady:
    """Sets the steady part of a block's window, and says how it came about.

    Args:
        block: its planned lengths.
        window: start and end of the ramp are known; the rest is set by :meth:`look`.
        elastic: whether the schedule lets the steady part be found while it runs; where not, both
            of its ends are set here and now.
        settle_cap_s: how long to wait for rest after the ramp; None: not at all.
        until_ci: how sharp the figure has to be (:func:`half_width`); None: the planned length.
        until_cap_s: longest steady part; not below the planned length.
    """

    def __init__(
        self,
        block: Block,
        window: Window,
        *,
        elastic: bool,
        settle_cap_s: float | None = None,
        until_ci: float | None = None,
        until_cap_s: float = 0.0,
    ) -> None:
        self._window = window
        self._length_ns = int(block.steady_seconds * NS_PER_S)
        self._until_ci = until_ci if elastic else None
        self._cap_ns = max(int(until_cap_s * NS_PER_S), self._length_ns)
        self._wait_ns = None if settle_cap_s is None else int(settle_cap_s * NS_PER_S)
        self._settling: Settling | None = None
        if settle_cap_s is not None:
            # Where every start is planned, the steady part itself is tested once it is over.
            self._settling = Settling(window.ramp_ns, WINDOW_S if elastic else None)
        self._next_test_ns = 0
        self._ordered: list[float] = []
        self._fresh: list[float] = []
        self.settled: bool | None = None
        """Whether the load came to rest; None: that was not asked, or is not known yet."""
        self.ended_by: EndedBy | None = None
        """What ended the steady part where it had no planned length."""
        self.ci_half_width: float | None = None
        """The last that :func:`half_width` gave."""
        if not elastic or self._settling is None:
            self._begin(window.ramp_ns)

    def heard(self, t_send_ns: int, ttft_ms: float | None, *, steady: bool) -> None:
        """Take a request that has ended; ``ttft_ms`` None: it failed or was never answered."""
        if self._settling is not None and ttft_ms is not None:
            self._settling.add(t_send_ns, ttft_ms)
        if steady and self._until_ci is not None:
            self._fresh.append(math.inf if ttft_ms is None else ttft_ms)

    def look(self, now_ns: int, in_flight: int) -> float:
        """Move on as far as the time and the load allow; return the seconds until the next look,
        0 once nothing new may begin."""
        if self._settling is not None and self.settled is None:
            self._settling.in_flight(now_ns, in_flight)
        if self._window.steady_ns is None:
            self._seek_rest(now_ns)
        elif self._until_ci is not None and self.ended_by is None:
            self._seek_sharpness(now_ns)
        stop_ns = self._window.stop_ns
        if stop_ns is None:
            return LOOK_S
        if now_ns < stop_ns:
            return min(LOOK_S, (stop_ns - now_ns) / NS_PER_S)
        if self._settling is not None and self.settled is None:
            self.settled = self._settling.settled(stop_ns)
        return 0.0

    def _begin(self, steady_ns: int) -> None:
        self._window.steady_ns = steady_ns
        if self._until_ci is None:
            self._window.stop_ns = steady_ns + self._length_ns
        self._next_test_ns = steady_ns + self._length_ns

    def _seek_rest(self, now_ns: int) -> None:
        settling, wait_ns = self._settling, self._wait_ns
        if settling is None or wait_ns is None or now_ns < self._next_test_ns:
            return
        self._next_test_ns = now_ns + int(DECIDE_S * NS_PER_S)
        rest = settling.settled(now_ns)
        if rest or now_ns >= self._window.ramp_ns + wait_ns:
            self.settled = rest
            self._settling = None
            self._begin(now_ns)

    def _seek_sharpness(self, now_ns: int) -> None:
        steady_ns, until_ci = self._window.steady_ns, self._until_ci
        if steady_ns is None or until_ci is None or now_ns < self._next_test_ns:
            return
        self._next_test_ns = now_ns + int(SHARPEN_S * NS_PER_S)
        # A sorted list with a short tail: sorting it anew is little more than one walk.
        self._ordered += self._fresh
        self._fresh.clear()
        self._ordered.sort()
        self.ci_half_width = half_width(self._ordered)
        if self.ci_half_width is not None and self.ci_half_width <= until_ci:
            self.ended_by = EndedBy.INTERVAL
        elif now_ns >= steady_ns + self._cap_ns:
            self.ended_by = EndedBy.CAP
        if self.ended_by is not None:
            self._window.stop_ns = now_ns
