"""Graphs over time: curves, areas on top of each other, limits, marks, and the legend below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from dashboards.preview.canvas import GRID, INK, MUTED, PAPER, Canvas
from dashboards.preview.fields import Field, Window, colours
from dashboards.preview.layout import (
    LEGEND_ROW as ROW,
)
from dashboards.preview.layout import (
    PAD,
    Box,
    legend_rows,
    time_ticks,
    value_ticks,
)
from dashboards.preview.model import Look, Panel
from dashboards.preview.units import formatted

_NUMBER = 46
"""Least width of a column of numbers in a legend."""
_TITLES = {"lastNotNull": "Last *", "last": "Last", "mean": "Mean", "max": "Max", "min": "Min"}
_TITLES |= {"sum": "Total"}

Curve = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: from when to when, and its colour."""

    start: float
    end: float
    colour: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn beside the fields."""

    window: Window
    step: float
    moments: Sequence[Moment] = ()


def timeseries(
    canvas: Canvas, box: Box, panel: Panel, fields: Sequence[Field], scene: Scene
) -> None:
    """Draw a graph with its legend."""
    told = colours(fields)
    legend = panel.options.get("legend") or {}
    calcs = legend.get("calcs") or []
    listed = legend_rows(box.h, len(fields)) if legend.get("showLegend", True) else 0
    more = len(fields) > listed > 0
    head = ROW if calcs and listed else 0
    under = listed * ROW + head + (10 if listed else 0)
    left = axis_width(canvas, panel.look, fields)
    plot = box.inside(left, 4, 14, under + 22)
    axes = canvas.axes(plot)
    heights = _curves(axes, fields, told, scene)
    _limits(axes, panel.look, heights, plot)
    time_axis(axes, scene.window, plot)
    moments(axes, scene)
    if listed:
        top = plot.bottom + 22 + 6
        bottom = Box(box.x + PAD, top, box.w - 2 * PAD, box.bottom - top)
        _legend(canvas, bottom, list(zip(fields, told, strict=True)), calcs, listed, more=more)


def axis_width(canvas: Canvas, look: Look, fields: Sequence[Field]) -> float:
    """Return the room that the values beside an axis need."""
    highest = max((max(field.series.values) for field in fields), default=1.0)
    labels = (formatted(each, look.unit) for each in (highest, highest * 0.75, 0.0))
    widest = max(canvas.width(each, 10) for each in labels)
    return PAD + widest + 10


def time_axis(axes: Axes, window: Window, plot: Box) -> None:
    """Name the time below a graph; hours and minutes of UTC."""
    axes.set_xlim(window.start, window.end)
    ticks = time_ticks(window.start, window.end, plot.w)
    seconds = any(each % 60 for each in ticks)
    shape = "%H:%M:%S" if seconds else "%H:%M"
    axes.set_xticks(ticks, [datetime.fromtimestamp(each, UTC).strftime(shape) for each in ticks])


def moments(axes: Axes, scene: Scene) -> None:
    """Mark what happened meanwhile: a line, and below the graph how long it lasted."""
    pixel = 1 / axes.bbox.height
    for each in scene.moments:
        axes.axvline(each.start, color=each.colour, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
        axes.axvspan(
            each.start,
            each.end,
            -5 * pixel,
            -2 * pixel,
            color=each.colour,
            linewidth=0,
            clip_on=False,
        )


def gridded(field: Field, scene: Scene) -> tuple[Curve, Curve]:
    """Return times and values of a field with a gap, not a number, wherever a step is missing."""
    times = np.asarray(field.series.times, dtype=np.float64)
    values = np.asarray(field.series.values, dtype=np.float64)
    holes = np.flatnonzero(np.diff(times) > 1.5 * scene.step) + 1
    return (
        np.insert(times, holes, times[holes - 1] + scene.step),
        np.insert(values, holes, math.nan),
    )


def stacked(fields: Sequence[Field], scene: Scene) -> tuple[Curve, list[Curve]]:
    """Return the times of a stack and its layers' upper edges, the lowest first."""
    count = round(scene.window.seconds / scene.step) + 1
    times: Curve = np.asarray(scene.window.start + scene.step * np.arange(count))
    below: Curve = np.zeros(count)
    layers: list[Curve] = []
    for field in fields:
        layer = np.zeros(count)
        places = np.rint(
            (np.asarray(field.series.times, dtype=np.float64) - scene.window.start) / scene.step
        )
        kept = (places >= 0) & (places < count)
        layer[places[kept].astype(int)] = np.asarray(field.series.values, dtype=np.float64)[kept]
        below = below + layer
        layers.append(below)
    known = sorted({each for field in fields for each in field.series.times})
    if known:
        # Before the first value and after the last there is nothing, rather than zero.
        outside = (times < known[0] - scene.step / 2) | (times > known[-1] + scene.step / 2)
        layers = [np.where(outside, math.nan, layer) for layer in layers]
    return times, layers


