"""The pictures of how soon first tokens came: their distribution functions, by arm and by tier."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from reports.load import delays_ms, named, tiers_of
from reports.statistics import Estimate, FloatArray

CURVE_POINTS = 400
"""More points than these show nothing more, and make a page heavy."""
MOST_STEPS = 8
"""Panels of one picture; of more steps the largest are drawn."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """One line of a panel; ``delays`` in ms, ``inf`` for what never came."""

    name: str
    look: style.Look
    delays: FloatArray
    p95: Estimate


def _draw(axes: Axes, curve: _Curve) -> None:
    ordered = np.sort(curve.delays)
    n = ordered.size
    at = np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))
    shown = at[np.isfinite(ordered[at])]
    p95 = curve.p95.value
    axes.plot(
        ordered[shown],
        (shown + 1) / n * 100,
        color=curve.look.colour,
        linestyle=curve.look.line,
        linewidth=1.8,
        marker=curve.look.marker,
        markevery=[] if shown.size > 1 else None,
        label=f"{curve.name}: p95 {text.quantity(p95, 'ms')}, n={n}",
    )
    if p95 is not None and math.isfinite(p95):
        axes.plot(
            [p95],
            [95],
            color=curve.look.colour,
            marker=curve.look.marker,
            markersize=6,
            clip_on=False,
        )


def _panels(
    report: Report, panels: Sequence[tuple[str, list[_Curve]]], width: float, words: str
) -> Figure:
    """Draw a panel a step, side by side on a page and below each other on a phone."""
    columns = 1 if width < NARROW or len(panels) == 1 else 2
    lines = math.ceil(len(panels) / columns)
    most = max(len(curves) for _, curves in panels)
    figure = Figure(figsize=(width, lines * (2.5 + 0.17 * most) + 0.3), layout="constrained")
    low, high = seen_limits(report)
    for index, (title, curves) in enumerate(panels):
        axes = figure.add_subplot(lines, columns, index + 1)
        draw_target(axes, report, along="x")
        axes.axhline(95, color=style.MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        for curve in curves:
            _draw(axes, curve)
        log_axis(axes, "x", low, high)
        axes.set_ylim(0, 102)
        axes.set_yticks([0, 25, 50, 75, 95])
        if index % columns == 0:
            axes.set_ylabel("% of requests")
        axes.set_title(title, pad=3 + 12.2 * most)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.99),
            borderaxespad=0,
            handlelength=3.2,
            labelspacing=0.25,
            fontsize=8.5,
        )
        if index >= len(panels) - columns:
            axes.set_xlabel("time to first token, ms (logarithmic)")
    small_print(figure, f"{band_words(report)}; marker: p95{words}", width)
    return figure


def _steps_words(steps: Sequence[int]) -> str:
    left_out = len(steps) - MOST_STEPS
    return f"; the {text.count(left_out, 'smaller step')} not drawn" if left_out > 0 else ""


def ttft_distribution(report: Report, width: float) -> Figure | None:
    """Draw the share of requests whose first token had come, against time; a curve an arm."""
    by_step: dict[int, list[_Curve]] = {}
    for cell, figures in zip(report.data.cells, report.cells, strict=True):
        if figures.ttft_p50_ms.n:
            delays = delays_ms(cell.rows, report.ttft_target_ms)
            curve = _Curve(
                arm_label(report, cell.arm),
                style.ARM_LOOKS.get(cell.arm, style.OTHER_ARM),
                delays[~np.isnan(delays)],
                figures.ttft_p95_ms,
            )
            by_step.setdefault(cell.step_users, []).append(curve)
    if not by_step:
        return None
    steps = sorted(by_step)
    panels = [(text.users(step), by_step[step]) for step in steps[-MOST_STEPS:]]
    return _panels(report, panels, width, _steps_words(steps))


def shown_arm(report: Report) -> str | None:
    """Return the arm whose tiers are of interest: the judged one, else that with most tiers."""
    if report.judged_arm is not None:
        return report.judged_arm
    most = max(report.cells, key=lambda cell: len(cell.tiers), default=None)
    return most.arm if most is not None else None


def ttft_by_tier(report: Report, width: float) -> Figure | None:
    """Draw the curves of the tiers that answered the shown arm at its smallest and its largest
    step; None where only one tier did."""
    arm = shown_arm(report)
    by_step: dict[int, list[_Curve]] = {}
    for cell, figures in zip(report.data.cells, report.cells, strict=True):
        if cell.arm != arm:
            continue
        delays = delays_ms(cell.rows, report.ttft_target_ms)
        tiers = named(tiers_of(cell.arm, cell.rows))
        for item in figures.tiers:
            mine = delays[(tiers == item.tier).to_numpy(dtype=bool)]
            mine = mine[~np.isnan(mine)]
            if mine.size:
                look = style.TIER_LOOKS.get(item.tier, style.OTHER_TIER)
                curve = _Curve(f"tier {item.tier}", look, mine, item.ttft_p95_ms)
                by_step.setdefault(cell.step_users, []).append(curve)
    if arm is None or len({curve.name for curves in by_step.values() for curve in curves}) < 2:
        return None
    ends = sorted({min(by_step), max(by_step)})
    panels = [(f"{arm}, {text.users(step)}", by_step[step]) for step in ends]
    between = len(by_step) - len(ends)
    words = f"; {text.count(between, 'step')} between not drawn" if between else ""
    return _panels(report, panels, width, words)
