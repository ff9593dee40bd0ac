"""The picture of the arms side by side: median and 95th percentile against the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import style, text
from reports.build import Report
from reports.figure_parts import (
    NARROW,
    NEVER_ROOM,
    arm_label,
    band_words,
    draw_target,
    log_axis,
    small_print,
    time_limits,
)
from reports.statistics import Estimate
from reports.tables import CellStatistics

QUANTILES: tuple[tuple[str, Callable[[CellStatistics], Estimate]], ...] = (
    ("p50", lambda cell: cell.ttft_p50_ms),
    ("p95", lambda cell: cell.ttft_p95_ms),
)
APART = 0.16
"""How far arms stand beside each other, where the distance of two steps is 1."""


def _series(
    axes: Axes,
    report: Report,
    arm: str,
    points: Sequence[tuple[float, Estimate]],
    limits: tuple[float, float],
    *,
    above: bool,
) -> None:
    """Draw an arm; its figures stand above or below its line, so that those of two arms that meet
    do not lie on each other."""
    floor, ceiling = limits
    look = style.ARM_LOOKS.get(arm, style.OTHER_ARM)
    places = [place for place, _ in points]
    values = [min(max(item.value or 0.0, floor), ceiling) for _, item in points]
    axes.plot(
        places,
        values,
        color=look.colour,
        linestyle=look.line,
        linewidth=1.2,
        marker=look.marker,
        markersize=5,
        label=arm_label(report, arm),
        clip_on=False,
    )
    for (place, item), value in zip(points, values, strict=True):
        low, high = item.ci_low, item.ci_high
        bottom = floor if low is None else min(max(low, floor), ceiling)
        top = ceiling if high is None else min(high, ceiling)
        axes.plot([place, place], [bottom, top], color=look.colour, linewidth=2.2, alpha=0.55)
        axes.annotate(
            f"{item.value:.0f}"
            if item.value is not None and math.isfinite(item.value)
            else "never",
            (place, value),
            xytext=(4, 3 if above else -3),
            textcoords="offset points",
            va="bottom" if above else "top",
            fontsize=7.5,
            color=look.colour,
        )


def arms_by_step(report: Report, width: float) -> Figure | None:
    """Draw each arm's p50 and p95 with their intervals; None where there is one cell at most."""
    filled = [cell for cell in report.cells if cell.ttft_p95_ms.n]
    if len(filled) < 2:
        return None
    steps = sorted({cell.step_users for cell in filled})
    arms = list(dict.fromkeys(cell.arm for cell in filled))
    narrow = width < NARROW
    size = (width, 5.6 if narrow else 3.5)
    figure = Figure(figsize=size, layout="constrained")
    shape = (2, 1) if narrow else (1, 2)
    panels = figure.subplots(*shape, squeeze=False, sharey=True).ravel()
    ends = [
        each
        for cell in filled
        for _, of in QUANTILES
        for each in (of(cell).value, of(cell).ci_low, of(cell).ci_high)
        if each is not None
    ]
    low, high = time_limits(ends, report)
    high *= NEVER_ROOM
    for axes, (name, of) in zip(panels, QUANTILES, strict=True):
        draw_target(axes, report, along="y")
        for number, arm in enumerate(arms):
            shift = (number - (len(arms) - 1) / 2) * APART
            points = [
                (steps.index(cell.step_users) + shift, of(cell))
                for cell in filled
                if cell.arm == arm
            ]
            _series(axes, report, arm, points, (low, high), above=number % 2 == 0)
        axes.set_xticks(range(len(steps)), [str(step) for step in steps])
        axes.set_xlim(-0.5, len(steps) - 0.35)
        axes.grid(visible=False, axis="x")
        axes.set_title(f"TTFT {name}")
        axes.set_ylabel("ms (logarithmic)")
    # Shared axes share their scale: the last one sets it for both.
    log_axis(panels[-1], "y", low, high)
    panels[-1].set_xlabel("users")
    if not narrow:
        panels[0].set_xlabel("users")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=1 if narrow else 3,
        fontsize=8.5,
        handlelength=3.2,
    )
    words = f"; bars: 95 % intervals; at the upper edge: {text.NEVER}"
    small_print(figure, f"{band_words(report)}{words}", width)
    return figure
