"""Panels of a board: what each shows, how it looks, what to do about it.

Each constructor returns a grafanalib panel. What grafanalib writes in the form of older Grafanas
is brought up to date by :func:`dashboards.modernize.modernize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from grafanalib import core as grafana

from dashboards.promql import Query
from dashboards.theme import NO_LIMITS, Limits, Override, Unit

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
NO_TRAFFIC = "no traffic"
COLUMNS = 24
GOAL_WINDOW = "5m"
"""Shortest window of a single figure: the one that alerts look at."""


@dataclass(frozen=True, slots=True)
class About:
    """What a panel's ``i`` says."""

    what: str
    """The definition of what is shown."""
    good: str
    """Which values are good."""
    otherwise: str
    """What to do when they are not."""

    def text(self) -> str:
        """Return it as Markdown."""
        return f"{self.what}\n\n**Good:** {self.good}\n\n**Otherwise:** {self.otherwise}"


@dataclass(frozen=True, slots=True)
class Line:
    """One query of a panel and the name of its series; ``{{label}}`` stands for a label."""

    query: Query
    name: str
    format: str = "time_series"
    """``time_series``, ``heatmap`` or ``table``."""


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of a board."""

    title: str
    panels: Sequence[grafana.Panel]


def stat(
    title: str,
    about: About,
    line: Line,
    unit: Unit,
    *,
    decimals: int = 0,
    limits: Limits = NO_LIMITS,
    width: int = 4,
    window: str = GOAL_WINDOW,
    empty: str = NO_TRAFFIC,
    mappings: list[dict[str, Any]] | None = None,
) -> grafana.Panel:
    """Return one figure: what is true now, with rates over ``window``.

    The query is an instant one. The last value of a range would still be shown, as if it were
    true, long after traffic ended.
    """
    panel: grafana.Panel = grafana.Stat(
        **_common(title, about, [line], width, 4, instant=True),
        interval=window,
        format=unit.value,
        decimals=decimals,
        noValue=empty,
        mappings=mappings or [],
        colorMode="background" if limits.known or mappings else "value",
        graphMode="none",
        reduceCalc="lastNotNull",
        thresholds=limits.steps(),
        color={"mode": "thresholds"},
        extraJson={"fieldConfig": {"defaults": {"min": 0}}},
    )
    return panel


def timeseries(
    title: str,
    about: About,
    lines: Sequence[Line],
    unit: Unit,
    *,
    decimals: int = 2,
    limits: Limits = NO_LIMITS,
    colours: Sequence[Override] = (),
    stacked: bool = False,
    highest: float | None = None,
    width: int = 12,
    height: int = 8,
    empty: str = NO_TRAFFIC,
) -> grafana.Panel:
    """Return curves over time, limits as dashed lines; ``stacked`` where the sum has a meaning."""
    panel: grafana.Panel = grafana.TimeSeries(
        **_common(title, about, lines, width, height),
        unit=unit.value,
        overrides=list(colours),
        legendDisplayMode="table",
        legendCalcs=["lastNotNull", "mean", "max"],
        tooltipMode="multi",
        tooltipSort="desc",
        fillOpacity=30 if stacked else 0,
        lineWidth=1 if stacked else 2,
        showPoints="never",
        stacking={"mode": "normal" if stacked else "none", "group": "A"},
        thresholdsStyleMode="dashed" if limits.known else "off",
        thresholds=limits.steps(),
        extraJson=_defaults(decimals, empty, highest),
    )
    return panel


def bar_gauge(
    title: str,
    about: About,
    lines: Sequence[Line],
    unit: Unit,
    *,
    decimals: int = 0,
    limits: Limits = NO_LIMITS,
    colours: Sequence[Override] = (),
    highest: float | None = None,
    window: str = GOAL_WINDOW,
    width: int = 8,
    height: int = 8,
    empty: str = NO_TRAFFIC,
) -> grafana.Panel:
    """Return one bar for each series, at its value now."""
    extra = _defaults(decimals, empty, highest)
    extra["fieldConfig"]["defaults"] |= {"unit": unit.value, "color": {"mode": "thresholds"}}
    extra["fieldConfig"]["overrides"] = list(colours)
    panel: grafana.Panel = grafana.BarGauge(
        **_common(title, about, lines, width, height, instant=True),
        interval=window,
        displayMode="basic",
        thresholds=limits.steps(),
        extraJson=extra,
    )
    return panel


def heatmap(
    title: str, about: About, query: Query, *, width: int = 12, height: int = 9
) -> grafana.Panel:
    """Return how observations spread over a histogram's buckets; ``query`` keeps ``le``."""
    extra = _defaults(0, NO_TRAFFIC, None)
    extra["fieldConfig"]["defaults"] |= {"unit": Unit.REQUESTS_PER_SECOND.value}
    extra["options"] = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Viridis", "steps": 64, "exponent": 0.5,
                  "fill": "dark-blue", "reverse": False, "scale": "exponential"},
        "exemplars": {"color": "#ffffff"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": Unit.SECONDS.value,
                  "decimals": 1},
    }  # fmt: skip
    panel: grafana.Panel = grafana.Heatmap(
        **_common(title, about, [Line(query, "{{le}}", "heatmap")], width, height),
        options={},
        thresholds=NO_LIMITS.steps(),
        extraJson=extra,
    )
    return panel


