"""What the pictures share: their widths, logarithmic axes of time, the target with its band."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from firsttoken.core.words import Arm
from reports import style
from reports.build import Report
from reports.load import Cell, delays_ms
from reports.statistics import FloatArray

PAGE_WIDTH = 10.2
PHONE_WIDTH = 4.1
"""Inches; at these the lettering is readable on a page of 1,000 and of 390 pixels."""
NARROW = 6
"""Inches under which a figure is drawn for a phone."""

NEVER_ROOM = 1.3
"""What never came is drawn at the upper end of an axis, which lies this factor over the rest."""


def arm_label(report: Report, arm: str) -> str:
    """Return an arm's name, with what a reader must not overlook."""
    if not report.data.emulated(arm):
        return arm
    return f"{arm} (emulated cloud)" if arm == Arm.REMOTE_ONLY else f"{arm} (with emulated cloud)"


def milliseconds(value: float, _position: object = None) -> str:
    """Return a tick's name on an axis of milliseconds."""
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g}"


def log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    """Make an axis of milliseconds logarithmic, with ticks at 1, 2 and 5."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 300 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    axis.set_ticks([tick for tick in ticks if low <= tick <= high])
    axis.set_major_formatter(FuncFormatter(milliseconds))
    axis.set_minor_locator(NullLocator())


def time_limits(values: Sequence[float], report: Report) -> tuple[float, float]:
    """Return the ends of a time axis that hold the values, in ms, and the target's band."""
    finite = [value for value in values if math.isfinite(value) and value > 0]
    low = min([*finite, report.ttft_band_ms[0]]) * 0.8
    high = max([*finite, report.ttft_target_ms]) * 1.25
    return max(low, 0.1), high


def seen_limits(report: Report) -> tuple[float, float]:
    """Return the ends of a time axis that hold every first token of the steady phase."""
    extremes: list[float] = []
    for cell in report.data.cells:
        delays = known_delays(report, cell)
        finite = delays[np.isfinite(delays)]
        if finite.size:
            extremes += [float(finite.min()), float(finite.max())]
    return time_limits(extremes, report)


def known_delays(report: Report, cell: Cell) -> FloatArray:
    """Return the delays of a cell, in ms, without the requests that tell nothing."""
    delays = delays_ms(cell.rows, report.ttft_target_ms)
    found: FloatArray = delays[~np.isnan(delays)]
    return found


def draw_target(axes: Axes, report: Report, *, along: str) -> None:
    """Draw the guide's band and the target across the axis ``along`` which time runs."""
    span = axes.axvspan if along == "x" else axes.axhspan
    line = axes.axvline if along == "x" else axes.axhline
    span(*report.ttft_band_ms, color=style.BAND, linewidth=0, zorder=0.2)
    line(report.ttft_target_ms, color=style.MUTED, linewidth=1.2, zorder=1)


def band_words(report: Report) -> str:
    """Return in words what :func:`draw_target` drew."""
    low, high = report.ttft_band_ms
    return (
        f"shaded: {low:g}–{high:g} ms, the guide's range; line: target {report.ttft_target_ms:g} ms"
    )


def wrapped(words: str, width: float) -> str:
    """Break a line of small print where a phone's figure ends."""
    return words.replace("; ", ";\n") if width < NARROW else words


def small_print(figure: Figure, words: str, width: float) -> None:
    """Write how to read a figure below it."""
    figure.supxlabel(wrapped(words, width), fontsize=8)


def apart(places: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Move places on a line so far apart that each keeps ``least`` from the next.

    Their order stays, and they stay within ``low`` and ``high`` where there is room for all.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    edge = low
    for index in order:
        moved[index] = max(moved[index], edge)
        edge = moved[index] + least
    edge = high
    for index in reversed(order):
        moved[index] = min(moved[index], edge)
        edge = moved[index] - least
    return moved
