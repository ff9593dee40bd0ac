"""The picture of a comparison: how far each figure shifted, and both distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports import style, text
from reports.compare.change import Change, Direction
from reports.compare.measures import DELAYS
from reports.compare.model import Compared
from reports.compare.sides import Side
from reports.compare.words import signed
from reports.gate.rule import MINIMUM_EFFECT
from reports.load import Cell
from reports.statistics import FloatArray

PAGE_WIDTH = 10.2
PHONE_WIDTH = 4.1
"""Inches, as in the report."""
MOST_ROWS = 24
"""More lines than these cannot be read side by side; the largest steps are kept."""
CURVE_POINTS = 500
TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""Ratios at which a logarithmic axis of shifts is labelled."""
WIDEST = 20.0
"""A ratio beyond this is drawn at the edge."""

DRAWN = {
    ("ttft", 0.50),
    ("ttft", 0.95),
    ("ttft", 0.99),
    ("ttfs", 0.50),
    ("tpot", 0.50),
    ("e2e", 0.50),
}

LOOKS = {
    Direction.BETTER: style.Look(style.LOCAL, "-", "o"),
    Direction.WORSE: style.Look(style.REMOTE, "-", "D"),
    Direction.NONE: style.Look(style.MUTED, "-", "|"),
    Direction.UNKNOWN: style.Look(style.MUTED, "-", "x"),
}
"""Shape tells what colour does."""
SIDES = (style.Look(style.MUTED, (0, (6, 2)), "s"), style.Look(style.INK, "-", "o"))
"""Reference and candidate."""


def _rows(pair: Compared) -> list[Change]:
    """Return the changes that are drawn, in the order of the table."""
    found = [item for item in pair.shown if (item.measure, item.quantile) in DRAWN]
    kept = [item for item in found if item.relative is not None]
    steps = sorted({item.step_users for item in kept}, reverse=True)
    while len(kept) > MOST_ROWS and len(steps) > 1:
        least = steps.pop()
        kept = [item for item in kept if item.step_users != least]
    return kept


def _ratio(relative: float) -> float:
    return min(max(1 + relative, 1 / WIDEST), WIDEST)


def _limits(rows: Sequence[Change]) -> tuple[float, float]:
    """Return the ends of the axis of ratios; they hold every interval, the band, and room."""
    ends = [
        _ratio(end)
        for item in rows
        for end in (item.relative, item.ci_low, item.ci_high)
        if end is not None
    ]
    low, high = min([*ends, 1 / 1.12]), max([*ends, 1.12])
    return low / 1.04, high * 1.04


