"""The picture of engine and host over time: cores by component, memory, and who else took the
machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from firsttoken.core.clock import NS_PER_S
from reports import style
from reports.build import Report
from reports.figure_parts import NARROW, apart, small_print
from reports.over_time import Block, blocks, origin_ns
from reports.statistics import FloatArray

POINTS = 400
"""A longer run is drawn by the means of as many stretches of equal length."""
GIB = 2**30
LABEL_LINES = 8.5
"""Lines of lettering that a panel is high."""


@dataclass(frozen=True, slots=True)
class _Line:
    column: str
    name: str
    colour: str
    dashes: Any
    scale: float = 1.0


PANELS: tuple[tuple[str, tuple[_Line, ...]], ...] = (
    (
        "cores in use",
        (
            _Line("host_cpu", "all", style.INK, "-"),
            _Line("engine_cpu", "engine", style.LOCAL, (0, (6, 2))),
            _Line("router_cpu", "router", style.CACHE, (0, (6, 2, 1, 2))),
            _Line("generator_cpu", "generator", style.OTHER, (0, (2, 2))),
            _Line("foreign_cpu", "others' programs", style.REMOTE, (0, (1, 1))),
        ),
    ),
    (
        "memory, GiB",
        (
            _Line("memory_limit_bytes", "limit", style.MUTED, (0, (4, 2)), 1 / GIB),
            _Line("memory_unreclaimable_bytes", "in use", style.INK, "-", 1 / GIB),
        ),
    ),
    (
        "% of the time",
        (
            _Line("cpu_pressure_some", "waiting for a core", style.INK, "-", 100),
            _Line("steal_share", "steal", style.REMOTE, (0, (6, 2)), 100),
            _Line("throttled_share", "throttled", style.OTHER, (0, (2, 2)), 100),
        ),
    ),
)


def _thinned(host: pd.DataFrame, origin: int) -> tuple[FloatArray, pd.DataFrame]:
    """Return seconds and samples, at most :data:`POINTS`: means of stretches."""
    ordered = host.sort_values("t_ns", kind="stable")
    seconds = ((ordered["t_ns"] - origin) / NS_PER_S).to_numpy(dtype=np.float64)
    numbers = ordered.select_dtypes("number")
    every = math.ceil(len(ordered) / POINTS)
    if every == 1:
        return seconds, numbers
    group = np.arange(len(ordered)) // every
    means: FloatArray = pd.Series(seconds).groupby(group).mean().to_numpy(dtype=np.float64)
    return means, numbers.groupby(group).mean()


def shade_blocks(axes: Axes, parts: Sequence[Block], origin: int) -> None:
    """Shade every other block of the load."""
    for index, block in enumerate(parts):
        start, end = ((stamp - origin) / NS_PER_S for stamp in (block.start_ns, block.end_ns))
        if index % 2 == 0:
            axes.axvspan(start, end, color=style.SHADE, linewidth=0, zorder=0)


def _panel(axes: Axes, seconds: FloatArray, samples: pd.DataFrame, lines: Sequence[_Line]) -> None:
    """Draw the lines that were sampled, each named at its end."""
    named: list[tuple[float, _Line]] = []
    top = 0.0
    for line in lines:
        values = samples[line.column].to_numpy(dtype=np.float64, na_value=np.nan) * line.scale
        known = np.flatnonzero(np.isfinite(values))
        if known.size:
            axes.plot(seconds, values, color=line.colour, linestyle=line.dashes, linewidth=1.3)
            named.append((float(values[known[-1]]), line))
            top = max(top, float(values[known].max()))
    top = max(top * 1.08, 1e-3 if lines[0].scale != 100 else 1.0)
    axes.set_ylim(0, top)
    places = apart([value for value, _ in named], top / LABEL_LINES, top * 0.03, top)
    for place, (_, line) in zip(places, named, strict=True):
        axes.annotate(
            line.name,
            (1, place / top),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=line.colour,
            annotation_clip=False,
        )


def host_over_time(report: Report, width: float) -> Figure | None:
    """Draw the host's samples along the clock of the run; None where it was not sampled."""
    host, parts = report.data.host, blocks(report.data)
    if host.empty or not parts:
        return None
    origin = origin_ns(parts)
    seconds, samples = _thinned(host, origin)
    wanted = [
        (name, lines)
        for name, lines in PANELS
        if samples[[line.column for line in lines]].notna().to_numpy().any()
    ]
    if not wanted:
        return None
    narrow = width < NARROW
    figure = Figure(figsize=(width, 1.75 * len(wanted) + 0.6), layout="constrained")
    panels = figure.subplots(len(wanted), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, lines) in zip(panels, wanted, strict=True):
        shade_blocks(axes, parts, origin)
        _panel(axes, seconds, samples, lines)
        axes.set_title(name)
    panels[-1].set_xlabel("seconds since the first steady request")
    panels[-1].set_xlim(float(seconds.min()), float(seconds.max()) + 1e-3)
    thinned = len(host) > POINTS
    words = "shaded: every other block of the load" + (
        f"; means of {math.ceil(len(host) / POINTS)} samples each" if thinned else ""
    )
    small_print(figure, words if not narrow else words.replace("shaded: ", "shaded:\n"), width)
    return figure
