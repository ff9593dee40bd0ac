"""When a second backend is asked while the first one is still silent, and how often at most.

The local attempt goes on; whichever has its first token first wins and the other is cancelled
(Dean and Barroso, "The Tail at Scale", 2013). A hedge is no timeout: the deadline after which an
attempt is given up is another setting, and reaching this delay aborts nothing.
"""

from __future__ import annotations

DEFAULT_DELAY_S = 0.4
"""The delay before enough was learned: the acceptance target of the first token's 95th percentile.
An engine that meets its target has its 95th percentile there at the latest, so this hedges no more
than the rule does. Of one that does not, nearly every request would be hedged: there the budget is
the limit, until the engine's own times are known. Waiting longer would gain nothing that the budget
does not save already, while a cloud's first token comes 1.5 to 3 s after it is asked."""

FLOOR_S = 0.2
"""The target's lower end: an engine that is fast already is not hedged for a few milliseconds."""

CEILING_S = 1.0
"""The guide's threshold for a slow local engine."""


def hedge_delay_s(
    p95_s: float | None,
    *,
    at_once: bool = False,
    p99_s: float | None = None,
    wait_s: float = 0.0,
    other_s: float | None = None,
) -> float:
    """Return how many seconds after the local attempt the other backend is asked.

    Args:
        p95_s: 95th percentile of the local engine's first-token time for prompts of this length,
            so that about one request in twenty is hedged; None where it is not known yet.
        at_once: whether the local engine will surely be late: its slots are full, its model is
            not loaded, its CPU is over 90 % busy.
        p99_s: 99th percentile of the same.
        wait_s: predicted wait for a slot, which comes before it.
        other_s: median first-token time of the backend that would be asked.

    A hedge that would come later than 99 of 100 local first tokens cannot win but against the
    hundredth: it waits until the local one is that late.
    """
    delay_s = 0.0
    if not at_once:
        delay_s = min(max(DEFAULT_DELAY_S if p95_s is None else p95_s, FLOOR_S), CEILING_S)
    if p99_s is None or other_s is None or delay_s + other_s <= wait_s + p99_s:
        return delay_s
    return max(delay_s, wait_s + p99_s)


class Budget:
    """Bounds the extra load of hedges to a share of the requests (a token bucket, as Finagle's
    retry budget).

    Args:
        share: hedges for each accepted request, over a long time.
        most: hedges that can be saved up: what a bad moment may spend at once.
        saved: hedges at the start.
    """

    def __init__(self, share: float = 0.1, most: float = 5.0, saved: float = 1.0) -> None:
        self._share = share
        self._most = most
        self._saved = min(saved, most)

    @property
    def saved(self) -> float:
        """Hedges that could be made now."""
        return self._saved

    def accepted(self) -> None:
        """Note an accepted request."""
        self._saved = min(self._most, self._saved + self._share)

    def take(self) -> bool:
        """Spend one hedge; False, and nothing is spent, where none is left."""
        # Ten tenths do not add up to one in floating point.
        if self._saved < 1 - 1e-9:
            return False
        self._saved = max(0.0, self._saved - 1)
        return True
