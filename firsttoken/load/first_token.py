"""First tokens counted as a run by hand goes on: by tier, reason and kind, in bounded memory.

Pure: what Locust's web UI makes of it is in :mod:`.web_tab`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from firsttoken.core.words import Outcome, Reason, Tier, Verdict
from firsttoken.load.exchange import Exchange

P95 = 0.95
CONFIDENCE_TAIL = 0.025
"""Left out on either side of an interval of 95 %."""
LAST_BUCKET_MS = 60_000
"""Whatever took longer counts as this long: no target is that far away."""
EXACT_UP_TO = 2_000
"""Requests up to which a binomial probability is summed; beyond, the normal curve is as good."""

ALL = ("all", "")
FELT = ("felt", "")
"""TTFT_user: counted from the planned start, not from the sending."""
DIRECT = "direct"
"""The tier of a server that names none: no router of ours stood between."""
_REASONS = frozenset(Reason)
_TIER_ORDER = (*Tier, DIRECT)
_GROUP_ORDER = ("tier", "reason", "kind")

Key = tuple[str, str]
"""A group and a name in it."""
Message = list[tuple[str, str, int, int, list[tuple[int, int]]]]
"""What a worker sends its master: group, name, failed, kept connections, (bucket, count) pairs."""


@dataclass(slots=True)
class Tally:
    """The first tokens of some requests. Bucket ``k`` holds those within (k - 1, k] ms, so that
    a share within a whole number of milliseconds is exact, and no quantile is shown too small."""

    buckets: dict[int, int] = field(default_factory=dict)
    arrived: int = 0
    """Requests that succeeded, each in one bucket."""
    failed: int = 0
    """Requests that did not: later than every target, for whoever waited for them."""
    kept: int = 0
    """Requests that were sent on a connection which had carried one before."""

    @property
    def n(self) -> int:
        """All requests that ended."""
        return self.arrived + self.failed

    def add(self, ttft_ms: float) -> None:
        """Count a reply."""
        bucket = min(max(math.ceil(ttft_ms), 0), LAST_BUCKET_MS)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.arrived += 1

    def merge(self, failed: int, kept: int, buckets: Iterable[tuple[int, int]]) -> None:
        """Add what another process counted."""
        self.failed += failed
        self.kept += kept
        for bucket, count in buckets:
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
            self.arrived += count

    def quantile(self, share: float) -> float | None:
        """Return the nearest-rank quantile in ms, infinite where it falls among the failed; None
        where nothing was counted."""
        if self.n == 0:
            return None
        # The product may come out a hair above the whole number it stands for.
        rank = max(1, math.ceil(share * self.n - 1e-9))
        for bucket in sorted(self.buckets):
            rank -= self.buckets[bucket]
            if rank <= 0:
                return float(bucket)
        return math.inf

    def within(self, target_ms: float) -> int:
        """Return how many arrived in time; exact for a whole number of milliseconds."""
        return sum(count for bucket, count in self.buckets.items() if bucket <= target_ms)


class FirstTokens:
    """The tallies of a run; as many as tiers, reasons and kinds of first token there are."""

    def __init__(self) -> None:
        self._tallies: dict[Key, Tally] = {}

    def take(self, exchange: Exchange) -> None:
        """Count one request that has ended."""
        keys = [ALL, ("tier", exchange.tier or DIRECT)]
        if exchange.reason is not None:
            keys.append(("reason", exchange.reason if exchange.reason in _REASONS else "other"))
        if exchange.first_token_kind is not None:
            keys.append(("kind", exchange.first_token_kind))
        # Whoever interrupted has heard the beginning.
        arrived = exchange.outcome in {Outcome.SUCCESS, Outcome.CANCELLED}
        for key in keys:
            tally = self._tally(key)
            tally.kept += bool(exchange.conn_reused)
            if arrived and exchange.ttft_ms is not None:
                tally.add(exchange.ttft_ms)
            else:
                tally.failed += 1
        felt = self._tally(FELT)
        if arrived and exchange.ttft_user_ms is not None:
            felt.add(exchange.ttft_user_ms)
        else:
            felt.failed += 1

    def get(self, key: Key) -> Tally:
        """Return the tally of ``key``, an empty one where nothing was counted."""
        return self._tallies.get(key) or Tally()

    def names(self) -> list[Key]:
        """Return what was counted apart: tiers, then reasons, then kinds."""
        return sorted(self._tallies.keys() - {ALL, FELT}, key=_place)

    def drain(self) -> Message:
        """Return all that was counted since the last call, and begin anew."""
        tallies, self._tallies = self._tallies, {}
        return [
            (*key, tally.failed, tally.kept, list(tally.buckets.items()))
            for key, tally in tallies.items()
        ]

    def merge(self, message: Message) -> None:
        """Add what :meth:`drain` returned in another process."""
        for group, name, failed, kept, buckets in message:
            self._tally((group, name)).merge(failed, kept, buckets)

    def clear(self) -> None:
        """Forget everything."""
        self._tallies.clear()

    def _tally(self, key: Key) -> Tally:
        return self._tallies.setdefault(key, Tally())


def _place(key: Key) -> tuple[Any, ...]:
    group, name = key
    rank = _TIER_ORDER.index(name) if group == "tier" else 0
    return _GROUP_ORDER.index(group), rank, name


@dataclass(frozen=True, slots=True)
class Goal:
    """What first tokens are held against."""

    ttft_p95_ms: float
    minimum_n: int
    """Requests below which nothing is claimed."""


def judge(tally: Tally, goal: Goal) -> Verdict:
    """Return whether the 95th percentile meets the target, by the rules of the report.

    PASS where the whole distribution-free 95 % interval of the percentile lies within the target,
    FAIL where it lies beyond. With m of n requests in time, the interval's upper end, an order
    statistic, is in time when P(X < m) >= 0.975 for X binomial with n and 0.95; its lower end is
    late when P(X <= m) < 0.025 (David and Nagaraja, Order Statistics, 7.1). Failed requests
    are late.
    """
    if tally.n < goal.minimum_n:
        return Verdict.INCONCLUSIVE
    late = tally.n - tally.within(goal.ttft_p95_ms)
    if _at_most(late, tally.n) <= CONFIDENCE_TAIL:
        return Verdict.PASS
    if 1 - _at_most(late - 1, tally.n) < CONFIDENCE_TAIL:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def _at_most(k: int, n: int) -> float:
    """Return the probability of at most ``k`` late ones of ``n``, were one in twenty late."""
    late = 1 - P95
    if k < 0:
        return 0.0
    if n > EXACT_UP_TO:
        spread = math.sqrt(2 * n * late * P95)
        return 0.5 * (1 + math.erf((k + 0.5 - n * late) / spread))
    term = total = P95**n
    for i in range(1, min(k, n) + 1):
        term *= (n - i + 1) / i * late / P95
        total += term
    return min(total, 1.0)
