"""The windows over which a budget's burn is watched. They are data: another set is another tuple.

A pair of windows fires when the budget burns ``factor`` times as fast as it may, over the long
window (it is no blip) and over the short one (it still goes on). The factor follows from the
share of the period's budget that may be gone when the alert comes, after the method of chapter 5,
"Alerting on SLOs", of Google's Site Reliability Workbook.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.rules.model import DAY, HOUR, MINUTE, Severity


@dataclass(frozen=True, slots=True)
class Window:
    """One pair of windows. All times are seconds."""

    severity: Severity
    long: int
    short: int
    budget_share: float
    """Share of the period's budget that is gone once the long window burnt at the factor."""
    hold: int
    """How long the condition must last."""


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Every pair of windows of one period, the fastest first."""

    name: str
    period: int
    """Seconds over which the budget is counted."""
    windows: tuple[Window, ...]

    def factor(self, window: Window) -> float:
        """Return how many times faster than allowed the budget burns when ``window`` fires."""
        return round(window.budget_share * self.period / window.long, 6)

    def spans(self) -> tuple[int, ...]:
        """Return every length of a window once, the shortest first; seconds."""
        return tuple(sorted({span for each in self.windows for span in (each.long, each.short)}))


MONTH = WindowSet(
    "month",
    30 * DAY,
    (
        Window(Severity.CRITICAL, HOUR, 5 * MINUTE, 0.02, 2 * MINUTE),
        Window(Severity.CRITICAL, 6 * HOUR, 30 * MINUTE, 0.05, 15 * MINUTE),
        Window(Severity.WARNING, DAY, 2 * HOUR, 0.10, HOUR),
        Window(Severity.WARNING, 3 * DAY, 6 * HOUR, 0.10, 3 * HOUR),
    ),
)
"""For a service that runs all the time."""

BENCHMARK_DAY = WindowSet(
    "benchmark-day",
    DAY,
    (
        Window(Severity.CRITICAL, 5 * MINUTE, MINUTE, 0.05, 30),
        Window(Severity.CRITICAL, 30 * MINUTE, 5 * MINUTE, 0.125, 2 * MINUTE),
        Window(Severity.WARNING, 2 * HOUR, 15 * MINUTE, 0.25, 10 * MINUTE),
    ),
)
"""For a machine that is set up for a benchmark and lives a day."""

SETS = {each.name: each for each in (MONTH, BENCHMARK_DAY)}
"""Every set by its name."""