def _forest(axes: Axes, rows: Sequence[Change], letter: str, *, narrow: bool) -> None:
    low, high = _limits(rows)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.axvspan(
        1 / (1 + MINIMUM_EFFECT), 1 + MINIMUM_EFFECT, color=style.GRID, linewidth=0, zorder=0
    )
    axes.axvline(1, color=style.INK, linewidth=1)
    heights = _heights(rows)
    for item, height in zip(rows, heights, strict=True):
        look = LOOKS[item.direction]
        if item.ci_low is not None and item.ci_high is not None:
            ends = [_ratio(item.ci_low), _ratio(item.ci_high)]
            axes.plot(ends, [height] * 2, color=look.colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(
            [_ratio(item.relative or 0.0)],
            [height],
            color=look.colour,
            marker=look.marker,
            markersize=6,
            markeredgewidth=1.8 if look.marker in "|x" else 0,
        )
        axes.annotate(
            f"{signed(item)}" if narrow else f"{signed(item)}  {item.word}",
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=look.colour,
            fontsize=8,
        )
    axes.set_yticks(heights, [item.label for item in rows])
    axes.set_ylim(heights[-1] - 0.7, 1.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    _groups(axes, rows, heights)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high, 5 if narrow else 9)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_xlabel(
        f"shift of {letter}: left is sooner"
        if narrow
        else f"shift of {letter} against A (logarithmic): left is sooner, right is later"
    )
    axes.set_title("Shifts with their 95 % intervals")


def _heights(rows: Sequence[Change]) -> list[float]:
    """Return the height of each line, with room above each arm and step for its name."""
    heights, height, before = [], 1.0, None
    for item in rows:
        place = (item.arm, item.step_users)
        height -= 2.0 if place != before else 1.0
        heights.append(height)
        before = place
    return heights


def _groups(axes: Axes, rows: Sequence[Change], heights: Sequence[float]) -> None:
    """Write arm and users above the first line of each."""
    before = None
    for item, height in zip(rows, heights, strict=True):
        place = (item.arm, item.step_users)
        if place != before:
            axes.annotate(
                f"{item.arm}, {text.users(item.step_users)}",
                (0, height + 1),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                fontweight="bold",
            )
        before = place


def _percent(ratio: float, _position: object) -> str:
    shift = round((ratio - 1) * 100)
    return f"{shift:+d} %" if shift else "0"


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return ticks within the limits, zero among them, so few that their labels stand apart."""
    inside = [tick for tick in TICKS if low <= tick <= high]
    apart = math.log(high / low) / most
    kept = [1.0]
    for tick in sorted(inside, key=lambda tick: abs(math.log(tick))):
        if all(abs(math.log(tick / other)) >= apart for other in kept):
            kept.append(tick)
    return sorted(kept)


def _curve_cells(pair: Compared) -> tuple[Cell, Cell] | None:
    """Return the cells of the change that is told first."""
    first = pair.headline
    if first is None:
        return None
    for lane, one, other in pair.match.cells():
        if (lane.label, one.step_users) == (first.arm, first.step_users):
            return one, other
    return None


def _curves(axes: Axes, pair: Compared, target_ms: float) -> None:
    """Draw the share of requests whose first token had come, of both sides."""
    cells = _curve_cells(pair)
    if cells is None:
        return
    values = DELAYS[0].values
    sides = (pair.match.reference, pair.match.candidate)
    ordered = [np.sort(values(cell.rows, target_ms)) for cell in cells]
    finite = np.concatenate([each[np.isfinite(each) & (each > 0)] for each in ordered])
    for side, delays, look in zip(sides, ordered, SIDES, strict=True):
        if delays.size:
            _curve(axes, side, delays, look)
    low = float(finite.min()) if finite.size else target_ms
    high = float(finite.max()) if finite.size else target_ms
    axes.set_xscale("log")
    axes.set_xlim(min(low, target_ms) * 0.85, max(high, target_ms) * 1.15)
    axes.axvline(target_ms, color=style.MUTED, linewidth=1.2)
    axes.annotate(
        f"target {target_ms:g} ms",
        (target_ms, 0),
        xycoords=("data", "axes fraction"),
        xytext=(3, 4),
        textcoords="offset points",
        fontsize=8,
        color=style.MUTED,
    )
    axes.axhline(95, color=style.MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 25, 50, 75, 95])
    axes.set_ylabel("% of requests")
    axes.set_xlabel("time to first token, ms (logarithmic)")
    axes.xaxis.set_major_locator(FixedLocator(_round_times(*axes.get_xlim())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title(
        f"First tokens, {cells[0].arm if cells[0].arm == cells[1].arm else 'both arms'}, "
        f"{text.users(cells[0].step_users)}"
    )


def _round_times(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 300 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def _curve(axes: Axes, side: Side, delays: FloatArray, look: style.Look) -> None:
    n = delays.size
    at = np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))
    shown = at[np.isfinite(delays[at])]
    if not shown.size:
        return
    axes.plot(
        delays[shown],
        (shown + 1) / n * 100,
        color=look.colour,
        linestyle=look.line,
        linewidth=1.8,
        marker=look.marker if shown.size == 1 else None,
    )
    # The two names stand at different heights, each at its own curve.
    share = 0.35 if side.letter == "A" else 0.65
    here = shown[min(int(share * shown.size), shown.size - 1)]
    axes.annotate(
        side.letter,
        (delays[here], (here + 1) / n * 100),
        xytext=(9, -8),
        textcoords="offset points",
        color=look.colour,
        fontweight="bold",
        fontsize=10,
    )


def figure(pair: Compared, width: float, target_ms: float) -> Figure | None:
    """Draw both panels, in the reports' style; None where there is no shift to draw."""
    rows = _rows(pair)
    if not rows:
        return None
    narrow = width < 6
    with style.applied():
        groups = len({(item.arm, item.step_users) for item in rows})
        forest = 0.9 + 0.21 * (len(rows) + groups)
        drawn = Figure(figsize=(width, forest + 2.9), layout="constrained")
        upper, lower = drawn.subplots(2, 1, height_ratios=(forest, 2.9))
        _forest(upper, rows, pair.match.candidate.letter, narrow=narrow)
        _curves(lower, pair, target_ms)
        return drawn
