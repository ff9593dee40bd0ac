"""How observations spread over buckets, and which state held when."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from numpy.typing import NDArray

from dashboards.preview.canvas import MUTED, Canvas
from dashboards.preview.curves import Scene, moments, text_on, time_axis
from dashboards.preview.fields import Field
from dashboards.preview.layout import PAD, Box
from dashboards.preview.model import PALETTE, Panel
from dashboards.preview.units import formatted

SCALE = "viridis"
_KEY = 26
"""Height of what explains the colours."""


def buckets(fields: Sequence[Field], scene: Scene) -> tuple[list[float], NDArray[np.float64]]:
    """Return the upper edges of a histogram's buckets, rising, and a matrix of what fell into
    each, one row a bucket, one column a step; the series are cumulative by their label ``le``."""
    count = round(scene.window.seconds / scene.step) + 1
    edges = sorted({_edge(field) for field in fields})
    below = np.zeros((len(edges), count))
    for field in fields:
        places = np.rint((np.asarray(field.series.times) - scene.window.start) / scene.step)
        kept = (places >= 0) & (places < count)
        below[edges.index(_edge(field)), places[kept].astype(int)] += np.asarray(
            field.series.values
        )[kept]
    # A bucket's own part; rates of two scrapes may differ by a rounding.
    return edges, np.maximum(np.diff(below, axis=0, prepend=0.0), 0.0)


def _edge(field: Field) -> float:
    return float(field.series.labels.get("le", "inf"))


def heatmap(canvas: Canvas, box: Box, panel: Panel, fields: Sequence[Field], scene: Scene) -> None:
    """Draw the spread over the buckets, one column a step, the colour says how many."""
    edges, cells = buckets(fields, scene)
    unit = str((panel.options.get("yAxis") or {}).get("unit") or "short")
    names = ["+Inf" if math.isinf(edge) else formatted(edge, unit) for edge in edges]
    left = PAD + max(canvas.width(name, 10) for name in names) + 10
    plot = box.inside(left, 4, 14, 22 + _KEY)
    axes = canvas.axes(plot)
    axes.grid(visible=False)
    starts = scene.window.start + scene.step * (np.arange(cells.shape[1] + 1) - 0.5)
    floor = float((panel.options.get("filterValues") or {}).get("le", 0.0))
    shown = np.ma.masked_less_equal(cells, floor)
    most = float(cells.max())
    power = float((panel.options.get("color") or {}).get("exponent", 0.5))
    axes.pcolormesh(
        starts,
        np.arange(len(edges) + 1),
        shown,
        cmap=SCALE,
        norm=PowerNorm(power, 0.0, most or 1.0),
        # Lines between cells would hide narrow ones.
        edgecolors="none",
        antialiased=False,
        rasterized=True,
    )
    every = max(1, math.ceil(len(edges) * 14 / plot.h))
    axes.set_yticks([n + 1 for n in range(0, len(edges), every)], names[::every])
    time_axis(axes, scene.window, plot)
    moments(axes, scene)
    _key(canvas, Box(plot.x, box.bottom - _KEY, plot.w, _KEY), panel, most, power)


def _key(canvas: Canvas, box: Box, panel: Panel, most: float, power: float) -> None:
    bar = Box(box.x + 30, box.y + 8, min(200.0, box.w * 0.4), 9)
    axes = canvas.axes(bar)
    axes.set_axis_off()
    axes.imshow(
        np.linspace(0, 1, 64)[np.newaxis, :] ** (1 / power),
        aspect="auto",
        cmap=SCALE,
        norm=PowerNorm(power, 0.0, 1.0),
    )
    middle = bar.y + bar.h / 2
    canvas.text("0", bar.x - 8, middle, size=10, colour=MUTED, align="right")
    canvas.text(panel.look.text(most), bar.right + 8, middle, size=10, colour=MUTED)


def timeline(canvas: Canvas, box: Box, panel: Panel, fields: Sequence[Field], scene: Scene) -> None:
    """Draw one band for each field; where its value changes the band begins anew."""
    left = PAD + min(max(canvas.width(field.name, 10.5) for field in fields) + 12, box.w * 0.3)
    plot = box.inside(left, 4, 14, 22 + _KEY)
    axes = canvas.axes(plot)
    axes.grid(visible=False)
    axes.set_ylim(len(fields), 0)
    axes.set_yticks([])
    time_axis(axes, scene.window, plot)
    pixel = plot.w / scene.window.seconds
    row = plot.h / len(fields)
    for place, field in enumerate(fields):
        middle = plot.y + (place + 0.5) * row
        canvas.text(field.name, box.x + PAD, middle, size=10.5, room=left - PAD - 8)
        for start, end, value in runs(field, scene):
            colour = field.look.value_colour(value) or PALETTE[int(value) % len(PALETTE)]
            band = Box(
                plot.x + (start - scene.window.start) * pixel,
                middle - row * 0.4,
                max(1.0, (end - start) * pixel),
                row * 0.8,
            )
            canvas.box(band, colour)
            text = field.look.text(value)
            if canvas.width(text, 10.5) + 8 < band.w:
                ink = text_on(colour)
                x = band.x + band.w / 2
                canvas.text(text, x, middle, size=10.5, colour=ink, align="center")
    moments(axes, scene)
    _states(canvas, Box(plot.x, box.bottom - _KEY, plot.w, _KEY), panel)


def runs(field: Field, scene: Scene) -> list[tuple[float, float, float]]:
    """Return start, end and value of each stretch over which a field kept its value."""
    found: list[tuple[float, float, float]] = []
    for at, value in zip(field.series.times, field.series.values, strict=True):
        start, end = at, min(at + scene.step, scene.window.end)
        if found and found[-1][2] == value and at - found[-1][1] < scene.step / 2:
            start = found.pop()[0]
        found.append((start, end, value))
    return found


def _states(canvas: Canvas, box: Box, panel: Panel) -> None:
    x, middle = box.x, box.y + box.h / 2
    for text, colour in panel.look.texts.values():
        canvas.box(Box(x, middle - 4, 12, 8), colour or PALETTE[0])
        canvas.text(text, x + 17, middle, size=10, colour=MUTED)
        x += 17 + canvas.width(text, 10) + 16
