"""The picture of how first tokens spread: a shape for each step and tier, in a panel an arm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import style, text
from reports.build import Report
from reports.figure_parts import (
    NARROW,
    arm_label,
    band_words,
    draw_target,
    log_axis,
    seen_limits,
    small_print,
)
from reports.load import Cell, delays_ms, named, tiers_of
from reports.statistics import FloatArray
from reports.tables import CellStatistics, TierStatistics

BINS_A_DECADE = 24
DOTS_UP_TO = 60
"""So few requests are drawn as they are; a shape would claim more than they tell."""
HALF_WIDTH = 0.42


@dataclass(frozen=True, slots=True)
class _Shape:
    """What stands at one place of a panel; ``delays`` in ms, ``inf`` for what never came."""

    step_users: int
    tier: TierStatistics
    delays: FloatArray


def _shapes(cell: Cell, figures: CellStatistics, target_ms: float) -> list[_Shape]:
    delays = delays_ms(cell.rows, target_ms)
    tiers = named(tiers_of(cell.arm, cell.rows))
    found = []
    for item in figures.tiers:
        mine = delays[(tiers == item.tier).to_numpy(dtype=bool)]
        mine = mine[~np.isnan(mine)]
        if mine.size:
            found.append(_Shape(cell.step_users, item, mine))
    return found


def _draw(axes: Axes, place: int, shape: _Shape, low: float, high: float) -> None:
    look = style.TIER_LOOKS.get(shape.tier.tier, style.OTHER_TIER)
    finite = shape.delays[np.isfinite(shape.delays)]
    if finite.size > DOTS_UP_TO:
        bins = math.ceil((math.log10(high) - math.log10(low)) * BINS_A_DECADE)
        counts, edges = np.histogram(
            np.log10(np.maximum(finite, low)), bins, (math.log10(low), math.log10(high))
        )
        filled = np.flatnonzero(counts)
        inside = slice(filled[0], filled[-1] + 1)
        middles = 10 ** ((edges[:-1] + edges[1:]) / 2)
        half = counts / counts.max() * HALF_WIDTH
        axes.fill_betweenx(
            middles[inside],
            place - half[inside],
            place + half[inside],
            color=look.colour,
            alpha=0.45,
            linewidth=0,
        )
    elif finite.size:
        # Beside each other in the order of sending: what lies on top of another is seen.
        across = place + np.linspace(-0.3, 0.3, finite.size) if finite.size > 1 else [place]
        axes.plot(
            across,
            finite,
            linestyle="",
            marker=look.marker,
            markersize=3,
            color=look.colour,
            alpha=0.7,
        )
    _marks(axes, place, shape.tier, low, high)


def _marks(axes: Axes, place: int, tier: TierStatistics, low: float, high: float) -> None:
    """Mark p50 by a ring and p95 by a bar with its figure."""
    p50, p95 = tier.ttft_p50_ms.value, tier.ttft_p95_ms.value
    if p50 is not None and math.isfinite(p50):
        axes.plot([place], [p50], marker="o", markersize=5, color=style.INK, fillstyle="none")
    if p95 is None:
        return
    at = min(max(p95, low), high)
    axes.plot([place - 0.25, place + 0.25], [at, at], color=style.INK, linewidth=1.6)
    axes.annotate(
        f"{p95:.0f}" if math.isfinite(p95) else text.NEVER,
        (place, at),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7.5,
    )


def ttft_spread(report: Report, width: float) -> Figure | None:
    """Draw first tokens by step and tier; None without a request."""
    by_arm: dict[str, list[_Shape]] = {}
    for cell, figures in zip(report.data.cells, report.cells, strict=True):
        shapes = _shapes(cell, figures, report.ttft_target_ms)
        if shapes:
            by_arm.setdefault(cell.arm, []).extend(shapes)
    if not by_arm:
        return None
    narrow = width < NARROW
    low, high = seen_limits(report)
    high *= 1.25
    counts = [len(shapes) for shapes in by_arm.values()]
    height = 3.4 * len(by_arm) + 0.4 if narrow else 4.0
    figure = Figure(figsize=(width, height), layout="constrained")
    lines, columns = (len(by_arm), 1) if narrow else (1, len(by_arm))
    ratios = {} if narrow else {"width_ratios": [max(n, 2) + 1 for n in counts]}
    panels = figure.subplots(lines, columns, squeeze=False, gridspec_kw=ratios).ravel()
    for index, (axes, (arm, shapes)) in enumerate(zip(panels, by_arm.items(), strict=True)):
        draw_target(axes, report, along="y")
        log_axis(axes, "y", low, high)
        for place, shape in enumerate(shapes):
            _draw(axes, place, shape, low, high)
        many = len(shapes) > (6 if narrow else 9)
        axes.set_xticks(
            range(len(shapes)),
            [f"{_at(shape)}\nn={shape.delays.size}" for shape in shapes],
            fontsize=7 if many else 8,
            rotation=90 if many else 0,
        )
        axes.set_xlim(-0.7, len(shapes) - 0.3)
        axes.grid(visible=False, axis="x")
        axes.set_title(arm_label(report, arm))
        if index == 0 or narrow:
            axes.set_ylabel("time to first token, ms (log)")
        else:
            axes.tick_params(labelleft=False)
    words = "; below: users, tier, requests; ring: p50; bar with figure: p95"
    small_print(figure, f"{band_words(report)}{words}", width)
    return figure


def _at(shape: _Shape) -> str:
    return f"{shape.step_users}\n{shape.tier.tier}"
