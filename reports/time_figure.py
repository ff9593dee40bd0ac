"""The picture of first tokens over time: every request, the run of p50 and p95, who answered, and
what went wrong when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import Tier
from reports import style, text
from reports.build import Report
from reports.figure_parts import (
    NARROW,
    NEVER_ROOM,
    band_words,
    draw_target,
    log_axis,
    seen_limits,
    small_print,
)
from reports.host_figure import shade_blocks
from reports.load import delays_ms, named, tiers_of
from reports.over_time import Block, Incident, OverTime, Stretch, blocks, origin_ns

DOTS = 8_000
"""More dots than these lie on top of each other."""
LATE_DOTS = 2_000
"""Of requests that failed, which are few and of interest, as many more."""
RASTER_FROM = 60
"""Dots from which on they are pixels inside the SVG, not a shape each."""
FLAT_NAME_INCHES = 1.0
"""What the name of a block takes when it lies flat."""
LEAST_NAME_INCHES = 0.13
"""What it takes upright; a narrower block is not named."""
INCIDENT_ROWS = 8
ROW_INCHES = 0.32

LATE = "failed, or no first token"
LATE_LOOK = style.Look("#c2453d", "-", "x")
ANSWERED = (Tier.LOCAL, Tier.REMOTE, Tier.CACHE, Tier.NONE, "unknown")


def _names(axes: Axes, parts: Sequence[Block], origin: int, inches_a_second: float) -> None:
    """Write arm and users above each block that has room for it."""
    shortest = min(block.end_ns - block.start_ns for block in parts) / NS_PER_S * inches_a_second
    upright = shortest < FLAT_NAME_INCHES
    free_from = -math.inf
    for block in parts:
        start, end = ((stamp - origin) / NS_PER_S for stamp in (block.start_ns, block.end_ns))
        axes.axvline(start, color=style.GRID, linewidth=0.8, zorder=0.5)
        middle = (start + end) / 2
        if upright and (middle - free_from) * inches_a_second < LEAST_NAME_INCHES:
            continue
        free_from = middle
        axes.annotate(
            f"{block.arm}, {block.step_users}" if upright else f"{block.arm}\n{block.step_users}",
            (middle, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 10),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90 if upright else 0,
            fontsize=7.5,
        )


def _sample(report: Report, origin: int) -> pd.DataFrame:
    """Return ``seconds``, ``delay`` in ms and ``name`` of the dots: of a long run every k-th of
    those that came and of those that did not."""
    total = sum(len(cell.rows) for cell in report.data.cells)
    every = max(1, math.ceil(total / DOTS))
    found = []
    for cell in report.data.cells:
        delays = delays_ms(cell.rows, report.ttft_target_ms)
        late = np.isinf(delays)
        lost = np.flatnonzero(late)
        chosen = np.union1d(
            np.flatnonzero(~late & ~np.isnan(delays))[::every],
            lost[:: max(1, math.ceil(lost.size * len(report.data.cells) / LATE_DOTS))],
        )
        rows = cell.rows.iloc[chosen]
        names = named(tiers_of(cell.arm, rows)).astype("object").to_numpy()
        found.append(
            pd.DataFrame(
                {
                    "seconds": ((rows["t_send_ns"] - origin) / NS_PER_S).to_numpy(np.float64),
                    "delay": delays[chosen],
                    "name": np.where(late[chosen], LATE, names),
                }
            )
        )
    return pd.concat(found).dropna()


def _dots(axes: Axes, points: pd.DataFrame, low: float, ceiling: float) -> None:
    """Draw a dot a request, by tier; a cross at the ceiling: failed, or no first token."""
    for name, mine in points.groupby("name"):
        look = LATE_LOOK if name == LATE else style.TIER_LOOKS.get(str(name), style.OTHER_TIER)
        axes.plot(
            mine["seconds"],
            np.clip(mine["delay"], low, ceiling),
            linestyle="",
            marker=look.marker,
            markersize=3.2,
            color=look.colour,
            alpha=0.55 if len(mine) < 3_000 else 0.25,
            markeredgewidth=1 if look.marker == "x" else 0,
            rasterized=len(mine) > RASTER_FROM,
            label=name if name == LATE else f"tier {name}",
            clip_on=False,
        )


def _run_of(axes: Axes, stretches: Sequence[Stretch], low: float, ceiling: float) -> None:
    """Draw p50 and p95 of the stretches; a line ends where its block does."""
    lines: tuple[list[float], list[float]] = ([], [])
    seconds: list[float] = []
    for _, group in groupby(stretches, key=lambda item: (item.arm, item.step_users)):
        for item in group:
            seconds += [item.start_s, item.end_s]
            for values, value in zip(lines, (item.ttft_p50_ms, item.ttft_p95_ms), strict=True):
                values.extend([math.nan if value is None else min(max(value, low), ceiling)] * 2)
        seconds.append(seconds[-1])
        for values in lines:
            values.append(math.nan)
    for values, name, width in zip(lines, ("p50", "p95"), (1.0, 2.0), strict=True):
        axes.plot(
            seconds, values, color=style.INK, linewidth=width, label=name, clip_on=False, zorder=3
        )


def _answered(axes: Axes, stretches: Sequence[Stretch]) -> None:
    """Draw by tier the share of requests it answered, stacked; a gap where none was sent."""
    shares: dict[str, list[float]] = {tier: [] for tier in ANSWERED}
    seconds: list[float] = []
    for item in stretches:
        if seconds and item.start_s > seconds[-1]:
            seconds += [seconds[-1], item.start_s]
            for values in shares.values():
                values.extend([math.nan, math.nan])
        seconds += [item.start_s, item.end_s]
        for tier, values in shares.items():
            values.extend([item.tiers.get(tier, 0) / item.n * 100] * 2)
    bottom = np.zeros(len(seconds))
    for tier, values in shares.items():
        share = np.array(values)
        if np.nansum(share) > 0:
            # An area for all of it: hundreds of bars would take as long as the rest of the page.
            axes.fill_between(
                seconds,
                bottom,
                bottom + share,
                facecolor=style.TIER_LOOKS.get(tier, style.OTHER_TIER).colour,
                alpha=0.75,
                linewidth=0.4,
                hatch=style.TIER_HATCHES.get(tier, ""),
                edgecolor="#ffffff",
            )
        bottom = bottom + np.nan_to_num(share)
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("% by tier")


def _incidents(axes: Axes, found: Sequence[Incident], width_s: float) -> None:
    """Draw a line a kind; the higher the bar, the more in that moment."""
    for place, item in enumerate(found):
        most = max(n for _, n in item.at)
        colour = LATE_LOOK.colour if item.kind.startswith("failed") else style.INK
        axes.vlines(
            [start + width_s / 2 for start, _ in item.at],
            [place + 0.97 - 0.12 - 0.38 * n / most for _, n in item.at],
            [place + 0.97] * len(item.at),
            color=colour,
            linewidth=1.6,
        )
        # Inside, for a phone has no room beside.
        axes.annotate(
            f"{item.kind} ({item.count})",
            (0, place),
            xycoords=("axes fraction", "data"),
            xytext=(3, -1),
            textcoords="offset points",
            va="top",
            fontsize=7.5,
        )
        axes.axhline(place + 1, color=style.GRID, linewidth=0.7)
    axes.set_ylim(len(found), 0)
    axes.set_yticks([])


def _rows(shown: OverTime) -> list[tuple[str, float]]:
    """Return the panels of the picture from above, each with its inches."""
    rows = [("dots", 3.3)]
    if len({tier for item in shown.stretches for tier in item.tiers}) > 1:
        rows.append(("answered", 0.75))
    if shown.incidents:
        rows.append(("incidents", ROW_INCHES * min(len(shown.incidents), INCIDENT_ROWS) + 0.1))
    return rows


def ttft_over_time(report: Report, width: float) -> Figure | None:
    """Draw each request's TTFT at the time it was sent, with the blocks of the run."""
    shown, parts = report.details.over_time, blocks(report.data)
    if shown is None:
        return None
    origin = origin_ns(parts)
    narrow = width < NARROW
    rows = _rows(shown)
    figure = Figure(figsize=(width, sum(inches for _, inches in rows) + 1.7), layout="constrained")
    panels = figure.subplots(
        len(rows),
        1,
        squeeze=False,
        sharex=True,
        gridspec_kw={"height_ratios": [inches for _, inches in rows]},
    )[:, 0]
    low, high = seen_limits(report)
    high *= NEVER_ROOM
    draws = dict(zip((name for name, _ in rows), panels, strict=True))
    for axes in panels:
        shade_blocks(axes, parts, origin)
    dots = draws["dots"]
    draw_target(dots, report, along="y")
    _names(dots, parts, origin, width * 0.8 / max(shown.seconds, 1e-3))
    points = _sample(report, origin)
    _dots(dots, points, low, high)
    _run_of(dots, shown.stretches, low, high)
    log_axis(dots, "y", low, high)
    dots.set_ylabel("time to first token, ms (log)")
    if "answered" in draws:
        _answered(draws["answered"], shown.stretches)
    if "incidents" in draws:
        _incidents(draws["incidents"], shown.incidents[:INCIDENT_ROWS], shown.bin_seconds)
    panels[-1].set_xlabel("seconds since the first steady request; names above: arm, users")
    if narrow:
        panels[-1].set_xlabel("seconds; names above: arm, users")
    panels[-1].set_xlim(0, max(shown.seconds, 1e-3))
    handles, labels = dots.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=2 if narrow else 6,
        fontsize=8,
        handletextpad=0.4,
    )
    small_print(figure, _small(report, shown, len(points)), width)
    return figure


def _small(report: Report, shown: OverTime, dots: int) -> str:
    """Return how to read the picture, with what it leaves out."""
    words = band_words(report)
    total = sum(len(cell.rows) for cell in report.data.cells)
    if dots < total:
        words += f"; {dots} of {text.count(total, 'request')} drawn"
    hidden = len(shown.incidents) - INCIDENT_ROWS
    if hidden > 0:
        words += f"; {text.count(hidden, 'rarer kind')} of incident not drawn"
    return words
