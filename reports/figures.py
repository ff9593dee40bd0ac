"""The pictures of a report, drawn without pyplot, so that nothing is kept between two reports.

Every figure exists in two widths: one for a page, one for a phone. Each function returns None
where the run holds nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import Arm
from reports import style, text
from reports.build import Report
from reports.capacity_figure import capacity_figure
from reports.load import Cell, delays_ms, tiers_of
from reports.phase_figures import first_token_time, waterfall
from reports.tables import CellStatistics

PAGE_WIDTH = 10.2
PHONE_WIDTH = 4.1
"""Inches; at these the lettering is readable on a page of 1,000 and of 390 pixels."""

CURVE_POINTS = 500
SCATTER_POINTS = 20_000
"""More points than these show nothing more, and make a page heavy."""
RASTER_FROM = 60
"""Points from which on they are pixels inside the SVG, not a shape each."""

BLOCK_NAME_WIDTH = 1.0
"""Inches that the name of a block takes when it lies flat."""

LATE = "failed, or no first token"
LATE_LOOK = style.Look("#c2453d", "-", "x")


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of the report: its file's name, what it shows, and what is said without it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Report, float], Figure | None]
    absent: str


def arm_label(report: Report, arm: str) -> str:
    """Return an arm's name, with what a reader must not overlook."""
    if not report.data.emulated(arm):
        return arm
    return f"{arm} (emulated cloud)" if arm == Arm.REMOTE_ONLY else f"{arm} (with emulated cloud)"


def _milliseconds(value: float, _position: object = None) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g}"


def _log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    """Make an axis logarithmic with ticks at 1, 2 and 5."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 300 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    axis.set_ticks([tick for tick in ticks if low <= tick <= high])
    axis.set_major_formatter(FuncFormatter(_milliseconds))
    axis.set_minor_locator(NullLocator())


def _limits(values: Sequence[float], report: Report) -> tuple[float, float]:
    """Return the ends of a time axis that hold the values and the target's band."""
    finite = [value for value in values if math.isfinite(value) and value > 0]
    low = min([*finite, report.ttft_band_ms[0]]) * 0.8
    high = max([*finite, report.ttft_target_ms]) * 1.25
    return max(low, 0.1), high


def _target(axes: Axes, report: Report, *, along: str) -> None:
    """Draw the guide's band and the target."""
    span = axes.axvspan if along == "x" else axes.axhspan
    line = axes.axvline if along == "x" else axes.axhline
    span(*report.ttft_band_ms, color=style.BAND, linewidth=0, zorder=0.2)
    line(report.ttft_target_ms, color=style.MUTED, linewidth=1.2, zorder=1)


def _band_words(report: Report) -> str:
    low, high = report.ttft_band_ms
    return (
        f"shaded: {low:g}–{high:g} ms, the guide's range; line: target {report.ttft_target_ms:g} ms"
    )


def _ecdf(axes: Axes, report: Report, cell: Cell, figures: CellStatistics) -> None:
    delays = delays_ms(cell.rows, report.ttft_target_ms)
    ordered = np.sort(delays[~np.isnan(delays)])
    n = ordered.size
    at = np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))
    shown = at[np.isfinite(ordered[at])]
    look = style.ARM_LOOKS.get(cell.arm, style.OTHER_ARM)
    p95 = figures.ttft_p95_ms.value
    axes.plot(
        ordered[shown],
        (shown + 1) / n * 100,
        color=look.colour,
        linestyle=look.line,
        linewidth=1.8,
        marker=look.marker,
        markevery=[] if shown.size > 1 else None,
        label=f"{arm_label(report, cell.arm)}: p95 {text.quantity(p95, 'ms')}, n={n}",
    )
    if p95 is not None and math.isfinite(p95):
        axes.plot([p95], [95], color=look.colour, marker=look.marker, markersize=6, clip_on=False)


def ttft_distribution(report: Report, width: float) -> Figure | None:
    """Draw the share of requests whose first token had come, against time; a panel a step."""
    filled = [
        (cell, figures)
        for cell, figures in zip(report.data.cells, report.cells, strict=True)
        if figures.ttft_p50_ms.n
    ]
    if not filled:
        return None
    steps = sorted({cell.step_users for cell, _ in filled})
    columns = 1 if width < 6 or len(steps) == 1 else 2
    lines = math.ceil(len(steps) / columns)
    arms = len({cell.arm for cell, _ in filled})
    figure = Figure(figsize=(width, lines * (2.5 + 0.17 * arms) + 0.3), layout="constrained")
    seen = np.concatenate([cell.rows["ttft_ms"].dropna().to_numpy() for cell, _ in filled])
    low, high = _limits([float(seen.min()), float(seen.max())] if seen.size else [], report)
    for index, step in enumerate(steps):
        axes = figure.add_subplot(lines, columns, index + 1)
        _target(axes, report, along="x")
        axes.axhline(95, color=style.MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        for cell, figures in filled:
            if cell.step_users == step:
                _ecdf(axes, report, cell, figures)
        _log_axis(axes, "x", low, high)
        axes.set_ylim(0, 102)
        axes.set_yticks([0, 25, 50, 75, 95])
        axes.set_ylabel("% of requests")
        axes.set_title(text.users(step), pad=3 + 12.2 * arms)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 0.99),
            borderaxespad=0,
            handlelength=3.2,
            labelspacing=0.25,
            fontsize=8.5,
        )
        if index >= len(steps) - columns:
            axes.set_xlabel("time to first token, ms (logarithmic)")
    figure.supxlabel(_wrapped(f"{_band_words(report)}; marker: p95", width), fontsize=8)
    return figure


