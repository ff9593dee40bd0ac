"""The picture of a search: TTFT p95 against the load, with the target."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports import style
from reports.build import Report
from reports.capacity import Capacity, Carried, Of

NEVER_FACTOR = 10.0
"""What never came is drawn at this many times the target, at the upper edge."""
_X_LABELS: dict[Of, str] = {
    Of.DEVICES: "talking devices",
    Of.RATE: "requests a second",
}


def _series(axes: Axes, found: Capacity, item: Carried) -> None:
    ceiling = found.target_ms * NEVER_FACTOR
    look = style.ARM_LOOKS.get(item.arm, style.OTHER_ARM)
    seen = [level for level in item.levels if level.p95.value is not None]
    if not seen:
        return
    loads = [level.load for level in seen]
    p95 = [min(level.p95.value or 0.0, ceiling) for level in seen]
    axes.plot(loads, p95, color=look.colour, linestyle=look.line, marker=look.marker, linewidth=1.6)
    for level, value in zip(seen, p95, strict=True):
        low, high = level.p95.ci_low, level.p95.ci_high
        bottom = value if low is None else min(low, ceiling)
        top = ceiling if high is None else min(high, ceiling)
        axes.plot([level.load] * 2, [bottom, top], color=look.colour, linewidth=1.2, alpha=0.7)
    axes.annotate(
        _label(item),
        (loads[-1], p95[-1]),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=look.colour,
        fontsize=8.5,
    )
    if item.holds is not None and item.fails is not None:
        axes.axvspan(item.holds, item.fails, color=look.colour, alpha=0.12, linewidth=0)


def _label(item: Carried) -> str:
    holds = "?" if item.holds is None else f"{item.holds:g}"
    fails = "?" if item.fails is None else f"{item.fails:g}"
    return f"{item.arm}\n{holds} to {fails}"


def capacity_figure(report: Report, width: float) -> Figure | None:
    """Draw p95 with its interval at each load, a line a target; None where none was sought."""
    found = report.answers.capacity
    if found is None or not any(item.levels for item in found.arms):
        return None
    figure = Figure(figsize=(width, 4.2 if width > 6 else 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.axhspan(*report.ttft_band_ms, color=style.BAND, linewidth=0, zorder=0.2)
    axes.axhline(found.target_ms, color=style.MUTED, linewidth=1.2, zorder=1)
    axes.annotate(
        f"target {found.target_ms:g} ms",
        (0, found.target_ms),
        xycoords=("axes fraction", "data"),
        xytext=(3, 3),
        textcoords="offset points",
        fontsize=8,
        color=style.MUTED,
    )
    for item in found.arms:
        _series(axes, found, item)
    axes.set_yscale("log")
    values = [level.p95.value for item in found.arms for level in item.levels if level.p95.value]
    finite = [value for value in values if math.isfinite(value)]
    axes.set_ylim(min([*finite, report.ttft_band_ms[0]]) * 0.8, found.target_ms * NEVER_FACTOR)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="y", which="minor", labelsize=7)
    largest = max(level.load for item in found.arms for level in item.levels)
    # Room at the right for the names.
    axes.set_xlim(0, largest * (1.2 if width > 6 else 1.4))
    axes.xaxis.set_major_locator(MaxNLocator(integer=found.of is Of.DEVICES))
    axes.set_xlabel(_X_LABELS[found.of])
    axes.set_ylabel("TTFT p95, ms (logarithmic)")
    return figure
