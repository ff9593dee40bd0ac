"""Time: one monotonic nanosecond clock a process and one wall-clock anchor a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

NowNs = Callable[[], int]
"""A clock: nanoseconds of a monotonic clock. Decisions take one as an argument, so that tests
can hand in their own."""

monotonic_ns: NowNs = time.monotonic_ns
"""The clock of production code. On Linux all processes of a host share its origin."""


def milliseconds(start_ns: int | None, end_ns: int | None) -> float | None:
    """Return ``end_ns - start_ns`` in milliseconds, or None where either stamp is missing."""
    if start_ns is None or end_ns is None:
        return None
    return (end_ns - start_ns) / NS_PER_MS


@dataclass(frozen=True, slots=True)
class WallAnchor:
    """The wall-clock time of one instant of the monotonic clock."""

    monotonic_ns: int
    wall_unix_ns: int

    @classmethod
    def now(cls) -> WallAnchor:
        """Read both clocks, the monotonic one on both sides so that a pause cannot skew it."""
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        return cls(monotonic_ns=(before + after) // 2, wall_unix_ns=wall)

    def wall_ns(self, t_ns: int) -> int:
        """Return the Unix time in nanoseconds at which the monotonic clock showed ``t_ns``."""
        return self.wall_unix_ns + (t_ns - self.monotonic_ns)

    def isoformat(self) -> str:
        """Return the anchor's instant as ISO 8601 in UTC, to the second."""
        instant = datetime.fromtimestamp(self.wall_unix_ns / NS_PER_S, tz=UTC)
        return instant.isoformat(timespec="seconds")
