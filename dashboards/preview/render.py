"""A picture of a board: its queries asked, its panels drawn where the board places them.

What a picture shows is what the board's JSON says and what Prometheus answered; who drew it stands
on it. The same board and the same answers give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dashboards.preview import curves, single, spread, variables
from dashboards.preview.canvas import FRAME, INK, MUTED, PAPER, Canvas, Format, styled
from dashboards.preview.curves import Moment, Scene
from dashboards.preview.fields import Field, Window, ask, span
from dashboards.preview.layout import GAP, HEAD, PAD, TITLE, WIDTH, Box, box, height, wrapped
from dashboards.preview.model import Mark, Panel, marks, panels
from dashboards.preview.source import Prometheus, Source, Span
from firsttoken.core.errors import UserError

MADE_BY = "preview, not Grafana"
"""Stands on every picture."""

MOST_MOMENTS = 40
"""Of one annotation."""

Draw = Callable[[Canvas, Box, Panel, Sequence[Field], Scene], None]

DRAWINGS: Mapping[str, Draw] = {
    "bargauge": single.bars,
    "heatmap": spread.heatmap,
    "stat": single.stat,
    "state-timeline": spread.timeline,
    "table": single.table_panel,
    "timeseries": curves.timeseries,
}
"""By Grafana's name of the panel; ``row`` and ``text`` have no queries."""

_WITH_MOMENTS = frozenset({"heatmap", "state-timeline", "timeseries"})
_MARKDOWN = re.compile(r"\*+|__|`|^#+\s*", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


def render(
    board: Mapping[str, Any],
    source: Source,
    window: Window,
    form: Format = "png",
    chosen: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Return a picture of a board, PNG or SVG.

    Args:
        board: Grafana's JSON, as ``firsttoken dashboards build`` writes it.
        source: answers its queries.
        window: the time that is shown.
        form: ``png`` or ``svg``.
        chosen: values of the board's variables; one that is left out is at its opening value.

    Raises:
        UserError: a query is refused, nobody answers, or a panel is of a kind that is not drawn.
    """
    shown = panels(board)
    values = {**variables.of_board(board), **chosen}
    with styled():
        canvas = Canvas(WIDTH, height(shown))
        _head(canvas, str(board.get("title", "")), window)
        happened = _moments(marks(board), source, window, values)
        for panel in shown:
            _panel(canvas, panel, source, Scene(window, 0.0, happened), values)
        return canvas.written(form)


def draw(
    boards: Mapping[str, Mapping[str, Any]],
    prometheus: str,
    window: Window,
    out: Path,
    *,
    form: Format = "png",
    chosen: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Draw boards, given by name, into a folder; return the pictures. See :func:`render`.

    Raises:
        UserError: a query is refused, nobody answers, or a picture cannot be written.
    """
    paths = []
    with Prometheus(prometheus) as source:
        for name, board in boards.items():
            picture = render(board, source, window, form, chosen)
            path = out / f"{name}.{form}"
            try:
                out.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture)
            except OSError as error:
                raise UserError(f"{path}: cannot be written: {error.strerror}") from error
            paths.append(path)
    return paths


def points(panel: Panel) -> int:
    """Return how many steps of time a panel has room for: one every three pixels."""
    return max(10, int((box(panel.place).w - 60) / 3))


def _head(canvas: Canvas, title: str, window: Window) -> None:
    times = [datetime.fromtimestamp(each, UTC) for each in (window.start, window.end)]
    when = f"{times[0]:%H:%M:%S} to {times[1]:%H:%M:%S} UTC"
    canvas.text(title, GAP + 4, HEAD / 2, size=17, bold=True)
    right = WIDTH - GAP - 4
    badge = canvas.width(MADE_BY, 11, bold=True) + 18
    frame = Box(right - badge, HEAD / 2 - 11, badge, 22)
    canvas.box(frame, "#fff1d6", edge="#e3b23c", rounded=True)
    canvas.text(MADE_BY, right - badge / 2, HEAD / 2, size=11, bold=True, align="center")
    canvas.text(when, right - badge - 14, HEAD / 2, size=11, colour=MUTED, align="right")


def _panel(
    canvas: Canvas, panel: Panel, source: Source, scene: Scene, values: Mapping[str, str]
) -> None:
    whole = box(panel.place)
    if panel.kind == "row":
        title = f"{panel.title}  ({panel.inner} panels)" if panel.inner else panel.title
        canvas.text(title, whole.x + 4, whole.y + whole.h / 2, size=13, bold=True)
        return
    if panel.kind == "text":
        _words(canvas, whole, panel)
        return
    draw = DRAWINGS.get(panel.kind)
    if draw is None:
        raise UserError(
            f"panel {panel.title!r}: a preview draws no {panel.kind!r}; expected one of "
            f"{', '.join(DRAWINGS)}"
        )
    canvas.box(whole, PAPER, edge=FRAME, rounded=True)
    canvas.text(
        panel.title,
        whole.x + PAD,
        whole.y + TITLE / 2 + 1,
        size=12,
        bold=True,
        room=whole.w - 2 * PAD,
    )
    inside = whole.inside(0, TITLE, 0, 0)
    count = points(panel)
    fields = ask(panel, source, scene.window, values, count)
    if not fields:
        single.empty(canvas, inside, panel)
        return
    step = span(panel, scene.window, count).step
    happened = scene.moments if panel.kind in _WITH_MOMENTS else ()
    draw(canvas, inside, panel, fields, Scene(scene.window, step, happened))


def _words(canvas: Canvas, whole: Box, panel: Panel) -> None:
    plain = _LINK.sub(r"\1", _MARKDOWN.sub("", str(panel.options.get("content", ""))))
    y = whole.y + 12.0
    for line in wrapped(plain, whole.w - 2 * PAD, lambda part: canvas.width(part, 12)):
        if y > whole.bottom:
            return
        canvas.text(line, whole.x + PAD, y, size=12, colour=INK)
        y += 18 if line else 8


def _moments(
    listed: Sequence[Mark], source: Source, window: Window, values: Mapping[str, str]
) -> list[Moment]:
    step = variables.step(window.seconds, 240, window.scrape_s)
    known = {**variables.of_time(window.seconds, step, window.scrape_s), **values}
    asked = Span(window.start, window.end, step)
    found: list[Moment] = []
    for mark in listed:
        told = source.over(variables.put_in(mark.query, known), asked)
        # Several series at one time, such as two alerts, are one stretch.
        times = sorted({at for each in told for at in each.times})
        stretches = stretched(times, step)[:MOST_MOMENTS]
        found += [Moment(start, end, mark.colour) for start, end in stretches]
    return found


def stretched(times: Sequence[float], step: float) -> list[tuple[float, float]]:
    """Return start and end of each stretch of times that follow each other by a step."""
    found: list[tuple[float, float]] = []
    for at in times:
        if found and at - found[-1][1] < 1.5 * step:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found
