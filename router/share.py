"""The share of requests that the local model answered, over a sliding window."""

from __future__ import annotations

from firsttoken.core.words import Tier

WINDOW_S = 300


class LocalShare:
    """Counts requests second by second, in a ring as long as the window.

    Times are seconds of one clock that never goes back.

    Args:
        seconds: length of the window; the second under way is part of it.
    """

    def __init__(self, seconds: int = WINDOW_S) -> None:
        self._seconds = seconds
        self._second = [-1] * seconds
        """Which second a place of the ring stands for."""
        self._local = [0] * seconds
        self._remote = [0] * seconds

    def count(self, tier: Tier, now_s: float) -> None:
        """Count a request that ended now; one that no model answered is passed over."""
        if tier is Tier.LOCAL:
            counts = self._local
        elif tier is Tier.REMOTE:
            counts = self._remote
        else:
            return
        second = int(now_s)
        place = second % self._seconds
        if self._second[place] != second:
            self._second[place] = second
            self._local[place] = self._remote[place] = 0
        counts[place] += 1

    def ratio(self, now_s: float) -> float | None:
        """Return local / (local + remote) in the window; None where there was neither."""
        first = int(now_s) - self._seconds + 1
        recent = [place for place, second in enumerate(self._second) if second >= first]
        local = sum(self._local[place] for place in recent)
        both = local + sum(self._remote[place] for place in recent)
        return local / both if both else None
