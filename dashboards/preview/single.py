"""Values of one moment: single figures, bars, tables."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.preview.canvas import GRID, INK, MUTED, Canvas
from dashboards.preview.curves import Scene, text_on
from dashboards.preview.fields import Field, table
from dashboards.preview.layout import PAD, TITLE, Box, columns
from dashboards.preview.model import Panel

LINE = 22
"""Height of a row of a table."""


def reduced(panel: Panel, field: Field) -> float:
    """Return the one number that a panel shows of a field."""
    calcs = (panel.options.get("reduceOptions") or {}).get("calcs") or ["lastNotNull"]
    return field.reduced(calcs[0])


def stat(canvas: Canvas, box: Box, panel: Panel, fields: Sequence[Field], scene: Scene) -> None:
    """Draw one figure for each field, side by side, large."""
    coloured = panel.options.get("colorMode") == "background"
    part = box.w / len(fields)
    for place, field in enumerate(fields):
        value = reduced(panel, field)
        shown = field.look.text(value, scene.window.end)
        colour = field.look.value_colour(value) or INK
        tile = Box(box.x + place * part, box.y, part, box.h)
        ink = colour
        if coloured:
            # The colour reaches to the panel's edges, below its title.
            canvas.box(tile.inside(4, 0, 4, 4), colour, rounded=True)
            ink = text_on(colour)
        size = _fitting(canvas, shown, tile.w - 2 * PAD, min(40.0, tile.h * 0.5))
        named = len(fields) > 1
        middle = tile.y + tile.h / 2 - (2 if not named else 6)
        canvas.text(
            shown, tile.x + tile.w / 2, middle, size=size, colour=ink, bold=True, align="center"
        )
        if named:
            canvas.text(
                field.name,
                tile.x + tile.w / 2,
                tile.bottom - 14,
                size=10,
                colour=ink,
                align="center",
                room=tile.w - 2 * PAD,
            )


def bars(canvas: Canvas, box: Box, panel: Panel, fields: Sequence[Field], scene: Scene) -> None:
    """Draw one bar for each field, from its least to its highest value."""
    inside = box.inside(PAD, 2, PAD, PAD)
    shown = fields[: max(1, int(inside.h / 20))]
    values = [reduced(panel, field) for field in shown]
    texts = [f.look.text(v, scene.window.end) for f, v in zip(shown, values, strict=True)]
    name_room = min(max(canvas.width(f.name, 11) for f in shown) + 12, inside.w * 0.45)
    text_room = max(canvas.width(text, 12, bold=True) for text in texts) + 12
    row = min(inside.h / len(shown), 46.0)
    track_w = inside.w - name_room - text_room
    low = panel.look.low if panel.look.low is not None else min(values)
    high = panel.look.high if panel.look.high is not None else max([*values, low])
    for place, (field, value, text) in enumerate(zip(shown, values, texts, strict=True)):
        y = inside.y + place * row
        middle = y + row / 2
        share = min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0
        colour = (
            field.look.value_colour(value)
            if field.look.colour_mode == "thresholds"
            else field.look.series_colour(place, value)
        ) or INK
        track = Box(inside.x + name_room, y + row * 0.16, track_w, row * 0.68)
        canvas.text(field.name, inside.x, middle, size=11, room=name_room - 8)
        canvas.box(track, "#eef0f2", rounded=True)
        if share > 0:
            canvas.box(Box(track.x, track.y, max(2.0, track.w * share), track.h), colour)
        canvas.text(text, inside.right, middle, size=12, bold=True, colour=colour, align="right")


def table_panel(
    canvas: Canvas, box: Box, panel: Panel, fields: Sequence[Field], scene: Scene
) -> None:
    """Draw rows and columns; what does not fit is counted."""
    told = table(panel, fields, scene.window.end)
    inside = box.inside(PAD, 0, PAD, PAD)
    rows = int(inside.h / LINE) - 1
    shown = told.rows if len(told.rows) <= rows else told.rows[: rows - 1]
    if not told.header:
        return
    wanted = [
        max(canvas.width(cell, 11, bold=True) for cell in column) + 16
        for column in zip(told.header, *shown, strict=True)
    ]
    widths = columns(wanted, inside.w)
    y = inside.y
    for number, row in enumerate((told.header, *shown)):
        x = inside.x
        if not number:
            canvas.box(Box(inside.x - 4, y, inside.w + 8, LINE), "#eef0f2")
        for cell, width in zip(row, widths, strict=True):
            colour = INK if number else MUTED
            canvas.text(cell, x, y + LINE / 2, colour=colour, bold=not number, room=width - 8)
            x += width
        y += LINE
        canvas.rule(inside.x - 4, inside.right + 4, y, GRID)
    if len(shown) < len(told.rows):
        left = len(told.rows) - len(shown)
        canvas.text(f"and {left} more", inside.x, y + LINE / 2, size=10.5, colour=MUTED)


def empty(canvas: Canvas, box: Box, panel: Panel) -> None:
    """Say that there is nothing to show, in the board's words."""
    canvas.text(
        panel.look.empty,
        box.x + box.w / 2,
        box.y + box.h / 2 - TITLE / 4,
        size=15,
        colour=MUTED,
        align="center",
        room=box.w - 2 * PAD,
    )


def _fitting(canvas: Canvas, text: str, room: float, largest: float) -> float:
    width = canvas.width(text, largest, bold=True)
    return largest if width <= room else max(9.0, largest * room / width)