def timeline(
    title: str,
    about: About,
    lines: Sequence[Line],
    mappings: list[dict[str, Any]],
    *,
    width: int = 12,
    height: int = 6,
) -> grafana.Panel:
    """Return which state held when; the query gives the number of a state in ``mappings``."""
    extra = _defaults(0, "no data", None)
    extra["fieldConfig"]["defaults"] |= {"unit": Unit.NUMBER.value}
    panel: grafana.Panel = grafana.StateTimeline(
        **_common(title, about, lines, width, height),
        mappings=mappings,
        showValue="auto",
        thresholds=NO_LIMITS.steps(),
        extraJson=extra,
    )
    return panel


def table(
    title: str,
    about: About,
    lines: Sequence[Line],
    unit: Unit,
    *,
    decimals: int = 0,
    hidden: Sequence[str] = ("Time", "job"),
    columns: dict[str, str] | None = None,
    window: str = GOAL_WINDOW,
    width: int = 12,
    height: int = 8,
    empty: str = "none",
) -> grafana.Panel:
    """Return one row for each series, at its value now; ``columns`` renames fields."""
    extra = _defaults(decimals, empty, None)
    panel: grafana.Panel = grafana.Table(
        **_common(title, about, lines, width, height, instant=True),
        interval=window,
        unit=unit.value,
        thresholds=NO_LIMITS.steps(),
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": dict.fromkeys(hidden, True),
                    "indexByName": {},
                    "renameByName": columns or {},
                },
            },
        ],
        extraJson=extra,
    )
    return panel


def text(content: str, *, width: int = COLUMNS, height: int = 3) -> grafana.Panel:
    """Return words on the board itself, in Markdown."""
    panel: grafana.Panel = grafana.Text(
        content=content, gridPos=grafana.GridPos(height, width, 0, 0), transparent=True
    )
    return panel


def laid_out(rows: Sequence[Row]) -> list[grafana.Panel]:
    """Place panels from left to right, rows below each other, each below its title."""
    placed: list[grafana.Panel] = []
    y = 0
    for row in rows:
        placed.append(grafana.RowPanel(title=row.title, gridPos=grafana.GridPos(1, COLUMNS, 0, y)))
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.gridPos.w > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            panel.gridPos = grafana.GridPos(panel.gridPos.h, panel.gridPos.w, x, y)
            placed.append(panel)
            x += panel.gridPos.w
            tallest = max(tallest, panel.gridPos.h)
        y += tallest
    return placed


def _common(
    title: str,
    about: About,
    lines: Sequence[Line],
    width: int,
    height: int,
    *,
    instant: bool = False,
) -> dict[str, Any]:
    return {
        "title": title,
        "description": about.text(),
        "dataSource": DATASOURCE,
        "targets": [
            _target(letter, line, instant)
            for letter, line in zip(ascii_uppercase, lines, strict=False)
        ],
        "gridPos": grafana.GridPos(height, width, 0, 0),
        "maxDataPoints": None,
    }


def _target(letter: str, line: Line, instant: bool) -> dict[str, Any]:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": line.query.text,
        "format": line.format,
        "instant": instant,
        "legendFormat": line.name,
        "range": not instant,
        "refId": letter,
    }


def _defaults(decimals: int, empty: str, highest: float | None) -> dict[str, Any]:
    defaults: dict[str, Any] = {"decimals": decimals, "min": 0, "noValue": empty}
    if highest is not None:
        defaults["max"] = highest
    return {"fieldConfig": {"defaults": defaults}}
