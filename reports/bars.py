"""Bars that the page draws itself, out of the figures of ``report.json``: no picture, no script.

Lengths are percent of the room that a bar has, so that they fit a phone and a sheet of paper alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from firsttoken.core.words import Tier
from reports import style, text
from reports.phases import PHASES
from reports.tables import CellStatistics
from reports.waterfall import RequestPhases

MOST_LINES = 14
"""More do not fit the first screen."""

TICKS_MS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000)
LEAST_APART = 11.0
"""Percent between two ticks that can be read."""


@dataclass(frozen=True, slots=True)
class Line:
    """The TTFT p95 of one cell on a common logarithmic scale; places in percent from the left."""

    number: int
    """Which of the report's cells."""
    cell: CellStatistics
    low: float
    high: float
    at: float


@dataclass(frozen=True, slots=True)
class Strip:
    """TTFT p95 of the cells beside the target; places in percent from the left."""

    lines: tuple[Line, ...]
    left_out: int
    """Cells that there is no room for."""
    band: tuple[float, float]
    target: float
    ticks: tuple[tuple[float, str], ...]


def _chosen(
    cells: Sequence[CellStatistics], judged_arm: str | None, judged_step: int
) -> list[tuple[int, CellStatistics]]:
    """Return the cells with requests; where they are too many, those that decide come first."""
    filled = [(number, cell) for number, cell in enumerate(cells) if cell.ttft_p95_ms.n]
    if len(filled) <= MOST_LINES:
        return filled
    first = [each for each in filled if each[1].step_users == judged_step]
    second = [each for each in filled if each not in first and each[1].arm == judged_arm]
    return sorted([*first, *second][:MOST_LINES], key=lambda each: each[0])


def strip(
    cells: Sequence[CellStatistics],
    judged_arm: str | None,
    judged_step: int,
    band_ms: tuple[float, float],
    target_ms: float,
) -> Strip:
    """Place the TTFT p95 of the cells, with its interval, beside target and the guide's range."""
    chosen = _chosen(cells, judged_arm, judged_step)
    seen = [band_ms[0], band_ms[1], target_ms]
    for _, cell in chosen:
        p95 = cell.ttft_p95_ms
        seen += [each for each in (p95.value, p95.ci_low, p95.ci_high) if each is not None]
    finite = [each for each in seen if math.isfinite(each) and each > 0]
    bottom, top = math.log(min(finite) / 1.3), math.log(max(finite) * 1.3)

    def place(value: float | None, missing: float) -> float:
        if value is None:
            return missing
        if math.isinf(value):
            return 100.0
        share = (math.log(max(value, math.exp(bottom))) - bottom) / (top - bottom)
        return round(100 * share, 2)

    ticks: list[tuple[float, str]] = []
    for tick in TICKS_MS:
        where = place(tick, 0.0)
        if bottom < math.log(tick) < top and (not ticks or where - ticks[-1][0] > LEAST_APART):
            ticks.append((where, f"{tick:g} ms" if tick < 1_000 else f"{tick / 1_000:g} s"))
    lines = [
        Line(
            number,
            cell,
            low=place(cell.ttft_p95_ms.ci_low, 0.0),
            high=place(cell.ttft_p95_ms.ci_high, 100.0),
            at=place(cell.ttft_p95_ms.value, 100.0),
        )
        for number, cell in chosen
    ]
    filled = sum(cell.ttft_p95_ms.n > 0 for cell in cells)
    return Strip(
        lines=tuple(lines),
        left_out=filled - len(lines),
        band=(place(band_ms[0], 0.0), place(band_ms[1], 100.0)),
        target=place(target_ms, 100.0),
        ticks=tuple(ticks),
    )


def lengths(item: RequestPhases, longest_ms: float) -> list[tuple[str, float]]:
    """Return the phases of a request that took any time, each with its percent of the longest."""
    return [
        (name, round(100 * item.phases_ms[name] / longest_ms, 3))
        for name in PHASES
        if item.phases_ms[name] > 0 and longest_ms > 0
    ]


def longest_ms(items: Sequence[RequestPhases]) -> float:
    """Return the time of all phases of the longest of some requests."""
    return max((sum(item.phases_ms.values()) for item in items), default=0.0)


_HATCHES = {
    "/": ("45deg", 5),
    "\\": ("135deg", 5),
    "-": ("0deg", 5),
    "|": ("90deg", 4),
    "x": ("60deg", 4),
    "+": ("90deg", 7),
}
"""Direction and distance, in pixels, of the lines that stand for a hatch of the figures."""


def phase_css() -> str:
    """Return a rule a phase: its colour and, where the figures hatch it, lines across. The remote
    tier has its own for what a cloud lets see of itself."""
    rules = []
    fills = {f".ph-{name}": fill for name, fill in style.PHASE_FILLS.items()}
    fills |= {f".{Tier.REMOTE} .ph-{name}": fill for name, fill in style.REMOTE_FILLS.items()}
    for selector, (colour, hatch) in fills.items():
        rule = f"background-color:{colour}"
        if hatch:
            turn, gap = _HATCHES[hatch[0]]
            rule += (
                f";background-image:repeating-linear-gradient({turn},rgba(255,255,255,.75) 0 1px,"
                f"transparent 1px {gap}px)"
            )
        rules.append(f"{selector}{{{rule}}}")
    return "\n".join(rules)


def label(cell: CellStatistics) -> str:
    """Return the arm and step of a line in words."""
    return f"{cell.arm}, {text.users(cell.step_users)}"
