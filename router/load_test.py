"""Which load test says that it runs now, so that boards can mark its time."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_S = 3600.0
"""A run that was not ended is taken to be over after so long, unless it says again that it runs."""


@dataclass(frozen=True, slots=True)
class LoadTest:
    """A run, as it names itself."""

    run_id: str
    scenario: str


class Announced:
    """At most one run; one that starts replaces the one before.

    Times are seconds of one clock that never goes back.
    """

    def __init__(self) -> None:
        self._running: LoadTest | None = None
        self._until_s = 0.0

    def start(self, run: LoadTest, now_s: float) -> LoadTest | None:
        """Note that a run starts, or goes on; return the other one that it replaces."""
        before = self.running(now_s)
        self._running, self._until_s = run, now_s + LONGEST_S
        return before if before != run else None

    def stop(self, run_id: str) -> bool:
        """Note that a run ended; say whether it was the one that ran."""
        found = self._running is not None and self._running.run_id == run_id
        if found:
            self._running = None
        return found

    def running(self, now_s: float) -> LoadTest | None:
        """Return the run that goes on now."""
        if self._running is not None and now_s >= self._until_s:
            self._running = None
        return self._running