def _curves(axes: Axes, fields: Sequence[Field], told: Sequence[str], scene: Scene) -> Curve:
    """Draw the fields; return the heights that the axis has to show."""
    look = fields[0].look.custom if fields else {}
    width = float(look.get("lineWidth", 1)) * 0.72
    if (look.get("stacking") or {}).get("mode") == "normal":
        times, layers = stacked(fields, scene)
        below: Curve | float = np.where(np.isnan(layers[0]), math.nan, 0.0)
        for layer, colour in zip(layers, told, strict=True):
            alpha = float(look.get("fillOpacity", 0)) / 100
            axes.fill_between(times, below, layer, color=colour, alpha=alpha, linewidth=0)
            # A layer without a height would be drawn over the one below it.
            edge = np.where(layer > below, layer, math.nan)
            axes.plot(times, edge, color=colour, linewidth=width)
            below = layer
        return layers[-1][~np.isnan(layers[-1])]
    heights = []
    for field, colour in zip(fields, told, strict=True):
        times, values = gridded(field, scene)
        alone = _alone(values)
        axes.plot(times, values, color=colour, linewidth=width, solid_joinstyle="round")
        # A value between two gaps would be a line without a length.
        axes.plot(times[alone], values[alone], ".", color=colour, markersize=3)
        heights.append(values[~np.isnan(values)])
    return np.concatenate(heights) if heights else np.zeros(0)


def _alone(values: Curve) -> NDArray[np.bool_]:
    missing = np.concatenate(([True], np.isnan(values), [True]))
    alone: NDArray[np.bool_] = missing[:-2] & missing[2:] & ~missing[1:-1]
    return alone


def _limits(axes: Axes, look: Look, heights: Curve, plot: Box) -> None:
    """Set the axis of values, and draw the thresholds that the board asks for."""
    low = look.low if look.low is not None else float(heights.min())
    high = look.high if look.high is not None else float(heights.max())
    if look.high is None:
        high = low + (high - low) * 1.08 if high > low else low + 1.0
    axes.set_ylim(low, high)
    base = 1024.0 if look.unit == "bytes" else 10.0
    ticks = value_ticks(low, high, max(2, int(plot.h / 28)), base)
    axes.set_yticks(ticks, [formatted(round(each, 12), look.unit) for each in ticks])
    style = (look.custom.get("thresholdsStyle") or {}).get("mode", "off")
    if style == "off":
        return
    for each in look.thresholds:
        if low < each.value <= high:
            axes.axhline(
                each.value, color=each.colour, linewidth=1.1, linestyle=(0, (5, 3)), zorder=3
            )


def _legend(
    canvas: Canvas,
    box: Box,
    listed: Sequence[tuple[Field, str]],
    calcs: Sequence[str],
    rows: int,
    *,
    more: bool,
) -> None:
    y = box.y
    shown = listed[: rows - 1] if more else listed
    texts = [[field.look.text(field.reduced(name)) for name in calcs] for field, _ in shown]
    titles = [_TITLES.get(name, name) for name in calcs]
    right: list[float] = []
    x = box.right
    for place in reversed(range(len(calcs))):
        column = (titles[place], *(row[place] for row in texts))
        right.insert(0, x)
        x -= max(_NUMBER, *(canvas.width(each, 10) for each in column)) + 12
    room = x - box.x - 20
    if calcs:
        canvas.text("Name", box.x, y + ROW / 2, size=10, colour=MUTED)
        for title, edge in zip(titles, right, strict=True):
            canvas.text(title, edge, y + ROW / 2, size=10, colour=MUTED, align="right")
        y += ROW
    for (field, colour), row in zip(shown, texts, strict=True):
        middle = y + ROW / 2
        canvas.box(Box(box.x, middle - 2, 14, 4), colour)
        canvas.text(field.name, box.x + 20, middle, size=10, room=room)
        for text, edge in zip(row, right, strict=True):
            canvas.text(text, edge, middle, size=10, align="right")
        canvas.rule(box.x, box.right, y + ROW, GRID)
        y += ROW
    if more:
        count = len(listed) - len(shown)
        canvas.text(f"and {count} more", box.x + 20, y + ROW / 2, size=10, colour=MUTED)


def text_on(colour: str) -> str:
    """Return the colour of letters that can be read on ``colour``, by its luminance."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    red, green, blue = linear
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.36 else PAPER