def _wrapped(words: str, width: float) -> str:
    """Break a line of small print where a phone's figure ends."""
    return words.replace("; ", ";\n") if width < 6 else words


def _blocks(axes: Axes, report: Report, origin: int, *, upright: bool) -> None:
    """Shade every other block and name each above the axes."""
    windows = sorted(
        (cell.window_ns, cell) for cell in report.data.cells if cell.window_ns is not None
    )
    for index, (window, cell) in enumerate(windows):
        start, end = ((stamp - origin) / NS_PER_S for stamp in window)
        if index % 2 == 0:
            axes.axvspan(start, end, color=style.SHADE, linewidth=0, zorder=0)
        axes.axvline(start, color=style.GRID, linewidth=0.8, zorder=0.5)
        axes.annotate(
            f"{cell.arm}, {cell.step_users}" if upright else f"{cell.arm}\n{cell.step_users}",
            ((start + end) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 10),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90 if upright else 0,
            fontsize=7.5,
        )


def _points(axes: Axes, report: Report, origin: int, ceiling: float) -> None:
    """Draw a point a request, by tier; a cross at the ceiling: failed, or no first
    token."""
    total = sum(len(cell.rows) for cell in report.data.cells)
    every = max(1, math.ceil(total / SCATTER_POINTS))
    series: dict[str, list[pd.DataFrame]] = {}
    for cell in report.data.cells:
        rows = cell.rows.iloc[::every]
        delays = delays_ms(rows, report.ttft_target_ms)
        names = tiers_of(cell.arm, rows).astype("object").fillna("unknown").to_numpy()
        points = pd.DataFrame(
            {
                "seconds": ((rows["t_send_ns"] - origin) / NS_PER_S).to_numpy(dtype=np.float64),
                "delay": np.minimum(delays, ceiling),
                "name": np.where(np.isinf(delays), LATE, names),
            }
        )
        for name, mine in points.dropna().groupby("name"):
            series.setdefault(str(name), []).append(mine)
    for name, groups in sorted(series.items()):
        mine = pd.concat(groups)
        look = LATE_LOOK if name == LATE else style.TIER_LOOKS.get(name, style.OTHER_TIER)
        axes.scatter(
            mine["seconds"],
            mine["delay"],
            s=11,
            color=look.colour,
            marker=look.marker,
            alpha=0.75,
            linewidths=1 if look.marker == "x" else 0,
            rasterized=len(mine) > RASTER_FROM,
            label=name if name == LATE else f"tier {name}",
            clip_on=False,
        )


def ttft_over_time(report: Report, width: float) -> Figure | None:
    """Draw each request's TTFT at the time it was sent, with the blocks of the run."""
    windows = [cell.window_ns for cell in report.data.cells if cell.window_ns is not None]
    if not windows:
        return None
    origin = min(start for start, _ in windows)
    narrow = width < 6
    figure = Figure(figsize=(width, 4.4), layout="constrained")
    axes = figure.add_subplot()
    ttft = report.data.requests["ttft_ms"].dropna()
    low, high = _limits([float(ttft.min()), float(ttft.max())] if len(ttft) else [], report)
    high *= 1.3
    _target(axes, report, along="y")
    whole = max(end for _, end in windows) - origin
    shortest = min(end - start for start, end in windows) / max(whole, 1) * width
    _blocks(axes, report, origin, upright=shortest < BLOCK_NAME_WIDTH)
    _points(axes, report, origin, high)
    _log_axis(axes, "y", low, high)
    axes.set_ylabel("time to first token, ms (logarithmic)")
    axes.set_xlabel("seconds since the first block began; names above: arm and users")
    axes.margins(x=0.01)
    if narrow:
        axes.set_xlabel("seconds; names above: arm and users")
    figure.legend(loc="outside lower left", ncols=2 if narrow else 5, fontsize=8, handletextpad=0.2)
    return figure


NOT_SPLIT = "Not known for this run: no request could be split into its phases."

PICTURES: tuple[Picture, ...] = (
    Picture(
        "ttft_distribution",
        "How soon first tokens came",
        "Share of requests whose first token had come, by step and arm. The target is met where a "
        "curve crosses the dotted 95 % line left of the target. A curve that ends below the top: "
        "the rest failed, or got no first token.",
        ttft_distribution,
        "No request of the steady phase: nothing to draw.",
    ),
    Picture(
        "first_token_time",
        "Where the first token's time went",
        "Mean of each phase of the time to first token, stamped by client, router and engine. "
        "Each tier has its own scale.",
        first_token_time,
        NOT_SPLIT,
    ),
    Picture(
        "waterfall",
        "Single requests, phase by phase",
        "The request that stands at the p50, p95 and p99 of each step, and the slowest of the arm. "
        "Each panel has its own scale.",
        waterfall,
        NOT_SPLIT,
    ),
    Picture(
        "ttft_over_time",
        "First tokens over time",
        "Each request of the steady phase when it was sent; above 20,000 requests every k-th.",
        ttft_over_time,
        "No request of the steady phase: nothing to draw.",
    ),
    Picture(
        "capacity",
        "TTFT p95 against the load",
        "Each point is a load that was tried, with the 95 % interval of its p95. The bar from top "
        "to bottom lies between the largest load that holds and the smallest that misses.",
        capacity_figure,
        "No capacity was sought in this run.",
    ),
)


def draw(picture: Picture, report: Report, width: float) -> Figure | None:
    """Draw a picture in the reports' style."""
    with style.applied():
        return picture.draw(report, width)
